"""
What a client may ask: each method's name, parameters, scope, and what it does with the node.

Pure. A method is given the desk (node, feed and office), the client and its parameters. It

* returns its result: encoded at once, sent when the batch it belongs to is durable; or
* returns `AtSeal`: the result is made when that batch is complete, so that a book and its
  ``seq`` fit together; or
* is a coroutine: it begins once all that was done before is durable, and waits for the store
  or the like. Answers to what the client asked after it wait behind it.

The first line of a method's docstring is its line in ``help``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs
import msgspec
from msgspec import Raw, Struct

from grenache_py.exchange import params as p
from grenache_py.exchange.access import ALL_SCOPES, Grant
from grenache_py.exchange.book import Book
from grenache_py.exchange.errors import (
    ALREADY_CLOSED,
    DUPLICATE_CLIENT_ID,
    INVALID_PARAMS,
    NOT_AUTHORISED,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    OrderError,
    StoreError,
)
from grenache_py.exchange.feed import SUBSCRIPTIONS_MAX, Feed, Subscription, order_update
from grenache_py.exchange.home import new_order_of
from grenache_py.exchange.market import Market
from grenache_py.exchange.order import LiveOrder, NewOrder, Trade
from grenache_py.exchange.outbound import NOTES_MAX, Outbound
from grenache_py.exchange.reports import (
    SNAPSHOT_LEVELS_MAX,
    book_snapshot,
    execution_report,
    level_changes,
    public_trade,
)
from grenache_py.wire.jsonrpc import encode, notification_line

__all__ = [
    "METHODS",
    "AtSeal",
    "Client",
    "Desk",
    "Facts",
    "Method",
    "Node",
    "Office",
    "Registry",
    "Result",
]

RESULT_BYTES_MAX = 60_000
"""Of a page or a snapshot: with its envelope it is a line every client can read."""

SNAPSHOT_LEVELS_TOTAL_MAX = 5_000
"""Of each side of a book, told to a new subscriber; who needs deeper levels sees them change."""

FILLS_LISTED_MAX = 200

CATCH_UP_MAX = NOTES_MAX // 2
"""Updates sent to a subscriber that names its last ``seq``; after more it takes a new snapshot."""

_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000}
INTERVALS_MS = {**_MS, "1d": 86_400_000}


class Node(Protocol):
    """The part of ``ExchangeNode`` that clients reach."""

    @property
    def markets(self) -> Mapping[str, Market]: ...
    @property
    def books(self) -> Mapping[str, Book]: ...
    def place(self, new: NewOrder, now: float) -> LiveOrder: ...
    def cancel(self, order_id: str, now: float, account: str | None = None) -> LiveOrder: ...
    def cancel_all(
        self, now: float, market: str | None = None, account: str | None = None
    ) -> list[LiveOrder]: ...
    def replace(
        self,
        order_id: str,
        now: float,
        quantity_lots: int | None = None,
        price_ticks: int | None = None,
        account: str | None = None,
    ) -> LiveOrder: ...
    def order(self, order_id: str) -> LiveOrder | None: ...
    def by_client_id(self, account: str, client_order_id: str) -> LiveOrder | None: ...
    def trades_of(self, order_id: str) -> Iterable[Trade]: ...
    def open_orders(
        self, market: str | None = None, account: str | None = None
    ) -> Iterable[LiveOrder]: ...
    def order_seq(self, account: str) -> int: ...
    def tape(self, symbol: str) -> Iterable[Trade]: ...
    def status(self, now: float) -> dict[str, Any]: ...
    def peers(self, now: float) -> list[dict[str, Any]]: ...
    def connect(self, address: str, now: float) -> None: ...
    def ban(self, peer: str, seconds: float, now: float) -> None: ...
    def unban(self, peer: str, now: float) -> None: ...
    def in_doubt(self) -> list[dict[str, Any]]: ...
    def decide(self, fill_id: str, now: float) -> None: ...


Found: TypeAlias = tuple[LiveOrder, list[Trade]]


class Office(Protocol):
    """What a method may wait for. Everything here may raise ``StoreError``."""

    def order(self, order_id: str) -> Awaitable[Found | None]:
        """An own order, however old, and its newest trades."""

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        """False when no closed order of this account can have had that client id."""

    def order_by_client_id(self, account: str, client_order_id: str) -> Awaitable[Found | None]:
        """The newest order of ``account`` with that client id."""

    def orders(
        self, market: str | None, account: str | None, status: str, after: str | None, limit: int
    ) -> Awaitable[list[Found]]:
        """Own orders, newest first, older than ``after``."""

    def trades(self, market: str, after: str | None, limit: int) -> Awaitable[list[Trade]]:
        """Oldest first: the newest ``limit``, or the first ``limit`` after ``after``."""

    def order_events(
        self, account: str, after_seq: int, limit: int
    ) -> Awaitable[list[tuple[int, LiveOrder, list[Trade]]]]:
        """An account's updates after ``after_seq``: seq, the order as it then was, its trades."""

    def volume_lots(self, market: str, since_ms: int) -> Awaitable[int]:
        """How much was traded since then."""

    def candles(
        self, market: str, interval_ms: int, after_ms: int | None, limit: int
    ) -> Awaitable[list[tuple[int, int, int, int, int, int]]]:
        """(start ms, open, high, low, close in ticks, lots), oldest first, empty ones left out."""

    def backup(self, path: str) -> Awaitable[dict[str, Any]]:
        """Write a consistent copy; what was written."""

    def status(self) -> Awaitable[dict[str, Any]]:
        """What the service knows beyond the node: store, grapes, clients."""

    def log_level(self, level: str, namespace: str) -> None:
        """Change what is logged."""

    def shutdown(self) -> None:
        """Stop the daemon, soon."""


