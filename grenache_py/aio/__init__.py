"""Link, RPC and publish and subscribe for programs that run asyncio."""

from grenache_py.aio.futures import as_deferred, as_future
from grenache_py.aio.link import AddressWatch, Announcement, Link
from grenache_py.aio.pubsub import Publisher, Subscriber
from grenache_py.aio.rpc import RPCClient, RPCServer
from grenache_py.aio.streams import ClientStream, ServerStream

__all__ = [
    "AddressWatch",
    "Announcement",
    "ClientStream",
    "Link",
    "Publisher",
    "RPCClient",
    "RPCServer",
    "ServerStream",
    "Subscriber",
    "as_deferred",
    "as_future",
]
