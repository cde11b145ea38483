"""
An own order as a row of the store, and back.

Pure. In a row 0 stands for "none" where an order has no price, no stop price or no expiry.
"""

from __future__ import annotations

from grenache_py.exchange.effects.rows import OrderRow
from grenache_py.exchange.home.transition import OwnOrder
from grenache_py.exchange.market.order import LiveOrder, Order

__all__ = ["order_row", "own_from_row"]


def order_row(own: OwnOrder) -> OrderRow:
    """The row that keeps ``own``; its trades and log entries have rows of their own."""
    live, order = own.live, own.live.order
    key_ms, key_counter, order_id = live.key
    # One is made for each order: to call the class takes as long again as all that is in it.
    return OrderRow._make(
        (
            order_id,
            order.market,
            order.side,
            order.type,
            order.time_in_force,
            order.price_ticks or 0,
            order.stop_ticks or 0,
            order.quantity_lots,
            1 if order.post_only else 0,
            order.expires_ms or 0,
            order.time_ms,
            order.counter,
            key_ms,
            key_counter,
            live.account,
            live.client_order_id,
            live.self_trade,
            live.open,
            live.reserved,
            live.filled,
            live.quantity,
            live.version,
            live.reason,
            live.value,
            1 if live.triggered else 0,
            own.fill_seq,
            own.order_seq,
            own.state_seq,
            0 if live.terminal else 1,
            live.updated_ms,
            live.used_before,
        )
    )


def own_from_row(row: OrderRow, home: str) -> OwnOrder:
    """
    The own order that ``row`` keeps, without its trades and log entries.

    Args:
        home: this peer's key; a row does not repeat it.
    """
    order = Order(
        row.order_id,
        home,
        row.market,
        row.side,  # type: ignore[arg-type]
        row.type,  # type: ignore[arg-type]
        row.time_in_force,  # type: ignore[arg-type]
        row.price_ticks or None,
        row.stop_ticks or None,
        row.quantity_lots,
        bool(row.post_only),
        row.expires_ms or None,
        row.time_ms,
        row.counter,
    )
    live = LiveOrder.of(order, row.account, row.client_order_id)
    live.key = (row.key_ms, row.key_counter, row.order_id)
    live.open, live.reserved, live.filled = row.open, row.reserved, row.filled
    live.quantity, live.version, live.value = row.total_lots, row.version, row.value
    live.reason = row.reason  # type: ignore[assignment]
    live.self_trade = row.self_trade  # type: ignore[assignment]
    live.triggered = bool(row.triggered)
    live.updated_ms = row.updated_ms
    live.used_before = row.used_before
    return OwnOrder(live, row.fill_seq, row.order_seq, row.state_seq)
