"""What an account's orders traded: each execution once, numbered without gaps, from the store."""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.storage import history
from tests.support.peer import Connection, Peer


def trade(client: Connection, times: int, account: str = "alice") -> None:
    for number in range(times):
        client.place("sell", "1", "100", account=account, client_order_id=f"{account}{number}")
        client.place("buy", "1", "100")


def pages(client: Connection, **params: Any) -> list[dict[str, Any]]:
    """All pages of ``executions.list`` from the beginning."""
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        page = client.call("executions.list", **params, after=after)
        found += page["executions"]
        if page["next"] == page["seq"]:
            return found
        assert page["next"] > after
        after = page["next"]


def test_each_own_fill_is_there_once_for_each_own_order_in_it() -> None:
    client = Peer().connect()
    sold = client.place("sell", "2", "100", account="alice", client_order_id="a")
    bought = client.place("buy", "1.5", "101", client_order_id="b")
    (made,) = client.call("executions.list", account="alice")["executions"]
    (taken,) = client.call("executions.list")["executions"]
    shared = {name: made[name] for name in ("trade_id", "price", "quantity", "time")}
    assert shared.items() <= bought["trades"][0].items() and shared.items() <= taken.items()
    assert (made["order_id"], made["client_order_id"]) == (sold["order_id"], "a")
    assert (made["account"], made["seq"], made["side"], made["role"]) == (
        "alice",
        1,
        "sell",
        "maker",
    )
    assert (taken["account"], taken["seq"], taken["side"], taken["role"]) == ("", 1, "buy", "taker")
    client.place("sell", "1", "100")
    client.place("buy", "1", "100")
    more = client.call("executions.list", after=1)["executions"]
    roles = [(each["seq"], each["quantity"], each["role"]) for each in more]
    assert roles == [(2, "0.5", "taker"), (3, "0.5", "maker"), (4, "0.5", "taker")]


def test_pages_give_each_execution_once_however_long_and_over_a_restart(
    monkeypatch: Any,
) -> None:
    peer = Peer()
    client = peer.connect()
    trade(client, 230)
    peer.restart()
    client = peer.connect()
    trade(client, 1, account="bob")
    client.place("sell", "1", "100", account="alice")
    client.place("buy", "1", "100")
    found = pages(client, account="alice", limit=100)
    assert [each["seq"] for each in found] == list(range(1, 232))
    assert len({each["trade_id"] for each in found}) == 231
    newest = client.call("executions.list", account="alice", limit=3)
    assert [each["seq"] for each in newest["executions"]] == [229, 230, 231]
    assert client.call("executions.list", account="nobody")["executions"] == []
    # Of one market, among so many at a time.
    monkeypatch.setattr(history, "EXECUTIONS_LOOKED_AT", 50)
    assert pages(client, account="alice", market="BTC-USD", limit=20) == found
    assert client.call("executions.list", market="NO-SUCH")["code"] == -32000


def test_a_number_that_is_forgotten_or_from_the_future_is_an_error() -> None:
    peer = Peer()
    client = peer.connect()
    trade(client, 5)
    assert client.call("executions.list", account="alice", after=5)["executions"] == []
    for method, name in (("executions.list", "after"), ("executions.subscribe", "from_seq")):
        error = client.call(method, account="alice", **{name: 6})
        assert (error["code"], error["data"]) == (-32602, {"field": name})
    peer.store._c.execute("DELETE FROM executions WHERE seq <= 2")
    assert client.call("executions.list", account="alice", after=1)["code"] == -32602
    assert client.call("executions.subscribe", account="alice", from_seq=1)["code"] == -32602
    kept = client.call("executions.list", account="alice", after=2)["executions"]
    assert [each["seq"] for each in kept] == [3, 4, 5]
    assert client.call("executions.list", account="alice")["executions"] == kept


def test_a_subscriber_gets_what_it_missed_and_then_what_comes() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    trade(trader, 3)
    watcher.send(
        b'{"jsonrpc":"2.0","id":1,"method":"executions.subscribe",'
        b'"params":{"account":"alice","from_seq":1}}\n'
    )
    trade(trader, 1, account="bob")
    trader.place("sell", "1", "100", account="alice")
    trader.place("buy", "1", "100")
    answer, *notes = watcher.received()
    assert answer["result"] == {
        "subscription": "executions:alice", "account": "alice", "seq": 1,
    }  # fmt: skip
    assert {note["method"] for note in notes} == {"executions.update"}
    assert [note["params"]["seq"] for note in notes] == [2, 3, 4]
    listed = trader.call("executions.list", account="alice", after=1)["executions"]
    assert [note["params"] for note in notes] == listed
    fresh = watcher.call("executions.subscribe", account="bob")
    assert fresh == {"subscription": "executions:bob", "account": "bob", "seq": 1}
    assert watcher.call("executions.unsubscribe", account="alice")["ended"]


def test_nothing_is_told_before_it_is_durable() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    watcher.call("executions.subscribe")
    trader.place("sell", "1", "100", account="alice")
    peer.store.held = []
    trader.send(b"buy BTC-USD 1 @ 100\n")
    assert watcher.received() == []
    commit, peer.store.held = peer.store.held[0], None
    commit()
    peer.turn()
    assert [note["params"]["seq"] for note in watcher.received()] == [1]


def test_a_token_sees_its_own_accounts_executions_only() -> None:
    peer = Peer()
    trade(peer.connect(), 2)
    bob = peer.connect(Grant(frozenset({"read"}), "bob"))
    assert bob.call("executions.list") == {
        "account": "bob", "seq": 0, "executions": [], "next": 0,
    }  # fmt: skip
    assert bob.call("executions.list", account="alice")["code"] == -32006
    assert bob.call("executions.subscribe", account="alice")["code"] == -32006
