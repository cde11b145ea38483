"""
When the good-till-date orders of this home expire.

Pure. An order that closes earlier stays in the heap until its time; the caller passes it over.
"""

from __future__ import annotations

import heapq

import attrs

__all__ = ["Expiries"]


@attrs.define
class Expiries:
    """
    Ids of orders by the time they expire.

    Attributes:
        heap: (time in milliseconds of the home's clock, order id); empty when none expires.
    """

    heap: list[tuple[int, str]] = attrs.Factory(list)

    def add(self, expires_ms: int, order_id: str) -> None:
        """Have ``order_id`` expire at ``expires_ms``."""
        heapq.heappush(self.heap, (expires_ms, order_id))

    def due(self, now_ms: int) -> list[str]:
        """Take out the orders whose time has come, the earliest first."""
        heap, due = self.heap, []
        while heap and heap[0][0] <= now_ms:
            due.append(heapq.heappop(heap)[1])
        return due

    def next_ms(self) -> int | None:
        """When ``due`` next has an order, or None."""
        return self.heap[0][0] if self.heap else None
