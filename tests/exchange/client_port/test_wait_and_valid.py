"""Orders that are answered when nothing is in doubt, and orders that are refused later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.home.transition import Transition
from grenache_py.exchange.market.order import LiveOrder, NewOrder
from grenache_py.exchange.storage import snapshot
from tests.support.peer import START, Peer

ORDER = {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "100"}


def promised(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> list[LiveOrder]:
    """Have each order of ``peer`` promised to a fill elsewhere as soon as it is placed."""
    node: Any = peer.commit_loop.node
    orders: list[LiveOrder] = []
    place = type(node.home).place

    def place_and_promise(home: Any, new: NewOrder, now: float) -> LiveOrder:
        live = place(home, new, now)
        if live not in orders:
            live.reserved, live.open = live.open, 0
            home.ledger.books["BTC-USD"].touched(live)
            orders.append(live)
        return live

    monkeypatch.setattr(type(node.home), "place", place_and_promise)
    return orders


def settle(peer: Peer, live: LiveOrder, lots: int) -> None:
    """The other peer has answered: so many lots traded, the rest is free again."""

    def answered(node: Any, now: float) -> None:
        live.filled, live.open, live.reserved = lots, live.reserved - lots, 0
        node.books["BTC-USD"].touched(live)
        step = Transition()
        step.touch(live)
        node.ledger.finish(step, now)

    peer.commit_loop.guarded.ask("a test", answered)
    peer.turn()


def place(**more: Any) -> bytes:
    request = {"jsonrpc": "2.0", "id": 1, "method": "order.place", "params": {**ORDER, **more}}
    return json.dumps(request).encode() + b"\n"


def test_the_report_waits_for_the_end_of_doubt_and_is_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    client = peer.connect()
    orders = promised(peer, monkeypatch)
    client.send(place(wait_ms=5000) + b"ping\n")
    assert client.received() == [], "the answers after it wait, too"
    peer.store.held = []
    settle(peer, orders[0], 4000)
    assert client.received() == [], "what it says is not on the disk yet"
    while peer.store.held:
        peer.store.held.pop(0)()
        peer.turn()
    report, pong = client.received()
    assert (report["result"]["filled"], report["result"]["in_doubt"]) == ("0.4", "0")
    assert "time" in pong["result"]
    assert not [call for call in peer.clock.getDelayedCalls() if call.getTime() > START + 4]


def test_it_waits_no_longer_than_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    client = peer.connect()
    orders = promised(peer, monkeypatch)
    client.send(place(wait_ms=5000, client_order_id="a"))
    peer.clock.pump([1] * 4)
    assert client.received() == []
    peer.clock.pump([1, 0, 0])
    (report,) = client.received()
    assert report["result"]["in_doubt"] == "1"
    client.send(place(client_order_id="a"))
    assert client.received()[0]["result"]["in_doubt"] == "1", "who does not wait does not wait"
    settle(peer, orders[0], 10_000)
    client.send(place(wait_ms=5000, client_order_id="a"))
    assert client.received()[0]["result"]["status"] == "filled"
    assert client.call("order.place", **ORDER, wait_ms=10_001)["data"] == {"field": "wait_ms"}


def test_a_store_that_fails_meanwhile_ends_the_wait_with_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    client, other = peer.connect(), peer.connect()
    promised(peer, monkeypatch)
    client.send(place(wait_ms=5000))
    peer.store.broken = StoreError("full", "no space left on the disk")
    other.send(place())
    (report,) = client.received()
    assert report["result"]["in_doubt"] == "1"


def test_an_order_that_comes_too_late_is_refused_and_a_repeated_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    client = peer.connect()
    until = int(START * 1000) + 2000
    order = {**ORDER, "time_in_force": "ioc", "client_order_id": "a", "valid_until": until}
    first = client.call("order.place", **order)
    assert first["status"] == "cancelled"
    peer.clock.advance(3)
    assert client.call("order.place", **order) == first
    refused = client.call("order.place", **{**order, "client_order_id": "b"})
    assert (refused["code"], refused["data"]["time"]) == (-32014, until + 1000)
    assert client.call("order.get", client_order_id="b")["code"] == -32001
    monkeypatch.setattr(snapshot, "CLOSED_ORDERS_MAX", 0)
    peer.restart()
    client = peer.connect()
    assert client.call("order.place", **order) == first, "from the store, too"
    assert client.call("order.place", **{**order, "client_order_id": "c"})["code"] == -32014
