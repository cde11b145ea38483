"""An order priced far from where its market trades is refused, if the operator wants that."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grenache_py.errors import ConfigError
from grenache_py.exchange.market.instrument import Market
from tests.support.peer import Connection, Peer

BANDED = "BTC-USD:tick=0.01,lot=0.0001,band=10%"


def banded() -> Connection:
    peer = Peer()
    peer.markets = (Market.parse(BANDED),)
    peer.restart()
    return peer.connect()


def traded(client: Connection, price: str) -> None:
    client.place("sell", "1", price)
    assert client.place("buy", "1", price)["status"] == "filled"


def test_the_operator_gives_it_in_percent_and_without_there_is_none() -> None:
    assert Market.parse(BANDED).band_bp == 1000
    assert Market.parse("BTC-USD:tick=0.01,lot=0.0001").band_bp == 0
    with pytest.raises(ConfigError, match="band must be a percentage"):
        Market.parse("BTC-USD:tick=0.01,lot=0.0001,band=10")
    client = banded()
    assert client.call("markets.list")["markets"][0]["band_bp"] == 1000
    peer = Peer()
    assert peer.connect().call("markets.list")["markets"][0]["band_bp"] is None


@pytest.mark.parametrize(("price", "inside"), [("89.99", 0), ("90", 1), ("110", 1), ("110.01", 0)])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_price_is_measured_from_the_last_trade(side: str, price: str, inside: int) -> None:
    client = banded()
    traded(client, "100")
    answer = client.place(side, "1", price)
    if inside:
        assert answer["status"] == "new"
        return
    assert answer["code"] == -32015
    assert answer["data"] == {"field": "price", "bands": [["90", "110"]]}
    assert answer["message"] == (
        f"price {price} is outside the band of 10 % that this peer has for BTC-USD:"
        " 90 to 110 around the last trade 100"
    )
    assert client.call("order.list")["orders"] == []


def test_an_old_trade_that_is_told_late_is_not_the_last() -> None:
    client = banded()
    traded(client, "100")
    tape = client.peer.commit_loop.guarded.node.ledger.tape
    [trade] = tape.trades["BTC-USD"]
    ticks, told_ms = trade.price_ticks * 5, trade.time_ms - 1
    old = msgspec.structs.replace(trade, trade_id="0" * 32, price_ticks=ticks, time_ms=told_ms)
    assert tape.record(old)
    assert client.place("buy", "1", "500")["code"] == -32015
    assert client.call("ticker.get", market="BTC-USD")["last"] == "100"


def test_without_a_trade_it_is_the_middle_and_without_that_any_price_is_taken() -> None:
    client = banded()
    client.place("buy", "1", "1")
    client.place("sell", "1", "2.01")
    assert client.place("sell", "1", "1.7")["data"]["bands"] == [["1.36", "1.65"]]
    assert client.place("sell", "1", "1.65")["status"] == "new"


def test_a_market_that_moved_without_a_trade_is_not_locked() -> None:
    client = banded()
    traded(client, "100")
    for price in ("109", "119", "125"):  # offers go up as far as the last trade lets them
        client.place("sell", "1", price)
    client.place("buy", "1", "108.9")
    assert client.place("sell", "1", "119.5")["status"] == "new", "near the middle of 108.95"
    refused = client.place("buy", "1", "130")
    assert refused["data"]["bands"] == [["90", "110"], ["98.06", "119.84"]]


def test_a_replace_is_measured_by_its_new_price_only() -> None:
    client = banded()
    order = client.place("sell", "1", "120")
    traded(client, "100")
    more = client.call("order.replace", order_id=order["order_id"], quantity="2")
    assert more["quantity"] == "2", "its price may stay"
    refused = client.call("order.replace", order_id=more["order_id"], price="1000")
    assert refused["code"] == -32015
    assert client.call("order.replace", order_id=more["order_id"], price="110")["status"] == "new"


def test_a_stop_may_wait_anywhere_and_its_price_is_measured_from_its_trigger() -> None:
    client = banded()
    traded(client, "100")

    def stop(price: str) -> Any:
        return client.place("sell", "1", price, type="stop_limit", stop_price="50")

    assert stop("45")["status"] == "new"
    refused = stop("100")
    assert refused["code"] == -32015 and refused["data"]["bands"] == [["45", "55"]]
    placed = client.call(
        "order.place", market="BTC-USD", side="sell", quantity="1", type="stop", stop_price="1"
    )
    assert placed["status"] == "new"
