"""
The order book of one market: price levels, and in each level orders by time.

Pure. Own and remote orders stand side by side; who may trade with whom is decided in
``matching.py``. Words: a *ladder* is one side of the book, a *level* all orders at one price.

An order stands in the book with the lots it had open when ``touched`` was last called for it;
``LiveOrder.standing`` remembers how many, 0 meaning that it does not stand at all. Whoever
changes ``open`` of an order that belongs into the book calls ``touched`` right after.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Side
from grenache_py.exchange.market.price_level import NO_ROWS, Level, RowTable

__all__ = ["CHECKSUM_LEVELS", "Book", "Change", "Ladder", "LevelView"]

#: Levels of each side that the checksum covers: what a client showing a book keeps at least.
CHECKSUM_LEVELS = 25


class LevelView(NamedTuple):
    """A price level as others see it."""

    price_ticks: int
    lots: int
    orders: int


class Change(NamedTuple):
    """What a price level has become; 0 lots: it is gone."""

    side: Side
    price_ticks: int
    lots: int
    orders: int


class Ladder:
    """
    One side of the book.

    ``ranks`` holds the prices, negated for asks, in rising order: the best price of either
    side is the last item, where a list is cheapest to change.
    """

    __slots__ = ("_table", "changed", "levels", "ranks", "side", "sign")

    def __init__(self, side: Side, table: RowTable) -> None:
        self.side = side
        self._table = table
        self.sign = 1 if side == "buy" else -1
        self.ranks: list[int] = []
        self.levels: dict[int, Level] = {}
        self.changed: dict[int, None] = {}

    def add(self, live: LiveOrder) -> None:
        """Let ``live`` stand with its open lots; it does not stand yet."""
        price = live.price_ticks
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level(price, self._table)
            insort(self.ranks, price * self.sign)
        level.add(live)
        self.changed[price] = None

    def row_touched(self, price: int, number: int, before: int, lots: int) -> None:
        """See ``Book.row_touched``."""
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level(price, self._table)
            insort(self.ranks, price * self.sign)
        level.row_touched(number, before, lots)
        self.settle(level, ())

    def settle(self, level: Level, changed: Iterable[LiveOrder]) -> None:
        """Follow what orders of ``level`` have open now; an empty level goes."""
        level.settle(changed)
        price = level.price_ticks
        self.changed[price] = None
        if not level.objects and not level.rows:
            del self.levels[price]
            ranks = self.ranks
            rank = price * self.sign
            if ranks[-1] == rank:
                ranks.pop()
            else:
                del ranks[bisect_left(ranks, rank)]


class Book:
    """
    The book of one market.

    Args:
        rows: others' orders.

    Attributes:
        market: its units.
        seq: rises by one with every non-empty ``drain_changes``.
        bids, asks: the two ladders.
        shown: what was last made of it, kept here by who shows it to clients.
    """

    def __init__(self, market: Market, rows: RowTable = NO_ROWS) -> None:
        self.market = market
        self.seq = 0
        self.bids = Ladder("buy", rows)
        self.asks = Ladder("sell", rows)
        self.shown: Any = None

    @property
    def is_changing(self) -> bool:
        """Whether it changed since the last ``drain_changes``."""
        return bool(self.bids.changed or self.asks.changed)

    def ladder(self, side: Side) -> Ladder:
        """The ladder that orders of ``side`` stand in."""
        return self.bids if side == "buy" else self.asks

    def add(self, live: LiveOrder) -> None:
        """Let an order with open lots stand; nothing happens when it stands already."""
        self.touched(live)

    def touched(self, live: LiveOrder) -> None:
        """Bring the book in line with ``live.open``: stand, change or leave."""
        standing = live.standing
        if live.open != standing:
            ladder = self.bids if live.side == "buy" else self.asks
            if standing:
                ladder.settle(ladder.levels[live.price_ticks], (live,))
            else:
                ladder.add(live)

    def remove(self, live: LiveOrder) -> None:
        """Take ``live`` out whatever it has open; nothing happens when it does not stand."""
        lots, live.open = live.open, 0
        self.touched(live)
        live.open = lots

    def row_touched(self, side: Side, price: int, number: int, before: int, lots: int) -> None:
        """
        Bring the book in line with an order of another home.

        Args:
            number: of its row, which has not changed its key or its turn.
            before, lots: what it stood with, and what it is to stand with; 0: not at all.
        """
        if lots != before:
            self.ladder(side).row_touched(price, number, before, lots)

    def best_bid(self) -> int | None:
        """The highest price somebody buys at."""
        ranks = self.bids.ranks
        return ranks[-1] if ranks else None

    def best_ask(self) -> int | None:
        """The lowest price somebody sells at."""
        ranks = self.asks.ranks
        return -ranks[-1] if ranks else None

    def levels(self, side: Side, depth: int | None = None) -> list[LevelView]:
        """The best ``depth`` levels (None: all) of ``side``, best first."""
        ladder = self.ladder(side)
        ranks = ladder.ranks if depth is None else ladder.ranks[-depth:] if depth > 0 else []
        sign, levels = ladder.sign, ladder.levels
        return [
            LevelView(level.price_ticks, level.lots, level.count)
            for level in [levels[rank * sign] for rank in reversed(ranks)]
        ]

    def crossing(self, side: Side, limit_ticks: int | None) -> Iterator[LiveOrder]:
        """
        The orders that one of ``side`` with this limit (None: any price) would meet, in turn.

        Price first, then key. The book must not change while this is read.
        """
        ladder = self.asks if side == "buy" else self.bids
        sign = ladder.sign
        # The limit in the ranks of the ladder it meets: better or equal ranks are not below it.
        floor = None if limit_ticks is None else limit_ticks * sign
        for rank in reversed(ladder.ranks):
            if floor is not None and rank < floor:
                return
            yield from ladder.levels[rank * sign].queue()

    def orders(self) -> Iterator[LiveOrder]:
        """Everything that stands: bids, then asks, each in price-time order."""
        yield from self.crossing("sell", None)
        yield from self.crossing("buy", None)

    def drain_changes(self) -> list[Change]:
        """What the levels changed since the last call have become, and raise ``seq`` if any."""
        changes: list[Change] = []
        for ladder in (self.bids, self.asks):
            levels = ladder.levels
            for price in ladder.changed:
                level = levels.get(price)
                if level is None:
                    changes.append(Change(ladder.side, price, 0, 0))
                else:
                    changes.append(Change(ladder.side, price, level.lots, level.count))
            ladder.changed.clear()
        if changes:
            self.seq += 1
        return changes

    def checksum(self) -> int:
        """
        CRC-32 over the best 25 levels of each side, from the strings a client is sent.

        The text is ``price:quantity`` of each level joined by ``,``, best first, the bids, a
        ``|``, the asks: ``99.5:1.5,99:2|100:0.5``; an empty book is ``|``.
        """
        price = self.market.tick.format
        quantity = self.market.lot.format
        bids, asks = (
            ",".join([f"{price(level.price_ticks)}:{quantity(level.lots)}" for level in side])
            for side in (self.levels("buy", CHECKSUM_LEVELS), self.levels("sell", CHECKSUM_LEVELS))
        )
        return zlib.crc32(f"{bids}|{asks}".encode())

    def state_hash(self) -> str:
        """SHA-256 over every standing order by price and key: equal books, equal hashes."""
        state = hashlib.sha256(self.market.symbol.encode())
        for _, level in groupby(self.orders(), attrgetter("side", "price_ticks")):
            for live in sorted(level, key=attrgetter("key")):
                told = f"{live.side} {live.price_ticks} {live.open} {live.key} {live.home}\n"
                state.update(told.encode())
        return state.hexdigest()
