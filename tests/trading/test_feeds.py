"""What is followed over cuts: nothing twice, nothing lost, and a book that says when it is old."""

from __future__ import annotations

import random
import zlib
from decimal import Decimal
from typing import Any

import pytest

from grenache_py.trading import feeds, listener
from grenache_py.trading.book import Book, BookSnapshot, BookUpdate
from grenache_py.trading.errors import InvalidRequest, NotConnected, UnknownMarket
from grenache_py.trading.listener import Listener
from tests.trading.script import Script, report

SNAPSHOT = {
    "subscription": "book:BTC-USD", "market": "BTC-USD", "seq": 5,
    "bids": [["99.8", "0.5", 1]], "asks": [["100.2", "0.5", 1]], "checksum": 0,
}  # fmt: skip


def crc(bids: str, asks: str) -> int:
    return zlib.crc32(f"{bids}|{asks}".encode())


def update(seq: int, *changes: list[Any], checksum: int | None, prev: int | None = None) -> Any:
    prev_seq = seq - 1 if prev is None else prev
    return {
        "market": "BTC-USD", "seq": seq, "prev_seq": prev_seq, "changes": list(changes),
        "checksum": checksum,
    }  # fmt: skip


def taken(stream: Listener[Any]) -> list[Any]:
    items = []
    while (item := stream.take()) is not None:
        items.append(item)
    return items


def following_a_book() -> tuple[Script, Listener[Book], Book]:
    script = Script().live()
    stream = script.core.book("btc/usd")
    (request,) = script.sent()
    assert (request["method"], request["params"]) == ("book.subscribe", {"market": "BTC-USD"})
    script.answer(request, SNAPSHOT)
    (book,) = taken(stream)
    return script, stream, book


def test_a_book_is_exact_and_kept_current() -> None:
    script, stream, book = following_a_book()
    assert repr(book) == "<Book BTC-USD 0.5 @ 99.8 / 0.5 @ 100.2>"
    assert book.mid == Decimal("100.0") and book.current and book.age_s == 0
    checksum = crc("99.9:1,99.8:0.5", "100.3:2")
    script.note(
        "book.update",
        update(
            6,
            ["buy", "99.9", "1", 1],
            ["sell", "100.2", "0", 0],
            ["sell", "100.3", "2", 2],
            checksum=checksum,
        ),
    )
    assert taken(stream) == [book]
    assert [level.price for level in book.bids] == [Decimal("99.9"), Decimal("99.8")]
    assert [(level.price, level.orders) for level in book.asks] == [(Decimal("100.3"), 2)]
    assert book.seq == 6


def test_a_slow_program_gets_the_newest_state_once() -> None:
    script, stream, book = following_a_book()
    for seq in (6, 7):
        checksum = crc(f"99.8:{seq}", "100.2:0.5")
        script.note("book.update", update(seq, ["buy", "99.8", f"{seq}", 1], checksum=checksum))
    assert taken(stream) == [book]
    assert stream.missed == 0 and book.best_bid is not None and book.best_bid.quantity == 7


@pytest.mark.parametrize("trouble", ["cut", "hole", "checksum", "gap"])
def test_a_book_is_not_current_from_the_moment_something_is_missing(trouble: str) -> None:
    script, stream, book = following_a_book()
    if trouble == "cut":
        script.cut()
    elif trouble == "hole":
        script.note("book.update", update(8, checksum=None))
    elif trouble == "checksum":
        script.note("book.update", update(6, ["buy", "99.8", "1", 1], checksum=1))
    else:
        script.note("gap", {"subscription": "book:BTC-USD"})
    assert taken(stream) == [book] and not book.current
    assert "NOT CURRENT" in repr(book)
    script.now += 3
    assert book.age_s == 3
    (request,) = script.greet() if trouble == "cut" else script.sent()
    script.note("book.update", update(9, ["buy", "1", "1", 1], checksum=None))
    assert taken(stream) == [], "of the subscription before"
    script.answer(request, {**SNAPSHOT, "seq": 20})
    assert taken(stream) == [book] and book.current and book.seq == 20


def test_streams_of_one_book_share_it_and_the_last_ends_it() -> None:
    script, stream, book = following_a_book()
    other = script.core.book("BTC-USD")
    assert script.sent() == [] and taken(other) == [book]
    stream.close()
    assert script.sent() == [] and stream.take() is None
    other.close()
    (request,) = script.sent()
    assert request["method"] == "book.unsubscribe"
    script.core.book("BTC-USD")
    assert script.sent()[0]["method"] == "book.subscribe"