@attrs.frozen
class Facts:
    """What does not change while the daemon runs."""

    peer: str
    network: str
    version: str
    started: float
    tokens_wanted: bool
    features: tuple[str, ...] = ("batch", "inline", "subscriptions", "candles")


@attrs.define(eq=False)
class Client:
    """
    One connection to the client port, as methods see it.

    Attributes:
        grant: what it may do now.
        outbound: where its notifications go.
        ceiling: what no token gives it more than.
        leaving: set when it said ``quit``: closed once its answers are out.
    """

    grant: Grant
    outbound: Outbound
    ceiling: frozenset[str] = ALL_SCOPES
    name: str = ""
    leaving: bool = False

    def account(self, wanted: str | None) -> str:
        """
        Return the account to act for: the one asked for, or the token's, or the nameless one.

        Raises:
            OrderError: -32006, the token is for another account.
        """
        own = self.grant.account
        if own is None:
            return wanted or ""
        if wanted not in (None, own):
            raise OrderError(
                NOT_AUTHORISED, f"This token acts for account {own!r} only.", field="account"
            )
        return own

    def filter(self, wanted: str | None) -> str | None:
        """Return the account to show: as `account`, but None (all) where that is allowed."""
        return wanted if wanted is None and self.grant.account is None else self.account(wanted)


@attrs.define
class Desk:
    """
    Where clients are served.

    Attributes:
        node: replaced when the store failed and was opened again.
        check_token: the grant behind a token, or None.
        closed: what everybody is told while the node cannot be asked.
    """

    feed: Feed
    office: Office
    facts: Facts
    node: Node = attrs.field(init=False)  # set when the store is open
    check_token: Callable[[str], Grant | None] = lambda token: None
    closed: OrderError | None = None

    def market(self, symbol: str) -> Market:
        """
        Return a market by name.

        Raises:
            OrderError: -32000.
        """
        market = self.node.markets.get(symbol)
        if market is None:
            known = ", ".join(self.node.markets)
            raise OrderError(
                UNKNOWN_MARKET, f"There is no market {symbol!r} here; there are: {known}."
            )
        return market

    def report(self, live: LiveOrder) -> dict[str, Any]:
        """The execution report of an own order in memory."""
        trades = self.node.trades_of(live.order_id) if live.filled else ()
        return execution_report(live, self.node.markets[live.order.market], trades)

    def found_report(self, found: Found) -> dict[str, Any]:
        """The execution report of an order read from the store."""
        live, trades = found
        return execution_report(live, self.node.markets[live.order.market], trades)


@attrs.define
class AtSeal:
    """
    A result that is made when the batch under way is complete.

    Attributes:
        make: returns the result, or a coroutine that will.
        after: lines that follow the answer at once.
    """

    make: Callable[[], Any]
    after: list[bytes] = attrs.Factory(list)


Result: TypeAlias = Any | AtSeal | Coroutine[Any, Any, Any]
P = TypeVar("P", bound=Struct)


