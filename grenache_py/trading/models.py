"""
What a program trades with: markets, orders, fills, trades, as frozen values.

Pure. Money is `decimal.Decimal`, decoded from the wire's strings; a float is refused, in types and
at run time. Times are milliseconds since 1970, as sent; ``at`` is the same as a datetime. Members
that this version does not know are passed over.
"""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "Candle",
    "Fill",
    "Level",
    "Market",
    "Money",
    "Order",
    "OrderType",
    "OwnTrade",
    "PeerStatus",
    "Position",
    "Role",
    "SelfTrade",
    "Side",
    "Status",
    "Ticker",
    "TimeInForce",
    "Trade",
    "decimal",
    "market_name",
]

Side: TypeAlias = Literal["buy", "sell"]
OrderType: TypeAlias = Literal["limit", "market", "stop", "stop_limit"]
TimeInForce: TypeAlias = Literal["gtc", "ioc", "fok", "gtd"]
SelfTrade: TypeAlias = Literal["newest", "oldest", "both"]
Status: TypeAlias = Literal[
    "new", "partially_filled", "filled", "cancelled", "rejected", "expired", "pending_cancel"
]
Role: TypeAlias = Literal["maker", "taker"]

#: What may be given for a price or a quantity.
Money: TypeAlias = Decimal | str | int


def decimal(value: Money) -> Decimal:
    """
    The exact number that ``value`` is.

    Raises:
        TypeError: it is a float, or no number at all.
        ValueError: it is a text that is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise TypeError(f"{value!r} is no Decimal, str or int: a float is not exact")
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{value!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is no number")
    return number


def market_name(market: str) -> str:
    """A market as the daemon names it: ``btc/usd`` is ``BTC-USD``."""
    return market.strip().upper().replace("/", "-")


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, timezone.utc)


class Level(Struct, frozen=True):
    """One price of a book: how much stands there, of how many orders."""

    price: Decimal
    quantity: Decimal
    orders: int


class Market(Struct, frozen=True):
    """
    A market: its name and its steps.

    Attributes:
        tick: every price is a multiple of it.
        lot: every quantity is a multiple of it.
        protection_bp: how far from the best price a market order trades, in 1/100 of a per cent.
        band_bp: how far from the last trade or the middle a price may be, likewise; None: anyhow.
    """

    market: str
    tick: Decimal
    lot: Decimal
    protection_bp: int = 0
    band_bp: int | None = None

    def price(self, price: Money, side: Side) -> Decimal:
        """Round to the tick, to the side that is no worse: down to buy, up to sell."""
        return _step(decimal(price), self.tick, ROUND_FLOOR if side == "buy" else ROUND_CEILING)

    def quantity(self, quantity: Money) -> Decimal:
        """Round down to the lot."""
        return _step(decimal(quantity), self.lot, ROUND_FLOOR)


def _step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    return (value / step).to_integral_value(rounding) * step


class OwnTrade(Struct, frozen=True):
    """A trade of an order, as its report tells it."""

    trade_id: str
    price: Decimal
    quantity: Decimal
    role: Role
    counterparty: str
    time: int

    @property
    def at(self) -> datetime:
        """When it was made."""
        return _at(self.time)


class Order(Struct, frozen=True, kw_only=True):
    """
    Where an order stands.

    Attributes:
        quantity: its whole quantity: ``filled`` and ``remaining``, and what was closed.
        remaining: what may still trade; ``in_doubt`` is the part that is promised to another peer.
        quantity_before: what the orders that it replaced had traded or in doubt.
        trades: its newest, at most 100; ``fills()`` tells all.
    """

    order_id: str
    client_order_id: str | None
    account: str
    market: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: Decimal | None
    quantity: Decimal
    filled: Decimal
    remaining: Decimal
    in_doubt: Decimal
    status: Status
    average_price: Decimal | None
    time: int
    updated: int
    trades: tuple[OwnTrade, ...] = ()
    quantity_before: Decimal = Decimal(0)
    stop_price: Decimal | None = None
    triggered: bool = True
    post_only: bool = False
    expires: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in {"new", "partially_filled", "pending_cancel"}

    @property
    def at(self) -> datetime:
        """When it was placed."""
        return _at(self.time)


class Fill(Struct, frozen=True):
    """
    What an own order traded in one trade.

    Attributes:
        seq: counts the fills of its account, without gaps.
        side: the order's.
        counterparty: the key of the other side's home.
    """

    account: str
    seq: int
    trade_id: str
    order_id: str
    client_order_id: str | None
    market: str
    side: Side
    price: Decimal
    quantity: Decimal
    role: Role
    counterparty: str
    time: int

    @property
    def at(self) -> datetime:
        """When it was made."""
        return _at(self.time)


class Trade(Struct, frozen=True):
    """A trade as everybody sees it; ``side`` is the taker's."""

    trade_id: str
    price: Decimal
    quantity: Decimal
    side: Side
    time: int
    market: str = ""

    @property
    def at(self) -> datetime:
        """When it was made."""
        return _at(self.time)


class Ticker(Struct, frozen=True):
    """Best prices, the last trade, and the volume of 24 hours."""

    market: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    last_time: int | None
    volume: Decimal


class Candle(Struct, frozen=True):
    """The trades of one interval, which begins at ``time``."""

    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def at(self) -> datetime:
        """When it begins."""
        return _at(self.time)


class Position(Struct, frozen=True):
    """
    What an account bought less what it sold in one market, as far as its fills are kept.

    Attributes:
        position: negative when more was sold.
    """

    market: str
    position: Decimal
    bought: Decimal
    sold: Decimal


class PeerStatus(Struct, frozen=True, kw_only=True):
    """
    How the daemon is.

    Attributes:
        serving: it takes orders; ``alarms`` say why not.
        synced: it knows all that other homes have said.
        time: of the daemon, in milliseconds.
    """

    peer: str
    network: str
    version: str
    serving: bool
    synced: bool
    uptime_s: int
    time: int = 0
    links: int = 0
    alarms: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
