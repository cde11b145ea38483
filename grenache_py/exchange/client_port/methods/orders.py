"""
Methods about orders: place, cancel, replace, show, list, follow.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

import attrs
from msgspec import Raw

from grenache_py.exchange.client_port.feed import Subscription, order_update
from grenache_py.exchange.client_port.gateway import Found, Gateway, GatewayNode, Principal
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.catching_up import ALL, KeptUpdates
from grenache_py.exchange.client_port.methods.registry import (
    METHODS,
    RESULT_BYTES_MAX,
    AtSeal,
    MethodResult,
    may_subscribe,
    page,
    unknown_cursor,
    unsubscribe,
)
from grenache_py.exchange.errors import (
    ALREADY_CLOSED,
    DUPLICATE_CLIENT_ID,
    INVALID_PARAMS,
    TOO_LATE,
    UNKNOWN_ORDER,
    OrderError,
)
from grenache_py.exchange.market.order import LiveOrder, NewOrder, new_order_of
from grenache_py.wire.jsonrpc import encode


@METHODS.method("order.place", p.PlaceOrder, "trade")
def order_place(
    gateway: Gateway, client: Principal, params: p.PlaceOrder, now: float
) -> MethodResult:
    """Buy or sell: place an order; the answer comes when it is on disk."""
    market = gateway.node.markets.get(params.market) or gateway.market(params.market)
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
    name = new.client_order_id
    if name and gateway.node.by_client_id(new.account, name) is not None:
        return _placed(gateway, client, new, now, params.wait_ms)  # again, so never too late
    if name and gateway.history.may_have_used(new.account, name):
        return _place_unless_used(gateway, client, new, params, now)
    if params.valid_until is not None:
        _check_in_time(params, now)
    return _placed(gateway, client, new, now, params.wait_ms)


def _check_in_time(params: p.PlaceOrder, now: float) -> None:
    """
    Raises:
        OrderError: the client did not want the order any more by now.
    """
    if params.valid_until is not None and now * 1000 > params.valid_until:
        raise OrderError(
            TOO_LATE,
            f"It is {int(now * 1000)} by the daemon's clock, later than valid_until; nothing was"
            " placed.",
            time=int(now * 1000),
        )


def _placed(
    gateway: Gateway, client: Principal, new: NewOrder, now: float, wait_ms: int
) -> MethodResult:
    def place(node: GatewayNode) -> tuple[LiveOrder, dict[str, Any]]:
        live = node.place(new, now)
        if client.ties and not live.terminal:
            node.tie(live.order_id, client.number)
        return live, gateway.report(live)

    live, report = gateway.step(place)
    gateway.came.append(now)
    if not wait_ms or not live.reserved:
        return report
    return AtSeal(lambda: _settled(gateway, live, report, wait_ms / 1000))


async def _settled(
    gateway: Gateway, live: LiveOrder, report: dict[str, Any], wait_s: float
) -> dict[str, Any] | AtSeal:
    """The report once nothing is in doubt, or after ``wait_s``; ``report`` if the node is gone."""
    node = gateway.node
    if live.reserved:
        await gateway.settled(live.order_id, wait_s)
    if gateway.node is not node or gateway.closed is not None:
        return report
    return AtSeal(lambda: gateway.report(live))


async def _place_unless_used(
    gateway: Gateway, client: Principal, new: NewOrder, params: p.PlaceOrder, now: float
) -> Any:
    """Place an order whose client id may be that of an order closed long ago."""
    found = await gateway.history.order_by_client_id(new.account, new.client_order_id)
    if found is not None:
        if new_order_of(found[0]) != new:
            raise OrderError(
                DUPLICATE_CLIENT_ID,
                f"client_order_id {new.client_order_id!r} was used for another order,"
                f" {found[0].order_id}; choose a new one.",
                order_id=found[0].order_id,
            )
        return gateway.found_report(found)
    _check_in_time(params, now)
    placed = _placed(gateway, client, new, now, params.wait_ms)
    return placed if isinstance(placed, AtSeal) else AtSeal(lambda: placed)


@attrs.frozen
class _Stored:
    """An order that is not in memory: it closed long ago, or never was."""

    ask: Callable[[], Awaitable[Found | None]]
    account: str | None
    unknown: OrderError

    async def found(self) -> Found:
        found = await self.ask()
        if found is None or self.account not in (None, found[0].account):
            raise self.unknown
        return found

    async def report(self, gateway: Gateway) -> dict[str, Any]:
        return gateway.found_report(await self.found())

    async def refuse_change(self) -> NoReturn:
        live, _ = await self.found()
        raise OrderError(
            ALREADY_CLOSED,
            f"Order {live.order_id} is {live.status} already; nothing is left of it.",
            order_id=live.order_id,
            status=live.status,
        )


def _named(
    gateway: Gateway, client: Principal, params: p.OneOrder | p.ReplaceOrder
) -> str | _Stored:
    """The id of the order that ``params`` name; `_Stored` if only the store may know it."""
    if (params.order_id is None) == (params.client_order_id is None):
        raise OrderError(
            INVALID_PARAMS,
            "Name the order by order_id or by client_order_id, one of them.",
            field="order_id",
        )
    if params.order_id is not None:
        return params.order_id
    account, client_id = client.account(params.account), params.client_order_id or ""
    live = gateway.node.by_client_id(account, client_id)
    if live is not None:
        return live.order_id
    unknown = OrderError(
        UNKNOWN_ORDER,
        f"There is no order with client_order_id {client_id!r}"
        + (f" of account {account!r}." if account else "."),
    )
    if not gateway.history.may_have_used(account, client_id):
        raise unknown
    ask = partial(gateway.history.order_by_client_id, account, client_id)
    return _Stored(ask, account, unknown)


@METHODS.method("order.cancel", p.OneOrder, "trade")
def order_cancel(
    gateway: Gateway, client: Principal, params: p.OneOrder, now: float
) -> MethodResult:
    """Cancel what is open of one order."""
    named = _named(gateway, client, params)
    if isinstance(named, _Stored):
        return named.refuse_change()
    account = client.filter(params.account)
    try:
        return gateway.step(lambda node: gateway.report(node.cancel(named, now, account)))
    except OrderError as error:
        if error.code != UNKNOWN_ORDER:
            raise
        return _Stored(partial(gateway.history.order, named), account, error).refuse_change()


@METHODS.method("order.cancel_all", p.CancelAll, "trade")
def order_cancel_all(
    gateway: Gateway, client: Principal, params: p.CancelAll, now: float
) -> MethodResult:
    """Cancel an account's open orders, of one market if given; all_accounts: everybody's."""
    if params.market is not None:
        gateway.market(params.market)
    account = client.filter(params.account)
    if params.all_accounts == (params.account is not None) and client.grant.account is None:
        raise OrderError(
            INVALID_PARAMS,
            'Say whose orders: account ("" is the one without a name), or all_accounts: true.'
            " At telnet: cancel all account=NAME, or all-accounts.",
            field="account",
        )
    cancelled = gateway.step(lambda node: node.cancel_all(now, params.market, account))
    return {"cancelled": len(cancelled)}


@METHODS.method("order.cancel_after", p.CancelAfter, "trade")
def order_cancel_after(
    gateway: Gateway, client: Principal, params: p.CancelAfter, now: float
) -> MethodResult:
    """Cancel an account's open orders unless called again within ms; 0 ends it."""
    account = client.account(params.account)
    market = None if params.market is None else gateway.market(params.market).symbol
    at = gateway.step(lambda node: node.cancel_after(account, market, params.ms, now))
    return {"account": account, "market": market, "time": int(now * 1000), "cancels": at}


