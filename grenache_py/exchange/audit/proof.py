"""
Whether a home's log leads to the orders, trades and books that are stored.

Pure. ``replay.py`` gives the outcome of the log; here it is compared with the store's own tables:
order by order, trade by trade, and by the hash of each book.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import msgspec

from grenache_py.exchange.audit.replay import DIFFERENCES_MAX, LogReplay
from grenache_py.exchange.effects.rows import OrderRow, TradeRow
from grenache_py.exchange.home.order_rows import own_from_row
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.matching import rests
from grenache_py.exchange.market.order import LiveOrder

__all__ = ["Proof", "compare"]


@attrs.frozen
class Proof:
    """
    Whether the log leads to what is stored.

    Attributes:
        books: by market: number of standing own orders, hash of the book that follows from the
            log, hash of the book that is stored.
        problems: sentences; empty when all is proven.
    """

    home: str
    entries: int
    gaps: int
    beats: int
    live_orders: int
    trades: int
    books: dict[str, tuple[int, str, str]]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing in the log contradicts the store."""
        return not self.problems


def compare(replay: LogReplay, orders: Iterable[OrderRow], trades: Iterable[TradeRow]) -> Proof:
    """
    Compare the outcome of a replay with the store.

    Args:
        orders: own orders that are stored as live.
        trades: all trades that are stored, those of other homes too.
    """
    problems = list(replay.problems)
    replayed = {symbol: Book(market) for symbol, market in replay.markets.items()}
    stored = {symbol: Book(market) for symbol, market in replay.markets.items()}
    left = dict(replay.live)
    for live in left.values():
        _stand(replayed, live)
    for row in orders:
        if not row.order_seq:
            continue  # a stop that has not been triggered is in no log
        if row.order_id not in left:
            problems.append(f"order {row.order_id} is stored as live, the log does not have it")
            continue
        live = left.pop(row.order_id)
        _stand(stored, own_from_row(row, replay.home).live)
        if (live.version, live.open, live.reserved, live.filled, live.reason) != (
            row.version,
            row.open,
            row.reserved,
            row.filled,
            row.reason,
        ):
            problems.append(f"order {row.order_id} is stored in another state than the log's")
    problems.extend(
        f"order {order_id} is live in the log, the store does not have it" for order_id in left
    )
    left_trades = dict(replay.trades)
    oldest = None
    for found in trades:
        oldest = found.time_ms if oldest is None else min(oldest, found.time_ms)
        trade = left_trades.pop(found.trade_id, None)
        if trade is not None and TradeRow(*msgspec.structs.astuple(trade)) != found:
            problems.append(f"trade {found.trade_id} is stored in another way than the log's")
    problems.extend(
        f"trade {trade.trade_id} is in the log, the store does not have it"
        for trade in left_trades.values()
        if oldest is not None and trade.time_ms >= oldest  # older ones may have been pruned
    )
    books = {
        symbol: (sum(1 for _ in book.orders()), book.state_hash(), stored[symbol].state_hash())
        for symbol, book in sorted(replayed.items())
    }
    problems.extend(
        f"the book of {symbol} is not the one that follows from the log"
        for symbol, (_, follows, is_stored) in books.items()
        if follows != is_stored
    )
    return Proof(
        replay.home,
        replay.entries,
        replay.gaps,
        replay.beats,
        len(replay.live),
        len(replay.trades),
        books,
        tuple(problems[:DIFFERENCES_MAX]),
    )


def _stand(books: Mapping[str, Book], live: LiveOrder) -> None:
    if live.open and rests(live):
        books[live.order.market].add(live)
