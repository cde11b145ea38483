"""
Orders, their live state, and trades: the values that all modules of the exchange share.

Pure. An ``Order`` is frozen: it is what its home promised and what its id is the hash of.
What happens to it later stands apart, in a ``LiveOrder`` (docs/failure-modes.rst#f8: engines that
change the order itself end up publishing the remainder as if it were the order). Prices are integer
ticks and quantities integer lots of the order's market; words are those of FIX.

All are msgspec structs: built in a fraction of the time of attrs classes and, as they hold
nothing but numbers, strings and each other, never a cycle, of no concern to the garbage
collector, whose pauses would grow with the number of orders.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "ClosedReason",
    "LiveOrder",
    "NewOrder",
    "Order",
    "OrderKey",
    "OrderType",
    "SelfTrade",
    "Side",
    "Status",
    "TimeInForce",
    "Trade",
    "new_order_of",
]

# Plain strings: they are compared by identity first, and need no conversion for JSON.
Side: TypeAlias = Literal["buy", "sell"]
OrderType: TypeAlias = Literal["limit", "market", "stop", "stop_limit"]
TimeInForce: TypeAlias = Literal["gtc", "ioc", "fok", "gtd"]
SelfTrade: TypeAlias = Literal["newest", "oldest", "both"]
ClosedReason: TypeAlias = Literal["", "cancelled", "expired", "rejected"]
Status: TypeAlias = Literal[
    "new", "partially_filled", "filled", "cancelled", "rejected", "expired", "pending_cancel"
]
OrderKey: TypeAlias = tuple[int, int, str]


class NewOrder(msgspec.Struct, frozen=True, gc=False):
    """
    What a client asks for, validated and in units of the market, before it has an identity.

    Attributes:
        market: symbol.
        price_ticks: the limit; None for ``market`` and ``stop``.
        stop_ticks: the trigger of ``stop`` and ``stop_limit``, else None.
        expires_ms: set exactly when ``time_in_force`` is ``gtd``.
        account: a label private to this home; self-trade prevention is per account.
        client_order_id: "" when the client gave none.
    """

    market: str
    side: Side
    quantity_lots: int
    price_ticks: int | None = None
    type: OrderType = "limit"
    time_in_force: TimeInForce = "gtc"
    stop_ticks: int | None = None
    post_only: bool = False
    expires_ms: int | None = None
    account: str = ""
    client_order_id: str = ""
    self_trade: SelfTrade = "newest"


class Order(msgspec.Struct, frozen=True, gc=False):
    """
    One order as its home signed it. Never changes.

    Attributes:
        order_id: 32 hex digits, the hash of all other fields (see ``log.order_id``).
        home: the key (64 hex digits) of the only peer that may execute it.
        time_ms, counter: the home's hybrid clock when it accepted the order.
    """

    order_id: str
    home: str
    market: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price_ticks: int | None
    stop_ticks: int | None
    quantity_lots: int
    post_only: bool
    expires_ms: int | None
    time_ms: int
    counter: int


class LiveOrder(msgspec.Struct, eq=False, gc=False):
    """
    An order and where its quantity stands. Own and remote orders alike.

    After every command (docs/design/distributed-core.rst#i1):
    ``quantity = open + reserved + filled + closed``, none of them negative.

    Attributes:
        key: time priority, and who is the taker when two orders cross (docs/design/fills.rst#role):
            the stamp of the log entry that published the order, and its id. For a stop order
            that is when it triggered, for all others when it was accepted.
        quantity: its whole quantity: what its home signed, less what a replace took off it.
        open: lots that may still trade.
        reserved: lots promised to fills whose answer is not known yet ("in doubt").
        filled: lots traded.
        version: rises with every published change.
        reason: why the order was closed; "" while it lives. (A replace that lowers the
            quantity takes the difference off ``quantity`` and leaves the reason empty.)
        value: sum of price times lots over its fills, in ticks x lots (own orders only).
        used_before: lots that the orders it replaced had traded or in doubt by then; the whole
            quantity of all that share its ``client_order_id`` includes them.
        standing: how many lots the book counts it with, 0 when it is not in the book; only
            ``book.py`` writes it.
    """

    order: Order
    # Copies of frozen fields: the matching loop reads them for every maker it passes.
    order_id: str
    home: str
    side: Side
    price_ticks: int
    key: OrderKey
    quantity: int
    open: int
    reserved: int = 0
    filled: int = 0
    version: int = 0
    reason: ClosedReason = ""
    account: str = ""
    client_order_id: str = ""
    value: int = 0
    triggered: bool = True
    self_trade: SelfTrade = "newest"
    updated_ms: int = 0
    standing: int = 0
    used_before: int = 0

    @classmethod
    def of(cls, order: Order, account: str = "", client_order_id: str = "") -> LiveOrder:
        """A fresh order, all of it open (price 0 stands for "none" in ``price_ticks``)."""
        return cls(
            order,
            order.order_id,
            order.home,
            order.side,
            order.price_ticks or 0,
            (order.time_ms, order.counter, order.order_id),
            order.quantity_lots,
            order.quantity_lots,
            account=account,
            client_order_id=client_order_id,
        )

    @classmethod
    def placed(
        cls, new: NewOrder, order_id: str, home: str, time_ms: int, counter: int
    ) -> LiveOrder:
        """The order that ``new`` asks for, with the identity its home gave it."""
        order = Order(
            order_id,
            home,
            new.market,
            new.side,
            new.type,
            new.time_in_force,
            new.price_ticks,
            new.stop_ticks,
            new.quantity_lots,
            new.post_only,
            new.expires_ms,
            time_ms,
            counter,
        )
        live = cls.of(order, new.account, new.client_order_id)
        live.self_trade = new.self_trade
        return live

    @property
    def closed(self) -> int:
        """Lots that will never trade: cancelled, expired or refused."""
        return self.quantity - self.open - self.reserved - self.filled

    @property
    def terminal(self) -> bool:
        """
        Nothing open and nothing in doubt: this state is final
        (docs/design/distributed-core.rst#i8).
        """
        return self.open == 0 and self.reserved == 0

    @property
    def status(self) -> Status:
        """The state in FIX's words."""
        if self.reason:
            return "pending_cancel" if self.reserved else self.reason
        if self.open == 0 and self.reserved == 0:
            return "filled"
        return "partially_filled" if self.filled else "new"


class Trade(msgspec.Struct, frozen=True, gc=False):
    """
    One execution, the same on both sides.

    Attributes:
        trade_id: 32 hex digits, a hash of the parties and the fill sequence
            (docs/failure-modes.rst#f10).
        side: the taker's side.
        time_ms: when the maker's home committed it.
    """

    trade_id: str
    market: str
    price_ticks: int
    quantity_lots: int
    side: Side
    maker_order: str
    taker_order: str
    maker_home: str
    taker_home: str
    time_ms: int


def new_order_of(live: LiveOrder) -> NewOrder:
    """The request that ``live`` came from, to compare a repeated one with."""
    order = live.order
    return NewOrder(
        order.market,
        order.side,
        order.quantity_lots,
        order.price_ticks,
        order.type,
        order.time_in_force,
        order.stop_ticks,
        order.post_only,
        order.expires_ms,
        live.account,
        live.client_order_id,
        live.self_trade,
    )
