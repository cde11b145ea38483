"""The own log: numbered without a gap, chained by hashes, the newest entries in memory."""

from __future__ import annotations

from grenache_py.exchange.signed_log.entries import GENESIS, Entry, HeartbeatBody
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.live_set import element
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.exchange.signed_log.own_log import TAIL_ENTRIES_MAX, OwnLog

ALICE = Identity.from_seed(b"a" * 32)
NOW = 1_790_000_000.0


def a_log() -> OwnLog:
    return OwnLog(ALICE.key, Sealer(ALICE, "test"), HybridClock())


def test_entries_are_numbered_and_each_names_the_one_before() -> None:
    log = a_log()
    beat = HeartbeatBody(20_000, 0, "0" * 64)
    drafts = [log.append(NOW), log.append(NOW, beat=beat), log.append(NOW + 1)]
    entries = [Entry.decode(draft.payload) for draft in drafts]
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert {(entry.home, entry.epoch) for entry in entries} == {(ALICE.key, 1)}
    before = [GENESIS, *(draft.hash.hex() for draft in drafts)]
    assert [entry.prev for entry in entries] == before[:-1]
    assert (log.seq, log.hash) == (3, before[-1])
    assert sorted(entry.time for entry in entries) == [entry.time for entry in entries]
    assert (entries[0].beat, entries[1].beat) == (None, beat)


def test_a_stamp_that_was_taken_before_is_used() -> None:
    log = a_log()
    stamp = log.stamp(NOW)
    later = Entry.decode(log.append(NOW + 9, stamp=stamp).payload)
    assert later.time == stamp
    assert log.time_ms(NOW) == stamp[0]
    assert log.time_ms(NOW + 9) == stamp[0] + 9_000


def test_a_range_is_whole_or_nothing() -> None:
    log = a_log()
    assert log.range(1, 1) is None
    drafts = [log.append(NOW) for _ in range(5)]
    assert log.range(1, 5) == drafts
    assert log.range(2, 3) == drafts[1:3]
    assert log.range(4, 99) == drafts[3:]
    assert log.range(6, 9) == []


def test_only_the_newest_entries_stay_in_memory() -> None:
    log = a_log()
    drafts = [log.append(NOW) for _ in range(TAIL_ENTRIES_MAX + 2)]
    assert log.range(2, 3) is None
    assert log.range(3, 3) == [drafts[2]]


def test_a_restored_log_goes_on_where_it_ended() -> None:
    log = a_log()
    log.append(NOW)
    drafts = [log.append(NOW), log.append(NOW)]
    log._sealer.seal()
    again = a_log()
    again.append(NOW)  # forgotten
    again.restore(7, 3, log.hash, [(2, drafts[0].proof), (3, drafts[1].proof)])
    assert (again.epoch, again.seq, again.hash) == (7, 3, log.hash)
    assert again.range(1, 3) is None
    kept = again.range(2, 3)
    assert kept is not None
    assert [draft.hash for draft in kept] == [draft.hash for draft in drafts]
    following = Entry.decode(again.append(NOW).payload)
    assert (following.epoch, following.seq, following.prev) == (7, 4, log.hash)


def test_an_element_is_of_one_order_at_one_version() -> None:
    assert element("a" * 32, 1) == element("a" * 32, 1)
    assert len({element("a" * 32, 1), element("a" * 32, 2), element("b" * 32, 1)}) == 3
    assert 0 <= element("a" * 32, 1) < 1 << 256
