"""Orders of an account that does not say in time that it is there are cancelled."""

from __future__ import annotations

import pytest

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.home import dead_man_switches
from tests.support.peer import START, Connection, Peer


def open_orders(client: Connection) -> list[str]:
    return sorted(o["account"] for o in client.call("order.list", status="open")["orders"])


def later(peer: Peer, seconds: float) -> None:
    peer.clock.pump([0.25] * int(seconds * 4))
    peer.turn()


def test_orders_of_a_silent_account_are_cancelled_and_no_others() -> None:
    peer = Peer()
    client = peer.connect()
    for account in ("", "alice", "bob"):
        client.place("sell", "1", "200", account=account)
    said = client.call("order.cancel_after", ms=5000, account="alice")
    time = int(START * 1000)
    assert said == {"account": "alice", "market": None, "time": time, "cancels": time + 5000}
    later(peer, 4)
    assert client.call("order.cancel_after", ms=5000, account="alice")["cancels"]
    later(peer, 4)
    assert open_orders(client) == ["", "alice", "bob"], "it was called again in time"
    later(peer, 2)
    assert open_orders(client) == ["", "bob"]
    client.place("sell", "1", "200", account="alice")
    later(peer, 20)
    assert open_orders(client) == ["", "alice", "bob"], "it goes off once"


def test_zero_ends_it_and_a_market_has_its_own() -> None:
    peer = Peer()
    client = peer.connect()
    client.place("sell", "1", "200")
    client.call("order.cancel_after", ms=2000)
    client.call("order.cancel_after", ms=9000, market="BTC-USD")
    assert client.call("order.cancel_after", ms=0)["cancels"] is None
    later(peer, 5)
    assert open_orders(client) == [""]
    later(peer, 5)
    assert open_orders(client) == []


@pytest.mark.parametrize("down_s", [1, 60])
def test_it_goes_on_over_a_restart(down_s: int) -> None:
    peer = Peer()
    client = peer.connect()
    client.place("sell", "1", "200", account="a:b")
    client.call("order.cancel_after", ms=5000, account="a:b", market="BTC-USD")
    peer.clock.advance(down_s)
    peer.restart()
    client = peer.connect()
    later(peer, 1)
    assert open_orders(client) == (["a:b"] if down_s == 1 else [])
    later(peer, 4)
    assert open_orders(client) == []
    peer.restart()
    client = peer.connect()
    client.place("sell", "1", "200", account="a:b")
    later(peer, 10)
    assert open_orders(client) == ["a:b"], "one that went off is not remembered"


def test_wrong_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    client = peer.connect()
    assert client.call("order.cancel_after", ms=-1)["data"] == {"field": "ms"}
    assert client.call("order.cancel_after", ms=86_400_001)["data"] == {"field": "ms"}
    assert client.call("order.cancel_after", ms=1000, market="NO")["code"] == -32000
    bob = peer.connect(Grant(frozenset({"trade"}), "bob"))
    assert bob.call("order.cancel_after", ms=1, account="alice")["code"] == -32006
    monkeypatch.setattr(dead_man_switches, "SWITCHES_MAX", 1)
    assert client.call("order.cancel_after", ms=9000)["cancels"]
    assert client.call("order.cancel_after", ms=9000)["cancels"], "again is not another"
    assert client.call("order.cancel_after", ms=9000, account="other")["code"] == -32010
