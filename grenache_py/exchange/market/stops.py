"""
The stop and stop-limit orders of one market that wait for their price to be traded.

Pure. They are private to their home: nobody else learns of them until a trade reaches their
trigger and they enter the market, with their place in time from that moment.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TypeAlias

from grenache_py.exchange.market.order import LiveOrder, OrderKey, Side

__all__ = ["Stops", "reached"]

_Waiting: TypeAlias = tuple[int, OrderKey, LiveOrder]


def reached(side: Side, stop_ticks: int, last_ticks: int) -> bool:
    """A trade at ``last_ticks`` triggers such a stop: at or above a buy's, at or below a sell's."""
    return last_ticks >= stop_ticks if side == "buy" else last_ticks <= stop_ticks


class Stops:
    """
    Pending stop orders, the next to be triggered first.

    Of several that a trade reaches, the one whose trigger comes first on the way of the price
    enters first, at one trigger price the oldest; buys before sells, should both be reached.
    """

    def __init__(self) -> None:
        self._buys: list[_Waiting] = []
        self._sells: list[_Waiting] = []

    def __len__(self) -> int:
        return len(self._buys) + len(self._sells)

    def add(self, live: LiveOrder) -> None:
        """Let ``live``, which has a trigger, wait."""
        waiting, entry = self._entry(live)
        insort(waiting, entry)

    def remove(self, live: LiveOrder) -> None:
        """Forget ``live``; nothing happens when it does not wait."""
        waiting, entry = self._entry(live)
        index = bisect_left(waiting, entry)
        if index < len(waiting) and waiting[index][2] is live:
            del waiting[index]

    def pop_reached(self, last_ticks: int, placed_by_ms: int | None = None) -> LiveOrder | None:
        """
        Take out the next order that a trade at ``last_ticks`` triggers.

        One at a time, because entering it may trade, and that trade decides what is next.

        Args:
            placed_by_ms: orders that were placed later go on waiting; None: all count.
        """
        for waiting in (self._buys, self._sells):
            for place, (_, _, live) in enumerate(waiting):
                if not reached(live.side, live.order.stop_ticks or 0, last_ticks):
                    break
                if placed_by_ms is None or live.order.time_ms <= placed_by_ms:
                    del waiting[place]
                    return live
        return None

    def orders(self) -> list[LiveOrder]:
        """All that wait: buys, then sells, each the next to be triggered first."""
        return [live for _, _, live in (*self._buys, *self._sells)]

    def _entry(self, live: LiveOrder) -> tuple[list[_Waiting], _Waiting]:
        stop_ticks = live.order.stop_ticks or 0
        if live.side == "buy":
            return self._buys, (stop_ticks, live.key, live)
        return self._sells, (-stop_ticks, live.key, live)
