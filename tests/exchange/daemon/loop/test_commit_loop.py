"""The states of the commit loop: their tables, and the whole loop under random events."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.daemon.loop.loop_states import (
    NODE_TRANSITIONS,
    TURN_TRANSITIONS,
    NodeEvent,
    NodeState,
    TurnEvent,
    TurnState,
)
from grenache_py.exchange.errors import StoreError
from grenache_py.state_machine import Transitions
from tests.support.peer import Peer

MACHINES: list[tuple[Transitions[Any, Any], Enum, list[Enum]]] = [
    (NODE_TRANSITIONS, NodeState.OPENING, list(NodeEvent)),
    (TURN_TRANSITIONS, TurnState.IDLE, list(TurnEvent)),
]


@given(st.sampled_from(MACHINES), st.data())
def test_an_event_is_in_the_table_or_refused(
    machine: tuple[Transitions[Any, Any], Enum, list[Enum]], data: st.DataObject
) -> None:
    transitions, state, events = machine
    for event in data.draw(st.lists(st.sampled_from(events), max_size=30)):
        if transitions.allows(state, event):
            state = transitions.next(state, event)
        else:
            with pytest.raises(LocalProtocolError, match=event.name):
                transitions.next(state, event)


def test_a_bug_may_strike_and_work_may_come_in_every_state() -> None:
    assert all(NODE_TRANSITIONS.allows(state, NodeEvent.RAISED) for state in NodeState)
    assert all(TURN_TRANSITIONS.allows(state, TurnEvent.KICK) for state in TurnState)


def test_a_node_that_broke_is_asked_nothing_before_the_store_was_opened_again() -> None:
    after = {NODE_TRANSITIONS.next(NodeState.BROKEN, event) for event in NodeEvent
             if NODE_TRANSITIONS.allows(NodeState.BROKEN, event)}  # fmt: skip
    assert after == {NodeState.BROKEN, NodeState.RECOVERING, NodeState.STOPPED}


def order(number: int) -> bytes:
    params = {
        "market": "BTC-USD",
        "side": "sell" if number % 2 else "buy",
        "quantity": "1",
        "price": str(99 + number % 3),
        "client_order_id": f"order-{number}",
    }
    request = {"jsonrpc": "2.0", "id": number, "method": "order.place", "params": params}
    return json.dumps(request).encode() + b"\n"


class World:
    """One peer to which everything may happen that happens to a daemon."""

    def __init__(self) -> None:
        self.peer = Peer()
        self.client = self.peer.connect()
        self.asked: list[int] = []
        self.links = 0

    def ask(self) -> None:
        self.asked.append(len(self.asked) + 1)
        self.client.lines.dataReceived(order(self.asked[-1]))

    def read(self) -> None:
        self.asked.append(len(self.asked) + 1)
        line = b'{"jsonrpc":"2.0","id":%d,"method":"order.list"}\n' % self.asked[-1]
        self.client.lines.dataReceived(line)

    def link(self) -> None:
        self.links += 1
        self.peer.link(self.links)

    def hold(self) -> None:
        if self.peer.store.held is None:
            self.peer.store.held = []

    def commit(self) -> None:
        held, self.peer.store.held = self.peer.store.held or [], None
        for happen in held:
            happen()

    def fail(self) -> None:
        self.peer.store.broken = StoreError("full", "no space left on the disk")

    def mend(self) -> None:
        self.peer.store.broken = None

    def bug(self) -> None:
        def half(node: object, now: float) -> None:
            raise ZeroDivisionError("a bug")

        self.peer.commit_loop.guarded.ask("a test", half)

    def turn(self) -> None:
        self.peer.turn(1)

    def wait(self) -> None:
        self.peer.clock.advance(1.0)


ACTS = ("ask", "read", "link", "hold", "commit", "fail", "mend", "bug", "turn", "wait")


def settle(world: World) -> None:
    world.mend()
    for _ in range(3):
        world.commit()
        world.peer.turn()
        world.peer.clock.advance(31)
        world.peer.turn()


#: The bugs of a run are what the fixture is asked for; it need not be a new one for each.
SHARED = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED)
@given(acts=st.lists(st.sampled_from(ACTS), max_size=25))
def test_whatever_happens_each_request_is_answered_once_and_the_disk_is_right(
    logged_failures: Any, acts: list[str]
) -> None:
    world = World()
    for act in acts:
        getattr(world, act)()
    settle(world)
    logged_failures.flush(ZeroDivisionError)
    peer = world.peer
    answers = world.client.received()
    assert [answer["id"] for answer in answers] == world.asked, "in their order"
    guarded = peer.commit_loop.guarded
    assert (guarded.illegal_transitions, guarded.state) == (0, NodeState.SERVING)
    placed = {answer["result"]["order_id"] for answer in answers
              if "order_id" in answer.get("result", ())}  # fmt: skip
    peer.restart()
    reader = peer.connect()
    for order_id in placed:
        assert reader.call("order.get", order_id=order_id)["order_id"] == order_id


@settings(max_examples=40, deadline=None, suppress_health_check=SHARED)
@given(
    before=st.lists(st.sampled_from(ACTS), max_size=12),
    after=st.lists(st.sampled_from(ACTS), max_size=8),
)
def test_a_stop_comes_to_an_end_whatever_happens_before_and_after_it(
    logged_failures: Any, before: list[str], after: list[str]
) -> None:
    world = World()
    for act in before:
        getattr(world, act)()
    stopped: list[object] = []
    Deferred.fromCoroutine(world.peer.commit_loop.stop()).addBoth(stopped.append)
    for act in after:
        getattr(world, act)()
    settle(world)
    logged_failures.flush(ZeroDivisionError)
    assert stopped == [None]
    guarded = world.peer.commit_loop.guarded
    assert guarded.illegal_transitions == 0 and guarded.stops


def test_what_cannot_happen_is_counted_and_costs_the_node(logged_failures: Any) -> None:
    peer = Peer()
    client = peer.connect()
    kept = client.place("sell", "1", "100")
    node = peer.commit_loop.node
    peer.commit_loop._turn_event(TurnEvent.WRITTEN)  # though nothing is being written
    assert client.place("buy", "1", "99")["code"] == -32010
    peer.clock.advance(1)
    peer.turn()
    assert peer.commit_loop.guarded.illegal_transitions == 1
    assert peer.commit_loop.node not in (None, node), "it was made again from the store"
    assert client.call("order.get", order_id=kept["order_id"])["status"] == "new"
    (logged,) = logged_failures.flush(LocalProtocolError)
    assert "WRITTEN cannot happen in state IDLE" in str(logged)