@METHODS.method("order.replace", p.ReplaceOrder, "trade")
def order_replace(
    gateway: Gateway, client: Principal, params: p.ReplaceOrder, now: float
) -> MethodResult:
    """Change an order's quantity or price; a lower quantity alone keeps its place in time."""
    if params.quantity is None and params.price is None:
        raise OrderError(
            INVALID_PARAMS, "Give a new quantity, a new price or both.", field="quantity"
        )
    named = _named(gateway, client, params)
    if isinstance(named, _Stored):
        return named.refuse_change()
    account = client.filter(params.account)
    live = gateway.node.order(named)
    if live is None or account not in (None, live.account):
        unknown = OrderError(UNKNOWN_ORDER, f"There is no order {named} here.")
        return _Stored(partial(gateway.history.order, named), account, unknown).refuse_change()
    market = gateway.market_of(live)
    lots = None if params.quantity is None else market.quantity_lots(params.quantity)
    if lots is not None and params.order_id is None:
        # The client's own id names this order and those it replaced: so to ask again is safe.
        lots -= live.used_before
    ticks = None if params.price is None else market.price_ticks(params.price)

    def replace(node: GatewayNode) -> dict[str, Any]:
        replaced = node.replace(named, now, lots, ticks, account)
        if client.ties and not replaced.terminal:
            node.tie(replaced.order_id, client.number)
        return gateway.report(replaced)

    return gateway.step(replace)


