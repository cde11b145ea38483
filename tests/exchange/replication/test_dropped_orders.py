"""An order that is not held any more does not come back in an older state, whoever shows it."""

from __future__ import annotations

import pytest

from grenache_py.exchange.replication import dropped_orders, log_ring
from grenache_py.exchange.replication import origin as origins
from grenache_py.exchange.replication.dropped_orders import DroppedOrders
from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.signed_log.entries import HeartbeatBody, StateBody
from grenache_py.exchange.signed_log.live_set import element
from grenache_py.exchange.signed_log.merkle import Signed
from tests.exchange.replication.test_replica import ALICE, Author
from tests.support.peers import Network

TAIL = 8


class Held:
    """A peer that keeps only the newest entries of a home's log, and the home."""

    def __init__(self) -> None:
        self.net = Network(1)
        self.alice = Author(self.net.now)

    @property
    def replica(self) -> Replica:
        return self.net[0].replica

    @property
    def origin(self) -> Origin:
        return self.replica.origins[ALICE.key]

    def receive(self, *entries: Signed) -> None:
        for signed in entries:
            assert self.replica.receive(signed, self.net.now).verdict == "applied"

    def order(self) -> tuple[str, Signed, Signed]:
        """An order that is published and then changes: its id, and both entries."""
        first = self.alice.order("5")
        return self.alice.last, first, self.alice.state(2, "0.5", "0.5")

    def beat(self, *live: tuple[str, int]) -> Signed:
        total = sum(element(order_id, version) for order_id, version in live) % (1 << 256)
        return self.alice.entry(beat=HeartbeatBody(20_000, len(live), f"{total:064x}"))

    def closed(self, order_id: str, version: int) -> Signed:
        return self.alice.entry(states=[StateBody(order_id, version, "0", "0", "0.5", "cancelled")])

    def others(self) -> list[Signed]:
        """More entries than are kept."""
        return [self.alice.order(str(price), time_in_force="ioc") for price in range(10, 10 + TAIL)]

    def adopt(self, order: Signed, state: Signed, upto: int = 0) -> bool:
        """What a neighbour shows that has applied the log up to ``upto``; 0: as far as here."""
        shown = {ALICE.key: (1, upto or self.origin.seq)}
        return self.replica.adoption.adopt_record(order, state, self.net.now, shown)

    def holds(self, order_id: str) -> bool:
        return order_id in self.origin.records


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    for module in (origins, log_ring):
        monkeypatch.setattr(module, "TAIL_MAX", TAIL)
    return Held()


def test_what_closed_while_its_log_was_unsure_is_not_taken_from_who_skipped_the_end(
    held: Held,
) -> None:
    """The neighbour jumped ahead, past the cancel: its head says nothing of what it kept."""
    order_id, first, second = held.order()
    held.receive(first, second, held.beat())
    assert held.origin.state is OriginState.UNSURE
    held.receive(held.closed(order_id, 3), *held.others())
    for state in (first, second):
        assert not held.adopt(first, state)
    assert held.net.book(0)[1] == []


def test_what_closed_before_all_agreed_is_not_taken_either(held: Held) -> None:
    """Nothing is remembered of it any more, and need not be: it was no part of what agreed."""
    order_id, first, second = held.order()
    held.receive(first, second, held.closed(order_id, 3), held.beat())
    assert held.origin.state is OriginState.VERIFIED
    other, *_ = entries = held.order()
    held.receive(*entries[1:], *held.others(), held.beat())
    assert held.origin.state is OriginState.UNSURE
    assert not held.adopt(first, second)
    assert held.holds(other)


def test_an_order_that_was_never_held_is_taken_when_its_log_is_unsure(held: Held) -> None:
    """A helper left it out; the next one has it."""
    order_id, first, second = held.order()
    held.others()
    assert held.replica.adoption.adopt_head(held.beat((order_id, 2)), held.net.now).novel == []
    held.receive(held.beat((order_id, 2)))
    assert held.origin.state is OriginState.UNSURE
    assert held.adopt(first, second)


def test_an_end_that_came_for_an_order_that_is_not_held_is_the_end(held: Held) -> None:
    order_id, first, second = held.order()
    assert held.replica.adoption.adopt_head(held.beat((order_id, 2)), held.net.now).novel == []
    held.receive(held.closed(order_id, 3), held.beat((order_id, 2)), *held.others())
    assert held.origin.state is OriginState.UNSURE
    assert not held.adopt(first, second)


def test_what_neighbours_lacked_comes_back_as_it_was_and_not_older(held: Held) -> None:
    """Two that hide an order make it go; it need not have changed since."""
    order_id, first, second = held.order()
    held.receive(first, second, held.beat((order_id, 2), ("f" * 32, 1)))
    missing = MissingOrders(held.replica.adoption.table)
    for liar in ("one", "other"):
        missing.said(held.origin, [held.origin.records[order_id]], liar, only=False)
    assert not held.holds(order_id)
    assert not held.adopt(first, first)
    assert held.adopt(first, second)


def test_what_was_taken_ahead_of_the_log_does_not_begin_again_with_it(held: Held) -> None:
    """The log reaches its publication after it was over."""
    held.receive(held.beat())
    order_id, first, second = held.order()
    assert held.adopt(first, second)
    held.replica.records.drop(held.origin, held.origin.records[order_id])
    held.receive(first)
    assert not held.holds(order_id)


def test_with_the_home_everything_is_forgotten(held: Held) -> None:
    order_id, first, second = held.order()
    held.receive(first, second, held.closed(order_id, 3))
    assert held.replica.records.dropped.count == 1
    held.replica.adoption.table.forget(held.origin)
    assert held.replica.records.dropped.count == 0


def test_a_new_log_begins_with_nothing_dropped(held: Held) -> None:
    order_id, first, second = held.order()
    held.receive(first, second, held.closed(order_id, 3), held.beat())
    held.alice.log.epoch, held.alice.log.seq = 2, 0
    assert held.replica.adoption.adopt_head(held.beat(), held.net.now).verdict == "applied"
    assert held.origin.epoch == 2
    assert held.replica.records.dropped.may_return(held.origin, order_id, 1, 2)


def test_the_home_that_dropped_most_loses_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped_orders, "DROPPED_MAX", 3)
    dropped = DroppedOrders()
    one, other = Origin("1" * 64, agreed=(1, 9)), Origin("2" * 64, agreed=(1, 9))
    dropped.note(one, "a", 2)
    for order_id in "bcd":
        dropped.note(other, order_id, 2)
    assert dropped.count == 1
    assert not dropped.may_return(one, "a", 1, 10)
    assert not dropped.may_return(one, "b", 1, 9), "it was not live when all agreed"
    assert dropped.may_return(one, "b", 1, 10)
    assert dropped.may_return(other, "b", 1, 9), "nobody knows"
    dropped.note(other, "e", 2)
    dropped.note(other, "e", 3)
    assert dropped.count == 2
    assert not dropped.may_return(other, "e", 2, 12)
    assert dropped.may_return(other, "e", 3, 8)
    other.agreed = 1, 12
    assert not dropped.may_return(other, "b", 1, 9), "what is remembered is whole again"
    dropped.note(other, "f", 2)
    assert dropped.count == 2
