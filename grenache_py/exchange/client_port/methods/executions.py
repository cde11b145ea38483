"""
Methods about what an account's orders traded: each execution once, with a gap-free number.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.client_port.feed import execution_update
from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.catching_up import ALL, KeptUpdates
from grenache_py.exchange.client_port.methods.registry import (
    METHODS,
    AtSeal,
    MethodResult,
    may_subscribe,
    page,
    unknown_cursor,
    unsubscribe,
)
from grenache_py.exchange.client_port.reports import execution
from grenache_py.exchange.errors import INVALID_PARAMS, OrderError


@METHODS.method("executions.list", p.ExecutionsList)
async def executions_list(
    gateway: Gateway, client: Principal, params: p.ExecutionsList, now: float
) -> dict[str, Any]:
    """List what an account's orders traded, newest last; after: only what followed."""
    account, limit = client.account(params.account), params.limit
    if params.market is not None:
        gateway.known_market(params.market)
    found = await gateway.history.executions(account, params.after, limit, params.market)
    if found is None:
        raise unknown_cursor(params.after)
    rows, last, newest = found
    items = [execution(row, gateway.known_market(row.market)) for row in rows]
    shown = page("executions", items, limit, "seq", keep_last=params.after is None)["executions"]
    if params.after is not None and len(shown) < len(rows):
        last = rows[len(shown) - 1].seq
    return {"account": account, "seq": newest, "executions": shown, "next": last}


@METHODS.method("executions.subscribe", p.OrdersSubscribe)
def executions_subscribe(
    gateway: Gateway, client: Principal, params: p.OrdersSubscribe, now: float
) -> MethodResult:
    """Follow what an account's orders trade; from_seq sends what was missed since that one."""
    account, from_seq = client.account(params.account), params.from_seq
    name = f"executions:{account}"
    may_subscribe(gateway, client, name)

    async def read(seq: int, limit: int) -> list[tuple[int, bytes]]:
        found = await gateway.history.executions(account, seq, limit)
        return [
            (row.seq, execution_update(row, gateway.known_market(row.market)))
            for row in (found[0] if found else ())
        ]

    async def caught_up() -> dict[str, Any]:
        assert at_seal.pages is not None
        at_seal.after.extend(await anext(at_seal.pages))
        return {"subscription": name, "account": account, "seq": from_seq}

    def begin() -> Any:
        sealed = gateway.node.execution_seq(account)
        if from_seq is None:
            gateway.feed.begin(name, client.send_queue)
            return {"subscription": name, "account": account, "seq": sealed}
        subscription = gateway.feed.begin(name, client.send_queue, after=ALL)
        kept = KeptUpdates(gateway.feed, lambda: gateway.node.execution_seq(account), read)
        at_seal.pages = kept.after(subscription, from_seq, sealed)
        return caught_up()

    if from_seq is not None and from_seq > gateway.node.execution_seq(account):
        raise OrderError(
            INVALID_PARAMS,
            f"There is no execution {from_seq} yet; the newest is"
            f" {gateway.node.execution_seq(account)}.",
            field="from_seq",
        )
    at_seal = AtSeal(begin, begins=name)
    return at_seal


@METHODS.method("executions.unsubscribe", p.OwnAccount)
def executions_unsubscribe(
    gateway: Gateway, client: Principal, params: p.OwnAccount, now: float
) -> MethodResult:
    """End following what an account's orders trade."""
    return unsubscribe(gateway, client, f"executions:{client.account(params.account)}")
