"""The book by itself: levels, time priority of latecomers, changes and the checksum."""

from __future__ import annotations

import random
import zlib
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.exchange.market import price_level
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.market.price_level import LATE_STEPS_MAX
from tests.support.market_orders import MARKET, live_order


def standing(*orders: LiveOrder) -> Book:
    book = Book(MARKET)
    for live in orders:
        book.add(live)
    return book


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(1, 60)), st.data())
def test_whatever_order_they_come_in_a_level_is_by_key(
    order: list[int], data: st.DataObject
) -> None:
    lives = {number: live_order(number, "sell", number) for number in order}
    steps_max = data.draw(st.sampled_from([0, 1, 8, 1_024]))
    with patch.object(price_level, "LATE_STEPS_MAX", steps_max):
        come_and_go(order, lives, data)


def come_and_go(order: list[int], lives: dict[int, LiveOrder], data: st.DataObject) -> None:
    book = Book(MARKET)
    gone: set[int] = set()
    for position, number in enumerate(order):
        book.add(lives[number])
        if data.draw(st.integers(0, 3)) == 0:
            victim = order[data.draw(st.integers(0, position))]
            book.remove(lives[victim])
            gone.add(victim)
        if gone and data.draw(st.integers(0, 3)) == 0:
            returned = data.draw(st.sampled_from(sorted(gone)))
            book.add(lives[returned])
            gone.remove(returned)
        if data.draw(st.integers(0, 9)) == 0:
            there = sorted(set(order[: position + 1]) - gone)
            assert [live.quantity for live in book.crossing("buy", None)] == there
    there = sorted(set(order) - gone)
    assert [live.quantity for live in book.crossing("buy", 100)] == there
    assert book.levels("sell") == ([(100, sum(there), len(there))] if there else [])


def test_a_flood_of_latecomers_is_in_order_when_somebody_looks() -> None:
    numbers = list(range(1, 3 * LATE_STEPS_MAX))
    book = standing(*[live_order(number, "buy") for number in reversed(numbers)])
    assert [int(live.order_id, 16) for live in book.orders()] == numbers
    book.add(live_order(0, "buy", time_ms=0))
    assert next(book.crossing("sell", None)).key[0] == 0


@pytest.mark.parametrize("from_the_front", [True, False])
def test_of_a_deep_level_the_orders_that_left_are_forgotten(from_the_front: bool) -> None:
    lives = [live_order(number, "buy") for number in range(2_000)]
    book = standing(*lives)
    level = book.bids.levels[100]
    leaving = lives[:-1]
    if not from_the_front:
        random.Random(1).shuffle(leaving)
    queue, copies = level._queue, 0
    for live in leaving:
        book.remove(live)
        copies += level._queue is not queue
        queue = level._queue
        assert queue[0].standing
        assert queue[-1].standing
        assert len(queue) <= (level.objects if from_the_front else 2 * level.objects)
    assert list(book.orders()) == [lives[-1]]
    assert copies <= 20, "to take an order out must not cost more the deeper the level is"


def test_touched_follows_open_and_is_idempotent() -> None:
    live = live_order(1, "buy", 10)
    book = standing(live)
    book.add(live)
    assert book.levels("buy") == [(100, 10, 1)]
    live.open = 4
    book.touched(live)
    book.touched(live)
    assert book.levels("buy") == [(100, 4, 1)]
    live.open = 0
    book.touched(live)
    book.touched(live)
    book.remove(live)
    assert book.levels("buy") == []
    assert book.best_bid() is None
    live.open = 7
    book.touched(live)
    assert book.levels("buy") == [(100, 7, 1)]


def test_an_order_taken_out_with_lots_open_comes_back_to_its_place() -> None:
    first, second = live_order(1, "buy"), live_order(2, "buy")
    book = standing(first, second)
    book.remove(first)
    assert list(book.orders()) == [second]
    assert first.open == 10
    book.add(first)
    assert list(book.orders()) == [first, second]


def test_a_book_of_own_orders_names_the_row_that_it_does_not_have() -> None:
    book = standing(live_order(1, "buy"))
    with pytest.raises(KeyError, match=r"^7$"):
        book.row_touched("buy", 100, 7, 0, 5)
    assert [live.order_id for live in book.orders()] == [live_order(1, "buy").order_id]


