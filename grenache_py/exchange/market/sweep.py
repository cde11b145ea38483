"""
Which own orders stand crossed with an older order and must be matched again.

Pure. Nothing is changed here: the caller matches each of the orders found, one after the other.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.matching import NEVER, Room, oldest
from grenache_py.exchange.market.order import LiveOrder

__all__ = ["crossed"]


def crossed(book: Book, own_home: str, room: Room | None = None) -> list[LiveOrder]:
    """
    Own orders that stand crossed with an older order: it is their turn to ``match`` again.

    Happens when a reservation is released, when an order of another home arrives late, and
    when a home on hold comes back. Oldest first.

    Args:
        room: as for ``match``; None: as much as there is. Own orders that would meet only
            orders without room are left out: there may be thousands, waiting for one home.
            Post-only ones, whose end it is to meet any, never are.
    """
    bids, asks = book.bids, book.asks
    if not (bids.ranks and asks.ranks and bids.ranks[-1] >= -asks.ranks[-1]):
        return []
    turns: list[LiveOrder] = []

    def has_room(maker: LiveOrder) -> bool:
        return room is None or maker.home == own_home or room(maker) > 0

    for ladder, against in ((bids, asks), (asks, bids)):
        # From the least aggressive crossing price inwards, each price meets all that the one
        # before met and more: `oldest` is the smallest key met so far, `takes` that of an
        # order with room.
        limit = -against.ranks[-1] if ladder is bids else against.ranks[-1]
        meeting = len(against.ranks)
        meets = takes = NEVER
        for rank in ladder.ranks[bisect_left(ladder.ranks, limit * ladder.sign) :]:
            price = rank * ladder.sign
            while meeting and against.ranks[meeting - 1] >= price * against.sign:
                meeting -= 1
                level = against.levels[against.ranks[meeting] * against.sign]
                meets = min(meets, oldest(level))
                takes = min(takes, oldest(level, has_room))
            for live in ladder.levels[price].queue():
                if live.home == own_home and (
                    takes < live.key or (live.order.post_only and meets < live.key)
                ):
                    turns.append(live)
    turns.sort(key=attrgetter("key"))
    return turns
