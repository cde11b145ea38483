"""What clients of a whole peer see: orders, reports, errors, batches, tokens, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.client_port.inline import COMMANDS
from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.rates import Rate
from tests.support.peer import START, Peer

PLACE = {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "100"}


def test_an_order_trades_with_what_stands_and_the_rest_stands() -> None:
    client = Peer().connect()
    sold = client.place("sell", "1", "100", client_order_id="s1")
    assert (sold["status"], sold["remaining"], sold["trades"]) == ("new", "1", [])
    bought = client.place("buy", "1.5", "101.00")
    assert bought["status"] == "partially_filled"
    assert (bought["filled"], bought["remaining"], bought["average_price"]) == ("1", "0.5", "100")
    (trade,) = bought["trades"]
    assert (trade["price"], trade["quantity"], trade["role"]) == ("100", "1", "taker")
    assert trade["time"] == int(START * 1000)
    maker = client.call("order.get", client_order_id="s1")
    assert (maker["status"], maker["trades"][0]["role"]) == ("filled", "maker")
    assert maker["trades"][0]["trade_id"] == trade["trade_id"]
    book = client.call("book.get", market="BTC-USD")
    assert (book["bids"], book["asks"], book["seq"]) == ([["101", "0.5", 1]], [], 2)
    trades = client.call("trades.list", market="BTC-USD")["trades"]
    assert [(t["price"], t["quantity"], t["side"]) for t in trades] == [("100", "1", "buy")]


def test_nothing_is_answered_before_it_is_durable_and_answers_keep_their_order() -> None:
    peer = Peer()
    client = peer.connect()
    peer.store.held = []
    client.send(b"buy BTC-USD 1 @ 100\nbook BTC-USD\nping\norders\n")
    assert client.received() == []
    peer.store.held.pop(0)()
    peer.turn()
    placed, book, pong, orders = (answer["result"] for answer in client.received())
    assert book["bids"] == [["100", "1", 1]]
    assert "time" in pong
    assert orders["orders"] == [placed]


def test_what_arrives_during_a_commit_shares_the_next_one() -> None:
    peer = Peer()
    clients = [peer.connect() for _ in range(5)]
    peer.store.held = []
    clients[0].send(b"buy BTC-USD 1 @ 100\n")
    for client in clients[1:]:
        client.send(b"buy BTC-USD 1 @ 100\n")
    assert len(peer.store.held) == 1
    peer.store.held.pop(0)()
    peer.turn()
    assert [len(client.received()) for client in clients] == [1, 0, 0, 0, 0]
    assert len(peer.store.held) == 1
    peer.store.held.pop(0)()
    peer.turn()
    assert [len(client.received()) for client in clients] == [0, 1, 1, 1, 1]


def test_the_same_client_order_id_is_the_same_order() -> None:
    client = Peer().connect()
    first = client.call("order.place", **PLACE, client_order_id="a")
    assert client.call("order.place", **PLACE, client_order_id="a") == first
    other = client.call("order.place", **{**PLACE, "price": "99"}, client_order_id="a")
    assert other["code"] == -32002
    assert len(client.call("order.list")["orders"]) == 1


BAD_PLACES = [
    ({"market": "ETH-USD"}, -32000, "BTC-USD", None),
    ({"quantity": "0"}, -32602, "more than 0", "quantity"),
    ({"quantity": "-1"}, -32602, "positive", "quantity"),
    ({"quantity": "1e3"}, -32602, "positive", "quantity"),
    ({"quantity": 1}, -32602, "expected `str`, got `int`", "quantity"),
    ({"quantity": 1.5}, -32602, "expected `str`, got `float`", "quantity"),
    ({"quantity": "0.00001"}, -32008, "0.0001", "quantity"),
    ({"quantity": "9" * 64}, -32602, "", "quantity"),
    ({"quantity": "9" * 65}, -32602, "length", "quantity"),
    ({"price": "100.001"}, -32008, "nearest is 100 or 100.01", "price"),
    ({"price": None}, -32602, "needs a price", "price"),
    ({"price": "NaN"}, -32602, "positive", "price"),
    ({"side": "hold"}, -32602, "hold", "side"),
    ({"type": "iceberg"}, -32602, "iceberg", "type"),
    ({"type": "market"}, -32602, "has no price", "price"),
    ({"type": "stop_limit"}, -32602, "needs a stop_price", "stop_price"),
    ({"time_in_force": "day"}, -32602, "day", "time_in_force"),
    ({"time_in_force": "gtd"}, -32602, "expires", "expires"),
    ({"expires": int(START * 1000)}, -32602, "past", "expires"),
    ({"expires": -1}, -32602, ">= 0", "expires"),
    ({"expires": "soon"}, -32602, "expected `int | null`", "expires"),
    ({"post_only": "yes"}, -32602, "expected `bool`", "post_only"),
    ({"client_order_id": "x" * 65}, -32602, "length", "client_order_id"),
    ({"client_order_id": "a b"}, -32602, "characters that it cannot have", "client_order_id"),
    ({"account": "\ud83d\ude00"}, -32602, "characters that it cannot have", "account"),
    ({"price_limit": "1"}, -32602, "price_limit is not known", "price_limit"),
]


@pytest.mark.parametrize(("change", "code", "says", "field"), BAD_PLACES)
def test_a_bad_order_gets_its_error_and_nothing_else_happens(
    change: dict[str, object], code: int, says: str, field: str | None
) -> None:
    peer = Peer()
    client = peer.connect()
    before = len(peer.store.committed)
    error = client.call("order.place", **{**PLACE, **change})
    assert (error["code"], error.get("data", {}).get("field")) == (code, field)
    assert says in error["message"]
    assert len(peer.store.committed) == before
    assert client.call("book.get", market="BTC-USD")["bids"] == []
    assert not peer.bugs


@pytest.mark.parametrize("missing", ["market", "side", "quantity"])
def test_a_missing_member_is_named(missing: str) -> None:
    client = Peer().connect()
    error = client.call("order.place", **{k: v for k, v in PLACE.items() if k != missing})
    assert (error["code"], error["data"]) == (-32602, {"field": missing})


@pytest.mark.parametrize(
    ("line", "code", "id"),
    [
        (b"{", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700, None),
        (b'"hello"', -32600, None),
        (b"17", -32600, None),
        (b"\xff\xfe\xff\xff\xff\xff{}", -32700, None),
        (b"ping \x80", -32700, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"order.steal"}', -32601, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1}}', -32602, 1),
        (b"frobnicate", -32601, None),
        (b"buy", -32602, None),
        (b"buy BTC-USD 1", -32602, None),
        (b"buy BTC-USD 1 @", -32602, None),
        (b"buy BTC-USD 1 @ 100 maybe", -32602, None),
        (b"buy BTC-USD 1 @ 100 ioc fok", -32602, None),
        (b"book BTC-USD x", -32602, None),
        (b"cancel", -32602, None),
        (b"help nothing", -32602, None),
        (b"book XXX", -32000, None),
    ],
)
def test_a_bad_line_gets_its_error_and_the_connection_stays(
    line: bytes, code: int, id: object
) -> None:
    client = Peer().connect()
    answer = client.ask(line)
    assert (answer["error"]["code"], answer["id"]) == (code, id)
    assert "result" in client.ask("ping")


def test_a_wrong_word_is_told_what_it_is_like() -> None:
    client = Peer().connect()
    for line, meant in [
        (b"tikcer BTC-USD", "did you mean 'ticker'? "),
        (b'{"jsonrpc":"2.0","id":1,"method":"orderplace"}', "did you mean 'order.place'? "),
        (b"xyzzy", ""),
        (b"q" * 60_000, ""),
    ]:
        message = client.ask(line)["error"]["message"]
        assert ("did you mean" in message, meant in message) == (bool(meant), True)


def test_people_write_amounts_and_markets_as_they_like() -> None:
    client = Peer().connect()
    for amount in ("2 @ 100", "2@100", "2 @100", "2@ 100", "2 100", "2 100 gtc", "2@100 post id=a"):
        report = client.ask(f"sell btc/usd {amount}")["result"]
        assert (report["market"], report["quantity"], report["price"]) == ("BTC-USD", "2", "100")
    report = client.ask("buy BTC-USD .5 MARKET")["result"]
    assert (report["type"], report["quantity"]) == ("market", "0.5")
    assert client.ask("book btc/usd 1")["result"]["asks"] == [["100", "13.5", 7]]
    for amount in ("2", "2 @", "@ 100", "2 gtc", "2 @ 100 @ 100", "2@100@100", "2 100 100"):
        error = client.ask(f"sell BTC-USD {amount}")["error"]
        assert (error["code"], error["data"]["field"]) == (-32602, "command"), amount
    whose = client.ask("cancel all btc/usd")["error"]["message"]
    assert whose.endswith("At telnet: cancel all account=NAME, or all-accounts.")
    assert client.ask("cancel all btc/usd account=")["result"]["cancelled"] == 7


def test_people_replace_orders_and_read_candles() -> None:
    client = Peer().connect()
    client.ask("sell BTC-USD 2 @ 100 id=mine")
    for line, quantity, price in [
        ("replace mine 1.5", "1.5", "100"),
        ("replace mine @ 101", "1.5", "101"),
        ("replace mine 1 @102", "1", "102"),
    ]:
        report = client.ask(line)["result"]
        assert (report["quantity"], report["price"]) == (quantity, price)
    assert client.ask(f"replace {report['order_id']} 0.5")["result"]["quantity"] == "0.5"
    client.ask("buy BTC-USD 0.5 market")
    for line in (
        "candles BTC-USD",
        "candles btc-usd 1h",
        "candles BTC-USD 1d 5",
        "candles BTC-USD 7",
    ):
        assert [each["close"] for each in client.ask(line)["result"]["candles"]] == ["102"], line
    for line in ("replace mine", "replace mine @", "replace mine 1 2", "replace mine 1 @ 2 3",
                 "candles", "candles BTC-USD 2h", "candles BTC-USD 1h x"):  # fmt: skip
        assert client.ask(line)["error"]["code"] == -32602, line


def test_a_line_that_is_too_long_is_told_so_and_ends_the_connection() -> None:
    client = Peer().connect()
    client.send(b"ping\n" + b"x" * 70_000)
    pong, error = client.received()
    assert "result" in pong
    assert error["error"]["code"] == -32007
    assert client.transport.disconnecting


def test_a_batch_is_answered_in_one_line_and_notifications_are_not() -> None:
    client = Peer().connect()
    requests = [
        {"jsonrpc": "2.0", "id": 1, "method": "order.place", "params": PLACE},
        {"jsonrpc": "2.0", "method": "order.place", "params": PLACE},
        {"jsonrpc": "2.0", "id": 2, "method": "book.get", "params": {"market": "BTC-USD"}},
        {"jsonrpc": "2.0", "id": 3, "method": "order.list"},
        7,
        {"jsonrpc": "2.0", "id": 4, "method": "nothing"},
    ]
    answers = client.ask(json.dumps(requests))
    assert [answer["id"] for answer in answers] == [1, 2, 3, None, 4]
    assert answers[1]["result"]["bids"] == [["100", "2", 2]]
    assert len(answers[2]["result"]["orders"]) == 2
    assert [answer["error"]["code"] for answer in answers[3:]] == [-32600, -32601]
    client.send(json.dumps([{"jsonrpc": "2.0", "method": "ping"}]).encode() + b"\n")
    assert client.received() == []


def test_cancel_replace_and_their_errors() -> None:
    client = Peer().connect()
    order = client.place("buy", "2", "100")["order_id"]
    lower = client.call("order.replace", order_id=order, quantity="1")
    assert (lower["order_id"], lower["quantity"], lower["remaining"]) == (order, "1", "1")
    moved = client.call("order.replace", order_id=order, price="99")
    assert moved["order_id"] != order and moved["price"] == "99"
    assert client.call("order.cancel", order_id=order)["code"] == -32009
    cancelled = client.call("order.cancel", order_id=moved["order_id"])
    assert (cancelled["status"], cancelled["remaining"]) == ("cancelled", "0")
    assert client.call("order.cancel", order_id="0" * 32)["code"] == -32001
    assert client.call("order.replace", order_id="0" * 32, price="1")["code"] == -32001
    assert client.call("order.cancel")["data"] == {"field": "order_id"}
    assert client.call("order.replace", order_id=order)["data"] == {"field": "quantity"}
    for _ in range(3):
        client.place("sell", "1", "200")
    assert client.call("order.cancel_all", market="BTC-USD", account="") == {"cancelled": 3}


def test_who_cancels_all_says_whose_orders() -> None:
    peer = Peer()
    client = peer.connect()
    for account in ("", "alice", "bob"):
        client.place("sell", "1", "200", account=account)
    unsaid = client.call("order.cancel_all")
    assert (unsaid["code"], unsaid["data"]) == (-32602, {"field": "account"})
    both = client.call("order.cancel_all", account="bob", all_accounts=True)
    assert both["data"] == {"field": "account"}
    assert client.ask("cancel all")["error"]["data"] == {"field": "account"}
    assert client.ask("cancel all BTC-USD account=")["result"] == {"cancelled": 1}
    assert client.call("order.cancel_all", account="alice") == {"cancelled": 1}
    assert client.ask("cancel all all-accounts")["result"] == {"cancelled": 1}
    bound = peer.connect(Grant(frozenset({"trade"}), "bob"))
    assert bound.call("order.cancel_all") == {"cancelled": 0}


def test_a_replaced_order_keeps_its_total_and_its_clients_name_over_a_restart() -> None:
    peer = Peer()
    client = peer.connect()
    for name in ("lowered", "moved"):
        client.place("buy", "3", "100", client_order_id=name)
    client.place("sell", "1", "100")
    assert client.call("order.replace", client_order_id="lowered", quantity="2")["quantity"] == "2"
    moved = client.call("order.replace", client_order_id="moved", price="99")
    assert (moved["client_order_id"], moved["quantity"], moved["status"]) == ("moved", "3", "new")
    again = client.place("buy", "3", "100", client_order_id="moved")
    assert (again["code"], again["data"]["order_id"]) == (-32002, moved["order_id"])

    peer.restart()
    client = peer.connect()
    lowered = client.call("order.cancel", client_order_id="lowered")
    assert (lowered["quantity"], lowered["filled"], lowered["status"]) == ("2", "1", "cancelled")
    assert client.call("order.get", client_order_id="moved")["order_id"] == moved["order_id"]
    assert client.call("order.cancel", client_order_id="moved")["status"] == "cancelled"

    peer.restart()
    client = peer.connect()
    assert client.call("order.get", order_id=lowered["order_id"])["quantity"] == "2"
    assert client.call("order.get", client_order_id="moved")["order_id"] == moved["order_id"]
    assert client.place("buy", "3", "100", client_order_id="lowered")["status"] == "cancelled"


def test_a_client_id_names_the_newest_order_also_while_the_clock_is_ahead() -> None:
    peer = Peer()
    peer.connect().place("buy", "1", "90")
    peer.restart()  # its clock begins at the stored floor, above the wall
    client = peer.connect()
    client.place("buy", "3", "100", client_order_id="mine")
    moved = client.call("order.replace", client_order_id="mine", price="99")
    closed = client.call("order.cancel", client_order_id="mine")
    assert closed["updated"] >= closed["time"] >= moved["time"] > START * 1000

    peer.restart()
    client = peer.connect()
    assert client.call("order.get", client_order_id="mine")["order_id"] == moved["order_id"]
    again = client.place("buy", "3", "100", client_order_id="mine")
    assert (again["code"], again["data"]["order_id"]) == (-32002, moved["order_id"])


def test_orders_are_listed_newest_first_by_pages_that_fit_a_line() -> None:
    peer = Peer()
    client = peer.connect()
    for number in range(230):
        client.place("buy", "1", "100", client_order_id=f"o{number}")
    names, after, pages = [], None, 0
    while True:
        client.send(
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "order.list",
                    "params": {"limit": 1000} | ({"after": after} if after else {}),
                }
            ).encode()
            + b"\n"
        )
        assert len(client.transport.value()) <= 65_536
        page = client.received()[0]["result"]
        names += [order["client_order_id"] for order in page["orders"]]
        pages += 1
        after = page["next"]
        if after is None:
            break
    assert names == [f"o{number}" for number in reversed(range(230))]
    assert pages > 1
    assert client.call("order.list", limit=2)["next"] is not None
    assert client.call("order.list", status="closed")["orders"] == []


@pytest.mark.parametrize(("method", "more"), [("order.list", {}), ("trades.list", {"market": 1})])
def test_a_page_after_what_is_not_kept_is_an_error(method: str, more: dict[str, Any]) -> None:
    client = Peer().connect()
    sold = client.place("sell", "1", "100")
    (trade,) = client.place("buy", "1", "100")["trades"]
    known = sold["order_id"] if not more else trade["trade_id"]
    more = {"market": "BTC-USD"} if more else {}
    page = client.call(method, **more, after=known)
    assert (page.get("orders") or page.get("trades") or []) == []
    error = client.call(method, **more, after="f" * 32)
    assert (error["code"], error["data"]) == (-32602, {"field": "after"})


def test_candles_ticker_and_markets() -> None:
    peer = Peer()
    client = peer.connect()
    for price in ("100", "102", "101"):
        client.place("sell", "1", price)
        client.place("buy", "1", price)
    client.place("buy", "1", "99.5")
    (candle,) = client.call("candles.list", market="BTC-USD", interval="1m")["candles"]
    del candle["time"]
    assert candle == {"open": "100", "high": "102", "low": "100", "close": "101", "volume": "3"}
    ticker = client.call("ticker.get", market="BTC-USD")
    assert (ticker["bid"], ticker["ask"], ticker["last"]) == ("99.5", None, "101")
    assert ticker["volume"] == "3"
    (market,) = client.call("markets.list")["markets"]
    assert (market["market"], market["tick"], market["lot"]) == ("BTC-USD", "0.01", "0.0001")


def test_tokens_give_scopes_and_accounts() -> None:
    peer = Peer()
    peer.tokens["alice's long token"] = Grant(frozenset({"read", "trade"}), "alice")
    peer.tokens["reader's long token"] = Grant(frozenset({"read"}))
    client = peer.connect(Grant(frozenset()))
    assert client.call("ping")["time"]
    assert client.call("book.get", market="BTC-USD")["code"] == -32006
    assert client.call("hello", token="wrong")["code"] == -32006
    hello = client.call("hello", token="alice's long token")
    assert (hello["scopes"], hello["account"]) == (["read", "trade"], "alice")
    order = client.call("order.place", **PLACE)
    assert order["account"] == "alice"
    assert client.call("order.place", **PLACE, account="bob")["code"] == -32006
    assert client.call("shutdown")["code"] == -32006
    reader = peer.connect(Grant(frozenset()))
    assert "token" in reader.ask("hello reader's")["error"]["message"]
    reader.call("hello", token="reader's long token")
    assert reader.call("order.get", order_id=order["order_id"])["order_id"] == order["order_id"]
    assert reader.call("order.cancel", order_id=order["order_id"])["code"] == -32006
    bob = peer.connect(Grant(frozenset({"read", "trade"}), "bob"))
    assert bob.call("order.get", order_id=order["order_id"])["code"] == -32001
    assert bob.call("order.cancel", order_id=order["order_id"])["code"] == -32001
    assert bob.call("order.list")["orders"] == []
    assert bob.call("order.cancel_all") == {"cancelled": 0}


def test_a_connection_that_asks_too_fast_is_told_when_to_come_back() -> None:
    peer = Peer(rate=Rate(10, 3))
    client, other = peer.connect(), peer.connect()
    assert ["result" in client.ask("ping") for _ in range(4)] == [True, True, True, False]
    error = client.ask("ping")["error"]
    assert error["code"] == -32005 and 0 < error["data"]["retry_after_ms"] <= 100
    assert "result" in other.ask("ping"), "others are not held up"
    peer.clock.advance(error["data"]["retry_after_ms"] / 1000)
    assert "result" in client.ask("ping")


def test_an_account_is_limited_over_all_its_connections() -> None:
    peer = Peer(account_rate=Rate(1, 2))
    clients = [peer.connect() for _ in range(3)]
    codes = [client.call("order.place", **PLACE, account="a").get("code") for client in clients]
    assert codes == [None, None, -32005]
    assert clients[2].call("order.place", **PLACE, account="b").get("code") is None
    assert "bids" in clients[2].call("book.get", market="BTC-USD"), "reading is not trading"


def test_a_store_that_fails_refuses_tells_everybody_and_comes_back() -> None:
    from grenache_py.exchange.errors import StoreError

    peer = Peer()
    client, watcher = peer.connect(), peer.connect()
    kept = client.place("buy", "1", "100")
    watcher.call("book.subscribe", market="BTC-USD")
    _, link_transport = peer.link()
    peer.store.broken = StoreError("full", "no space left on the disk")
    error = client.place("buy", "1", "99", client_order_id="again")
    assert error["code"] == -32010 and "may not have happened" in error["message"]
    assert error["data"]["outcome"] == "unknown"
    assert watcher.received()[-1] == {
        "jsonrpc": "2.0", "method": "gap", "params": {"subscription": "book:BTC-USD"},
    }  # fmt: skip
    assert link_transport.disconnected or link_transport.aborting
    refused = client.place("buy", "1", "98")
    assert (refused["code"], refused["data"]["outcome"]) == (-32010, "none")
    assert "time" in client.call("ping"), "it says that it lives"
    status = client.call("status")
    assert (status["store"], status["serving"]) == ("no space left on the disk", False)
    assert client.call("hello")["markets"] == ["BTC-USD"]
    assert peer.commit_loop.failed == "no space left on the disk"
    peer.clock.advance(0.6)
    assert client.place("buy", "1", "98")["code"] == -32010
    peer.store.broken = None
    peer.clock.advance(5)
    peer.turn()
    assert [o["order_id"] for o in client.call("order.list")["orders"]] == [kept["order_id"]]
    assert client.place("buy", "1", "99", client_order_id="again")["status"] == "new"
    assert client.call("book.get", market="BTC-USD")["bids"] == [["100", "1", 1], ["99", "1", 1]]


def test_what_a_bug_left_half_done_is_never_written(
    monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    peer = Peer()
    first, second, third = peer.connect(), peer.connect(), peer.connect()
    kept = first.place("sell", "1", "100")
    link: Any = peer.link()[1]
    order = {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "99"}
    request = {"jsonrpc": "2.0", "id": 1, "method": "order.place", "params": order}
    # One commit is under way; what comes now is for the next one.
    peer.store.held = []
    first.send(json.dumps(request).encode() + b"\n")
    (commit,) = peer.store.held
    second.send(json.dumps(request).encode() + b"\n")

    def half(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    # It strikes after the orders and the book have changed, before that is written down.
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "finish", half)
        order["price"] = "100"
        third.send(json.dumps(request).encode() + b"\n")
    peer.store.held = None
    commit()
    peer.turn()
    assert first.received()[0]["result"]["status"] == "new", "its commit was there before the bug"
    told = second.received()[0]["error"]
    assert told["code"] == -32010 and "did not happen" in told["message"]
    assert told["data"] == {"outcome": "none"}
    assert third.received()[0]["error"]["code"] == -32603
    assert link.disconnected or link.aborting
    assert first.call("order.get", order_id=kept["order_id"])["code"] == -32010
    peer.clock.advance(1)
    peer.turn()
    assert first.call("order.get", order_id=kept["order_id"])["status"] == "new"
    book = first.call("book.get", market="BTC-USD")
    assert (book["bids"], book["asks"]) == ([["99", "1", 1]], [["100", "1", 1]])
    assert peer.bugs == ["order.place"]
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_a_bug_in_a_peers_message_or_in_clock_work_begins_again_from_the_store(
    monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    def half(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    for name in ("tick", "link_message"):
        peer = Peer()
        client = peer.connect()
        client.place("sell", "1", "100")
        lines, link = peer.link()
        transport: Any = link
        node = peer.commit_loop.node
        with monkeypatch.context() as patched:
            patched.setattr(ExchangeNode, name, half)
            if name == "tick":
                peer.clock.advance(2)
            else:
                lines.dataReceived(b'{"jsonrpc":"2.0","method":"peer.ping"}\n')
            peer.turn()
        assert client.place("buy", "1", "99")["code"] == -32010
        assert transport.disconnected or transport.aborting
        peer.clock.advance(1)
        peer.turn()
        assert peer.commit_loop.node not in (None, node)
        assert client.place("buy", "1", "99")["status"] == "new"
        assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_stopping_answers_what_came_before_and_refuses_the_rest() -> None:
    from twisted.internet.defer import Deferred

    peer = Peer()
    client = peer.connect()
    peer.store.held = []
    client.send(b"buy BTC-USD 1 @ 100\n")
    stopped: list[object] = []
    Deferred.fromCoroutine(peer.commit_loop.stop()).addBoth(stopped.append)
    client.send(b"buy BTC-USD 1 @ 101\n")
    while peer.store.held:
        peer.store.held.pop(0)()
        peer.turn()
    placed, refused = client.received()
    assert placed["result"]["status"] == "new"
    assert refused["error"]["code"] == -32011
    assert stopped == [None]
    assert client.transport.disconnecting


def test_quit_answers_and_closes() -> None:
    client = Peer().connect()
    assert client.ask("quit")["result"] == "bye"
    assert client.transport.disconnecting


def test_help_lists_everything_and_explains_each() -> None:
    client = Peer().connect()
    listed = client.ask("help")["result"]
    assert set(listed["methods"]) == set(METHODS)
    for name in METHODS:
        assert client.ask(f"help {name}")["result"]["does"]
    for name in COMMANDS:
        answer = client.ask(f"help {name}")["result"]
        assert "usage" in answer or "does" in answer


def test_a_method_name_is_given_once() -> None:
    from grenache_py.exchange.client_port.methods.params import Nothing
    from grenache_py.exchange.client_port.methods.registry import Registry

    registry = Registry()
    registry.method("a", Nothing)(METHODS["ping"].function)
    with pytest.raises(ValueError, match="two methods"):
        registry.method("a", Nothing)(METHODS["ping"].function)


WORDS = st.sampled_from(
    ["buy", "sell", "BTC-USD", "1", "@", "100", "@100", "market", "ioc", "id=x", "book", "watch",
     "cancel", "all", "help", "orders", "trades", "0", "-1", "é", "\x00", "stop=99", "unwatch"]
)  # fmt: skip
LINES = st.one_of(
    st.lists(WORDS, min_size=1, max_size=7).map(lambda words: " ".join(words).encode()),
    st.binary(min_size=1, max_size=60).filter(lambda line: not {10, 22, 255} & set(line)),
    st.tuples(st.sampled_from(sorted(METHODS)), st.dictionaries(
        st.sampled_from(["market", "side", "quantity", "price", "order_id", "limit", "account"]),
        st.sampled_from(["BTC-USD", "buy", "1", "100", 1, None, [], "0" * 32]), max_size=4,
    )).map(lambda call: json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": call[0], "params": call[1]}).encode()),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=15))
def test_whatever_is_sent_every_line_gets_one_answer(lines: list[bytes]) -> None:
    peer = Peer()
    client = peer.connect()
    expected = 0
    for line in lines:
        if line.strip() and line.strip().split()[0].lower() != b"quit":
            client.lines.dataReceived(line + b"\n")
            expected += 1
    peer.turn(50)
    answers = [answer for answer in client.received() if "method" not in answer]
    assert len(answers) == expected
    assert not peer.bugs


def test_a_store_that_lacks_what_an_order_needs_is_refused_with_a_sentence() -> None:
    peer = Peer()
    order = peer.connect().place("sell", "2", "100")["order_id"]
    peer.store._c.execute("DELETE FROM log WHERE position & 255 = (SELECT order_seq FROM orders)")
    with pytest.raises(StoreError, match=f"damaged .*{order}.*'A damaged file'"):
        peer.restart()