def test_a_market_that_does_not_exist_ends_its_stream_only() -> None:
    script = Script().live()
    stream = script.core.book("NO-SUCH")
    script.refuse(script.sent()[0], -32000)
    assert stream.closed and stream.ready
    with pytest.raises(UnknownMarket):
        stream.take()
    assert script.core.state == "live"


def test_a_daemon_that_cannot_yet_is_asked_again() -> None:
    script = Script().live()
    stream = script.core.book("BTC-USD")
    script.refuse(script.sent()[0], -32010, outcome="none")
    script.wait(script.now + 0.3)
    script.answer(script.sent()[0], SNAPSHOT)
    assert len(taken(stream)) == 1


def test_a_book_agrees_with_a_naive_one() -> None:
    rng = random.Random(3)
    book = Book("BTC-USD", lambda: 0.0)
    book.take(BookSnapshot("BTC-USD", 0, [], []))
    naive: dict[str, dict[str, str]] = {"buy": {}, "sell": {}}
    for seq in range(1, 500):
        side = rng.choice(["buy", "sell"])
        price = str(rng.randrange(1, 60))
        quantity = rng.choice(["0", "1", "2.5"])
        if quantity == "0":
            naive[side].pop(price, None)
        else:
            naive[side][price] = quantity
        best = {
            name: sorted(levels.items(), key=lambda each: Decimal(each[0]), reverse=name == "buy")
            for name, levels in naive.items()
        }
        text = "|".join(
            ",".join(f"{price}:{quantity}" for price, quantity in best[name][:25])
            for name in ("buy", "sell")
        )
        change = (side, price, quantity, 1)
        checksum = zlib.crc32(text.encode())
        assert book.apply(BookUpdate("BTC-USD", seq, seq - 1, [change], checksum))  # type: ignore[list-item]
        assert [str(level.price) for level in book.bids] == [price for price, _ in best["buy"]]
        assert [str(level.price) for level in book.asks] == [price for price, _ in best["sell"]]


# Trades.


def trade(number: int) -> dict[str, Any]:
    return {
        "trade_id": f"t{number}",
        "price": "100",
        "quantity": "1",
        "side": "buy",
        "time": number,
    }


def trades(*numbers: int) -> dict[str, Any]:
    return {"market": "BTC-USD", "trades": [trade(number) for number in numbers]}


def following_trades(*known: int) -> tuple[Script, Listener[Any]]:
    script = Script().live()
    stream = script.core.trades("BTC-USD")
    (request,) = script.sent()
    script.answer(request, trades(*known))
    return script, stream


def ids(stream: Listener[Any]) -> list[str]:
    return [item.trade_id for item in taken(stream)]


def test_trades_missed_in_a_break_are_told_before_new_ones_and_none_twice() -> None:
    script, stream = following_trades(1)
    script.note("trades.update", trades(2))
    assert ids(stream) == ["t2"], "from now on, not the newest of before"
    script.cut()
    (subscribe,) = script.greet()
    script.answer(subscribe, trades(5))
    (page,) = script.sent()
    assert (page["method"], page["params"]["after"]) == ("trades.list", "t2")
    script.note("trades.update", trades(6, 7))
    script.answer(page, trades(3, 4, 5, 6))
    (page,) = script.sent()
    script.note("trades.update", trades(8))
    script.answer(page, trades(7, 8, 9))
    (page,) = script.sent()
    assert page["params"]["after"] == "t9"
    script.answer(page, trades())
    script.note("trades.update", trades(9))  # the page was quicker
    script.note("trades.update", trades(10))
    assert ids(stream) == [f"t{number}" for number in range(3, 11)]
    assert stream.missed == 0


def test_a_break_without_trades_asks_for_nothing() -> None:
    script, stream = following_trades(1)
    script.cut()
    (subscribe,) = script.greet()
    script.answer(subscribe, trades(1))
    assert script.sent() == []
    script.note("trades.update", trades(2))
    assert ids(stream) == ["t2"]


def test_a_market_that_traded_for_the_first_time_in_a_break_is_told() -> None:
    script, stream = following_trades()
    script.cut()
    (subscribe,) = script.greet()
    script.answer(subscribe, trades(1))
    (page,) = script.sent()
    assert "after" not in page["params"]
    script.answer(page, trades(1))
    (page,) = script.sent()
    script.answer(page, trades())
    assert ids(stream) == ["t1"]