def test_best_prices_and_depth() -> None:
    book = standing(
        *[live_order(n, "buy", n, 90 + n) for n in range(1, 6)],
        *[live_order(n, "sell", n, 100 + n) for n in range(1, 6)],
    )
    assert (book.best_bid(), book.best_ask()) == (95, 101)
    assert book.levels("buy", 2) == [(95, 5, 1), (94, 4, 1)]
    assert book.levels("sell", 2) == [(101, 1, 1), (102, 2, 1)]
    assert book.levels("sell", 0) == []
    assert len(book.levels("sell", 99)) == 5
    assert [live.price_ticks for live in book.crossing("buy", 103)] == [101, 102, 103]
    assert [live.price_ticks for live in book.crossing("sell", 94)] == [95, 94]
    assert list(book.crossing("buy", 100)) == []


def test_changes_are_absolute_and_counted_once() -> None:
    live, last = live_order(1, "buy", 10), live_order(2, "buy", 5)
    book = standing(live, last, live_order(3, "sell", 1, 101))
    assert book.drain_changes() == [("buy", 100, 15, 2), ("sell", 101, 1, 1)]
    assert book.seq == 1
    assert book.drain_changes() == []
    assert book.seq == 1
    live.open = 3
    book.touched(live)
    book.remove(live)
    assert book.drain_changes() == [("buy", 100, 5, 1)]
    assert book.seq == 2
    book.remove(last)
    assert book.drain_changes() == [("buy", 100, 0, 0)], "nothing is left of the level"


def test_the_checksum_is_of_the_text_a_client_can_make() -> None:
    book = Book(MARKET)
    assert book.checksum() == zlib.crc32(b"|")
    for number in range(1, 31):
        book.add(live_order(number, "buy", number * 100, 9_000 + number * 10))
    book.add(live_order(99, "sell", 15_000, 10_025))
    bids = [f"{90 + n / 10:g}:{n / 100:g}" for n in range(30, 5, -1)]
    assert book.checksum() == zlib.crc32(f"{','.join(bids)}|100.25:1.5".encode())
    for number in range(1, 31):
        book.add(live_order(100 + number, "sell", number * 100, 20_000 + number * 10))
    asks = ["100.25:1.5", *(f"{200 + n / 10:g}:{n / 100:g}" for n in range(1, 25))]
    assert book.checksum() == zlib.crc32(f"{','.join(bids)}|{','.join(asks)}".encode())


def test_the_hash_tells_books_apart_by_everything_that_decides_a_match() -> None:
    base = standing(live_order(1, "buy"), live_order(2, "buy")).state_hash()
    assert standing(live_order(2, "buy"), live_order(1, "buy")).state_hash() == base
    for other in (
        [live_order(1, "buy")],
        [live_order(1, "buy"), live_order(2, "buy", 11)],
        [live_order(1, "buy"), live_order(2, "buy", price=101)],
        [live_order(1, "buy"), live_order(2, "buy", time_ms=0)],
        [live_order(1, "buy"), live_order(2, "buy", home="north")],
        [live_order(1, "buy"), live_order(2, "sell")],
    ):
        assert standing(*other).state_hash() != base


def test_random_levels_are_the_sum_of_their_orders() -> None:
    rng = random.Random(3)
    book = Book(MARKET)
    lives = [
        live_order(n, rng.choice(["buy", "sell"]), 10, rng.randint(1, 400)) for n in range(800)
    ]
    for live in lives:
        book.add(live)
    for _ in range(4_000):
        live = rng.choice(lives)
        live.open = rng.randint(0, live.quantity)
        book.touched(live)
    for side in ("buy", "sell"):
        expected: dict[int, list[int]] = {}
        for live in lives:
            if live.side == side and live.open:
                expected.setdefault(live.price_ticks, []).append(live.open)
        assert book.levels(side) == [  # type: ignore[arg-type]
            (price, sum(expected[price]), len(expected[price]))
            for price in sorted(expected, reverse=side == "buy")
        ]
