"""Stop orders: which one a trade reaches, in which turn, and what they do to the market."""

from __future__ import annotations

import random

import pytest

from grenache_py.exchange.market.local_market import Execution, LocalMarket
from grenache_py.exchange.market.order import LiveOrder, Order
from grenache_py.exchange.market.stops import Stops, reached
from tests.support.market_orders import MARKET, new_order


def stop(number: int, side: str, stop_ticks: int) -> LiveOrder:
    live = LiveOrder.of(
        Order(
            f"{number:032x}",
            "local",
            "BTC-USD",
            side,  # type: ignore[arg-type]
            "stop",
            "gtc",
            None,
            stop_ticks,
            1,
            False,
            None,
            number,
            0,
        )
    )
    live.triggered = False
    return live


@pytest.mark.parametrize(
    ("side", "last", "is_reached"),
    [
        ("buy", 99, False),
        ("buy", 100, True),
        ("buy", 101, True),
        ("sell", 99, True),
        ("sell", 100, True),
        ("sell", 101, False),
    ],
)
def test_a_buy_waits_for_a_rise_and_a_sell_for_a_fall(
    side: str, last: int, is_reached: bool
) -> None:
    assert reached(side, 100, last) is is_reached  # type: ignore[arg-type]


def test_what_was_placed_later_goes_on_waiting() -> None:
    stops = Stops()
    for number, side, ticks in ((1, "buy", 105), (2, "buy", 104), (3, "sell", 110)):
        stops.add(stop(number, side, ticks))
    assert stops.pop_reached(107, 0) is None
    taken = [stops.pop_reached(107, 1), stops.pop_reached(107, 1), stops.pop_reached(107, 2)]
    assert [live and int(live.order_id, 16) for live in taken] == [1, None, 2]
    assert [int(live.order_id, 16) for live in stops.orders()] == [3]


def drain(stops: Stops, last: int) -> list[int]:
    order: list[int] = []
    while (live := stops.pop_reached(last)) is not None:
        order.append(int(live.order_id, 16))
    return order


def test_the_trigger_the_price_meets_first_enters_first_then_the_oldest() -> None:
    stops = Stops()
    for number, ticks in ((3, 101), (1, 102), (2, 101), (4, 105)):
        stops.add(stop(number, "buy", ticks))
    assert drain(stops, 100) == []
    assert drain(stops, 104) == [2, 3, 1]
    for number, ticks in ((7, 98), (5, 97), (6, 98)):
        stops.add(stop(number, "sell", ticks))
    assert drain(stops, 97) == [6, 7, 5]
    assert [int(live.order_id, 16) for live in stops.orders()] == [4]


def test_random_stops_agree_with_a_plain_list() -> None:
    rng = random.Random(5)
    stops, plain = Stops(), []
    for number in range(2_000):
        live = stop(number, rng.choice(["buy", "sell"]), rng.randint(90, 110))
        stops.add(live)
        plain.append(live)
        if rng.random() < 0.3:
            victim = rng.choice(plain)
            stops.remove(victim)
            stops.remove(victim)
            plain.remove(victim)
        if rng.random() < 0.2:
            last = rng.randint(93, 107)
            due = [s for s in plain if reached(s.side, s.order.stop_ticks or 0, last)]
            assert sorted(drain(stops, last)) == sorted(int(s.order_id, 16) for s in due)
            plain = [s for s in plain if s not in due]
        assert len(stops) == len(plain)


def place(market: LocalMarket, *args: object, **fields: object) -> Execution:
    return market.place(new_order(*args, **fields), 1)  # type: ignore[arg-type]


def test_a_stop_is_private_until_a_trade_reaches_it() -> None:
    market = LocalMarket(MARKET)
    waiting = place(market, "buy", 3, None, type="stop", stop_ticks=101).order
    assert market.book.levels("buy") == []
    place(market, "sell", 1, 100)
    place(market, "sell", 5, 101)
    place(market, "buy", 1, 100)  # trades at 100: not yet
    assert (waiting.open, waiting.triggered) == (3, False)
    execution = place(market, "buy", 1, 101)
    assert [order for order, _ in execution.outcomes] == [execution.order, waiting]
    assert (waiting.status, waiting.triggered) == ("filled", True)
    assert market.book.levels("sell") == [(101, 1, 1)]


def test_a_stop_that_is_reached_already_enters_at_once() -> None:
    market = LocalMarket(MARKET)
    place(market, "sell", 5, 100)
    place(market, "buy", 1, 100)
    assert place(market, "buy", 2, None, type="stop", stop_ticks=99).order.status == "filled"


def test_a_triggered_stop_limit_takes_its_place_in_time_from_then() -> None:
    market = LocalMarket(MARKET)
    early = place(market, "buy", 2, 100, type="stop_limit", stop_ticks=105).order
    place(market, "sell", 1, 105)
    resting = place(market, "buy", 2, 100).order
    place(market, "buy", 1, 105)
    assert early.triggered
    assert list(market.book.crossing("sell", None)) == [resting, early]


def test_stops_trigger_each_other_until_none_is_reached() -> None:
    market = LocalMarket(MARKET)
    for price in range(101, 111):
        place(market, "sell", 1, price)
    for price in range(101, 110):
        place(market, "buy", 1, None, type="stop", stop_ticks=price)
    execution = place(market, "buy", 1, 101)
    assert len(execution.outcomes) == 10
    assert market.last_ticks == 110
    assert not market.live
    assert not market.stops


def test_every_trade_of_a_sweep_counts_not_only_the_last() -> None:
    market = LocalMarket(MARKET)
    place(market, "sell", 1, 105)
    place(market, "buy", 1, 105)
    waiting = place(market, "sell", 1, 90, type="stop_limit", stop_ticks=101).order
    for price in (100, 104):
        place(market, "sell", 1, price)
    place(market, "buy", 2, 104)
    assert market.last_ticks == 104
    assert waiting.triggered


def test_a_triggered_stop_that_may_not_trade_is_cancelled_not_an_error_to_another() -> None:
    market = LocalMarket(MARKET)
    fok = place(market, "buy", 50, None, type="stop", stop_ticks=100, time_in_force="fok").order
    own = place(market, "buy", 5, 100, type="stop_limit", stop_ticks=100, account="ann").order
    place(market, "sell", 3, 100, account="ann")
    execution = place(market, "buy", 1, 100)
    assert execution.order.status == "filled"
    assert (fok.status, own.status) == ("cancelled", "cancelled")


def test_pending_stops_are_cancelled_replaced_and_expire() -> None:
    market = LocalMarket(MARKET)
    first = place(market, "buy", 3, None, type="stop", stop_ticks=101).order
    market.cancel(first.order_id)
    second = place(market, "buy", 3, 100, type="stop_limit", stop_ticks=101).order
    assert market.replace(second.order_id, 1, 2).order is second
    third = market.replace(second.order_id, 1, 7).order
    assert (second.status, third.triggered, third.order.stop_ticks) == ("cancelled", False, 101)
    gtd = place(
        market, "sell", 1, 99, type="stop_limit", stop_ticks=99, time_in_force="gtd", expires_ms=5
    ).order
    assert market.expire(4) == []
    assert market.expire(5) == [gtd]
    assert gtd.status == "expired"
    assert market.stops.orders() == [third]
    assert market.cancel_all() == [third]
    assert not market.live
