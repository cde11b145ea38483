"""Entries, proofs, records and heartbeats by hand: each verdict, and what it leaves behind."""

from __future__ import annotations

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.remote_orders import HiddenOrders
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.signed_log.entries import Entry, HeartbeatBody, StateBody
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Signed
from tests.exchange.replication.test_replica import ALICE, Author
from tests.support.peers import Network

BOB = Identity.from_seed(b"b" * 32)


@pytest.fixture
def net() -> Network:
    return Network(1)


@pytest.fixture
def alice(net: Network) -> Author:
    return Author(net.now)


def replica(net: Network) -> Replica:
    return net[0].replica


def verdicts(net: Network, *entries: Signed) -> list[str]:
    return [replica(net).receive(signed, net.now).verdict for signed in entries]


def forged(signed: Signed) -> Signed:
    return Signed(signed.payload, signed.path, signed.index, signed.size, bytes(64))


def test_each_entry_counts_once(net: Network, alice: Author) -> None:
    first, second, third = alice.order("1"), alice.order("2"), alice.order("3")
    assert verdicts(net, first, first) == ["applied", "known"]
    assert verdicts(net, third, third) == ["waiting", "known"]
    received = replica(net).receive(second, net.now)
    assert received.verdict == "applied"
    assert [signed for signed, _, _ in received.novel] == [second, third]
    assert [head.seq for _, _, head in received.novel] == [2, 3]
    assert {home for _, home, _ in received.novel} == {ALICE.key}
    assert verdicts(net, first, second, third) == ["known"] * 3
    assert replica(net).applied == 3
    assert net.book(0)[1] == [(100, 10_000), (200, 10_000), (300, 10_000)]


def test_what_waits_for_an_earlier_entry_is_counted_until_it_comes(
    net: Network, alice: Author
) -> None:
    first, second, third = alice.order("1"), alice.order("2"), alice.order("3")
    verdicts(net, third)
    verdicts(net, second)
    origin = replica(net).origins[ALICE.key]
    assert origin.waiting_bytes == len(second.payload) + len(third.payload)
    verdicts(net, first)
    assert (origin.waiting_bytes, origin.waiting) == (0, {})


def test_the_limit_of_belief_in_the_future_is_exact(net: Network) -> None:
    ahead = Author(net.now + AHEAD_MS_MAX / 1000)
    assert verdicts(net, ahead.order("1")) == ["applied"]
    further = Author(net.now + AHEAD_MS_MAX / 1000 + 0.001, BOB)
    entry = further.order("1")
    assert verdicts(net, entry) == ["early"]
    assert BOB.key not in replica(net).origins  # nothing is kept of it
    net.now += 0.001
    assert verdicts(net, entry) == ["applied"]


def test_a_waiting_entry_that_is_contradicted_is_proof_enough(net: Network, alice: Author) -> None:
    alice.order("1")
    one = alice.order("2")
    liar = Author(net.now)
    liar.order("3")
    other = liar.order("4")
    assert verdicts(net, one, forged_is_refused(net, other)) == ["waiting", "frozen"]
    assert replica(net).origins[ALICE.key].frozen
    assert replica(net).forks.proofs[ALICE.key] == (one, other)
    assert verdicts(net, alice.order("5")) == ["known"]  # nothing it signs is believed any more


def forged_is_refused(net: Network, signed: Signed) -> Signed:
    """Only what is signed can freeze a home."""
    with pytest.raises(RemoteProtocolError):
        replica(net).receive(forged(signed), net.now)
    return signed


def test_a_proof_convinces_once_and_only_when_both_are_signed(net: Network, alice: Author) -> None:
    forks = replica(net).forks
    one, other = alice.order("1"), Author(net.now).order("2")
    for pair in ((one, one), (one, alice.order("3")), (one, Author(net.now, BOB).order("1"))):
        with pytest.raises(RemoteProtocolError, match="contradict nothing"):
            forks.prove(*pair)
    for pair in ((forged(one), other), (one, forged(other))):
        with pytest.raises(RemoteProtocolError):
            forks.prove(*pair)
    assert ALICE.key not in replica(net).origins
    assert forks.prove(one, other) == ALICE.key
    assert forks.prove(one, other) is None  # no news
    assert replica(net).origins[ALICE.key].state is OriginState.FROZEN
    assert forks.alarms == []


