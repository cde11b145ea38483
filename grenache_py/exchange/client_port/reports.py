"""
What clients are shown: execution reports, trades, books, in decimal strings and FIX's words.

Pure. Numbers that are money are decimal strings, never floats; times are milliseconds since
1970. The shapes are those of ``docs/client-protocol.rst``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from grenache_py.exchange.effects.batch import BookChanged
from grenache_py.exchange.effects.rows import ExecutionRow
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Trade

__all__ = [
    "REPORT_TRADES_MAX",
    "book_snapshot",
    "book_update",
    "execution",
    "execution_report",
    "level_changes",
    "public_trade",
    "trades_until",
]

#: A report shows an order's newest trades, so that it fits a line; ``filled`` counts them all.
REPORT_TRADES_MAX = 100

#: Levels of one side in one line: 1,000 of the longest numbers are less than 65,536 bytes.
SNAPSHOT_LEVELS_MAX = 500
#: Levels of one side that nearly all who look are content with.
SHOWN_LEVELS = 50


class _Shown(NamedTuple):
    """
    A book as clients are shown it.

    Attributes:
        seq: that of the book when this was made.
        depth: levels of a side that were asked for.
        bids, asks: ``[price, quantity, orders]``, best first; never changed.
    """

    seq: int
    depth: int
    bids: list[list[str | int]]
    asks: list[list[str | int]]
    checksum: int


def execution_report(
    live: LiveOrder, market: Market, trades: Iterable[Trade] = ()
) -> dict[str, Any]:
    """
    Where an order stands.

    Args:
        trades: its own, oldest first; the newest `REPORT_TRADES_MAX` are shown.
    """
    order = live.order
    quantity = market.format_quantity
    filled, reserved, left = live.filled, live.reserved, live.open + live.reserved
    shown: list[dict[str, Any]] = []
    if filled:
        shown = [_own_trade(trade, live.order_id, market) for trade in trades]
    report = {
        "order_id": live.order_id,
        "client_order_id": live.client_order_id or None,
        "account": live.account,
        "market": order.market,
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "price": market.format_price(order.price_ticks) if order.price_ticks else None,
        # What a replace took off an order is no part of it any more.
        "quantity": quantity(live.quantity if live.reason else left + filled),
        "filled": quantity(filled) if filled else "0",
        "remaining": quantity(left) if left else "0",
        "in_doubt": quantity(reserved) if reserved else "0",
        "status": live.status,
        "average_price": market.format_average(live.value, filled) if filled else None,
        "time": order.time_ms,
        "updated": live.updated_ms,
        "trades": shown[-REPORT_TRADES_MAX:],
    }
    if live.used_before:
        report["quantity_before"] = quantity(live.used_before)
    if order.stop_ticks:
        report["stop_price"] = market.format_price(order.stop_ticks)
        report["triggered"] = live.triggered
    if order.post_only:
        report["post_only"] = True
    if order.expires_ms:
        report["expires"] = order.expires_ms
    return report


def trades_until(trades: Iterable[Trade], surplus_lots: int) -> list[Trade]:
    """An order's trades without the newest, which filled ``surplus_lots`` of it later."""
    until = list(trades)
    while until and surplus_lots > 0:
        surplus_lots -= until.pop().quantity_lots
    return until


def _own_trade(trade: Trade, order_id: str, market: Market) -> dict[str, Any]:
    """A trade as one of its two orders saw it."""
    maker = trade.maker_order == order_id
    return {
        "trade_id": trade.trade_id,
        "price": market.format_price(trade.price_ticks),
        "quantity": market.format_quantity(trade.quantity_lots),
        "role": "maker" if maker else "taker",
        "counterparty": trade.taker_home if maker else trade.maker_home,
        "time": trade.time_ms,
    }


def execution(row: ExecutionRow, market: Market) -> dict[str, Any]:
    """What an own order traded in one trade; ``side`` is the order's."""
    return {
        "account": row.account,
        "seq": row.seq,
        "trade_id": row.trade_id,
        "order_id": row.order_id,
        "client_order_id": row.client_order_id or None,
        "market": row.market,
        "side": row.side,
        "price": market.format_price(row.price_ticks),
        "quantity": market.format_quantity(row.quantity_lots),
        "role": row.role,
        "counterparty": row.counterparty,
        "time": row.time_ms,
    }


def public_trade(trade: Trade, market: Market) -> dict[str, Any]:
    """A trade as everybody sees it; ``side`` is the taker's."""
    return {
        "trade_id": trade.trade_id,
        "price": market.format_price(trade.price_ticks),
        "quantity": market.format_quantity(trade.quantity_lots),
        "side": trade.side,
        "time": trade.time_ms,
    }


def book_snapshot(book: Book, market: Market, depth: int) -> dict[str, Any]:
    """
    The best ``depth`` levels of each side: ``[price, quantity, orders]``, best first.

    It is made once for each ``seq`` of a book, however many ask: 500 levels a side take 0.5 ms.
    """
    shown: _Shown | None = book.shown
    if shown is None or shown.seq != book.seq or shown.depth < depth or book.is_changing:
        shown = _shown(book, market, depth)
        book.shown = None if book.is_changing else shown
    return {
        "market": market.symbol,
        "seq": book.seq,
        "bids": shown.bids[:depth],
        "asks": shown.asks[:depth],
        "checksum": shown.checksum,
    }


def _shown(book: Book, market: Market, depth: int) -> _Shown:
    """As deep as most ask, or as deep as anybody may: who asks ever deeper gains nothing."""
    depth = SHOWN_LEVELS if depth <= SHOWN_LEVELS else SNAPSHOT_LEVELS_MAX
    price, quantity = market.format_price, market.format_quantity
    sides: list[list[list[str | int]]] = [
        [[price(ticks), quantity(lots), orders] for ticks, lots, orders in book.levels(side, depth)]
        for side in ("buy", "sell")
    ]
    bids, asks = sides
    return _Shown(book.seq, depth, bids, asks, book.checksum())


def level_changes(
    changes: Iterable[tuple[str, int, int, int]], market: Market
) -> list[list[str | int]]:
    """Levels as ``[side, price, quantity, orders]``; quantity ``"0"`` removes a level."""
    price, quantity = market.format_price, market.format_quantity
    return [[side, price(ticks), quantity(lots), orders] for side, ticks, lots, orders in changes]


def book_update(
    event: BookChanged, changes: Sequence[tuple[str, int, int, int]], market: Market
) -> dict[str, Any]:
    """The params of ``book.update`` for ``changes``, all or a part of the event's."""
    return {
        "market": event.market,
        "seq": event.seq,
        "prev_seq": event.prev_seq,
        "changes": level_changes(changes, market),
        "checksum": event.checksum(),
    }
