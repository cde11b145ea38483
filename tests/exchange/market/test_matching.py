"""Matching where other homes' orders stand in the book, and each rule by itself."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable
from unittest.mock import patch

import pytest

from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market import price_level
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.changes import close, replacement
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.matching import (
    LEGS_MAX,
    Leg,
    local_trade_id,
    match,
)
from grenache_py.exchange.market.order import LiveOrder, NewOrder, Side
from grenache_py.exchange.market.price_level import Level
from grenache_py.exchange.market.sweep import crossed
from tests.support.market_orders import MARKET, live_order
from tests.support.naive_market import Naive, NaiveMarket, Refused

HOMES = ["local", "north", "south"]
# `make fuzz-engine` asks for more, `make mutants` for fewer.
NETWORKS = int(os.environ.get("ENGINE_SEQUENCES", "10000")) // 8


class Network:
    """One home's view of a market with other homes in it, fast and naive."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.book = Book(MARKET)
        self.rooms: dict[str, int] = {}
        self.slow = NaiveMarket(MARKET.protection_bp, self.rooms.__getitem__)
        self.fast: dict[str, LiveOrder] = {}
        self.number = 100
        self.seen: Counter[str] = Counter()

    def room(self, maker: LiveOrder) -> int:
        assert maker.home != "local"
        return self.rooms[maker.order_id]

    def new(self, home: str, late: int = 0, **fields: object) -> tuple[LiveOrder, Naive]:
        self.number += 1
        rng = self.rng
        price = rng.randint(96, 104) if home != "local" or rng.random() < 0.9 else None
        tif = rng.choice(["gtc", "gtc", "gtc", "ioc", "fok"]) if home == "local" else "gtc"
        live = live_order(
            self.number,
            rng.choice(["buy", "sell"]),
            rng.randint(1, 12),
            price,
            home=home,
            time_ms=self.number - late,
            account=rng.choice(["", "ann"]) if home == "local" else "",
            time_in_force=tif,
            post_only=home == "local" and tif == "gtc" and bool(price) and rng.random() < 0.15,
            self_trade=rng.choice(["newest", "oldest", "both"]),
        )
        naive = Naive(
            live.order_id,
            live.side,
            price,
            live.key,
            live.quantity,
            live.open,
            tif,
            live.order.post_only,
            account=live.account,
            self_trade=live.self_trade,
            home=home,
        )
        return live, naive

    def step(self) -> None:
        rng = self.rng
        choice = rng.random()
        own = [o for o in self.slow.orders.values() if o.home == "local"]
        remote = [o for o in self.slow.orders.values() if o.home != "local"]
        if choice < 0.40:
            self.enter(*self.new("local"), accepted=False)
        elif choice < 0.65 or not (own and remote):
            live, naive = self.new(rng.choice(HOMES[1:]), late=rng.choice([0, 0, 3, 30, -9]))
            self.fast[live.order_id] = live
            self.slow.orders[naive.id] = naive
            self.rooms[naive.id] = rng.choice([0, 1, 5, 100])
            self.book.add(live)
        elif choice < 0.75:
            naive = rng.choice(remote)  # its home says how much of it is left
            naive.open = self.fast[naive.id].open = rng.randint(0, naive.quantity)
            if not naive.hidden:
                self.book.touched(self.fast[naive.id])
        elif choice < 0.80:
            home = rng.choice(HOMES[1:])  # a lease is lost, or comes back
            for naive in remote:
                if naive.home == home:
                    naive.hidden = not naive.hidden
                    if naive.hidden:
                        self.book.remove(self.fast[naive.id])
                    else:
                        self.book.add(self.fast[naive.id])
        elif choice < 0.90:
            naive = rng.choice(own)  # an answer: some of what was reserved is traded, or nothing
            live = self.fast[naive.id]
            filled = rng.randint(0, naive.reserved)
            rests = naive.tif == "gtc" and naive.price is not None and not naive.reason
            for order in (naive, live):
                released = order.reserved - filled
                order.reserved = 0
                order.filled += filled
                if rests:
                    order.open += released
            self.book.touched(live)
        else:
            self.sweep()
        self.compare()

    def enter(self, live: LiveOrder, naive: Naive, accepted: bool) -> None:
        trades, legs = len(self.slow.trades), len(self.slow.legs)
        code = None
        try:
            self.slow.enter(naive, refuse=not accepted)
        except Refused as refused:
            code = refused.code
        if code is not None:
            before = self.book.state_hash()
            with pytest.raises(OrderError) as error:
                match(self.book, live, "local", self.room, accepted=accepted)
            assert error.value.code == code
            assert self.book.state_hash() == before
            assert (live.open, live.reserved, live.filled) == (live.quantity, 0, 0)
            self.seen[f"refused {code}"] += 1
            return
        self.fast[live.order_id] = live
        outcome = match(self.book, live, "local", self.room, accepted=accepted)
        assert [
            (fill.maker.order_id, live.order_id, fill.maker.price_ticks, fill.lots)
            for fill in outcome.fills
        ] == self.slow.trades[trades:]
        assert [
            (live.order_id, leg.maker.order_id, leg.lots) for leg in outcome.legs
        ] == self.slow.legs[legs:]
        self.seen["fills"] += len(outcome.fills)
        self.seen["legs"] += len(outcome.legs)
        self.seen["both"] += bool(outcome.fills and outcome.legs)
        self.seen["fok by legs"] += bool(outcome.legs) and naive.tif == "fok"
        self.seen["self trade"] += len(outcome.cancelled)
        self.seen["turned away late"] += accepted and live.reason == "cancelled"

    def sweep(self) -> None:
        turns = crossed(self.book, "local")
        assert [live.order_id for live in turns] == [
            order.id
            for order in sorted(self.slow.orders.values(), key=lambda order: order.key)
            if order.home == "local"
            and order.stands
            and any(
                other.key < order.key
                and (
                    other.price <= order.price
                    if order.side == "buy"
                    else other.price >= order.price
                )
                for other in self.slow.queue("sell" if order.side == "buy" else "buy")
            )
        ]
        self.seen["crossed"] += len(turns)
        for live in turns:
            if live.open:
                self.enter(live, self.slow.orders[live.order_id], accepted=True)

    def compare(self) -> None:
        assert self.book.state_hash() == self.slow.state_hash("BTC-USD")
        for side in ("buy", "sell"):
            assert self.book.levels(side) == self.slow.levels(side)  # type: ignore[arg-type]
        for order in self.slow.orders.values():
            live = self.fast[order.id]
            assert (live.open, live.reserved, live.filled, live.value, live.reason) == (
                order.open,
                order.reserved,
                order.filled,
                order.value,
                order.reason,
            )
            assert min(live.open, live.reserved, live.filled, live.closed) >= 0 or (
                order.home != "local"
            )