def test_trades_that_are_forgotten_meanwhile_count_as_missed() -> None:
    script, stream = following_trades(1)
    script.note("trades.update", trades(2))
    script.note("gap", {"subscription": "trades:BTC-USD"})
    (subscribe,) = script.sent()
    script.answer(subscribe, trades(9))
    (page,) = script.sent()
    script.refuse(page, -32602, field="after")
    script.note("trades.update", trades(10))
    assert ids(stream) == ["t2", "t10"] and stream.missed == 1


# Own orders and fills.


def fill(seq: int) -> dict[str, Any]:
    return {
        "account": "", "seq": seq, "trade_id": f"t{seq}", "order_id": "o", "client_order_id": None,
        "market": "BTC-USD", "side": "buy", "price": "100", "quantity": "1", "role": "maker",
        "counterparty": "p", "time": seq,
    }  # fmt: skip


def test_fills_go_on_from_their_number_each_once() -> None:
    script = Script().live()
    stream = script.core.fills(from_seq=4)
    (request,) = script.sent()
    assert request["params"] == {"account": "", "from_seq": 4}
    script.answer(request, {"seq": 4})
    script.note("executions.update", fill(5))
    script.note("executions.update", fill(6))
    assert stream.seq == 4
    assert [item.seq for item in (stream.take(),)] == [5]
    assert stream.seq == 5, "what was given, not what waits"
    script.cut()
    (request,) = script.greet()
    assert request["params"]["from_seq"] == 6
    script.answer(request, {"seq": 6})
    for seq in (6, 7, 9):  # one twice, and one missing
        script.note("executions.update", fill(seq))
    assert [item.seq for item in taken(stream)] == [6, 7]
    (request,) = script.sent()
    assert request["params"]["from_seq"] == 7
    script.note("executions.update", fill(10))
    script.answer(request, {"seq": 7})
    for seq in (8, 9):
        script.note("executions.update", fill(seq))
    assert [item.seq for item in taken(stream)] == [8, 9]


def test_calls_wait_until_own_orders_and_fills_are_followed() -> None:
    from grenache_py.trading import calls

    script = Script().live()
    script.core.fills(None)
    script.ask(calls.place("BTC-USD", "buy", 1, type="market"))
    (request,) = script.sent()
    assert request["method"] == "executions.subscribe"
    script.answer(request, {"seq": 0})
    assert [each["method"] for each in script.sent()] == ["order.place"]


def test_a_number_that_is_not_kept_ends_the_stream_with_its_error() -> None:
    script = Script().live()
    stream = script.core.fills(from_seq=4)
    script.refuse(script.sent()[0], -32602, field="from_seq")
    with pytest.raises(InvalidRequest):
        stream.take()
    assert script.core.fills(None)


def test_own_orders_are_told_and_the_open_ones_known() -> None:
    script = Script().live()
    assert script.core.open_orders == {}
    stream = script.core.orders(None)
    (request,) = script.sent()
    script.answer(request, {"seq": 3, "orders": [report("old")], "complete": True})
    (old,) = script.core.open_orders.values()
    assert old.client_order_id == "old" and taken(stream) == []
    other = report("new", order_id="2" * 32)
    script.note("orders.update", {"account": "", "seq": 4, "order": other})
    assert len(script.core.open_orders) == 2
    done = report("old", "filled")
    script.note("orders.update", {"account": "", "seq": 5, "order": done})
    assert [order.status for order in taken(stream)] == ["new", "filled"]
    assert list(script.core.open_orders) == ["2" * 32] and stream.seq == 5
    with pytest.raises(ValueError, match="one stream"):
        script.core.orders(None)


def test_a_slow_program_misses_the_oldest_and_is_told_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "QUEUE_MAX", 3)
    monkeypatch.setattr(Listener.__init__, "__defaults__", (3,))
    script = Script().live()
    stream = script.core.fills(0)
    script.answer(script.sent()[0], {"seq": 0})
    for seq in range(1, 6):
        script.note("executions.update", fill(seq))
    assert [item.seq for item in taken(stream)] == [3, 4, 5]
    assert stream.missed == 2
    assert feeds.HELD_BACK_MAX >= 10_000


def test_a_stream_of_a_closed_client_ends_at_once() -> None:
    script = Script().live()
    script.core.close(script.now)
    with pytest.raises(NotConnected):
        script.core.trades("BTC-USD").take()
