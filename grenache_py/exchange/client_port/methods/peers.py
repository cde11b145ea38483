"""
Methods about the peer itself: who it is, how it is, its links, fills in doubt, its upkeep.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.client_port.gateway import Client, Desk
from grenache_py.exchange.client_port.inline import COMMANDS, usage_of
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.registry import METHODS, AtSeal, Result
from grenache_py.exchange.errors import INVALID_PARAMS, NOT_AUTHORISED, OrderError, StoreError

FILLS_LISTED_MAX = 200


@METHODS.method("hello", p.Hello, "")
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


@METHODS.method("ping", p.Nothing, "")
def ping(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """Answer with the daemon's time."""
    return {"time": int(now * 1000)}


@METHODS.method("peers.list", p.Nothing)
def peers_list(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """List the links to other peers."""
    return {"peers": desk.node.peers(now)}


@METHODS.method("peers.connect", p.Addressed, "admin")
def peers_connect(desk: Desk, client: Client, params: p.Addressed, now: float) -> Result:
    """Connect to the peer at host:port."""
    desk.node.connect(params.address, now)
    return {"connecting": params.address}


@METHODS.method("peers.ban", p.PeerBan, "admin")
def peers_ban(desk: Desk, client: Client, params: p.PeerBan, now: float) -> Result:
    """Close the links to a peer and refuse it for a while."""
    desk.node.ban(params.peer, params.seconds, now)
    return {"banned": params.peer, "seconds": params.seconds}


@METHODS.method("peers.unban", p.PeerKey, "admin")
def peers_unban(desk: Desk, client: Client, params: p.PeerKey, now: float) -> Result:
    """Let a banned peer in again."""
    desk.node.unban(params.peer, now)
    return {"unbanned": params.peer}


@METHODS.method("fills.list", p.Nothing, "admin")
def fills_list(desk: Desk, client: Client, params: p.Nothing, now: float) -> Result:
    """List fills whose answer from another peer is awaited."""
    return AtSeal(lambda: {"fills": desk.node.in_doubt()[:FILLS_LISTED_MAX]})


@METHODS.method("fills.decide", p.OneFill, "admin")
def fills_decide(desk: Desk, client: Client, params: p.OneFill, now: float) -> Result:
    """Give up on a fill in doubt whose peer is gone for ever; its quantity becomes free."""
    desk.node.decide(params.fill, now)
    return {"fill": params.fill, "decided": True}


@METHODS.method("status", p.Nothing)
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


@METHODS.method("log.level", p.LogLevel, "admin")
def log_level(desk: Desk, client: Client, params: p.LogLevel, now: float) -> Result:
    """Change the level of the daemon's log."""
    desk.office.log_level(params.level, params.namespace)
    return {"level": params.level, "namespace": params.namespace}


@METHODS.method("backup", p.Backup, "admin")
async def backup(desk: Desk, client: Client, params: p.Backup, now: float) -> dict[str, Any]:
    """Write a consistent copy of the store while trading goes on."""
    try:
        return await desk.office.backup(params.path)
    except StoreError as error:
        raise OrderError(INVALID_PARAMS, f"There is no copy: {error}", field="path") from None


@METHODS.method("shutdown", p.Nothing, "admin")
async def shutdown(desk: Desk, client: Client, params: p.Nothing, now: float) -> dict[str, Any]:
    """Stop the daemon."""
    desk.office.shutdown()
    return {"stopping": True}


@METHODS.method("help", p.Help, "")
def help_(desk: Desk, client: Client, params: p.Help, now: float) -> Result:
    """List methods and commands, or explain one."""
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
