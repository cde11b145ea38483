"""A whole node, log and store included, against the bare market: same orders, trades and book."""

from __future__ import annotations

import os
import random
from contextlib import suppress

import pytest

from grenache_py.exchange.errors import ALREADY_CLOSED, UNKNOWN_ORDER, OrderError
from grenache_py.exchange.market.local_market import LocalMarket
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from tests.support.market_orders import fills_of, new_order, random_order
from tests.support.peers import BTC, Network

# `make fuzz-engine` asks for more.
SEQUENCES = int(os.environ.get("ENGINE_SEQUENCES", "10000")) // 50
COMMANDS = 60


class Pair:
    """A node of its own and a LocalMarket; ``ids`` maps the orders of one to the other's."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.net = Network(1)
        self.market = LocalMarket(BTC)
        self.ids: dict[str, str] = {}
        self.orders: dict[str, LiveOrder] = {}
        self.trades: list[tuple[str, str, int, int]] = []

    def step(self) -> None:
        rng, net, node = self.rng, self.net, self.net[0]
        net.now += rng.randint(0, 2) / 1000
        now_ms = int(net.now * 1000)
        choice = rng.random()
        local_id = rng.choice(list(self.ids)) if self.ids else f"{1:032x}"
        node_id = self.ids.get(local_id, "0" * 32)
        local = home = None
        errors: list[int] = []
        try:
            if choice < 0.65:
                new = random_order(rng, now_ms + 20_000)  # beyond a restarted clock's lead
                local = self.market.place(new, now_ms)
            elif choice < 0.75:
                self.market.cancel(local_id)
            elif choice < 0.92:
                lots, price = rng.choice([None, rng.randint(1, 14)]), rng.choice([None, 95, 105])
                local = self.market.replace(local_id, now_ms, lots, price)
            elif choice < 0.97:
                net.now += 30
                self.market.expire(int(net.now * 1000))
            else:
                net.restart(0)
        except OrderError as error:
            errors.append(error.code)
        try:
            if choice < 0.65:
                home = node.place(new, net.now)
            elif choice < 0.75:
                node.cancel(node_id, net.now)
            elif choice < 0.92:
                home = node.replace(node_id, net.now, lots, price)
            elif choice < 0.97:
                node.tick(net.now)
        except OrderError as error:
            # A LocalMarket forgets what is closed.
            errors.append(UNKNOWN_ORDER if error.code == ALREADY_CLOSED else error.code)
        assert len(set(errors)) <= 1 and len(errors) != 1, errors
        if local is not None and home is not None:
            self.ids[local.order.order_id] = home.order_id
            self.orders[local.order.order_id] = local.order
            self.trades += fills_of(local)
        net.settle()
        self.compare()

    def compare(self) -> None:
        node = self.net[0]
        book = node.books["BTC-USD"]
        for side in ("buy", "sell"):
            assert book.levels(side) == self.market.book.levels(side)  # type: ignore[arg-type]
        assert [live.order_id for live in book.orders()] == [
            self.ids[live.order_id] for live in self.market.book.orders()
        ]
        assert [
            (trade.maker_order, trade.taker_order, trade.price_ticks, trade.quantity_lots)
            for trade in node.tape("BTC-USD")
        ] == [(self.ids[m], self.ids[t], price, lots) for m, t, price, lots in self.trades]
        for local_id, local in self.orders.items():
            home = node.order(self.ids[local_id])
            assert home is not None
            assert (home.open, home.filled, home.value, home.reason, home.triggered) == (
                local.open,
                local.filled,
                local.value,
                local.reason,
                local.triggered,
            )

        assert_the_log_tells_the_ledger(node)


def assert_the_log_tells_the_ledger(node: ExchangeNode) -> None:
    """Every published order stands in the newest entry that states it, and in the live set."""
    ledger, writer = node.ledger, node.ledger.writer
    assert writer.shared is None, "an entry outlived its batch"
    market = ledger.markets["BTC-USD"]
    elements: list[int] = []
    writer.live_set.settle()
    for own in ledger.own.values():
        live = own.live
        assert not live.terminal, "a closed order is still among the live ones"
        if own.order_entry is None:
            assert (live.triggered, own.element) == (False, None)
            continue
        assert own.state_entry is not None
        published, stated = Entry.decode(own.order_entry.payload), own.state_entry.payload
        assert (published.seq, published.order and published.order.id) == (
            own.order_seq,
            live.order_id,
        )
        [state] = [s for s in Entry.decode(stated).states if s.order_id == live.order_id]
        assert (state.version, state.open, state.filled) == (
            live.version,
            market.format_quantity(live.open),
            market.format_quantity(live.filled),
        )
        elements.append(element(live.order_id, live.version))
        assert own.element == elements[-1]
    assert writer.live_set.count == len(elements)
    assert writer.live_set.fingerprint == sum(elements) % FINGERPRINT_MODULUS


@pytest.mark.parametrize("block", range(4))
def test_a_node_does_what_its_market_alone_would_do(block: int) -> None:
    for seed in range(block * SEQUENCES // 4, (block + 1) * SEQUENCES // 4):
        pair = Pair(seed)
        try:
            for _ in range(COMMANDS):
                pair.step()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_a_waiting_stop_keeps_its_stamp_to_itself_over_restarts() -> None:
    # A restarted clock may lead the wall clock, and then only its counter rises; the stamp of a
    # stop, which is in no log entry, was given out again and the next order took its row.
    net = Network(1)
    net.place(0, "sell", 5, 100)
    net.restart(0)
    stop = net[0].place(new_order("buy", 6, None, type="stop", stop_ticks=106), net.now)
    net.settle()
    net.restart(0)
    limit = net[0].place(new_order("buy", 4, 90), net.now)
    net.settle()
    net.restart(0)
    restored = net[0].order(stop.order_id), net[0].order(limit.order_id)
    assert [(live.quantity, live.triggered) for live in restored if live] == [(6, False), (4, True)]


def test_many_commands_of_one_batch_are_told_as_they_ended() -> None:
    for seed in range(SEQUENCES // 4):
        rng, net = random.Random(seed), Network(1)
        node, ids = net[0], []
        for _ in range(rng.randint(1, 12)):
            # The commands between two calls of settle are one batch, and share an entry.
            for _ in range(rng.randint(1, 8)):
                with suppress(OrderError):
                    if not ids or rng.random() < 0.3:
                        ids.append(node.place(random_order(rng, 10**15), net.now).order_id)
                    elif rng.random() < 0.3:
                        node.cancel(rng.choice(ids), net.now)
                    else:
                        node.replace(rng.choice(ids), net.now, rng.randint(1, 14), None)
            net.settle()
            assert_the_log_tells_the_ledger(node)