@pytest.mark.parametrize("block", range(4))
def test_random_networks_agree_with_the_naive_market(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(block * NETWORKS // 4, (block + 1) * NETWORKS // 4):
        network = Network(random.Random(seed))
        try:
            # Few steps, so that both ways of sorting in late orders are taken.
            with patch.object(price_level, "LATE_STEPS_MAX", seed % 3):
                for _ in range(30):
                    network.step()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += network.seen
    # Each of these must have happened, or the test says nothing about it; the last is rare.
    for kind in (
        "fills",
        "legs",
        "both",
        "fok by legs",
        "self trade",
        "crossed",
        "refused -32003",
        "refused -32004",
        "refused -32012",
        *(["turned away late"] if NETWORKS >= 1250 else []),
    ):
        assert seen[kind], seen


def standing(*orders: LiveOrder) -> Book:
    book = Book(MARKET)
    for live in orders:
        book.add(live)
    return book


def nothing(maker: LiveOrder) -> int:
    return 0


def everything(maker: LiveOrder) -> int:
    return maker.open


def test_a_maker_of_another_home_is_asked_and_keeps_its_record() -> None:
    maker = live_order(1, "sell", 8, 100, home="north")
    book = standing(maker)
    taker = live_order(2, "buy", 5, 101)
    outcome = match(book, taker, "local", everything)
    assert outcome.legs == [Leg(maker, 5)]
    assert not outcome.fills
    assert (taker.open, taker.reserved, taker.filled) == (0, 5, 0)
    assert (maker.open, maker.reserved, maker.filled) == (8, 0, 0)
    assert book.levels("sell") == [(100, 8, 1)]


def test_a_younger_maker_is_left_to_take_by_itself() -> None:
    book = standing(live_order(9, "sell", 5, 99, home="north"), live_order(1, "sell", 5, 100))
    taker = live_order(5, "buy", 5, 101)
    outcome = match(book, taker, "local", everything)
    assert [fill.maker.order_id for fill in outcome.fills] == [f"{1:032x}"]
    assert not outcome.legs


def test_one_fill_request_never_needs_more_legs_than_the_wire_allows() -> None:
    makers = [live_order(n, "sell", 1, 100, home="north") for n in range(1, LEGS_MAX + 9)]
    other = live_order(60, "sell", 1, 100, home="south")
    book = standing(*makers, other)
    taker = live_order(99, "buy", LEGS_MAX + 20, 100)
    outcome = match(book, taker, "local", everything)
    assert [leg.maker for leg in outcome.legs] == [*makers[:LEGS_MAX], other]
    assert (taker.reserved, taker.open) == (LEGS_MAX + 1, 19)


def test_fok_takes_the_first_home_that_can_fill_it_alone() -> None:
    better = live_order(1, "sell", 5, 99, home="north")
    own = live_order(2, "sell", 6, 100)
    alone = live_order(3, "sell", 10, 101, home="south")
    book = standing(better, own, alone)
    taker = live_order(9, "buy", 10, 101, time_in_force="fok")
    assert match(book, taker, "local", everything).legs == [Leg(alone, 10)]
    assert (own.open, taker.reserved) == (6, 10)


def test_fok_that_would_need_two_homes_is_refused() -> None:
    book = standing(live_order(1, "sell", 5, 99, home="north"), live_order(2, "sell", 5, 99))
    before = book.state_hash()
    with pytest.raises(OrderError, match="no single home") as refused:
        match(book, live_order(9, "buy", 10, 101, time_in_force="fok"), "local", everything)
    assert refused.value.code == -32004
    assert book.state_hash() == before


def test_fok_counts_no_more_makers_of_a_home_than_one_request_carries() -> None:
    makers = [live_order(n, "sell", 1, 100, home="north") for n in range(1, LEGS_MAX + 9)]
    whole = live_order(98, "buy", LEGS_MAX, 100, time_in_force="fok")
    assert len(match(standing(*makers), whole, "local", everything).legs) == LEGS_MAX
    more = live_order(99, "buy", LEGS_MAX + 1, 100, time_in_force="fok")
    for maker in makers:
        maker.standing = 0
    with pytest.raises(OrderError, match="no single home"):
        match(standing(*makers), more, "local", everything)


def test_the_rest_of_an_ioc_closes_but_not_what_is_in_doubt() -> None:
    book = standing(live_order(1, "sell", 5, 100, home="north"))
    taker = live_order(9, "buy", 8, 100, time_in_force="ioc")
    match(book, taker, "local", everything)
    assert (taker.open, taker.reserved, taker.closed) == (0, 5, 3)
    assert taker.status == "pending_cancel"
    assert book.best_bid() is None


@pytest.mark.parametrize(
    ("side", "prices", "traded"),
    [
        ("buy", [1000, 1030, 1031], [1000, 1030]),
        ("sell", [1000, 970, 969], [1000, 970]),
        ("sell", [1], [1]),
        ("buy", [1, 2], [1]),
    ],
)
def test_a_market_order_trades_no_further_than_its_protection(
    side: str, prices: list[int], traded: list[int]
) -> None:
    # The test market protects by 3 per cent of the best price.
    opposite = "sell" if side == "buy" else "buy"
    book = standing(*[live_order(n, opposite, 1, price) for n, price in enumerate(prices, 1)])
    taker = live_order(9, side, 10, None)
    outcome = match(book, taker, "local")
    assert [fill.maker.price_ticks for fill in outcome.fills] == traded
    assert (taker.open, taker.status) == (0, "cancelled")


def test_protection_of_the_whole_price_still_is_a_price() -> None:
    book = Book(Market.parse("BTC-USD:tick=1,lot=1,protection=100%"))
    for number, price in enumerate((9, 2, 1), 1):
        book.add(live_order(number, "buy", 1, price))
    taker = live_order(9, "sell", 10, None)
    assert len(match(book, taker, "local").fills) == 3


def test_a_market_order_on_an_empty_book_is_cancelled() -> None:
    book = standing()
    taker = live_order(1, "buy", 10, None)
    match(book, taker, "local")
    assert (taker.open, taker.status) == (0, "cancelled")


def test_an_order_of_no_account_is_never_a_self_trade() -> None:
    book = standing(live_order(1, "sell", 5))
    taker = live_order(2, "buy", 5)
    assert len(match(book, taker, "local").fills) == 1


def test_newest_is_refused_when_it_meets_its_own_account_first() -> None:
    own = live_order(2, "sell", 5, 101, account="ann")
    book = standing(own)
    with pytest.raises(OrderError) as refused:
        match(book, live_order(9, "buy", 5, 101, account="ann"), "local")
    assert refused.value.code == -32012
    assert refused.value.data == {"order_id": own.order_id}
    assert own.open == 5


def test_newest_is_cancelled_when_it_meets_its_own_account_after_a_trade() -> None:
    own = live_order(2, "sell", 5, 101, account="ann")
    book = standing(live_order(1, "sell", 5, 100, account="bob"), own)
    taker = live_order(9, "buy", 12, 101, account="ann")
    outcome = match(book, taker, "local")
    assert outcome.cancelled == [taker]
    assert (taker.filled, taker.open, taker.reason, own.open) == (5, 0, "cancelled", 5)


def test_oldest_and_both_cancel_the_maker() -> None:
    for policy, rest in (("oldest", 7), ("both", 0)):
        own = live_order(1, "sell", 5, 100, account="ann")
        book = standing(own)
        taker = live_order(9, "buy", 7, 101, account="ann", self_trade=policy)
        outcome = match(book, taker, "local")
        assert outcome.cancelled == ([own] if rest else [own, taker])
        assert (own.open, own.reason, taker.open) == (0, "cancelled", rest)
        assert book.best_ask() is None


def test_post_only_that_meets_an_older_order_later_is_cancelled_not_traded() -> None:
    live = live_order(5, "buy", 5, 100, post_only=True)
    book = standing(live)
    book.add(live_order(1, "sell", 5, 100, home="north"))
    assert crossed(book, "local") == [live]
    outcome = match(book, live, "local", everything, accepted=True)
    assert not outcome.legs
    assert (live.open, live.reason, live.standing) == (0, "cancelled", 0)


def test_orders_that_wait_for_a_home_without_room_have_no_turn() -> None:
    plain, post = live_order(5, "buy", 5, 100), live_order(6, "buy", 5, 100, post_only=True)
    full = live_order(1, "sell", 5, 100, home="north")
    book = standing(plain, post, full)
    late = live_order(7, "buy", 5, 101)
    assert crossed(book, "local", nothing) == [post]
    book.add(late)
    book.add(live_order(2, "sell", 5, 101, home="south"))
    at_south = crossed(book, "local", lambda maker: maker.open * (maker.home == "south"))
    assert at_south == [post, late]
    assert crossed(book, "local", everything) == [plain, post, late]


@pytest.mark.parametrize(("side", "step"), [("buy", 1), ("sell", -1)])
def test_only_prices_that_cross_are_looked_through_for_orders_that_have_a_turn(
    monkeypatch: pytest.MonkeyPatch, side: Side, step: int
) -> None:
    """A book has thousands of levels that meet nothing."""
    crossing = [live_order(10 + number, side, 5, 100 + step * number) for number in range(3)]
    others = [live_order(20 + number, side, 5, 100 - step * (1 + number)) for number in range(50)]
    older = live_order(1, "sell" if side == "buy" else "buy", 5, 100, home="north")
    book = standing(older, *crossing, *others)
    looked_at: list[int] = []
    queue = Level.queue

    def counted(level: Level) -> Iterable[LiveOrder]:
        looked_at.append(level.price_ticks)
        return queue(level)

    monkeypatch.setattr(Level, "queue", counted)
    assert crossed(book, "local", None) == crossing
    assert set(looked_at) == {100, 100 + step, 100 + 2 * step}


def test_trade_ids_depend_on_the_parties_and_the_sequence_alone() -> None:
    first = local_trade_id("a" * 32, "b" * 32, 1)
    assert first == local_trade_id("a" * 32, "b" * 32, 1)
    assert (
        len({first, local_trade_id("a" * 32, "b" * 32, 2), local_trade_id("b" * 32, "a" * 32, 1)})
        == 3
    )
    assert len(first) == 32


def test_closing_leaves_what_is_in_doubt() -> None:
    live = live_order(1, "buy", 10)
    live.open, live.reserved = 6, 4
    book = standing(live)
    assert close(book, live, "expired") == 6
    assert (live.open, live.reserved, live.closed, live.status) == (0, 4, 6, "pending_cancel")
    assert book.best_bid() is None


def worked(live: LiveOrder) -> LiveOrder:
    live.open, live.reserved, live.filled = 5, 2, 3
    return live


@pytest.mark.parametrize(
    ("lots", "price", "expected"),
    [
        (None, None, 10),
        (8, None, 8),
        (8, 100, 8),
        (10, 100, 10),
        (6, None, 6),
        (11, None, (6, 100)),
        (8, 101, (3, 101)),
        (None, 99, (5, 99)),
    ],
)
def test_only_less_at_the_same_price_keeps_its_place(
    lots: int | None, price: int | None, expected: int | tuple[int, int]
) -> None:
    result = replacement(worked(live_order(1, "buy", 10, 100, account="ann")), lots, price)
    if isinstance(result, NewOrder):
        assert (result.quantity_lots, result.price_ticks) == expected
        assert (result.account, result.type, result.client_order_id) == ("ann", "limit", "")
    else:
        assert result == expected


@pytest.mark.parametrize(("lots", "price", "field"), [(5, None, "quantity"), (2, 90, "quantity")])
def test_a_replacement_below_what_is_used_says_so(lots: int, price: int | None, field: str) -> None:
    with pytest.raises(OrderError) as refused:
        replacement(worked(live_order(1, "buy", 10, 100)), lots, price)
    assert refused.value.code == -32602
    assert refused.value.data == {"field": field}


def test_a_stop_limit_is_replaced_by_a_limit_order_once_it_was_triggered() -> None:
    live = live_order(1, "buy", 5, 100, type="stop_limit")
    result = replacement(live, 9, None)
    assert isinstance(result, NewOrder)
    assert result.type == "limit"
    live.triggered = False
    result = replacement(live, 9, None)
    assert isinstance(result, NewOrder)
    assert result.type == "stop_limit"


def test_a_price_for_an_order_without_one_is_refused_by_its_name() -> None:
    live = live_order(1, "buy", 10, None)
    with pytest.raises(OrderError, match="has no price") as refused:
        replacement(live, 9, 100)
    assert refused.value.data == {"field": "price"}