def test_an_order_of_another_tick_is_not_shown_and_the_operator_is_told_whose(
    net: Network, alice: Author
) -> None:
    told: list[tuple[str, object]] = []
    records = replica(net).records
    records.on_hidden = lambda market, hidden: told.append((market, hidden))
    coarse = {"tick": "0.05", "lot": "0.001"}
    assert verdicts(net, alice.order("1", **coarse), alice.order("2", **coarse)) == ["applied"] * 2
    assert net.book(0) == ([], [])
    assert told == [("BTC-USD", HiddenOrders(1, ALICE.key, "0.05", "0.001"))]
    assert records.hidden == {"BTC-USD": HiddenOrders(2, ALICE.key, "0.05", "0.001")}
    [first, second] = replica(net).origins[ALICE.key].records
    assert [records.hides(order) for order in (first, second, "0" * 32)] == [True, True, False]
    for order, left in ((first, 1), (second, 0)):
        closed = [StateBody(order, 2, "0", "0", "0", "cancelled")]
        assert verdicts(net, alice.entry(states=closed)) == ["applied"]
        assert sum(hidden.orders for hidden in records.hidden.values()) == left
    assert records.hidden == {}


def test_a_proof_is_passed_on_but_not_to_who_told_it(alice: Author) -> None:
    net = Network(3)
    net.link(0, 1)
    net.link(0, 2)
    one, other = alice.order("1"), Author(net.now).order("2")
    [link] = net[1].peering.ready()
    net.counts.clear()
    net[1].peering.notify(link, "gossip.proof", {"first": one.wire(), "second": other.wire()})
    net.settle()
    assert net[2].replica.origins[ALICE.key].frozen
    assert net.counts["gossip.proof"] == 2


def test_two_entries_that_contradict_each_other_are_shown_to_all(alice: Author) -> None:
    net = Network(3)
    net.link(0, 1)
    net.link(0, 2)
    [link] = net[1].peering.ready()
    for entry in (alice.order("1"), Author(net.now).order("2")):
        net[1].peering.notify(link, "gossip.publish", {"entries": [entry.wire()]})
        net.settle()
    for peer in (net[1], net[2]):  # also to who sent them: it may know one of the two
        assert peer.replica.origins[ALICE.key].frozen
    assert net.counts["gossip.proof"] == 2


def test_a_home_that_signs_a_second_history_is_told_over_its_own_link() -> None:
    net = Network(2)
    net.link(0, 1)
    verdicts(net, Author(net.now, Identity.from_seed(bytes([2]) * 32)).order("1"))
    net.place(1, "sell", 2, 100)  # another entry of that number, and it goes on from there
    net.settle()
    assert net[0].replica.origins[net[1].key].frozen
    assert "two histories" in net[1].serving.raised()["own-log"]


def own_entry(net: Network, seq: int, epoch: int = 1) -> Signed:
    """An entry that this home's key signed, and this home does not remember."""
    mine = Author(net.now + 1, Identity.from_seed(bytes([1]) * 32))
    mine.log.epoch, mine.log.seq = epoch, seq - 1
    return mine.order("9")


def test_an_own_entry_that_comes_back_is_nothing_new(net: Network) -> None:
    net.place(0, "buy", 1, 50)
    mine = net[0].ledger.log.tail[-1][1].proof
    assert verdicts(net, mine) == ["own"]
    assert net[0].alarms() == []
    with pytest.raises(RemoteProtocolError):
        verdicts(net, forged(own_entry(net, 1)))
    assert net[0].alarms() == []  # anybody can claim


@pytest.mark.parametrize(("seq", "epoch"), [(1, 1), (9, 1), (1, 2)])
def test_an_own_entry_that_differs_or_is_ahead_raises_the_alarm_once(
    net: Network, seq: int, epoch: int
) -> None:
    net.place(0, "buy", 1, 50)
    foreign = own_entry(net, seq, epoch)
    assert verdicts(net, foreign, foreign, own_entry(net, seq + 1, epoch)) == ["own"] * 3
    [alarm] = net[0].alarms()
    assert f"entry {epoch}/{seq}" in alarm


def test_an_own_entry_of_an_older_epoch_is_history(net: Network) -> None:
    net.place(0, "buy", 1, 50)
    net.restart(0, new_epoch=True)
    net.place(0, "buy", 1, 50)
    assert verdicts(net, own_entry(net, 1, 1)) == ["own"]
    assert net[0].alarms() == []


def test_proof_against_this_home_stops_it(net: Network) -> None:
    one, other = own_entry(net, 1), Author(net.now, Identity.from_seed(bytes([1]) * 32)).order("2")
    assert replica(net).forks.prove(one, other) is None
    assert "signed two histories" in net[0].alarms()[0]


