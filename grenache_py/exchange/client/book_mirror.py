"""
A client's copy of a book, kept up to date from a subscription and checked.

Pure. What a program that follows a book has to do, in the form it may be copied from: apply
absolute quantities, follow ``prev_seq``, compare the checksum, start again when they disagree.
"""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

__all__ = ["BookMirror"]

CHECKSUM_LEVELS = 25


class BookMirror:
    """
    One market's book.

    Args:
        snapshot: the result of ``book.subscribe``.
    """

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.market: str = snapshot["market"]
        self.seq: int = snapshot["seq"]
        self._sides: dict[str, dict[str, tuple[str, int]]] = {
            "buy": {price: (quantity, n) for price, quantity, n in snapshot["bids"]},
            "sell": {price: (quantity, n) for price, quantity, n in snapshot["asks"]},
        }

    def apply(self, update: dict[str, Any]) -> bool:
        """Apply the params of a ``book.update``; False: take a new snapshot."""
        if update["prev_seq"] != self.seq:
            return False
        self.seq = update["seq"]
        for side, price, quantity, orders in update["changes"]:
            if quantity == "0":
                self._sides[side].pop(price, None)
            else:
                self._sides[side][price] = (quantity, orders)
        return update["checksum"] is None or update["checksum"] == self.checksum()

    def levels(self, side: str, depth: int) -> list[tuple[str, str, int]]:
        """The best ``depth`` levels of a side: price, quantity, orders."""
        levels = self._sides[side]
        best = sorted(levels, key=Decimal, reverse=side == "buy")[:depth]
        return [(price, *levels[price]) for price in best]

    def checksum(self) -> int:
        """CRC-32 of the best 25 levels, as the daemon computes it."""
        best = [self.levels(side, CHECKSUM_LEVELS) for side in ("buy", "sell")]
        text = "|".join(",".join(f"{level[0]}:{level[1]}" for level in levels) for levels in best)
        return zlib.crc32(text.encode())

    def snapshot(self, depth: int) -> dict[str, Any]:
        """The book in the shape of ``book.get``."""
        return {
            "market": self.market,
            "seq": self.seq,
            "bids": self.levels("buy", depth),
            "asks": self.levels("sell", depth),
        }
