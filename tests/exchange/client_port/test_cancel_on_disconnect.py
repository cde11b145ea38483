"""Orders that are cancelled when the connection that placed them is lost, however it is lost."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from grenache_py.exchange.errors import StoreError
from tests.support.peer import Connection, Peer


def tying(peer: Peer) -> Connection:
    client = peer.connect()
    assert client.call("hello", cancel_on_disconnect=True)["cancel_on_disconnect"]
    return client


def lose(client: Connection) -> None:
    client.lines.connectionLost(Failure(ConnectionLost()))
    client.peer.turn()


def open_orders(client: Connection) -> list[str]:
    return sorted(o["client_order_id"] for o in client.call("order.list")["orders"])


def marks(peer: Peer) -> int:
    (count,) = peer.store._c.execute(
        "SELECT count(*) FROM meta WHERE name LIKE 'tied:%'"
    ).fetchone()
    return int(count)


def test_a_lost_connections_orders_are_cancelled_and_no_others() -> None:
    peer = Peer()
    client, other = tying(peer), peer.connect()
    client.place("sell", "1", "200", client_order_id="a", account="alice")
    client.place("sell", "1", "90", client_order_id="stop", type="stop_limit", stop_price="91")
    client.place("sell", "1", "201", client_order_id="replaced")
    client.call("order.replace", client_order_id="replaced", price="202")
    other.place("sell", "1", "200", client_order_id="b", account="alice")
    assert marks(peer) == 3
    other.call("orders.subscribe", account="alice")
    lose(client)
    (note,) = other.received()
    assert note["params"]["order"]["status"] == "cancelled"
    assert open_orders(other) == ["b"]
    assert marks(peer) == 0, "nothing is kept of an order that is closed"


def test_it_can_be_ended_and_holds_for_what_is_placed_after_it() -> None:
    peer = Peer()
    client = peer.connect()
    client.place("sell", "1", "200", client_order_id="before")
    client.call("hello", cancel_on_disconnect=True)
    client.place("sell", "1", "200", client_order_id="tied")
    assert client.call("hello")["cancel_on_disconnect"], "a hello without it changes nothing"
    lose(client)
    client = tying(peer)
    assert open_orders(client) == ["before"]
    client.place("sell", "1", "200", client_order_id="kept")
    assert client.call("hello", cancel_on_disconnect=False)["cancel_on_disconnect"] is False
    lose(client)
    assert open_orders(peer.connect()) == ["before", "kept"]
    assert marks(peer) == 0


def test_an_order_that_is_sent_again_belongs_to_the_connection_that_sent_it_last() -> None:
    peer = Peer()
    first, second = tying(peer), tying(peer)
    for client in (first, second):
        client.place("sell", "1", "200", client_order_id="a")
    lose(first)
    assert open_orders(second) == ["a"]
    lose(second)
    assert open_orders(peer.connect()) == []


def test_nobody_sees_an_order_cancelled_before_that_is_durable() -> None:
    peer = Peer()
    client, watcher = tying(peer), peer.connect()
    client.place("sell", "1", "200")
    watcher.call("orders.subscribe")
    peer.store.held = []
    lose(client)
    assert watcher.received() == []
    commit, peer.store.held = peer.store.held[0], None
    commit()
    peer.turn()
    (note,) = watcher.received()
    assert note["params"]["order"]["status"] == "cancelled"


def test_a_stop_cancels_them_and_after_a_kill_the_next_start_does() -> None:
    peer = Peer()
    client = tying(peer)
    client.place("sell", "1", "200", client_order_id="a")
    client.place("buy", "1", "100", client_order_id="b", account="alice")
    peer.connect().place("sell", "1", "200", client_order_id="kept")
    peer.restart()
    client = tying(peer)
    assert open_orders(client) == ["kept"] and marks(peer) == 0
    client.place("sell", "1", "200", client_order_id="c")
    stopped = Deferred.fromCoroutine(peer.commit_loop.stop())
    peer.turn()
    assert stopped.called
    assert marks(peer) == 0
    (live,) = peer.store._c.execute("SELECT client_order_id FROM orders WHERE live").fetchall()
    assert live == ("kept",)


@pytest.mark.parametrize("lost_meanwhile", [False, True])
def test_a_store_that_fails_costs_a_connection_that_lives_on_nothing(lost_meanwhile: bool) -> None:
    peer = Peer()
    client = tying(peer)
    client.place("sell", "1", "200", client_order_id="a")
    peer.store.broken = StoreError("full", "no space left")
    peer.connect().place("sell", "1", "201")
    if lost_meanwhile:
        lose(client)
    peer.store.broken = None
    peer.clock.pump([1] * 40)
    peer.turn()
    assert open_orders(peer.connect()) == ([] if lost_meanwhile else ["a"])