def test_who_passes_on_what_is_held_is_looked_up_by_the_entry_it_published(
    net: Network, alice: Author
) -> None:
    expires = int(net.now * 1000) + 60_000
    first, second = alice.order("1"), alice.order("2", expires=expires, time_in_force="gtd")
    newest = alice.last
    state = alice.state(2, "0.5", "0.5")
    assert verdicts(net, first, second, state) == ["applied"] * 3
    live = replica(net).published(newest, second)
    assert live is not None and live.order_id == newest
    assert (live.order.time_in_force, live.order.expires_ms) == ("gtd", expires)
    for other in (first, state, forged(second)):
        assert replica(net).published(newest, other) is None
    assert replica(net).published("0" * 32, first) is None


# Records: live orders as a neighbour hands them on.


def adopt(net: Network, order: Signed, state: Signed) -> bool:
    return replica(net).adoption.adopt_record(order, state, net.now)


def test_a_live_order_is_adopted_once_and_follows_newer_states(net: Network, alice: Author) -> None:
    order = alice.order("1", "10")
    first = alice.last
    newer = alice.entry(states=[StateBody(first, 2, "7", "0", "3", "")])
    newest = alice.entry(states=[StateBody(first, 3, "2", "0", "8", "")])
    assert adopt(net, order, newer)
    record = replica(net).origins[ALICE.key].records[first]
    assert record.live is not None and record.live.open == 70_000
    assert net.book(0) == ([], [])  # it is shown once a heartbeat says that its home lives
    assert not adopt(net, order, newer)
    assert not adopt(net, order, order)  # older
    assert adopt(net, order, newest)
    record = replica(net).origins[ALICE.key].records[first]
    assert record.live is not None
    assert (record.live.open, record.live.filled) == (20_000, 80_000)
    assert jump(net, beat(alice, 1)) == "applied"
    assert net.book(0)[1] == [(100, 20_000)]


def test_a_pair_that_is_not_one_live_order_is_refused(net: Network, alice: Author) -> None:
    order = alice.order("1")
    first = alice.last
    closed = alice.entry(states=[StateBody(first, 2, "0", "0", "0", "cancelled")])
    other = alice.order("2")
    bobs = Author(net.now, BOB).order("1")
    for pair in (
        (order, closed),
        (order, other),
        (closed, order),
        (order, bobs),
        (forged(order), order),
        (order, forged(order)),
    ):
        with pytest.raises(RemoteProtocolError):
            adopt(net, *pair)
    assert net.book(0) == ([], [])
    assert adopt(net, order, order)


def test_an_order_with_impossible_quantities_is_the_fault_of_its_home(
    net: Network, alice: Author
) -> None:
    """A neighbour that does not trade its market passes it on in good faith."""
    for order, state in (
        (first := alice.order("1"), first),
        (alice.order("2"), alice.state(2, "2")),
    ):
        adopted = replica(net).adoption.adopt_record(order, state, net.now)
        assert adopted == (order is state)
    origin = replica(net).origins[ALICE.key]
    assert "impossible quantities" in origin.frozen
    assert net.book(0)[1] == []


def test_nothing_is_left_of_an_order_whose_state_is_impossible(net: Network, alice: Author) -> None:
    order = alice.order("1", "10", expires=alice.clock.read_ms(net.now) + 5_000)
    more = alice.entry(states=[StateBody(alice.last, 2, "7", "0", "4", "")])
    assert not replica(net).adoption.adopt_record(order, more, net.now)
    assert alice.last not in replica(net).origins[ALICE.key].records
    net.run(20)  # its time has come
    assert net.book(0) == ([], [])


def test_reserved_lots_keep_an_order_alive_though_nothing_is_open(
    net: Network, alice: Author
) -> None:
    order = alice.order("1")
    first = alice.last
    asked = alice.entry(states=[StateBody(first, 2, "0", "1", "0", "")])
    assert adopt(net, order, asked)
    assert first in replica(net).origins[ALICE.key].records


def test_an_expired_order_in_doubt_of_a_living_home_is_adopted(net: Network, alice: Author) -> None:
    """Its home has not heard what became of it: it closes it, and nobody else."""
    order = alice.order("1", expires=int(net.now * 1000) + 1_000, time_in_force="gtd")
    first = alice.last
    net.now += 3_600
    alice.now = net.now
    asked = alice.entry(states=[StateBody(first, 2, "0", "1", "0", "")])
    left = alice.entry(states=[StateBody(first, 3, "1", "0", "0", "")])
    assert not adopt(net, order, left), "this one is over"
    assert adopt(net, order, asked)


