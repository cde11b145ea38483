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
