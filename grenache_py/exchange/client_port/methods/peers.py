"""
Methods about the peer itself: who it is, how it is, its links, fills in doubt, its upkeep.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from typing import Any

from grenache_py.alarms import utc
from grenache_py.exchange.client_port.access import Grant, digest_of
from grenache_py.exchange.client_port.feed import STATUS
from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.inline import COMMANDS, usage_of
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.registry import (
    METHODS,
    AtSeal,
    MethodResult,
    may_subscribe,
    unsubscribe,
)
from grenache_py.exchange.client_port.token_guesses import GUESSES_PER_CONNECTION
from grenache_py.exchange.errors import (
    INVALID_PARAMS,
    NOT_AUTHORISED,
    RATE_LIMITED,
    STANDBY,
    OrderError,
    StoreError,
)
from grenache_py.options import host_and_port
from grenache_py.wire.jsonrpc import notification_line

__all__ = ["tell_status"]

FILLS_LISTED_MAX = 200


@METHODS.method("hello", p.Hello, "")
def hello(gateway: Gateway, client: Principal, params: p.Hello, now: float) -> MethodResult:
    """Say who you are and give your token; learn peer, network and markets."""
    if params.token is not None:
        grant = _grant(gateway, client, params.token, now)
        client.grant = Grant(grant.scopes & client.ceiling, grant.account)
        client.token = digest_of(params.token)
    client.name = params.client
    if params.cancel_on_disconnect is not None:
        _tie(gateway, client, params.cancel_on_disconnect)
    facts, closed = gateway.facts, gateway.closed
    elsewhere = {}
    if closed is not None and closed.code == STANDBY:
        elsewhere = {"role": "standby", **closed.data}
    return {
        "peer": facts.peer,
        "network": facts.network,
        "version": facts.version,
        "protocol": [1, 1],
        "markets": list(gateway.feed.markets),
        "features": facts.features,
        "scopes": sorted(client.grant.scopes),
        "account": client.grant.account,
        "token_needed": facts.tokens_wanted and not client.grant.scopes,
        "cancel_on_disconnect": client.ties,
        **elsewhere,
    }


def _tie(gateway: Gateway, client: Principal, ties: bool) -> None:
    """Have orders cancelled when this connection is lost, or let them stand."""
    if ties and not client.number:
        client.number = next(gateway.numbers)
    elif client.number and not ties:
        if gateway.closed is not None:
            raise gateway.closed
        gateway.step(lambda node: node.untie(client.number))
    client.ties = ties


def _grant(gateway: Gateway, client: Principal, token: str, now: float) -> Grant:
    """What a token allows; wrong ones are counted, and too many end the connection."""
    wait_ms = gateway.guesses.wait_ms(client.source, now)
    if wait_ms or client.wrong_tokens >= GUESSES_PER_CONNECTION:
        client.leaving = True
        raise OrderError(
            RATE_LIMITED,
            "Too many wrong tokens came from here; this one was not looked at.",
            retry_after_ms=wait_ms,
        )
    grant = gateway.check_token(token)
    if grant is None:
        gateway.guesses.was_wrong(client.source, now)
        client.wrong_tokens += 1
        client.leaving = client.leaving or client.wrong_tokens >= GUESSES_PER_CONNECTION
        raise OrderError(
            NOT_AUTHORISED, "This token is not known here; check the daemon's token file."
        )
    if grant.ends is not None and grant.over(now):
        raise OrderError(
            NOT_AUTHORISED, f"This token ended on {utc(grant.ends)}; ask for a new one."
        )
    return grant


@METHODS.method("ping", p.Nothing, "")
def ping(gateway: Gateway, client: Principal, params: p.Nothing, now: float) -> MethodResult:
    """Answer with the daemon's time."""
    return {"time": int(now * 1000)}


@METHODS.method("peers.list", p.Nothing)
def peers_list(gateway: Gateway, client: Principal, params: p.Nothing, now: float) -> MethodResult:
    """List the links to other peers."""
    return {"peers": gateway.node.peers(now)}


@METHODS.method("peers.connect", p.Addressed, "admin")
def peers_connect(
    gateway: Gateway, client: Principal, params: p.Addressed, now: float
) -> MethodResult:
    """Connect to the peer at host:port."""
    try:
        address = host_and_port(params.address)
    except ValueError as error:
        raise OrderError(INVALID_PARAMS, f"The address {error}.", field="address") from None
    gateway.step(lambda node: node.connect(address, now))
    return {"connecting": address}


@METHODS.method("peers.ban", p.PeerBan, "admin")
def peers_ban(gateway: Gateway, client: Principal, params: p.PeerBan, now: float) -> MethodResult:
    """Close the links to a peer and refuse it for a while."""
    gateway.step(lambda node: node.ban(params.peer, params.seconds, now))
    return {"banned": params.peer, "seconds": params.seconds}


