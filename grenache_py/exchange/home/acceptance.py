"""
Decides what a client's request for an order is: a new order, an earlier one, or a refusal.

Pure. Nothing is changed here.
"""

from __future__ import annotations

from grenache_py.exchange.errors import (
    ALREADY_CLOSED,
    DUPLICATE_CLIENT_ID,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    OrderError,
)
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, NewOrder, new_order_of
from grenache_py.exchange.market.price_band import check_band
from grenache_py.exchange.signed_log.entries import Stamp, order_id

__all__ = ["check_new", "identified", "open_order", "placed_before", "unknown_market"]


def check_new(
    ledger: Ledger, market: Market, new: NewOrder, now_ms: int, had_ticks: int | None = None
) -> None:
    """
    Refuse an order that makes no sense, or whose price is far from where the market trades.

    Args:
        had_ticks: the price that the order it replaces has, which may stay.

    Raises:
        OrderError: -32602, -32015.
    """
    market.check(new, now_ms)
    if market.band_bp and new.price_ticks != had_ticks:
        last = ledger.tape.last.get(new.market)
        last_ticks = None if last is None else last.price_ticks
        check_band(market, new, ledger.books[new.market], last_ticks)


def identified(new: NewOrder, market: Market, home: str, stamp: Stamp) -> LiveOrder:
    """The order that ``new`` asks for, with the id that its content and ``stamp`` give it."""
    price = None if new.price_ticks is None else market.format_price(new.price_ticks)
    stop = None if new.stop_ticks is None else market.format_price(new.stop_ticks)
    number = order_id(
        home,
        new.market,
        new.side,
        new.type,
        market.format_quantity(new.quantity_lots),
        stamp,
        price,
        stop,
        new.time_in_force,
        new.post_only,
        new.expires_ms,
    )
    return LiveOrder.placed(new, number, home, *stamp)


def placed_before(ledger: Ledger, order_id: str, new: NewOrder) -> LiveOrder:
    """
    The order that an earlier request with this client id made.

    Raises:
        OrderError: the earlier request asked for something else.
    """
    own = ledger.find(order_id)
    assert own is not None
    if new_order_of(own.live) != new:
        raise OrderError(
            DUPLICATE_CLIENT_ID,
            f"client_order_id {new.client_order_id!r} already names another order; use a new one",
            field="client_order_id",
            order_id=order_id,
        )
    return own.live


def open_order(ledger: Ledger, order_id: str, account: str | None) -> LiveOrder:
    """
    An own order that its owner may still change.

    Args:
        account: whose it must be; None: anybody's.

    Raises:
        OrderError: unknown here (or another account's), or closed already.
    """
    own = ledger.find(order_id)
    if own is None or (account is not None and own.live.account != account):
        raise OrderError(UNKNOWN_ORDER, f"no order {order_id} here", order_id=order_id)
    if own.live.terminal or own.live.reason:
        raise OrderError(
            ALREADY_CLOSED,
            f"order {order_id} is {own.live.status} already",
            order_id=order_id,
            status=own.live.status,
        )
    return own.live


def unknown_market(symbol: str, known: list[str]) -> OrderError:
    """The refusal of an order for a market that this peer does not trade."""
    return OrderError(
        UNKNOWN_MARKET,
        f"no market {symbol[:40]!r} here; this peer trades {', '.join(sorted(known))}",
        field="market",
    )
