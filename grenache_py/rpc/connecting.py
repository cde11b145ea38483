"""
What a client needs of its connections, and how one is made.

Shell: connects. There are two transports, HTTP and WebSocket; the client above them does not know
which one it has.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from grenache_py.deferreds import DeadlinePassed, deadline
from grenache_py.errors import GrenacheError
from grenache_py.link.http import describe
from grenache_py.rpc.errors import BadFrame, RPCFailure
from grenache_py.rpc.frames import split_address

__all__ = ["NotConnected", "Reply", "TLSFor", "Transport", "client_endpoint", "connect"]

T = TypeVar("T")
#: Returns the TLS side of a connection to ``host``; ``optionsForClientTLS`` makes such things.
TLSFor = Callable[[str], Any]
#: Error and data of a reply.
Reply = tuple[RPCFailure | None, Any]


class NotConnected(GrenacheError):
    """The address accepts no connection: nothing was sent, so another one may be tried."""


class Transport(Protocol):
    """What a client needs of its connections."""

    def call_now(self, address: str, rid: str, frame: bytes) -> Deferred[Reply] | None:
        """Send one request over a connection that is open; None if there is none."""

    async def call(self, address: str, rid: str, frame: bytes) -> Reply:
        """Send one request to ``address``; NotConnected, PeerLost or BadFrame if it fails."""

    def distrust(self, address: str) -> None:
        """Send nothing more over the connections that are open to ``address``."""

    async def close(self) -> None:
        """Close every connection and wait until they are."""


def client_endpoint(
    reactor: Any, address: str, tls: TLSFor | None, connect_timeout_s: float
) -> IStreamClientEndpoint:
    """Return the endpoint of a looked-up ``host:port``."""
    host, port = split_address(address)
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        plain: Any = HostnameEndpoint(reactor, host, port, timeout=connect_timeout_s)
    else:
        # HostnameEndpoint reports a refused connection 0.3 s late, to give others a chance.
        kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        plain = kind(reactor, host, port, timeout=connect_timeout_s)
    endpoint: IStreamClientEndpoint = plain if tls is None else wrapClientTLS(tls(host), plain)
    return endpoint


async def connect(
    reactor: Any, address: str, tls: TLSFor | None, timeout_s: float, make: Callable[[], Any]
) -> Any:
    """Return a connected protocol or raise NotConnected."""
    try:
        endpoint = client_endpoint(reactor, address, tls, timeout_s)
        connecting = endpoint.connect(Factory.forProtocol(make))
        return await deadline(connecting, timeout_s, reactor, "connecting")
    except (ConnectError, DNSLookupError, DeadlinePassed, BadFrame, ValueError) as error:
        raise NotConnected(describe(error, timeout_s)) from None
