"""Set reconciliation: it finds exactly the differences, at the promised cost, and fears nothing."""

from __future__ import annotations

import math
import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.frame import FRAME_BYTES_MAX
from grenache_py.exchange.replication.live_set_index import LiveSet
from grenache_py.exchange.replication.live_set_key import ID_BYTES, short_id
from grenache_py.exchange.replication.reconciliation import Reconciliation, respond

Element = tuple[int, int]


def element_id(order_id: str, version: int) -> int:
    return int.from_bytes(sha256(f"{order_id} {version}".encode()).digest(), "big")


def element(number: int, version: int = 1) -> Element:
    return 1_700_000_000_000 + number * 7 // 3, element_id(f"{number:032x}", version)


def live_set(elements: list[Element] | set[Element]) -> LiveSet:
    made = LiveSet()
    for time_ms, hashed in elements:
        assert made.add(time_ms, hashed)
    return made


def reconcile(mine: LiveSet, theirs: LiveSet) -> tuple[set[bytes], set[bytes], int, int]:
    """Run to the end; (need, have, bytes both ways, messages)."""
    asking = Reconciliation(mine)
    frame: bytes | None = asking.begin()
    size = messages = 0
    while frame:
        answer = respond(theirs, frame)
        assert max(len(frame), len(answer)) <= FRAME_BYTES_MAX
        size += len(frame) + len(answer)
        messages += 2
        frame = asking.receive(answer)
        assert messages < 1000
    need = set(asking.need)
    for low, high, held in asking.whole:
        inside = range(theirs.rank(low), theirs.rank(high))
        assert len(inside) == held
        assert mine.rank(low) == mine.rank(high)
        need |= {short_id(theirs.at(rank)) for rank in inside}
    return need, set(asking.have), size, messages


def ids(elements: set[Element]) -> set[bytes]:
    return {short_id(hashed) for _, hashed in elements}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 2**32), st.floats(0, 1), st.booleans())
def test_finds_exactly_the_differences(n: int, seed: int, share: float, same_ms: bool) -> None:
    rng = random.Random(seed)
    everything = [element(0 if same_ms else i) for i in range(n)]
    if same_ms:
        everything = [(5, element_id(str(i), 1)) for i in range(n)]
    mine = {e for e in everything if rng.random() < share}
    theirs = {e for e in everything if rng.random() < 0.7}
    need, have, _, _ = reconcile(live_set(mine), live_set(theirs))
    assert need == ids(theirs - mine)
    assert have == ids(mine - theirs)


def test_equal_sets_cost_two_messages_and_no_more_than_negentropy() -> None:
    for n in (0, 1, 31, 10_000):
        elements = [element(i) for i in range(n)]
        need, have, size, messages = reconcile(live_set(elements), live_set(elements))
        assert (need, have, messages) == (set(), set(), 2)
        assert size <= max(353, 31 * ID_BYTES + 20)  # shorter sets go as one list


#: The table of docs/exchange-wire.rst#catching-up: elements, differences, newest ones or scattered,
#: bytes, messages. Where the bytes do not fit so few frames, as many as they fill are meant.
PUBLISHED = [
    (10_000, 0, False, 353, 2),
    (100_000, 0, False, 353, 2),
    (10_000, 1, False, 1_074, 4),
    (10_000, 100, False, 41_000, 4),
    (100_000, 100, False, 110_000, 4),
    (100_000, 1_000, False, 796_000, 4),
    (100_000, 1_000, True, 1_800, 6),
    (10_000, 1_000, True, 1_800, 6),
]


@pytest.mark.parametrize(("n", "different", "newest", "size", "messages"), PUBLISHED)
@pytest.mark.parametrize("lacking", ["asker", "answerer"])
def test_cost_stays_within_one_and_a_half_times_the_published_figures(
    n: int, different: int, newest: bool, size: int, messages: int, lacking: str
) -> None:
    rng = random.Random(n + different)
    everything = [element(i) for i in range(n)]
    gone = set(everything[n - different :] if newest else rng.sample(everything, different))
    full = live_set(everything)
    less = live_set([e for e in everything if e not in gone])
    mine, theirs = (less, full) if lacking == "asker" else (full, less)
    need, have, bytes_sent, messages_sent = reconcile(mine, theirs)
    assert (need, have) == ((ids(gone), set()) if lacking == "asker" else (set(), ids(gone)))
    assert bytes_sent <= 1.5 * size
    assert messages_sent <= 1.5 * max(messages, math.ceil(size / FRAME_BYTES_MAX))


def test_an_empty_joiner_learns_in_one_exchange_what_to_take_whole() -> None:
    everything = [element(i) for i in range(20_000)]
    need, _, size, messages = reconcile(LiveSet(), live_set(everything))
    assert len(need) == 20_000
    assert messages == 2
    assert size < 20_000 / 6


def test_a_joiner_with_few_orders_of_its_own_does_not_pay_for_all_of_theirs() -> None:
    """As after a restart: its own orders are among the others, and are known there, too."""
    everything = [element(i) for i in range(20_000)]
    mine = set(random.Random(1).sample(everything, 20))
    need, have, size, _ = reconcile(live_set(mine), live_set(everything))
    assert (need, have) == (ids(set(everything) - mine), set())
    assert size < 20_000


def test_more_than_fits_one_frame_is_taken_whole_in_several() -> None:
    theirs = live_set([element(1000 * i) for i in range(400_000)])
    need, _, size, messages = reconcile(LiveSet(), theirs)
    assert len(need) == 400_000
    assert size > FRAME_BYTES_MAX
    assert messages > 2


def test_two_disjoint_big_sets_still_end() -> None:
    mine, theirs = [element(2 * i) for i in range(8000)], [element(2 * i + 1) for i in range(8000)]
    need, have, _, _ = reconcile(live_set(mine), live_set(theirs))
    assert (len(need), len(have)) == (8000, 8000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_answered_or_refused(frame: bytes) -> None:
    theirs = live_set([element(i) for i in range(100)])
    for read in (lambda f: respond(theirs, f), Reconciliation(theirs).receive):
        try:
            read(frame)
        except RemoteProtocolError as refused:
            assert "reconcile" in str(refused)


def test_a_cut_frame_is_refused_not_misread() -> None:
    mine = live_set([element(i) for i in range(200)])
    frame = Reconciliation(mine).begin()
    for cut in range(1, len(frame)):
        try:
            respond(mine, frame[:cut])
        except RemoteProtocolError:
            continue
        assert respond(mine, frame[:cut]) == b""  # cut between two ranges: those before were equal


def test_a_range_taken_whole_may_not_be_endless() -> None:
    with pytest.raises(RemoteProtocolError, match="elements in one"):
        Reconciliation(LiveSet()).receive(b"\0\0\3\x8f\x7f")
