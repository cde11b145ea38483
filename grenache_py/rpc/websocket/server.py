"""
The server's side of a WebSocket, and what it means to a server of requests.

Shell: owns its connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from websockets.http11 import Request as UpgradeRequest
from websockets.server import ServerProtocol

from grenache_py.rpc.answering import Answering
from grenache_py.rpc.errors import BadFrame
from grenache_py.rpc.frames import decode_request, encode_reply
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.sockets import Connections, peer_certificate
from grenache_py.rpc.websocket.connection import WebSocketConnection
from grenache_py.wire.same_origin import refusal

__all__ = ["RPCServerSocket", "ServerSocket", "WebSocketServerFactory"]


class ServerSocket(WebSocketConnection):
    """
    The server's side of a WebSocket; subclasses say what its messages mean.

    It accepts every path, as Node does, and its factory knows it while it is connected.
    """

    factory: Any  # a WebSocketServerFactory

    def __init__(self, limits: ServerLimits, clock: Any) -> None:
        super().__init__(ServerProtocol(max_size=limits.body_bytes_max), clock)
        self._limits = limits
        self._certificate: Any = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.connections.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.connections.discard(self)

    def handshake_received(self, event: UpgradeRequest) -> None:
        wire, limits = self._wire, self._limits
        assert isinstance(wire, ServerProtocol)
        host, origin = (
            ", ".join(event.headers.get_all(name)) or None for name in ("Host", "Origin")
        )
        why_not = refusal(host, origin, limits.allow_hosts, limits.allow_origins)
        wire.send_response(wire.reject(403, why_not) if why_not else wire.accept(event))
        self._certificate = peer_certificate(self.transport)


class RPCServerSocket(ServerSocket):
    """A client's connection to a server of requests."""

    def __init__(self, answering: Answering, limits: ServerLimits, clock: Any) -> None:
        super().__init__(limits, clock)
        self._answering = answering
        self.under_way_max = limits.pipelined_max

    def busy(self) -> bool:
        return self.under_way > 0

    def _answer(self, frame: bytes) -> None:
        self.under_way -= 1
        self.send(frame)
        if not self._receiving:
            self.work()

    def message_received(self, message: bytes, binary: bool) -> None:
        try:
            request = decode_request(message)
        except BadFrame as error:
            self.send(encode_reply(None, f"ERR_REQUEST_INVALID: {error}"))
            return
        request.peer = self.peer
        request.certificate = self._certificate
        self.under_way += 1
        self._answering.answer(request, self._answer)


class WebSocketServerFactory(Factory):
    """Makes the connections of one listening port and knows those that are open."""

    noisy = False

    def __init__(self, make: Callable[[], ServerSocket], limits: ServerLimits) -> None:
        self.connections = Connections()
        self._make = make
        self._limits = limits

    def buildProtocol(self, addr: object) -> ServerSocket | None:
        if len(self.connections) >= self._limits.connections_max:
            return None
        connection = self._make()
        connection.factory = self
        return connection
