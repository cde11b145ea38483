"""
A market's book as a program has it, and whether it is the book of now.

Pure. Updates are taken in as docs/client-protocol.rst says: absolute quantities, numbers that
follow each other, a checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice

from msgspec import Struct
from sortedcontainers import SortedDict

from grenache_py.trading.models import Level, Side

__all__ = ["Book", "BookSnapshot", "BookUpdate"]

CHECKSUM_LEVELS = 25


class BookSnapshot(Struct, frozen=True):
    """The result of ``book.get`` and ``book.subscribe``."""

    market: str
    seq: int
    bids: list[tuple[str, str, int]]
    asks: list[tuple[str, str, int]]


class BookUpdate(Struct, frozen=True):
    """The params of ``book.update``."""

    market: str
    seq: int
    prev_seq: int
    changes: list[tuple[Side, str, str, int]]
    checksum: int | None


class Book:
    """
    One market's book. It changes in place while it is followed.

    Attributes:
        market: its name.
        seq: the number of its newest change at the daemon; 0 before the first snapshot.
        current: it is the daemon's book of now. False before the first snapshot, from the moment
            when the line is lost or an update is missing until a new snapshot is here, and for a
            book that was only asked for once.
    """

    __slots__ = ("_asks", "_bids", "_clock", "_heard_at", "current", "market", "seq")

    def __init__(self, market: str, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: seconds from any fixed point, rising.
        """
        self.market = market
        self.seq = 0
        self.current = False
        self._clock = clock
        self._heard_at = clock()
        # Best first: the key of a bid is its negated price. Values: price and quantity as sent.
        self._bids: SortedDict = SortedDict()
        self._asks: SortedDict = SortedDict()

    @property
    def bids(self) -> list[Level]:
        """Levels to buy, the best (highest) first."""
        return [_level(each) for each in self._bids.values()]

    @property
    def asks(self) -> list[Level]:
        """Levels to sell, the best (lowest) first."""
        return [_level(each) for each in self._asks.values()]

    @property
    def best_bid(self) -> Level | None:
        """The highest level to buy."""
        return _level(self._bids.peekitem(0)[1]) if self._bids else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest level to sell."""
        return _level(self._asks.peekitem(0)[1]) if self._asks else None

    @property
    def mid(self) -> Decimal | None:
        """The exact middle of the best prices; None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else (bid.price + ask.price) / 2

    @property
    def age_s(self) -> float:
        """Seconds since it was known to be the daemon's."""
        return 0.0 if self.current else max(0.0, self._clock() - self._heard_at)

    def __repr__(self) -> str:
        bid, ask = (
            f"{level.quantity} @ {level.price}" if level else "-"
            for level in (self.best_bid, self.best_ask)
        )
        return f"<Book {self.market} {bid} / {ask}{'' if self.current else ', NOT CURRENT'}>"

    # What the core does.

    def take(self, snapshot: BookSnapshot, current: bool = True) -> None:
        """Begin anew."""
        self.seq, self.current, self._heard_at = snapshot.seq, current, self._clock()
        self._bids = SortedDict({-Decimal(each[0]): each for each in snapshot.bids})
        self._asks = SortedDict({Decimal(each[0]): each for each in snapshot.asks})

    def apply(self, update: BookUpdate) -> bool:
        """Take in an update; False: something is missing, and the book is not current any more."""
        if update.prev_seq != self.seq:
            self.lost()
            return False
        self.seq = update.seq
        for side, price, quantity, orders in update.changes:
            levels = self._bids if side == "buy" else self._asks
            key = -Decimal(price) if side == "buy" else Decimal(price)
            if quantity == "0":
                levels.pop(key, None)
            else:
                levels[key] = (price, quantity, orders)
        if update.checksum is not None and update.checksum != self.checksum():
            self.lost()
            return False
        return True

    def lost(self) -> None:
        """It may have changed, and nobody said so."""
        if self.current:
            self.current, self._heard_at = False, self._clock()

    def checksum(self) -> int:
        """CRC-32 of the best 25 levels, as the daemon computes it."""
        sides = (self._text(levels.values()) for levels in (self._bids, self._asks))
        return zlib.crc32("|".join(sides).encode())

    @staticmethod
    def _text(levels: Sequence[tuple[str, str, int]]) -> str:
        return ",".join(f"{each[0]}:{each[1]}" for each in islice(levels, CHECKSUM_LEVELS))


def _level(sent: tuple[str, str, int]) -> Level:
    return Level(Decimal(sent[0]), Decimal(sent[1]), sent[2])