@attrs.frozen
class Method:
    """
    One method.

    Attributes:
        scope: what a token must allow; "" for nothing.
        line: one line for ``help``.
    """

    name: str
    scope: str
    decoder: msgspec.json.Decoder[Any]
    params: type[Struct]
    function: Callable[[Desk, Client, Any, float], Result]
    line: str

    def usage(self) -> dict[str, Any]:
        """What ``help`` says of it."""
        fields = msgspec.structs.fields(self.params)
        return {
            "method": self.name,
            "params": [f.encode_name + ("" if f.required else "?") for f in fields],
            "scope": self.scope or None,
            "does": self.line,
        }


class Registry(dict[str, Method]):
    """Methods by name; a name given twice is refused (cause F3)."""

    def method(
        self, name: str, params: type[P], scope: str = "read"
    ) -> Callable[[Callable[[Desk, Client, P, float], Result]], Callable[..., Result]]:
        """Register the function below under ``name``."""

        def register(function: Callable[[Desk, Client, P, float], Result]) -> Callable[..., Result]:
            if name in self:
                raise ValueError(f"two methods are called {name}")
            line = (function.__doc__ or "").strip().splitlines()[0]
            decoder = msgspec.json.Decoder(params)
            self[name] = Method(name, scope, decoder, params, function, line)
            return function

        return register


METHODS = Registry()
_method = METHODS.method


@_method("hello", p.Hello, "")
def hello(desk: Desk, client: Client, params: p.Hello, now: float) -> Result:
    """Say who you are and give your token; learn peer, network and markets."""
    if params.token is not None:
        grant = desk.check_token(params.token)
        if grant is None:
            raise OrderError(
                NOT_AUTHORISED, "This token is not known here; check the daemon's token file."
            )
        client.grant = Grant(grant.scopes & client.ceiling, grant.account)
    client.name = params.client
    facts = desk.facts
    return {
        "peer": facts.peer,
        "network": facts.network,
        "version": facts.version,
        "protocol": [1, 1],
        "markets": list(desk.feed.markets),
        "features": facts.features,
        "scopes": sorted(client.grant.scopes),
        "account": client.grant.account,
        "token_needed": facts.tokens_wanted and not client.grant.scopes,
    }


