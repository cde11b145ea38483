"""
What an order of another home costs a peer: bytes in memory, and the time of its life.

    python -m benchmarks.exchange.replica_memory [--orders 100000] [--json FILE]

Orders that their home signed, 64 a signature, are given to a node, which checks them, puts them
into its book and into the set that peers reconcile, and hands out the rows to store. 25 of them
stand at one price, or each at its own. Bytes are what Python allocated (``tracemalloc``) and what
the process grew by. Then each order gets a newer state, the best 50 levels are asked for, and the
orders are closed.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

from benchmarks.exchange.joining import BATCH, resident_bytes
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.signed_log.entries import (
    HeartbeatBody,
    OrderBody,
    StateBody,
    order_id,
)
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed
from grenache_py.exchange.signed_log.own_log import OwnLog

NOW = 1_790_000_000.0
MARKET = Market.parse("BTC-USD:tick=0.01,lot=0.0001")
PER_LEVEL = (25, 1)
BEST = 50


@attrs.define
class Figures:
    """
    Of one order, with so many at each price.

    Attributes:
        order_bytes: that Python allocated for it.
        resident_bytes: that the process grew by.
        insert_us, change_us, drop_us: of CPU, signatures and rows included.
        best_us: the best 50 levels of a side.
    """

    per_level: int
    orders: int
    order_bytes: float
    resident_bytes: float
    insert_us: float
    change_us: float
    drop_us: float
    best_us: float


class Home:
    """Signs orders, their changes and a heartbeat, as a home's log."""

    def __init__(self) -> None:
        self._identity = Identity.from_seed(b"\x07" * 32)
        self._sealer = Sealer(self._identity, "bench")
        self._clock = HybridClock()
        self._log = OwnLog(self._identity.key, self._sealer, self._clock)
        self.ids: list[str] = []

    def _sealed(self, drafts: Iterable[Draft]) -> list[Signed]:
        waiting: list[Draft] = []
        found: list[Signed] = []
        for draft in drafts:
            waiting.append(draft)
            if len(waiting) == BATCH:
                self._sealer.seal()
                found += [each.proof for each in waiting]
                waiting.clear()
        self._sealer.seal()
        return found + [each.proof for each in waiting]

    def orders(self, number: int, per_level: int) -> list[Signed]:
        """Asks, ``per_level`` of them at each price."""
        return self._sealed(self._order(200_000 + place // per_level) for place in range(number))

    def _order(self, ticks: int) -> Draft:
        stamp = self._clock.stamp(NOW)
        quantity = MARKET.format_quantity(10_000 + len(self.ids) % 1_000)
        fields: tuple[Any, ...] = ("BTC-USD", "sell", "limit", quantity, stamp)
        price = MARKET.format_price(ticks)
        id = order_id(self._identity.key, *fields, price, None, "gtc", False, None)
        self.ids.append(id)
        body = OrderBody(id, *fields, price=price, tick="0.01", lot="0.0001")
        states = [StateBody(id, 1, quantity, "0", "0", "")]
        return self._log.append(NOW, order=body, states=states, stamp=stamp)  # type: ignore[arg-type]

    def states(self, version: int, opened: str) -> list[Signed]:
        """Every order has so much open."""
        return self._sealed(
            self._log.append(NOW, states=[StateBody(id, version, opened, "0", "0.1", "")])  # type: ignore[arg-type]
            for id in self.ids
        )

    def beat(self, version: int) -> Signed:
        """The newest heartbeat; all orders are live at that version."""
        total = sum(element(id, version) for id in self.ids) % FINGERPRINT_MODULUS
        body = HeartbeatBody(20_000, len(self.ids), f"{total:064x}")
        return self._sealed([self._log.append(NOW, beat=body)])[0]


def new_node() -> ExchangeNode:
    """A peer that trades one market, and holds nothing."""
    config = NodeConfig(PeeringConfig("bench", listen="a:1"), (MARKET,))
    identity = Identity.from_seed(b"\x01" * 32)
    return ExchangeNode(config, identity, Snapshot(), random.Random(1), NOW)


def take(node: ExchangeNode, each: Callable[[int], object], orders: int) -> None:
    """Do something for every order, and commit now and then."""
    for number in range(orders):
        each(number)
        if number % BATCH == BATCH - 1:
            node.take_batch(NOW)
    node.take_batch(NOW)


def timed(node: ExchangeNode, each: Callable[[int], object], orders: int) -> float:
    """µs of CPU for each order."""
    began = time.process_time()
    take(node, each, orders)
    return (time.process_time() - began) / orders * 1e6


def measure(orders: int, per_level: int, trace: bool = False) -> Figures:
    """
    The figures of so many orders.

    Args:
        trace: count allocations; all then takes several times as long.
    """
    home = Home()
    wires = [msgspec.json.encode(signed.wire()) for signed in home.orders(orders, per_level)]
    beat = home.beat(1)
    node = new_node()
    adoption, replica = node.replica.adoption, node.replica

    def insert(number: int) -> None:
        signed = Signed.from_wire(msgspec.json.decode(wires[number]))  # with texts of its own
        adoption.adopt_record(signed, signed, NOW)

    before = resident_bytes()
    if trace:
        tracemalloc.start()
    insert_us = timed(node, insert, orders)
    began = time.process_time()
    adoption.adopt_head(beat, NOW)  # its home lives: all of them stand in the book now
    insert_us += (time.process_time() - began) / orders * 1e6
    assert len(node.live.set) == orders
    gc.collect()
    allocated = tracemalloc.get_traced_memory()[0] if trace else 0
    if trace:
        tracemalloc.stop()
    resident = resident_bytes() - before
    book = node.books["BTC-USD"]
    assert sum(view.orders for view in book.levels("sell")) == orders
    began = time.process_time()
    for _ in range(200):
        book.levels("sell", BEST)
    best_us = (time.process_time() - began) / 200 * 1e6
    changes = home.states(2, "0.5")
    change_us = timed(node, lambda n: replica.receive(changes[n], NOW), orders)
    closes = home.states(3, "0")
    drop_us = timed(node, lambda n: replica.receive(closes[n], NOW), orders)
    assert not len(node.live.set)
    memory = allocated / orders, resident / orders
    return Figures(per_level, orders, *memory, insert_us, change_us, drop_us, best_us)


def keys(found: list[Figures]) -> dict[str, float]:
    """The figures by the names that are compared from run to run."""
    return {
        f"{name}_{figures.per_level}_a_level": getattr(figures, name)
        for figures in found
        for name in ("order_bytes", "insert_us", "change_us", "drop_us", "best_us")
    }


def table(found: list[Figures]) -> str:
    """The figures as people read them."""
    lines = [f"{'orders a level':>14} {'B traced':>9} {'B grown':>8} {'insert us':>10}"
             f" {'change us':>10} {'drop us':>8} {'best 50 us':>11}"]  # fmt: skip
    lines += [
        f"{f.per_level:>14} {f.order_bytes:>9.0f} {f.resident_bytes:>8.0f} {f.insert_us:>10.1f}"
        f" {f.change_us:>10.1f} {f.drop_us:>8.1f} {f.best_us:>11.1f}"
        for f in found
    ]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--orders", type=int, default=100_000)
    options.add_argument("--json", help="write the figures to this file as well")
    chosen: Any = options.parse_args()
    found = []
    for per_level in PER_LEVEL:
        times = measure(chosen.orders, per_level)
        traced = measure(chosen.orders, per_level, trace=True)
        found.append(attrs.evolve(times, order_bytes=traced.order_bytes))
    print(table(found))
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(keys(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
