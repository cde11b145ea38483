"""What a helper does not have is dropped only when the home or a second peer agrees."""

from __future__ import annotations

import pytest

from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.remote_rows import RemoteOrder
from grenache_py.exchange.signed_log.entries import HeartbeatBody, StateBody
from grenache_py.exchange.signed_log.live_set import element
from tests.exchange.replication.test_replica import ALICE, Author
from tests.support.peers import Network


class Held:
    """Five orders of a home are held; by its last heartbeat ``live`` of them are live."""

    def __init__(self, live: int) -> None:
        self.net = net = Network(1)
        self.replica = net[0].replica
        self.author = author = Author(net.now)
        ids = []
        for number in range(5):
            signed = author.order(price=str(number + 1))
            ids.append(author.last)
            self.replica.adoption.adopt_record(signed, signed, net.now)
        total = sum(element(order_id, 1) for order_id in ids[:live]) % (1 << 256)
        beat = author.entry(beat=HeartbeatBody(20_000, live, f"{total:064x}"))
        self.replica.adoption.adopt_head(beat, net.now)
        self.missing = MissingOrders(self.replica.adoption.table)
        self.ids = ids

    @property
    def origin(self) -> Origin:
        return self.replica.origins[ALICE.key]

    def orders(self, *numbers: int) -> list[RemoteOrder]:
        return [self.origin.records[self.ids[number]] for number in numbers]

    def said(self, key: str, *numbers: int, only: bool = False) -> int:
        """A helper lacks these; how many orders are held then."""
        self.missing.said(self.origin, self.orders(*numbers), key, only)
        return len(self.origin.records)


def test_what_the_homes_fingerprint_says_is_closed_is_dropped_at_once() -> None:
    held = Held(live=3)
    assert held.said("helper", 3, 4) == 3
    assert held.origin.complete


@pytest.mark.parametrize("live", [5, 4])
def test_orders_that_a_helper_hides_are_kept(live: int) -> None:
    held = Held(live)
    for _ in range(3):
        assert held.said("liar", 0, 1) == 5
    assert held.origin.complete is (live == 5), "what is not signed is asked for again"


def test_a_second_peer_is_believed() -> None:
    held = Held(live=3)
    assert held.said("one", 2, 3, 4) == 5, "more than its home closed"
    assert held.said("other", 3) == 4
    assert held.said("third", 4) == 3, "and now the home agrees as well"
    assert held.origin.complete


def test_an_only_neighbour_is_believed_the_second_time() -> None:
    held = Held(live=3)
    assert held.said("only", 2, 3, 4, only=True) == 5
    assert held.said("only", 3, 4, only=True) == 3


def test_the_home_itself_is_believed_at_once() -> None:
    """What it leaves out of its own live set is over, whatever it signed before."""
    held = Held(live=3)
    assert held.said(ALICE.key, 2, 3, 4) == 2


def test_who_has_missed_the_end_too_does_not_keep_an_order() -> None:
    held = Held(live=3)
    held.said("one", 2, 3, 4)
    held.said("behind")
    assert held.said("other", 2) == 4


def test_what_was_said_of_an_older_state_counts_for_nothing() -> None:
    held = Held(live=3)
    held.said("one", 0, 1)
    newer = held.author.entry(states=[StateBody(held.ids[0], 2, "0.5", "0", "0.5", "")])
    assert held.replica.receive(newer, held.net.now).verdict == "applied"
    assert held.said("other", 0, 1) == 4
    assert held.ids[0] in held.origin.records


def test_the_home_agrees_though_it_was_not_its_newest_heartbeat_that_was_taken_over() -> None:
    """The log went on by itself; it rolls what the last heartbeat said to where it stands."""
    held = Held(live=5)
    total = sum(element(order_id, 1) for order_id in held.ids[:3]) % (1 << 256)
    beat = held.author.entry(beat=HeartbeatBody(20_000, 3, f"{total:064x}"))
    for entry in (beat, held.author.order(price="9")):
        assert held.replica.receive(entry, held.net.now).verdict == "applied"
    assert held.origin.state is OriginState.UNSURE
    assert held.said("helper", 3, 4) == 4
    assert held.origin.complete


def test_what_was_said_is_forgotten_with_its_reason() -> None:
    held = Held(live=3)
    held.said("one", 2, 3, 4)
    held.said("other", 2, 3, 4)
    assert len(held.origin.records) == 2
    held = Held(live=3)
    held.said("one", 2, 3, 4)
    del held.replica.origins[ALICE.key]
    held.missing.expire()
    assert not held.missing._said
