"""Services that talk to each other directly: RPC and pub/sub over HTTP and WebSocket."""

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
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.peer import Request
from grenache_py.rpc.publisher import Publisher
from grenache_py.rpc.service import RPCServer
from grenache_py.rpc.streams import ClientStream, ServerStream
from grenache_py.rpc.subscriber import Subscriber

__all__ = [
    "BadFrame",
    "ClientStream",
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
