"""
What can be asked of a daemon: the signatures of all clients, and what may be done again.

Pure. Each function checks what it is given and returns a `MethodCall`; the shells have a method for
each, under the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct
from typing_extensions import TypedDict, Unpack

from grenache_py.trading.book import BookSnapshot
from grenache_py.trading.models import (
    Candle,
    Fill,
    Market,
    Money,
    Order,
    OrderType,
    PeerStatus,
    Position,
    SelfTrade,
    Side,
    Ticker,
    TimeInForce,
    Trade,
    decimal,
    market_name,
)

__all__ = [
    "FillPage",
    "MethodCall",
    "OrderPage",
    "PlaceOptions",
    "Resend",
    "cancel",
    "cancel_after",
    "cancel_all",
    "fill_page",
    "get_book",
    "get_candles",
    "get_order",
    "get_positions",
    "get_ticker",
    "get_trades",
    "hello",
    "markets",
    "order_page",
    "ping",
    "place",
    "raw",
    "replace",
    "status",
]

T = TypeVar("T")
#: An order, its id, or the client's own id of it.
OrderName: TypeAlias = Order | str
#: Orders or fills that one question brings.
PAGE = 100
_ORDER_ID = re.compile(r"[0-9a-f]{32}\Z")


class Resend(Enum):
    """What becomes of a call that was sent, and whose answer was lost."""

    #: It is sent again: it changes nothing, or nothing the second time.
    AGAIN = "again"
    #: It is sent again if no order was placed after it.
    UNLESS_PLACED = "unless_placed"
    #: It would act on another market, later: it fails with `OutcomeUnknown`.
    NEVER = "never"


class MethodCall(Struct, Generic[T], frozen=True):
    """
    One call of a method.

    Attributes:
        result: makes the result of its JSON.
        changes: something may be different afterwards.
        of_account: the client's account goes with it.
        places: it places an order, which is not wanted later than the caller waits.
        timeout_s: how long the caller waits; None: as long as the client does for all.
    """

    method: str
    params: dict[str, Any]
    result: Callable[[Raw], T]
    resend: Resend = Resend.AGAIN
    changes: bool = False
    of_account: bool = False
    places: bool = False
    timeout_s: float | None = None

    @property
    def client_order_id(self) -> str | None:
        """The client's own id of the order it is about."""
        return self.params.get("client_order_id")


class PlaceOptions(TypedDict, total=False):
    """What an order may say beside market, side, quantity and price."""

    type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    stop_price: Money
    expires: int
    client_order_id: str
    account: str
    self_trade: SelfTrade


class OrderPage(Struct, frozen=True):
    """The result of ``order.list``."""

    orders: list[Order]
    next: str | None


class FillPage(Struct, frozen=True):
    """The result of ``executions.list``."""

    executions: list[Fill]
    seq: int
    next: int


class _Cancelled(Struct, frozen=True):
    cancelled: int


class _Trades(Struct, frozen=True):
    market: str
    trades: list[Trade]


class _Candles(Struct, frozen=True):
    candles: list[Candle]


class _Positions(Struct, frozen=True):
    positions: list[Position]


class _Markets(Struct, frozen=True):
    markets: list[Market]


class Greeting(Struct, frozen=True):
    """The result of ``hello``, as far as a client needs it."""

    peer: str
    features: tuple[str, ...] = ()
    account: str | None = None
    token_needed: bool = False
    role: str = "serving"
    serving: str = ""


class _Pong(Struct, frozen=True):
    time: int


def _is(type: type[T]) -> Callable[[Raw], T]:
    return msgspec.json.Decoder(type).decode


_an_order = _is(Order)
_a_book = _is(BookSnapshot)
_cancelled, _trades, _candles = _is(_Cancelled), _is(_Trades), _is(_Candles)
_markets, _pong, _positions = _is(_Markets), _is(_Pong), _is(_Positions)


def _named(order: OrderName) -> dict[str, str]:
    if isinstance(order, Order):
        return {"order_id": order.order_id}
    if not isinstance(order, str):
        raise TypeError(f"{order!r} is no Order, and no id of one")
    return {"order_id" if _ORDER_ID.match(order) else "client_order_id": order}


def _money(value: Money) -> str:
    return format(decimal(value), "f")


def place(
    market: str,
    side: Side,
    quantity: Money,
    price: Money | None = None,
    *,
    timeout_s: float | None = None,
    **options: Unpack[PlaceOptions],
) -> MethodCall[Order]:
    """
    Place an order.

    Raises:
        TypeError: there is no price, and no type that needs none; or a float.
        ValueError: a number that is none.
    """
    unknown = options.keys() - PlaceOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"an order has no {', '.join(sorted(unknown))}")
    type = options.get("type", "limit")
    if price is None and type not in {"market", "stop"}:
        raise TypeError('an order without a price is type="market" (or "stop"): say so')
    params: dict[str, Any] = {**options, "market": market_name(market), "side": side}
    params["quantity"] = _money(quantity)
    if price is not None:
        params["price"] = _money(price)
    if "stop_price" in options:
        params["stop_price"] = _money(options["stop_price"])
    return MethodCall(
        "order.place",
        params,
        _an_order,
        changes=True,
        of_account=True,
        places=True,
        timeout_s=timeout_s,
    )


