"""
Trading at a peer of the exchange from a program: `Client` waits, `AsyncClient` is for asyncio.

(`grenache_py.trading.tx` has the one for Twisted.) docs/trading.rst says how to use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grenache_py.trading.blocking import Client
from grenache_py.trading.book import Book
from grenache_py.trading.calls import PlaceOptions
from grenache_py.trading.errors import (
    AnswerTimeout,
    BadStep,
    CannotFill,
    DuplicateOrderId,
    ExchangeError,
    InvalidRequest,
    NotAuthorised,
    NotConnected,
    OrderClosed,
    OutcomeUnknown,
    OutsideBand,
    RateLimited,
    Refused,
    SelfTraded,
    Standby,
    TooLate,
    Unavailable,
    UnknownMarket,
    UnknownOrder,
    WouldCross,
)
from grenache_py.trading.line import State
from grenache_py.trading.models import (
    Candle,
    Fill,
    Level,
    Market,
    Money,
    Order,
    OrderType,
    OwnTrade,
    PeerStatus,
    Position,
    SelfTrade,
    Side,
    Status,
    Ticker,
    TimeInForce,
    Trade,
)
from grenache_py.trading.stream import Stream

if TYPE_CHECKING:
    from grenache_py.trading.async_client import AsyncClient, AsyncStream

__all__ = [
    "AnswerTimeout",
    "AsyncClient",
    "AsyncStream",
    "BadStep",
    "Book",
    "Candle",
    "CannotFill",
    "Client",
    "DuplicateOrderId",
    "ExchangeError",
    "Fill",
    "InvalidRequest",
    "Level",
    "Market",
    "Money",
    "NotAuthorised",
    "NotConnected",
    "Order",
    "OrderClosed",
    "OrderType",
    "OutcomeUnknown",
    "OutsideBand",
    "OwnTrade",
    "PeerStatus",
    "PlaceOptions",
    "Position",
    "RateLimited",
    "Refused",
    "SelfTrade",
    "SelfTraded",
    "Side",
    "Standby",
    "State",
    "Status",
    "Stream",
    "Ticker",
    "TimeInForce",
    "TooLate",
    "Trade",
    "Unavailable",
    "UnknownMarket",
    "UnknownOrder",
    "WouldCross",
]


def __getattr__(name: str) -> Any:
    """Import what needs asyncio only for those who use it: it is half of this library's weight."""
    if name not in {"AsyncClient", "AsyncStream"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from grenache_py.trading import async_client

    return getattr(async_client, name)