@_method("ping", p.Nothing, "")
def ping(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """Answer with the daemon's time."""
    return {"time": int(now * 1000)}


@_method("order.place", p.PlaceOrder, "trade")
def order_place(desk: Desk, client: Client, params: p.PlaceOrder, now: float) -> Result:
    """Buy or sell: place an order; the answer comes when it is on disk."""
    market = desk.node.markets.get(params.market) or desk.market(params.market)
    price, stop, expires = params.price, params.stop_price, params.expires
    tif = params.time_in_force
    if tif is None:
        tif = "ioc" if params.type == "market" else "gtc" if expires is None else "gtd"
    new = NewOrder(
        market.symbol,
        params.side,
        market.quantity_lots(params.quantity),
        None if price is None else market.price_ticks(price),
        params.type,
        tif,
        None if stop is None else market.price_ticks(stop, "stop_price"),
        params.post_only,
        expires,
        client.account(params.account),
        params.client_order_id or "",
        params.self_trade,
    )
    if new.client_order_id and desk.office.may_have_used(new.account, new.client_order_id):
        if desk.node.by_client_id(new.account, new.client_order_id) is None:
            return _place_unless_used(desk, new, now)
    return desk.report(desk.node.place(new, now))


async def _place_unless_used(desk: Desk, new: NewOrder, now: float) -> Any:
    """Place an order whose client id may be that of an order closed long ago."""
    found = await desk.office.order_by_client_id(new.account, new.client_order_id)
    if found is not None:
        if new_order_of(found[0]) != new:
            raise OrderError(
                DUPLICATE_CLIENT_ID,
                f"client_order_id {new.client_order_id!r} was used for another order,"
                f" {found[0].order_id}; choose a new one.",
                order_id=found[0].order_id,
            )
        return desk.found_report(found)
    report = desk.report(desk.node.place(new, now))
    return AtSeal(lambda: report)


def _named(desk: Desk, client: Client, params: p.OneOrder | p.ReplaceOrder) -> str:
    """Return the order id that ``params`` name."""
    if (params.order_id is None) == (params.client_order_id is None):
        raise OrderError(
            INVALID_PARAMS,
            "Name the order by order_id or by client_order_id, one of them.",
            field="order_id",
        )
    if params.order_id is not None:
        return params.order_id
    account = client.account(params.account)
    live = desk.node.by_client_id(account, params.client_order_id or "")
    if live is None:
        raise OrderError(
            UNKNOWN_ORDER,
            f"Account {account!r} has no recent order with client_order_id"
            f" {params.client_order_id!r}.",
        )
    return live.order_id


async def _or_closed(
    desk: Desk, account: str | None, order_id: str, unknown: OrderError
) -> dict[str, Any]:
    """Raise what an order that is not in memory deserves: it closed long ago, or never was."""
    found = await desk.office.order(order_id)
    if found is None or account not in (None, found[0].account):
        raise unknown
    raise OrderError(
        ALREADY_CLOSED, f"Order {order_id} is {found[0].status} already; nothing is left of it."
    )


@_method("order.cancel", p.OneOrder, "trade")
def order_cancel(desk: Desk, client: Client, params: p.OneOrder, now: float) -> Result:
    """Cancel what is open of one order."""
    order_id = _named(desk, client, params)
    account = client.filter(params.account)
    try:
        return desk.report(desk.node.cancel(order_id, now, account))
    except OrderError as error:
        if error.code != UNKNOWN_ORDER:
            raise
        return _or_closed(desk, account, order_id, error)


@_method("order.cancel_all", p.CancelAll, "trade")
def order_cancel_all(desk: Desk, client: Client, params: p.CancelAll, now: float) -> Result:
    """Cancel all open orders, of one market or account if given."""
    if params.market is not None:
        desk.market(params.market)
    account = client.filter(params.account)
    return {"cancelled": len(desk.node.cancel_all(now, market=params.market, account=account))}


@_method("order.replace", p.ReplaceOrder, "trade")
def order_replace(desk: Desk, client: Client, params: p.ReplaceOrder, now: float) -> Result:
    """Change an order's quantity or price; a lower quantity alone keeps its place in time."""
    if params.quantity is None and params.price is None:
        raise OrderError(
            INVALID_PARAMS, "Give a new quantity, a new price or both.", field="quantity"
        )
    order_id = _named(desk, client, params)
    account = client.filter(params.account)
    live = desk.node.order(order_id)
    if live is None or account not in (None, live.account):
        unknown = OrderError(UNKNOWN_ORDER, f"There is no order {order_id} here.")
        return _or_closed(desk, account, order_id, unknown)
    market = desk.node.markets[live.order.market]
    lots = None if params.quantity is None else market.quantity_lots(params.quantity)
    ticks = None if params.price is None else market.price_ticks(params.price)
    return desk.report(
        desk.node.replace(order_id, now, quantity_lots=lots, price_ticks=ticks, account=account)
    )


@_method("order.get", p.OneOrder)
def order_get(desk: Desk, client: Client, params: p.OneOrder, now: float) -> Result:
    """Show one order."""
    order_id = _named(desk, client, params)
    account = client.filter(params.account)
    unknown = OrderError(UNKNOWN_ORDER, f"There is no order {order_id} here.")
    live = desk.node.order(order_id)
    if live is None:
        return _stored_order(desk, account, order_id, unknown)
    if account not in (None, live.account):
        raise unknown
    return desk.report(live)


async def _stored_order(
    desk: Desk, account: str | None, order_id: str, unknown: OrderError
) -> dict[str, Any]:
    found = await desk.office.order(order_id)
    if found is None or account not in (None, found[0].account):
        raise unknown
    return desk.found_report(found)


@_method("order.list", p.OrderList)
async def order_list(desk: Desk, client: Client, params: p.OrderList, now: float) -> dict[str, Any]:
    """List orders, newest first, by page."""
    if params.market is not None:
        desk.market(params.market)
    account = client.filter(params.account)
    found = await desk.office.orders(
        params.market, account, params.status, params.after, params.limit + 1
    )
    return _page("orders", [desk.found_report(each) for each in found], params.limit, "order_id")


def _page(
    name: str, items: list[dict[str, Any]], limit: int, cursor: str, *, keep_last: bool = False
) -> dict[str, Any]:
    """As many of ``items`` as limit and line allow; ``next`` is the ``after`` of the next page."""
    fitting: list[Raw] = []
    size = 0
    kept = items[-limit:] if keep_last else items[:limit]
    for item in reversed(kept) if keep_last else kept:
        encoded = encode(item)
        size += len(encoded) + 1
        if size > RESULT_BYTES_MAX and fitting:
            break
        fitting.append(Raw(encoded))
    more = len(fitting) < len(items)
    if keep_last:
        fitting.reverse()
        return {name: fitting}
    return {name: fitting, "next": items[len(fitting) - 1][cursor] if more and fitting else None}


def _may_subscribe(desk: Desk, client: Client, name: str) -> None:
    names = desk.feed.names(client.outbound)
    if len(names) >= SUBSCRIPTIONS_MAX and name not in names:
        raise OrderError(
            INVALID_PARAMS, f"A connection has at most {SUBSCRIPTIONS_MAX} subscriptions."
        )


@_method("orders.subscribe", p.OrdersSubscribe)
def orders_subscribe(desk: Desk, client: Client, params: p.OrdersSubscribe, now: float) -> Result:
    """Follow an account's own orders; from_seq sends what was missed since that update."""
    account = client.account(params.account)
    name = f"orders:{account}"
    _may_subscribe(desk, client, name)
    from_seq = params.from_seq

    def begin() -> Any:
        last = desk.node.order_seq(account)
        if from_seq is not None and from_seq <= last <= from_seq + CATCH_UP_MAX:
            subscription = desk.feed.begin(name, client.outbound, hold_back=True)
            return _catch_up(desk, at_seal, subscription, account, from_seq, last)
        desk.feed.begin(name, client.outbound)
        return _orders_snapshot(desk, account)

    at_seal = AtSeal(begin)
    return at_seal


def _orders_snapshot(desk: Desk, account: str) -> dict[str, Any]:
    reports = []
    size = 0
    complete = True
    for live in desk.node.open_orders(account=account):
        encoded = encode(desk.report(live))
        size += len(encoded) + 1
        if size > RESULT_BYTES_MAX:
            complete = False  # the subscriber pages through order.list for the rest
            break
        reports.append(Raw(encoded))
    return {
        "subscription": f"orders:{account}",
        "account": account,
        "seq": desk.node.order_seq(account),
        "orders": reports,
        "complete": complete,
    }


async def _catch_up(
    desk: Desk,
    at_seal: AtSeal,
    subscription: Subscription,
    account: str,
    from_seq: int,
    last: int,
) -> dict[str, Any]:
    """Answer with the updates ``from_seq`` + 1 to ``last``, and what came since, behind it."""
    try:
        missed = await desk.office.order_events(account, from_seq, last - from_seq)
    except StoreError:
        desk.feed.end(subscription.name, subscription.to)
        raise
    if [seq for seq, _, _ in missed] != list(range(from_seq + 1, last + 1)):
        desk.feed.end(subscription.name, subscription.to)
        raise OrderError(
            INVALID_PARAMS,
            f"The updates after {from_seq} are not kept any more: subscribe without from_seq.",
            field="from_seq",
        )
    at_seal.after.extend(
        order_update(account, seq, live, desk.node.markets, trades) for seq, live, trades in missed
    )
    at_seal.after.extend(desk.feed.caught_up(subscription))
    return {
        "subscription": subscription.name,
        "account": account,
        "seq": from_seq,
        "orders": None,
        "complete": True,
    }


@_method("orders.unsubscribe", p.OwnAccount)
def orders_unsubscribe(desk: Desk, client: Client, params: p.OwnAccount, now: float) -> Result:
    """End following an account's orders."""
    return _unsubscribe(desk, client, f"orders:{client.account(params.account)}")


def _unsubscribe(desk: Desk, client: Client, name: str) -> dict[str, Any]:
    return {"subscription": name, "ended": desk.feed.end(name, client.outbound)}


@_method("book.get", p.BookGet)
def book_get(desk: Desk, client: Client, params: p.BookGet, now: float) -> Result:
    """Show a market's book: price, quantity and number of orders of each level."""
    market = desk.market(params.market)
    book = desk.node.books[market.symbol]
    return AtSeal(lambda: book_snapshot(book, market, params.depth))


@_method("book.subscribe", p.OneMarket)
def book_subscribe(desk: Desk, client: Client, params: p.OneMarket, now: float) -> Result:
    """Follow a market's book: a snapshot, then book.update for each change."""
    market = desk.market(params.market)
    book = desk.node.books[market.symbol]
    name = f"book:{market.symbol}"
    _may_subscribe(desk, client, name)

    def snapshot() -> dict[str, Any]:
        desk.feed.begin(name, client.outbound)
        result = book_snapshot(book, market, SNAPSHOT_LEVELS_MAX)
        for side in ("buy", "sell"):
            deep = book.levels(side, SNAPSHOT_LEVELS_TOTAL_MAX)[SNAPSHOT_LEVELS_MAX:]
            for start in range(0, len(deep), SNAPSHOT_LEVELS_MAX):
                page = deep[start : start + SNAPSHOT_LEVELS_MAX]
                part = [(side, level.price_ticks, level.lots, level.orders) for level in page]
                rest = {
                    "market": market.symbol,
                    "seq": book.seq,
                    "prev_seq": book.seq,
                    "changes": level_changes(part, market),
                    "checksum": result["checksum"],
                }
                at_seal.after.append(notification_line("book.update", rest))
        return {"subscription": name, **result}

    at_seal = AtSeal(snapshot)
    return at_seal


@_method("book.unsubscribe", p.OneMarket)
def book_unsubscribe(desk: Desk, client: Client, params: p.OneMarket, now: float) -> Result:
    """End following a book."""
    return _unsubscribe(desk, client, f"book:{desk.market(params.market).symbol}")


@_method("trades.list", p.TradesList)
async def trades_list(
    desk: Desk, client: Client, params: p.TradesList, now: float
) -> dict[str, Any]:
    """List a market's trades, newest last; after: only those that followed that trade."""
    market = desk.market(params.market)
    trades = await desk.office.trades(market.symbol, params.after, params.limit)
    items = [public_trade(trade, market) for trade in trades]
    page = _page("trades", items, params.limit, "trade_id", keep_last=params.after is None)
    return {"market": market.symbol, "trades": page["trades"]}


@_method("trades.subscribe", p.TradesList)
def trades_subscribe(desk: Desk, client: Client, params: p.TradesList, now: float) -> Result:
    """Follow a market's trades; the answer shows the newest."""
    market = desk.market(params.market)
    name = f"trades:{market.symbol}"
    _may_subscribe(desk, client, name)

    def snapshot() -> dict[str, Any]:
        desk.feed.begin(name, client.outbound)
        tape = list(desk.node.tape(market.symbol))[-params.limit :]
        items = [public_trade(trade, market) for trade in tape]
        page = _page("trades", items, params.limit, "trade_id", keep_last=True)
        return {"subscription": name, "market": market.symbol, "trades": page["trades"]}

    return AtSeal(snapshot)


@_method("trades.unsubscribe", p.OneMarket)
def trades_unsubscribe(desk: Desk, client: Client, params: p.OneMarket, now: float) -> Result:
    """End following a market's trades."""
    return _unsubscribe(desk, client, f"trades:{desk.market(params.market).symbol}")


@_method("ticker.get", p.OneMarket)
def ticker_get(desk: Desk, client: Client, params: p.OneMarket, now: float) -> Result:
    """Show best bid and offer, last trade and the volume of 24 hours."""
    market = desk.market(params.market)
    symbol = market.symbol
    book = desk.node.books[symbol]

    def price(ticks: int | None) -> str | None:
        return None if ticks is None else market.format_price(ticks)

    def best() -> Coroutine[Any, Any, dict[str, Any]]:
        tape = list(desk.node.tape(symbol))
        return with_volume(
            {
                "market": symbol,
                "bid": price(book.best_bid()),
                "ask": price(book.best_ask()),
                "last": price(tape[-1].price_ticks) if tape else None,
                "last_time": tape[-1].time_ms if tape else None,
            }
        )

    async def with_volume(ticker: dict[str, Any]) -> dict[str, Any]:
        lots = await desk.office.volume_lots(symbol, int(now * 1000) - INTERVALS_MS["1d"])
        return {**ticker, "volume": market.format_quantity(lots)}

    return AtSeal(best)


@_method("candles.list", p.Candles)
async def candles_list(desk: Desk, client: Client, params: p.Candles, now: float) -> dict[str, Any]:
    """List open, high, low, close and volume by interval, oldest first."""
    market = desk.market(params.market)
    price = market.format_price
    candles = [
        {
            "time": start,
            "open": price(first),
            "high": price(high),
            "low": price(low),
            "close": price(close),
            "volume": market.format_quantity(lots),
        }
        for start, first, high, low, close, lots in await desk.office.candles(
            market.symbol, INTERVALS_MS[params.interval], params.after, params.limit
        )
    ]
    page = _page("candles", candles, params.limit, "time", keep_last=params.after is None)
    return {"market": market.symbol, "interval": params.interval, "candles": page["candles"]}


@_method("markets.list", p.Nothing)
def markets_list(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """List the markets with tick and lot."""
    return {
        "markets": [
            {
                "market": market.symbol,
                "tick": market.tick.text,
                "lot": market.lot.text,
                "protection_bp": market.protection_bp,
            }
            for market in desk.node.markets.values()
        ]
    }


@_method("peers.list", p.Nothing)
def peers_list(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """List the links to other peers."""
    return {"peers": desk.node.peers(now)}


@_method("peers.connect", p.Addressed, "admin")
def peers_connect(desk: Desk, client: Client, params: p.Addressed, now: float) -> Result:
    """Connect to the peer at host:port."""
    desk.node.connect(params.address, now)
    return {"connecting": params.address}


@_method("peers.ban", p.PeerBan, "admin")
def peers_ban(desk: Desk, client: Client, params: p.PeerBan, now: float) -> Result:
    """Close the links to a peer and refuse it for a while."""
    desk.node.ban(params.peer, params.seconds, now)
    return {"banned": params.peer, "seconds": params.seconds}


@_method("peers.unban", p.PeerKey, "admin")
def peers_unban(desk: Desk, client: Client, params: p.PeerKey, now: float) -> Result:
    """Let a banned peer in again."""
    desk.node.unban(params.peer, now)
    return {"unbanned": params.peer}


@_method("fills.list", p.Nothing, "admin")
def fills_list(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """List fills whose answer from another peer is awaited."""
    return AtSeal(lambda: {"fills": desk.node.in_doubt()[:FILLS_LISTED_MAX]})


@_method("fills.decide", p.OneFill, "admin")
def fills_decide(desk: Desk, client: Client, params: p.OneFill, now: float) -> Result:
    """Give up on a fill in doubt whose peer is gone for ever; its quantity becomes free."""
    desk.node.decide(params.fill, now)
    return {"fill": params.fill, "decided": True}


@_method("status", p.Nothing)
def status(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """Show how the daemon is: identity, sync, orders, store, grapes."""
    facts = desk.facts

    def of_node() -> Coroutine[Any, Any, dict[str, Any]]:
        known: dict[str, Any] = {
            "version": facts.version,
            "peer": facts.peer,
            "network": facts.network,
        }
        if desk.closed is None:
            known |= desk.node.status(now)
        else:
            known |= {"serving": False, "synced": False}
        uptime_s = int(now - facts.started)
        return with_service({**known, "version": facts.version, "uptime_s": uptime_s})

    async def with_service(of_node: dict[str, Any]) -> dict[str, Any]:
        return {**of_node, **await desk.office.status()}

    return AtSeal(of_node)


@_method("log.level", p.LogLevel, "admin")
def log_level(desk: Desk, client: Client, params: p.LogLevel, now: float) -> Result:
    """Change the level of the daemon's log."""
    desk.office.log_level(params.level, params.namespace)
    return {"level": params.level, "namespace": params.namespace}


@_method("backup", p.Backup, "admin")
async def backup(desk: Desk, client: Client, params: p.Backup, now: float) -> dict[str, Any]:
    """Write a consistent copy of the store while trading goes on."""
    return await desk.office.backup(params.path)


@_method("shutdown", p.Nothing, "admin")
async def shutdown(desk: Desk, client: Client, params: p.Nothing, now: float) -> dict[str, Any]:
    """Stop the daemon."""
    desk.office.shutdown()
    return {"stopping": True}


@_method("help", p.Help, "")
def help_(desk: Desk, client: Client, params: p.Help, now: float) -> Result:
    """List methods and commands, or explain one."""
    from grenache_py.exchange.inline import COMMANDS, usage_of

    if params.command is not None:
        method = METHODS.get(params.command)
        if method is not None:
            return method.usage()
        usage = usage_of(params.command)
        if usage is not None:
            return {"command": params.command, "usage": usage}
        raise OrderError(
            INVALID_PARAMS,
            f"There is no method or command {params.command!r}; help lists them all.",
            field="command",
        )
    return {
        "methods": [method.name for method in METHODS.values()],
        "commands": [command.usage for command in COMMANDS.values()],
        "more": "help NAME explains one; docs/client-protocol.rst explains all",
    }
