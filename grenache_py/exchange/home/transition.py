"""
An own order with what its home knows of it, and one atomic change to such orders.

Pure. Values only: the ledger keeps the orders and finishes the changes.
"""

from __future__ import annotations

from msgspec import Struct

from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.exchange.signed_log.merkle import Draft

__all__ = ["OwnOrder", "Transition"]

#: Trades kept in memory with each own order.
ORDER_TRADES_MAX = 100


class OwnOrder(Struct, eq=False, gc=False):
    """
    An own order with what only its home needs to know.

    Attributes:
        fill_seq: fills it ever took part in as taker; part of their ids.
        order_seq, order_entry: the log entry that published it (0, None while private; None also
            when it cannot be read).
        state_seq, state_entry: the newest log entry with its state; likewise.
        element: what stands in the live set for it, None while it does not.
        trades: its newest trades, at most ``ORDER_TRADES_MAX``.
    """

    live: LiveOrder
    fill_seq: int = 0
    order_seq: int = 0
    state_seq: int = 0
    order_entry: Draft | None = None
    state_entry: Draft | None = None
    element: int | None = None
    trades: tuple[Trade, ...] = ()

    def remember(self, trade: Trade) -> None:
        """Keep a trade of this order; most orders never have one, and keep nothing."""
        self.trades = (*self.trades[1 - ORDER_TRADES_MAX :], trade)


class Transition(Struct, gc=False):
    """
    One atomic change under way.

    Attributes:
        publish: the order this step publishes for the first time.
        touched: orders whose state changed, by id; ``publish`` among them.
        trades: in the order they happened.
    """

    publish: LiveOrder | None = None
    touched: dict[str, LiveOrder] = {}
    trades: list[Trade] = []

    def touch(self, live: LiveOrder) -> None:
        """Note that ``live`` changed."""
        self.touched[live.order_id] = live

    @property
    def is_local(self) -> bool:
        """Own orders traded with each other."""
        return any(trade.maker_home == trade.taker_home for trade in self.trades)
