"""
Changes to one own order that trade nothing: closing, replacing, lowering its quantity.

Pure. Each counts the change on the order and brings the book in line with it; versions, times
and the log are the caller's.
"""

from __future__ import annotations

from grenache_py.exchange.errors import INVALID_PARAMS, OrderError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.order import ClosedReason, LiveOrder, NewOrder

__all__ = ["close", "lower", "replacement"]


def close(book: Book, live: LiveOrder, reason: ClosedReason) -> int:
    """
    Close everything open of an own order and take it out of the book.

    Returns:
        The lots closed. What is reserved stays so: its answers are still to come.
    """
    lots = live.open
    live.open = 0
    live.reason = reason
    book.touched(live)
    return lots


def replacement(
    live: LiveOrder, quantity_lots: int | None, price_ticks: int | None
) -> NewOrder | int:
    """
    What replacing an own order means; nothing is changed.

    ``quantity_lots`` is the whole quantity, traded and in-doubt lots included, as in FIX.

    Returns:
        An int when the order keeps its place in time: its whole quantity from now on (see
        `lower`). Otherwise the order to place; close the old one once the new one is accepted,
        so that a refused replacement loses nothing.

    Raises:
        OrderError: -32602 the quantity is not more than what is traded or in doubt already,
            or a price is given for an order without one.
    """
    order = live.order
    used = live.reserved + live.filled
    whole = live.open + used
    quantity = whole if quantity_lots is None else quantity_lots
    if quantity <= used:
        raise OrderError(
            INVALID_PARAMS,
            "quantity is the order's whole quantity and must be more than what is traded or in"
            " doubt already; to stop the rest, cancel the order",
            field="quantity",
        )
    price = order.price_ticks
    if price_ticks is not None:
        if price is None:
            raise OrderError(INVALID_PARAMS, f"a {order.type} order has no price", field="price")
        price = price_ticks
    if price == order.price_ticks and quantity <= whole:
        return quantity
    pending = not live.triggered
    return NewOrder(
        order.market,
        order.side,
        quantity - used,
        price,
        order.type if pending or price is None else "limit",
        order.time_in_force,
        order.stop_ticks if pending else None,
        order.post_only,
        order.expires_ms,
        live.account,
        live.client_order_id,
        live.self_trade,
    )


def lower(book: Book, live: LiveOrder, quantity_lots: int) -> None:
    """
    Make an own order's whole quantity smaller; it keeps its place in time.

    Args:
        quantity_lots: the new whole quantity, as `replacement` returned it: more than what is
            traded or reserved, and not more than before.
    """
    live.open = quantity_lots - live.reserved - live.filled
    live.quantity = quantity_lots
    if live.triggered:
        book.touched(live)
