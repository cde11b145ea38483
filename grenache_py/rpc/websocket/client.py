"""
The client's side of a WebSocket, and what it means to a client of an RPC server.

Shell: owns its connection.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from websockets.client import ClientProtocol
from websockets.http11 import Response as UpgradeResponse
from websockets.protocol import State
from websockets.uri import parse_uri

from grenache_py.rpc.connecting import RPCReply, TransportSettings
from grenache_py.rpc.errors import BadFrame, PeerLost
from grenache_py.rpc.frames import decode_reply
from grenache_py.rpc.sockets import Connections, peek
from grenache_py.rpc.websocket.connection import CLOSE_FRAME, WebSocketConnection

__all__ = ["ClientSocket", "RPCClientSocket"]


class ClientSocket(WebSocketConnection):
    """
    The client's side of a WebSocket; subclasses say what its messages mean.

    Args:
        address: ``host:port`` of the server.
        settings: ``tls`` says whether the connection under it is secure.
        clock: keeps the time.
        connections: where it is entered while it is connected.

    Attributes:
        opened: fires with None when messages can be sent, fails with PeerLost if they never can.
    """

    def __init__(
        self, address: str, settings: TransportSettings, clock: Any, connections: Connections
    ) -> None:
        uri = parse_uri(f"{'ws' if settings.tls is None else 'wss'}://{address}/ws")
        super().__init__(ClientProtocol(uri, max_size=settings.message_bytes_max), clock)
        self.address = address
        self._connections = connections
        self.opened: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        super().connectionMade()
        self._connections.add(self)
        assert isinstance(self._wire, ClientProtocol)
        self._wire.send_request(self._wire.connect())
        self.flush()

    def handshake_received(self, event: UpgradeResponse) -> None:
        if self._wire.state is State.OPEN:
            self.opened.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._connections.discard(self)
        if not self.opened.called:
            why = self._wire.handshake_exc or "the connection was lost"
            self.opened.errback(PeerLost(f"it refused the WebSocket: {why}"))


class RPCClientSocket(ClientSocket):
    """
    A client's connection to one server; any number of requests at a time.

    Attributes:
        used_at: clock seconds of the last request sent on it.
    """

    def __init__(
        self, address: str, settings: TransportSettings, clock: Any, connections: Connections
    ) -> None:
        super().__init__(address, settings, clock, connections)
        self._waiting: dict[str, Deferred[RPCReply]] = {}
        self.used_at = 0.0

    def __len__(self) -> int:
        """How many requests are in flight."""
        return len(self._waiting)

    def busy(self) -> bool:
        return len(self._waiting) > 1

    def is_usable(self) -> bool:
        """Whether a request may be sent, as far as can be known."""
        if self._waiting or not self.is_open:
            return self.is_open
        return peek(self.transport) not in (b"", CLOSE_FRAME)

    def call(self, rid: str, frame: bytes) -> Deferred[RPCReply]:
        """
        Send one request.

        Fires with: the error the other side answered with, or None, and the data.
        Fails with:
            PeerLost: the connection went away first.
        Cancel: the answer is ignored when it comes.
        """
        if not self.is_open:
            raise PeerLost(f"the connection to {self.address} was lost")

        def forget(_: object) -> None:
            del self._waiting[rid]

        waiter: Deferred[RPCReply] = Deferred(forget)
        self._waiting[rid] = waiter
        self.used_at = self._clock.seconds()
        self.send(frame)
        return waiter

    def message_received(self, message: bytes, binary: bool) -> None:
        try:
            rid, error, data = decode_reply(message)
            waiter = self._waiting.pop(rid, None)
        except (BadFrame, TypeError):  # TypeError: an id that cannot be a key was never ours
            return
        if waiter is not None:
            waiter.callback((error, data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter.errback(PeerLost(f"the connection to {self.address} was lost"))