def test_what_was_closed_here_does_not_come_back(net: Network, alice: Author) -> None:
    order = alice.order("1")
    first = alice.last
    closed = alice.entry(states=[StateBody(first, 2, "0", "0", "0", "cancelled")])
    assert verdicts(net, order, closed) == ["applied"] * 2
    assert not adopt(net, order, order)
    assert net.book(0) == ([], [])


def test_of_an_unsure_log_only_what_may_be_missing_comes_back(net: Network, alice: Author) -> None:
    """A neighbour that is behind still has orders that were closed here since."""
    order = alice.order("1")
    first = alice.last
    closed = alice.entry(states=[StateBody(first, 2, "0", "0", "0", "cancelled")])
    missing = Author(net.now)
    missing.log.hash, missing.log.seq = alice.log.hash, alice.log.seq
    unknown = missing.order("2")  # adopted with a gap, its entry was never applied here
    alice.log.hash, alice.log.seq = missing.log.hash, missing.log.seq
    assert verdicts(net, order, closed) == ["applied"] * 2
    origin = replica(net).origins[ALICE.key]
    assert jump(net, beat(alice, 1)) == "applied"
    adopted = replica(net).adoption.adopt_record
    assert not adopted(unknown, unknown, net.now, {ALICE.key: (1, 4)}), "nothing is missing"
    assert verdicts(net, beat(alice, 1, 7)) == ["applied"]
    assert (origin.state, origin.seq) == (OriginState.UNSURE, 5)
    assert not adopt(net, order, order), "the neighbour may be behind"
    assert not adopted(order, order, net.now, {ALICE.key: (1, 2)})
    assert adopted(unknown, unknown, net.now, {ALICE.key: (1, 4)})


def test_neither_own_nor_frozen_nor_future_orders_are_adopted(net: Network, alice: Author) -> None:
    mine = Author(net.now, Identity.from_seed(bytes([1]) * 32)).order("1")
    assert not adopt(net, mine, mine)
    future = Author(net.now + AHEAD_MS_MAX / 1000 + 0.001, BOB).order("1")
    assert not adopt(net, future, future)
    net.now += 0.001
    assert adopt(net, future, future)
    replica(net).forks.prove(alice.order("1"), Author(net.now - 0.001).order("2"))
    order = alice.order("3")
    assert not adopt(net, order, order)


# Heartbeats: from where a log goes on.


def beat(alice: Author, live: int = 0, fingerprint: int = 0) -> Signed:
    return alice.entry(beat=HeartbeatBody(20_000, live, f"{fingerprint:064x}"))


def jump(net: Network, signed: Signed) -> str:
    return replica(net).adoption.adopt_head(signed, net.now).verdict


def test_a_log_goes_on_from_a_heartbeat_and_what_waited_follows(
    net: Network, alice: Author
) -> None:
    for price in "123":
        alice.order(price)
    here, later = beat(alice), alice.order("7")
    assert verdicts(net, later) == ["waiting"]
    received = replica(net).adoption.adopt_head(here, net.now)
    assert received.verdict == "applied"
    assert [signed for signed, _, _ in received.novel] == [later]
    origin = replica(net).origins[ALICE.key]
    assert (origin.seq, origin.waiting, net.book(0)[1]) == (5, {}, [(700, 10_000)])
    again = replica(net).adoption.adopt_head(here, net.now)
    assert (again.verdict, again.origin) == ("known", origin)


def test_only_a_signed_heartbeat_of_another_home_counts(net: Network, alice: Author) -> None:
    with pytest.raises(RemoteProtocolError, match="not a heartbeat"):
        jump(net, alice.order("1"))
    here = beat(alice)
    with pytest.raises(RemoteProtocolError):
        jump(net, forged(here))
    assert jump(net, beat(Author(net.now, Identity.from_seed(bytes([1]) * 32)))) == "own"
    future = beat(Author(net.now + AHEAD_MS_MAX / 1000 + 0.001, BOB))
    received = replica(net).adoption.adopt_head(future, net.now)
    assert received.verdict == "early"
    assert received.origin is not None and received.origin.home == BOB.key
    assert BOB.key not in replica(net).origins
    net.now += 0.001
    assert jump(net, future) == "applied"
    assert jump(net, here) == "applied"


def test_a_jump_into_a_new_epoch_forgets_the_orders_of_the_old_one(
    net: Network, alice: Author
) -> None:
    assert verdicts(net, alice.order("1")) == ["applied"]
    alice.log.epoch, alice.log.seq = 5, 0
    assert jump(net, beat(alice)) == "applied"
    assert (replica(net).origins[ALICE.key].epoch, net.book(0)) == (5, ([], []))
    assert Entry.decode(alice.order("2").payload).epoch == 5
