"""How the daemon is, told to those who follow it, also while it has no store."""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.client_port.methods.peers import tell_status
from grenache_py.exchange.errors import StoreError
from tests.support.peer import Connection, Peer


def told(client: Connection) -> list[dict[str, Any]]:
    """A second passes; what the client is told of the status."""
    peer = client.peer
    if tell_status(peer.gateway, peer.clock.seconds()):
        peer.commit_loop.kick()
    peer.turn()
    notes = client.received()
    assert {note["method"] for note in notes} <= {"status.update"}
    return [note["params"] for note in notes]


def test_it_begins_with_the_status_and_goes_on_until_it_is_ended() -> None:
    peer = Peer()
    client, other = peer.connect(), peer.connect()
    assert not tell_status(peer.gateway, peer.clock.seconds())
    begun = client.call("status.subscribe")
    assert begun == {"subscription": "status", "status": other.call("status")}
    other.place("sell", "1", "100")
    (status,) = told(client)
    assert status == other.call("status")
    assert status["orders"]["own"] == 1
    assert client.call("status.unsubscribe") == {"subscription": "status", "ended": True}
    assert told(client) == []


def test_an_order_shows_in_it_when_it_is_durable_and_no_sooner() -> None:
    peer = Peer()
    client, other = peer.connect(), peer.connect()
    client.call("status.subscribe")
    peer.store.held = []
    other.send(b"sell BTC-USD 1 @ 100\n")
    assert told(client) == []
    commit, peer.store.held = peer.store.held[0], None
    commit()
    peer.turn()
    assert client.received()[0]["params"]["orders"]["own"] == 1


def test_it_goes_on_while_the_store_has_failed() -> None:
    peer = Peer()
    client = peer.connect()
    client.call("status.subscribe")
    peer.store.broken = StoreError("full", "no space left")
    peer.connect().place("sell", "1", "100")
    (status,) = told(client)
    assert (status["serving"], status["store"]) == (False, "no space left")
    assert client.call("status.subscribe")["status"]["store"] == "no space left"
    peer.store.broken = None
    peer.clock.pump([1] * 40)
    (status,) = told(client)
    assert (status["serving"], status["store"]) == (True, "ok")