@METHODS.method("order.get", p.OneOrder)
def order_get(gateway: Gateway, client: Principal, params: p.OneOrder, now: float) -> MethodResult:
    """Show one order."""
    named = _named(gateway, client, params)
    if isinstance(named, _Stored):
        return named.report(gateway)
    account = client.filter(params.account)
    unknown = OrderError(UNKNOWN_ORDER, f"There is no order {named} here.")
    live = gateway.node.order(named)
    if live is None:
        return _Stored(partial(gateway.history.order, named), account, unknown).report(gateway)
    if account not in (None, live.account):
        raise unknown
    return gateway.report(live)


@METHODS.method("order.list", p.OrderList)
async def order_list(
    gateway: Gateway, client: Principal, params: p.OrderList, now: float
) -> dict[str, Any]:
    """List orders, newest first, by page."""
    if params.market is not None:
        gateway.known_market(params.market)
    account = client.filter(params.account)
    found = await gateway.history.orders(
        params.market, account, params.status, params.after, params.limit + 1
    )
    if found is None:
        raise unknown_cursor(params.after)
    return page("orders", [gateway.found_report(each) for each in found], params.limit, "order_id")


@METHODS.method("orders.subscribe", p.OrdersSubscribe)
def orders_subscribe(
    gateway: Gateway, client: Principal, params: p.OrdersSubscribe, now: float
) -> MethodResult:
    """Follow an account's own orders; from_seq sends what was missed since that update."""
    account = client.account(params.account)
    name = f"orders:{account}"
    may_subscribe(gateway, client, name)
    from_seq = params.from_seq

    async def read(seq: int, limit: int) -> list[tuple[int, bytes]]:
        return [
            (number, order_update(account, number, live, gateway.market_of(live), trades))
            for number, live, trades in await gateway.history.order_events(account, seq, limit)
        ]

    def begin() -> Any:
        sealed = gateway.node.order_seq(account)
        if from_seq is not None and from_seq <= sealed:
            subscription = gateway.feed.begin(name, client.send_queue, after=ALL)
            kept = KeptUpdates(gateway.feed, lambda: gateway.node.order_seq(account), read)
            at_seal.pages = kept.after(subscription, from_seq, sealed)
            return _catch_up(at_seal, subscription, account, from_seq)
        gateway.feed.begin(name, client.send_queue)
        return _orders_snapshot(gateway, account)

    at_seal = AtSeal(begin, begins=name)
    return at_seal


def _orders_snapshot(gateway: Gateway, account: str) -> dict[str, Any]:
    reports = []
    size = 0
    complete = True
    for live in gateway.node.open_orders(account=account):
        encoded = encode(gateway.report(live))
        size += len(encoded) + 1
        if size > RESULT_BYTES_MAX:
            complete = False  # the subscriber pages through order.list for the rest
            break
        reports.append(Raw(encoded))
    return {
        "subscription": f"orders:{account}",
        "account": account,
        "seq": gateway.node.order_seq(account),
        "orders": reports,
        "complete": complete,
    }


async def _catch_up(
    at_seal: AtSeal, subscription: Subscription, account: str, from_seq: int
) -> dict[str, Any]:
    """Answer with the first page right behind it, once that is found to be kept."""
    assert at_seal.pages is not None
    at_seal.after.extend(await anext(at_seal.pages))
    return {
        "subscription": subscription.name,
        "account": account,
        "seq": from_seq,
        "orders": None,
        "complete": True,
    }


@METHODS.method("orders.unsubscribe", p.OwnAccount)
def orders_unsubscribe(
    gateway: Gateway, client: Principal, params: p.OwnAccount, now: float
) -> MethodResult:
    """End following an account's orders."""
    return unsubscribe(gateway, client, f"orders:{client.account(params.account)}")