@METHODS.method("peers.unban", p.PeerKey, "admin")
def peers_unban(gateway: Gateway, client: Principal, params: p.PeerKey, now: float) -> MethodResult:
    """Let a banned peer in again."""
    gateway.step(lambda node: node.unban(params.peer, now))
    return {"unbanned": params.peer}


@METHODS.method("fills.list", p.Nothing, "admin")
def fills_list(gateway: Gateway, client: Principal, params: p.Nothing, now: float) -> MethodResult:
    """List fills whose answer from another peer is awaited."""
    return AtSeal(lambda: {"fills": gateway.node.in_doubt()[:FILLS_LISTED_MAX]})


@METHODS.method("fills.decide", p.OneFill, "admin")
def fills_decide(
    gateway: Gateway, client: Principal, params: p.OneFill, now: float
) -> MethodResult:
    """Give up on a fill in doubt whose peer is gone for ever; its quantity becomes free."""
    gateway.step(lambda node: node.decide(params.fill, now))
    return {"fill": params.fill, "decided": True}


@METHODS.method("status", p.Nothing)
def status(gateway: Gateway, client: Principal, params: p.Nothing, now: float) -> MethodResult:
    """Show how the daemon is: identity, sync, orders, store, grapes."""
    return AtSeal(lambda: _status(gateway, now))


def _status(gateway: Gateway, now: float) -> dict[str, Any]:
    facts = gateway.facts
    known: dict[str, Any] = {"peer": facts.peer, "network": facts.network}
    if gateway.closed is None:
        known |= gateway.node.status(now)
    else:
        known |= {"serving": False, "synced": False}
    uptime_s = int(now - facts.started)
    known |= {"version": facts.version, "uptime_s": uptime_s}
    return known | gateway.admin.status()


@METHODS.method("status.subscribe", p.Nothing)
def status_subscribe(
    gateway: Gateway, client: Principal, params: p.Nothing, now: float
) -> MethodResult:
    """Follow how the daemon is: its status now, then status.update once a second."""
    may_subscribe(gateway, client, STATUS)

    def begin() -> dict[str, Any]:
        gateway.feed.begin(STATUS, client.send_queue)
        return {"subscription": STATUS, "status": _status(gateway, now)}

    return AtSeal(begin, begins=STATUS)


@METHODS.method("status.unsubscribe", p.Nothing)
def status_unsubscribe(
    gateway: Gateway, client: Principal, params: p.Nothing, now: float
) -> MethodResult:
    """End following how the daemon is."""
    return unsubscribe(gateway, client, STATUS)


def tell_status(gateway: Gateway, now: float) -> bool:
    """Have those who follow it told with the batch under way; False when there are none."""
    return gateway.feed.tell_at_seal(
        STATUS, lambda: notification_line("status.update", _status(gateway, now))
    )


@METHODS.method("log.level", p.LogLevel, "admin")
def log_level(gateway: Gateway, client: Principal, params: p.LogLevel, now: float) -> MethodResult:
    """Change the level of the daemon's log."""
    gateway.admin.log_level(params.level, params.namespace)
    return {"level": params.level, "namespace": params.namespace}


@METHODS.method("backup", p.Backup, "admin")
async def backup(
    gateway: Gateway, client: Principal, params: p.Backup, now: float
) -> dict[str, Any]:
    """Write a consistent copy of the store while trading goes on."""
    try:
        return await gateway.admin.backup(params.path)
    except StoreError as error:
        raise OrderError(INVALID_PARAMS, f"There is no copy: {error}", field="path") from None


@METHODS.method("promote", p.Promote, "admin")
def promote(gateway: Gateway, client: Principal, params: p.Promote, now: float) -> MethodResult:
    """Have this daemon serve, and the one that does give way; nothing is lost by that."""
    gateway.admin.promote(params.new_epoch)
    return {"wanted": True}


@METHODS.method("demote", p.Nothing, "admin")
def demote(gateway: Gateway, client: Principal, params: p.Nothing, now: float) -> MethodResult:
    """Have this daemon finish what it took, and leave its home to another one."""
    gateway.admin.demote()
    return {"demoted": True}


@METHODS.method("shutdown", p.Nothing, "admin")
async def shutdown(
    gateway: Gateway, client: Principal, params: p.Nothing, now: float
) -> dict[str, Any]:
    """Stop the daemon."""
    gateway.admin.shutdown()
    return {"stopping": True}


@METHODS.method("help", p.Help, "")
def help_(gateway: Gateway, client: Principal, params: p.Help, now: float) -> MethodResult:
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
