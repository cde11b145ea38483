"""A market that is no longer configured: its history is shown, and nobody's link is lost."""

from __future__ import annotations

from grenache_py.exchange.market.instrument import Market
from tests.support.peer import Connection, Peer

OTHER = Market.parse("ETH-EUR:tick=0.5,lot=0.01")


def without_its_market() -> tuple[Connection, str]:
    """A client of a peer that traded BTC-USD and now trades another market; a closed order."""
    peer = Peer()
    client = peer.connect()
    client.place("sell", "1.5", "100.25", client_order_id="s", account="alice")
    client.place("buy", "1.5", "100.25", client_order_id="b", account="bob")
    order = client.call("order.get", client_order_id="s", account="alice")["order_id"]
    peer.markets = (OTHER,)
    peer.restart()
    return peer.connect(), order


def test_everything_that_reads_history_still_shows_its_orders() -> None:
    client, order = without_its_market()
    node = client.peer.commit_loop.node
    found = client.call("order.list", status="all")["orders"]
    assert [(o["price"], o["quantity"], o["market"]) for o in found] == [
        ("100.25", "1.5", "BTC-USD")
    ] * 2
    assert [o["trades"][0]["price"] for o in found] == ["100.25"] * 2
    for way in ({"order_id": order}, {"client_order_id": "s", "account": "alice"}):
        assert client.call("order.get", **way)["filled"] == "1.5"
        for method, more in (("order.cancel", {}), ("order.replace", {"quantity": "3"})):
            assert client.call(method, **way, **more)["code"] == -32009
    placed = client.call(
        "order.place",
        market="BTC-USD",
        side="sell",
        quantity="1.5",
        price="100.25",
        client_order_id="s",
        account="alice",
    )
    assert placed["code"] == -32000
    client.send(
        b'{"jsonrpc":"2.0","id":1,"method":"orders.subscribe",'
        b'"params":{"account":"alice","from_seq":0}}\n'
    )
    answer, *updates = client.received()
    assert answer["result"]["seq"] == 0
    assert [u["params"]["order"]["price"] for u in updates if u["method"] == "orders.update"] == [
        "100.25"
    ] * 2
    [trade] = client.call("trades.list", market="BTC-USD")["trades"]
    [candle] = client.call("candles.list", market="BTC-USD")["candles"]
    assert (trade["price"], candle["volume"]) == ("100.25", "1.5")
    for method in ("ticker.get", "book.get", "trades.subscribe"):
        assert client.call(method, market="BTC-USD")["code"] == -32000
    assert client.call("order.list", market="BTC-USD", status="closed")["orders"] == found
    assert (client.peer.bugs, client.peer.commit_loop.node) == ([], node)


def test_orders_of_both_markets_are_listed_together() -> None:
    client, _ = without_its_market()
    client.call("order.place", market="ETH-EUR", side="buy", quantity="0.01", price="7.5")
    found = client.call("order.list", status="all")["orders"]
    assert [(o["market"], o["price"]) for o in found] == [
        ("ETH-EUR", "7.5"),
        ("BTC-USD", "100.25"),
        ("BTC-USD", "100.25"),
    ]
