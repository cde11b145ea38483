"""
Services that talk to each other directly: RPC and pub/sub over HTTP and WebSocket.

What is named here is imported when it is asked for: what is pure below needs no Twisted, and a
command of the shell that uses it starts in half the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grenache_py.rpc.client import Outcome, RPCClient
    from grenache_py.rpc.errors import (
        BadFrame,
        NoPeerFound,
        NotSendable,
        PeerLost,
        PeerUnreachable,
        RequestTimedOut,
        RPCError,
        RPCFailure,
        TooManyRequests,
    )
    from grenache_py.rpc.frames import Request
    from grenache_py.rpc.limits import ServerLimits
    from grenache_py.rpc.methods import Methods
    from grenache_py.rpc.pubsub.publisher import Publisher
    from grenache_py.rpc.pubsub.subscriber import Subscriber
    from grenache_py.rpc.server import RPCServer
    from grenache_py.rpc.streams import ClientStream, ServerStream

__all__ = [
    "BadFrame",
    "ClientStream",
    "Methods",
    "NoPeerFound",
    "NotSendable",
    "Outcome",
    "PeerLost",
    "PeerUnreachable",
    "Publisher",
    "RPCClient",
    "RPCError",
    "RPCFailure",
    "RPCServer",
    "Request",
    "RequestTimedOut",
    "ServerLimits",
    "ServerStream",
    "Subscriber",
    "TooManyRequests",
]

_MODULES = {
    "ClientStream": "streams",
    "Methods": "methods",
    "Outcome": "client",
    "Publisher": "pubsub.publisher",
    "RPCClient": "client",
    "RPCServer": "server",
    "Request": "frames",
    "ServerLimits": "limits",
    "ServerStream": "streams",
    "Subscriber": "pubsub.subscriber",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
