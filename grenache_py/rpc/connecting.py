"""
What a client needs of its connections, and how one is made.

Shell: connects. There are two transports, HTTP and WebSocket; the client above them does not know
which one it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from grenache_py.deferreds import DeadlinePassed, deadline
from grenache_py.errors import GrenacheError
from grenache_py.link.endpoints import SecureClientEndpoint, plain_endpoint
from grenache_py.link.http import describe
from grenache_py.rpc.errors import BadFrame, RPCFailure
from grenache_py.rpc.frames import split_address

__all__ = ["NotConnected", "RPCReply", "TLSFor", "Transport", "TransportSettings", "connect"]

#: Returns the TLS side of a connection to ``host``; ``optionsForClientTLS`` makes such things.
TLSFor = Callable[[str], Any]
#: What an answered request leads to: the other side's error or None, and the data beside it.
RPCReply = tuple[RPCFailure | None, Any]


@attrs.frozen
class TransportSettings:
    """
    What every connection of one client has in common.

    Attributes:
        tls: makes connections secure; None: they are not.
        connect_timeout_s: what one address gets to accept a connection.
        message_bytes_max: the largest message, or reply over HTTP, that is accepted.
    """

    tls: TLSFor | None
    connect_timeout_s: float
    message_bytes_max: int


class NotConnected(GrenacheError):
    """The address accepts no connection: nothing was sent, so another one may be tried."""


class Transport(Protocol):
    """What a client needs of its connections."""

    def call_now(self, address: str, rid: str, frame: bytes) -> Deferred[RPCReply] | None:
        """Send one request over a connection that is open; None if there is none."""

    async def call(self, address: str, rid: str, frame: bytes) -> RPCReply:
        """Send one request to ``address``; NotConnected, PeerLost or BadFrame if it fails."""

    def distrust(self, address: str) -> None:
        """Send nothing more over the connections that are open to ``address``."""

    async def close(self) -> None:
        """Close every connection and wait until they are."""


async def connect(
    reactor: Any, address: str, settings: TransportSettings, make: Callable[[], Any]
) -> Any:
    """
    Connect to a looked-up ``host:port``.

    Returns:
        The protocol that ``make`` made, connected.

    Raises:
        NotConnected: the address accepts no connection, or is none.
    """
    timeout_s = settings.connect_timeout_s
    try:
        connecting = _endpoint(reactor, address, settings).connect(Factory.forProtocol(make))
        return await deadline(connecting, timeout_s, reactor, "connecting")
    except (ConnectError, DNSLookupError, DeadlinePassed, BadFrame, ValueError) as error:
        raise NotConnected(describe(error, timeout_s)) from None


def _endpoint(reactor: Any, address: str, settings: TransportSettings) -> IStreamClientEndpoint:
    host, port = split_address(address)
    timeout_s, tls = settings.connect_timeout_s, settings.tls
    endpoint = plain_endpoint(reactor, host, port, timeout_s)
    return endpoint if tls is None else SecureClientEndpoint(tls(host), endpoint, reactor)