def cancel(order: OrderName) -> MethodCall[Order]:
    """Cancel what is open of an order."""
    return MethodCall("order.cancel", dict(_named(order)), _an_order, changes=True, of_account=True)


def cancel_all(market: str | None = None) -> MethodCall[int]:
    """Cancel the account's open orders (of one market); their number."""
    params = {} if market is None else {"market": market_name(market)}

    def number(raw: Raw) -> int:
        return _cancelled(raw).cancelled

    return MethodCall(
        "order.cancel_all", params, number, Resend.UNLESS_PLACED, changes=True, of_account=True
    )


def replace(
    order: OrderName, *, quantity: Money | None = None, price: Money | None = None
) -> MethodCall[Order]:
    """Change an order's whole quantity, its price or both."""
    if quantity is None and price is None:
        raise TypeError("give a new quantity, a new price or both")
    params: dict[str, Any] = dict(_named(order))
    if quantity is not None:
        params["quantity"] = _money(quantity)
    if price is not None:
        params["price"] = _money(price)
    return MethodCall(
        "order.replace", params, _an_order, Resend.NEVER, changes=True, of_account=True
    )


def cancel_after(seconds: float) -> MethodCall[None]:
    """Have the account's orders cancelled in ``seconds``, unless this is called again; 0: never."""
    ms = int(seconds * 1000)
    return MethodCall(
        "order.cancel_after", {"ms": ms}, lambda raw: None, changes=True, of_account=True
    )


def get_order(order: OrderName) -> MethodCall[Order]:
    """Where an order stands."""
    return MethodCall("order.get", dict(_named(order)), _an_order, of_account=True)


def order_page(market: str | None, status: str, after: str | None) -> MethodCall[OrderPage]:
    """Orders, newest first, older than ``after``."""
    params: dict[str, Any] = {"status": status, "limit": PAGE}
    if market is not None:
        params["market"] = market_name(market)
    if after is not None:
        params["after"] = after
    return MethodCall("order.list", params, _is(OrderPage), of_account=True)


def fill_page(market: str | None, after: int | None) -> MethodCall[FillPage]:
    """Own fills, oldest first: the newest, or those after number ``after``."""
    params: dict[str, Any] = {"limit": PAGE}
    if market is not None:
        params["market"] = market_name(market)
    if after is not None:
        params["after"] = after
    return MethodCall("executions.list", params, _is(FillPage), of_account=True)


def get_positions() -> MethodCall[list[Position]]:
    """What was bought less what was sold, by market."""
    return MethodCall("positions.list", {}, lambda raw: _positions(raw).positions, of_account=True)


def get_book(market: str, depth: int = 50) -> MethodCall[BookSnapshot]:
    """The best levels of a book, once."""
    return MethodCall("book.get", {"market": market_name(market), "depth": depth}, _a_book)


def get_ticker(market: str) -> MethodCall[Ticker]:
    """Best prices, last trade, volume."""
    return MethodCall("ticker.get", {"market": market_name(market)}, _is(Ticker))


def get_trades(market: str, limit: int = 100, after: str | None = None) -> MethodCall[list[Trade]]:
    """Trades, newest last."""
    params: dict[str, Any] = {"market": market_name(market), "limit": limit}
    if after is not None:
        params["after"] = after

    def trades(raw: Raw) -> list[Trade]:
        page = _trades(raw)
        return [msgspec.structs.replace(trade, market=page.market) for trade in page.trades]

    return MethodCall("trades.list", params, trades)


def get_candles(market: str, interval: str = "1m", limit: int = 100) -> MethodCall[list[Candle]]:
    """Candles, oldest first."""
    params = {"market": market_name(market), "interval": interval, "limit": limit}
    return MethodCall("candles.list", params, lambda raw: _candles(raw).candles)


def status() -> MethodCall[PeerStatus]:
    """How the daemon is."""
    return MethodCall("status", {}, _is(PeerStatus))


def ping() -> MethodCall[int]:
    """The daemon's time, in milliseconds."""
    return MethodCall("ping", {}, lambda raw: _pong(raw).time)


def hello(name: str, token: str | None, cancel_on_disconnect: bool = False) -> MethodCall[Greeting]:
    """Say who this is, show the token, and tie the orders to the connection."""
    params: dict[str, Any] = {"client": name}
    if token is not None:
        params["token"] = token
    if cancel_on_disconnect:
        params["cancel_on_disconnect"] = True
    return MethodCall("hello", params, _is(Greeting))


def markets() -> MethodCall[dict[str, Market]]:
    """The markets by name."""

    def by_name(raw: Raw) -> dict[str, Market]:
        return {market.market: market for market in _markets(raw).markets}

    return MethodCall("markets.list", {}, by_name)


def raw(
    method: str, params: dict[str, Any], changes: bool = True, timeout_s: float | None = None
) -> MethodCall[Any]:
    """Any method, with its params and its result as they are on the wire."""
    resend = Resend.NEVER if changes else Resend.AGAIN
    return MethodCall(
        method, params, msgspec.json.decode, resend, changes=changes, timeout_s=timeout_s
    )
