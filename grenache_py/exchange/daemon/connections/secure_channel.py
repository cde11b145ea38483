"""
TLS between two peers, and what comes before it at the peer port.

Shell: owns a transport before and below a ``PeerConnection``. `Knock` waits for what TLS begins
with and tells everybody else, in one readable line, what this port is; then it hands its transport
to a `SecureChannel`. There is no way in without TLS, and no option for one
(docs/design/identity.rst#handshake).
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.exchange.daemon.connections.channel_states import ChannelEvent, ChannelState
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.errors import INVALID_REQUEST
from grenache_py.exchange.peers.certificate import identity_context
from grenache_py.exchange.peers.door import Door, Visitor
from grenache_py.wire.jsonrpc import error_line

__all__ = ["SILENT_S", "Knock", "SecureChannel", "SecureChannels"]

#: What everybody reads who comes to this port without TLS.
NOT_TLS = (
    "This is the port for other peers and speaks TLS. Clients have one of their own; to look at"
    " this one: exchange peer-shell HOST:PORT"
)
#: Who has not said in this time what TLS begins with gets the line above.
SILENT_S = 3.0
#: Bytes of the first record of TLS, the ClientHello. OpenSSL's has 1,450.
CLIENT_HELLO_BYTES_MAX = 8_192
#: Bytes read before the key is proven; one read of the socket more may have come.
SHAKING_BYTES_MAX = 16_384
#: First bytes of the records with which TLS answers: an alert, a handshake.
_ALERT, _HANDSHAKE = 0x15, 0x16


class SecureChannel(TLSMemoryBIOProtocol):
    """TLS under one `PeerConnection`. Our queue gathers writes, so this one does not."""

    def __init__(self, factory: TLSMemoryBIOFactory, connection: PeerConnection) -> None:
        super().__init__(factory, connection)
        self.connection = connection
        self._came = 0

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        if connection.channel_state is not ChannelState.SHAKING:
            super().dataReceived(data)
            return
        if not self._came and data[0] not in {_ALERT, _HANDSHAKE}:
            connection.give_up("it does not speak TLS: an older peer, or no peer")
            return
        self._came += len(data)
        super().dataReceived(data)
        if self._came > SHAKING_BYTES_MAX and connection.channel_state is ChannelState.SHAKING:
            connection.give_up("its TLS handshake is too long")


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class SecureChannels:
    """Makes the channels of one peer, in both directions, with its key."""

    def __init__(self, seed: bytes, clock: IReactorTime) -> None:
        """
        Args:
            seed: of the identity, 32 secret bytes.
        """
        self._context = identity_context(seed)
        self._dialled = TLSMemoryBIOFactory(self, True, Factory(), clock)
        self._accepted = TLSMemoryBIOFactory(self, False, Factory(), clock)

    def over(self, connection: PeerConnection) -> SecureChannel:
        """A channel for ``connection``, which begins when it gets its transport."""
        return SecureChannel(self._dialled if connection.outbound else self._accepted, connection)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class Knock(Protocol):
    """
    A connection to the peer port that has not begun TLS.

    The bytes are kept until the first record is whole, and until the door lets it begin.
    """

    def __init__(
        self,
        clock: IReactorTime,
        channels: SecureChannels,
        connection: PeerConnection,
        door: Door,
        visitor: Visitor,
    ) -> None:
        self._clock = clock
        self._channels = channels
        self._connection = connection
        self._door = door
        self._visitor = visitor
        self._data = b""
        self._silent: IDelayedCall | None = None
        self._turn: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._silent = self._clock.callLater(SILENT_S, self._say_what_this_is, "silent")
        self._connection.expect_proof(self.abort)

    def dataReceived(self, data: bytes) -> None:
        if self._connection.channel_state is not ChannelState.CONNECTED:
            return  # refused; what still comes is dropped
        self._data += data
        if self._data[0] != _HANDSHAKE:
            self._say_what_this_is("not_tls")
            return
        if len(self._data) < 5:
            return
        whole = 5 + int.from_bytes(self._data[3:5], "big")
        if whole > CLIENT_HELLO_BYTES_MAX or len(self._data) > SHAKING_BYTES_MAX:
            self._door.refuse(self._visitor, "not_tls")
            self.abort()
        elif len(self._data) >= whole and self._turn is None:
            self._stop_waiting()
            transport: Any = self.transport
            transport.pauseProducing()
            self._begin()

    def _begin(self) -> None:
        self._turn = None
        wait = self._door.begin(self._visitor, self._clock.seconds())
        if wait:
            self._turn = self._clock.callLater(wait, self._begin)
            return
        transport: Any = self.transport
        channel = self._channels.over(self._connection)
        transport.protocol = channel
        channel.makeConnection(transport)
        transport.resumeProducing()
        channel.dataReceived(self._data)

    def _say_what_this_is(self, why: str) -> None:
        self._stop_waiting()
        self._door.refuse(self._visitor, why)
        self._connection.happens(ChannelEvent.CLOSE)
        transport: Any = self.transport
        transport.write(error_line(None, INVALID_REQUEST, NOT_TLS))
        transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._connection.happens(ChannelEvent.CLOSE)
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self._connection.connectionLost(reason)

    def _stop_waiting(self) -> None:
        for call in (self._silent, self._turn):
            if call is not None and call.active():
                call.cancel()
        self._silent = self._turn = None
