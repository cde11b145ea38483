"""
The parameters of each method of the client port, as types.

Pure. One definition for both ends (docs/failure-modes.rst#f31): a member that is missing, unknown
or of another type is refused by name, in C, before anything else looks at the request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from grenache_py.exchange.market.order import OrderType, SelfTrade, Side, TimeInForce

__all__ = [
    "Addressed",
    "Backup",
    "BookGet",
    "CancelAfter",
    "CancelAll",
    "Candles",
    "ExecutionsList",
    "Hello",
    "Help",
    "LogLevel",
    "Nothing",
    "OneFill",
    "OneMarket",
    "OneOrder",
    "OrderList",
    "OrdersSubscribe",
    "OwnAccount",
    "PeerBan",
    "PeerKey",
    "PlaceOrder",
    "ReplaceOrder",
    "TradesList",
]

# Names a client chooses: printable ASCII, so that they survive logs, terminals and TOML.
Name = Annotated[str, Meta(max_length=64, pattern=r"^[!-~]*\Z")]
MarketSymbol = Annotated[str, Meta(max_length=32)]
Decimal = Annotated[str, Meta(max_length=64)]
PageLimit = Annotated[int, Meta(ge=1, le=1000)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]


Sequence = Annotated[int, Meta(ge=0, le=2**62)]


class Params(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of all below."""


class Nothing(Params):
    """No parameters."""


class Hello(Params):
    client: Annotated[str, Meta(max_length=200)] = ""
    token: Annotated[str, Meta(max_length=1000)] | None = None
    cancel_on_disconnect: bool | None = None


class Help(Params):
    command: Annotated[str, Meta(max_length=64)] | None = None


class PlaceOrder(Params):
    market: MarketSymbol
    side: Side
    quantity: Decimal
    type: OrderType = "limit"
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    expires: Milliseconds | None = None
    client_order_id: Name | None = None
    account: Name | None = None
    self_trade: SelfTrade = "newest"
    wait_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    valid_until: Milliseconds | None = None


class OneOrder(Params):
    order_id: Name | None = None
    client_order_id: Name | None = None
    account: Name | None = None


class CancelAll(Params):
    market: MarketSymbol | None = None
    account: Name | None = None
    all_accounts: bool = False


class CancelAfter(Params):
    ms: Annotated[int, Meta(ge=0, le=86_400_000)]
    market: MarketSymbol | None = None
    account: Name | None = None


class ReplaceOrder(Params):
    order_id: Name | None = None
    client_order_id: Name | None = None
    account: Name | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None


class OrderList(Params):
    market: MarketSymbol | None = None
    status: Literal["open", "closed", "all"] = "open"
    account: Name | None = None
    limit: PageLimit = 100
    after: Name | None = None


class OwnAccount(Params):
    account: Name | None = None


class OrdersSubscribe(Params):
    account: Name | None = None
    from_seq: Sequence | None = None


class ExecutionsList(Params):
    account: Name | None = None
    market: MarketSymbol | None = None
    limit: PageLimit = 100
    after: Sequence | None = None


class OneMarket(Params):
    market: MarketSymbol


class BookGet(Params):
    market: MarketSymbol
    depth: Annotated[int, Meta(ge=1, le=500)] = 50


class TradesList(Params):
    market: MarketSymbol
    limit: PageLimit = 100
    after: Name | None = None


class Candles(Params):
    market: MarketSymbol
    interval: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = "1m"
    limit: PageLimit = 100
    after: Milliseconds | None = None


class OneFill(Params):
    fill: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Addressed(Params):
    address: Annotated[str, Meta(max_length=260)]


class PeerKey(Params):
    peer: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class PeerBan(PeerKey):
    seconds: Annotated[int, Meta(ge=1, le=31_536_000)] = 600


class Promote(Params):
    new_epoch: bool = False


class LogLevel(Params):
    level: Literal["debug", "info", "warn", "error", "critical"]
    namespace: Annotated[str, Meta(max_length=200)] = ""


class Backup(Params):
    path: Annotated[str, Meta(min_length=1, max_length=1000)]
