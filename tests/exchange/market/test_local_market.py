"""Random commands on the market and on the naive one: the same orders, trades and book."""

from __future__ import annotations

import contextlib
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.local_market import Execution, LocalMarket
from grenache_py.exchange.market.order import LiveOrder
from tests.support.market_orders import MARKET, assert_sound, fills_of, new_order, random_command
from tests.support.naive_market import NaiveMarket, Refused

# `make fuzz-engine` asks for more.
SEQUENCES = int(os.environ.get("ENGINE_SEQUENCES", "10000"))
COMMANDS_MAX = 30


class Pair:
    """Both markets, and a client that follows the book by its changes."""

    def __init__(self) -> None:
        self.fast = LocalMarket(MARKET)
        self.slow = NaiveMarket(MARKET.protection_bp)
        self.everything: dict[str, LiveOrder] = {}
        self.client: dict[tuple[str, int], tuple[int, int]] = {}
        self.trades = 0

    def run(self, rng: random.Random, now: int) -> str:
        """Run one random command on both and compare everything."""
        text, command = random_command(rng, now, self.slow.count)
        before = len(self.slow.trades)
        fast_error = slow_error = None
        result = None
        try:
            result = command(self.fast)
        except OrderError as error:
            fast_error = error.code
        try:
            command(self.slow)
        except Refused as refused:
            slow_error = refused.code
        assert fast_error == slow_error, text
        if isinstance(result, Execution):
            self.everything[result.order.order_id] = result.order
            assert fills_of(result) == self.slow.trades[before:], text
        else:
            assert len(self.slow.trades) == before, text
        self.compare()
        return text

    def compare(self) -> None:
        fast, slow = self.fast, self.slow
        assert fast.book.state_hash() == slow.state_hash("BTC-USD")
        assert fast.last_ticks == slow.last
        assert set(self.everything) == set(slow.orders)
        for order in slow.orders.values():
            live = self.everything[order.id]
            assert (live.open, live.filled, live.value, live.reason) == (
                order.open,
                order.filled,
                order.value,
                order.reason,
            ), live
            assert live.triggered != order.waiting or not order.open
        for maker, taker, price, _ in slow.trades[self.trades :]:
            self.assert_fair(maker, taker, price)
        self.trades = len(slow.trades)
        assert_sound(fast, self.everything)
        for side, price, lots, orders in fast.book.drain_changes():
            if lots:
                self.client[side, price] = lots, orders
            else:
                self.client.pop((side, price), None)
        seen = {
            (side, level.price_ticks): (level.lots, level.orders)
            for side in ("buy", "sell")
            for level in fast.book.levels(side)  # type: ignore[arg-type]
        }
        assert self.client == seen

    def assert_fair(self, maker: str, taker: str, price: int) -> None:
        bought, sold = self.everything[maker], self.everything[taker]
        assert bought.price_ticks == price, "a trade is at the maker's price"
        assert not bought.account or bought.account != sold.account, "self trade"
        if bought.side == "sell":
            bought, sold = sold, bought
        assert bought.side == "buy" and sold.side == "sell"
        assert not bought.price_ticks or price <= bought.price_ticks
        assert not sold.price_ticks or price >= sold.price_ticks


def run_sequence(rng: random.Random, commands: int) -> None:
    pair = Pair()
    now = 1_000
    said: list[str] = []
    try:
        for _ in range(commands):
            now += rng.randint(0, 2)
            said.append(pair.run(rng, now))
    except AssertionError:
        print("\n".join(said))
        raise


@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_random_sequences_agree_with_the_naive_market(block: int) -> None:
    for seed in range(block * SEQUENCES // 10, (block + 1) * SEQUENCES // 10):
        rng = random.Random(seed)
        try:
            run_sequence(rng, rng.randint(1, COMMANDS_MAX))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_sequences_that_hypothesis_makes_agree_too(rng: random.Random, commands: int) -> None:
    run_sequence(rng, commands)


def test_long_sequences_agree_too() -> None:
    for seed in range(10):
        run_sequence(random.Random(f"long {seed}"), 400)


def test_the_same_commands_give_the_same_book() -> None:
    def play() -> tuple[str, int]:
        rng = random.Random(7)
        market = LocalMarket(MARKET)
        for now in range(300):
            with contextlib.suppress(OrderError):
                random_command(rng, now, now)[1](market)
        return market.book.state_hash(), market.book.checksum()

    assert play() == play()


def test_a_replacement_and_its_predecessor_never_trade_more_than_was_asked() -> None:
    market = LocalMarket(MARKET)
    market.place(new_order("sell", 5, 100), 1)
    market.place(new_order("buy", 1, 100), 1)  # the last price is 100
    old = market.place(new_order("buy", 10, 99), 1).order
    # This stop sells into whatever buys once 101 was traded.
    market.place(new_order("sell", 3, 101), 1)
    market.place(new_order("buy", 20, None, type="market", time_in_force="ioc"), 1)
    new = market.replace(old.order_id, 2, price_ticks=100).order
    assert (old.open, old.reason) == (0, "cancelled")
    assert new.order_id != old.order_id
    assert new.quantity == 10


def test_a_refused_replacement_leaves_the_order_as_it_was() -> None:
    market = LocalMarket(MARKET)
    market.place(new_order("sell", 5, 102, account="ann"), 1)
    live = market.place(new_order("buy", 5, 100, account="ann", post_only=True), 1).order
    before = market.book.state_hash()
    with pytest.raises(OrderError) as refused:
        market.replace(live.order_id, 2, price_ticks=102)
    assert refused.value.code == -32003
    assert market.book.state_hash() == before
    assert live.status == "new"
