"""
A client's WebSockets, one to an address, closed when nobody uses them.

Shell: owns the connections.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from grenache_py.deferreds import DeadlinePassed, OneShot, deadline
from grenache_py.rpc.connecting import NotConnected, RPCReply, TransportSettings, connect
from grenache_py.rpc.errors import PeerLost
from grenache_py.rpc.limits import CLOSE_TIMEOUT_S
from grenache_py.rpc.sockets import Connections
from grenache_py.rpc.websocket.client import RPCClientSocket

__all__ = ["WebSocketTransport"]

#: What Node's client keeps an unused WebSocket for.
WEBSOCKET_IDLE_S = 120.0


class WebSocketTransport:
    """
    WebSocket connections: one to an address, shared by all requests to it.

    Args:
        reactor: connects, and keeps the time.
        settings: of all its connections; ``tls`` makes them ``wss``.
    """

    def __init__(self, reactor: Any, settings: TransportSettings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._connections = Connections()
        self._sockets: dict[str, RPCClientSocket] = {}
        self._connecting: dict[str, OneShot[RPCClientSocket]] = {}
        self._retiring: set[RPCClientSocket] = set()
        self._sweeper: IDelayedCall | None = None

    def call_now(self, address: str, rid: str, frame: bytes) -> Deferred[RPCReply] | None:
        socket = self._sockets.get(address)
        if socket is None or not socket.is_usable():
            return None
        return socket.call(rid, frame)

    async def call(self, address: str, rid: str, frame: bytes) -> RPCReply:
        socket = self._sockets.get(address)
        if socket is None or not socket.is_usable():
            socket = await self._connected(address)
        return await socket.call(rid, frame)

    def distrust(self, address: str) -> None:
        socket = self._sockets.pop(address, None)
        if socket is not None:
            self._retiring.add(socket)

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for socket in self._connections:
            socket.close()
        await self._connections.when_empty(self._reactor, 2 * CLOSE_TIMEOUT_S)

    async def _connected(self, address: str) -> RPCClientSocket:
        """Return the socket to ``address``, opened by the first of those who wait for it."""
        opening = self._connecting.get(address)
        if opening is not None:
            return await opening.when()
        opening = self._connecting[address] = OneShot()
        try:
            socket = await deadline(
                self._open(address), self._settings.connect_timeout_s, self._reactor, "connecting"
            )
        except (NotConnected, PeerLost) as error:
            failed = NotConnected(str(error))
            opening.fail(failed)
            raise failed from None
        except DeadlinePassed as error:
            opening.fail(NotConnected(str(error)))
            raise NotConnected(str(error)) from None
        except CancelledError:
            # The others try for themselves: it was only this caller that gave up.
            opening.fail(NotConnected("connecting was given up"))
            raise
        finally:
            del self._connecting[address]
        self._sockets[address] = socket
        if self._sweeper is None:
            self._sweeper = self._reactor.callLater(WEBSOCKET_IDLE_S / 8, self._sweep)
        opening.fire(socket)
        return socket

    async def _open(self, address: str) -> RPCClientSocket:
        bare = address.removeprefix("tcp://")

        def make() -> RPCClientSocket:
            return RPCClientSocket(bare, self._settings, self._reactor, self._connections)

        socket: RPCClientSocket = await connect(self._reactor, address, self._settings, make)
        try:
            await socket.opened
        except CancelledError:
            socket.transport.abortConnection()
            raise
        return socket

    def _sweep(self) -> None:
        """Close what nobody has used for long, and ping what has been silent."""
        self._sweeper = None
        now = self._reactor.seconds()
        for address, socket in list(self._sockets.items()):
            if not socket.is_open:
                del self._sockets[address]
            elif not len(socket) and now - socket.used_at > WEBSOCKET_IDLE_S:
                del self._sockets[address]
                socket.close()
            else:
                socket.sweep(now, WEBSOCKET_IDLE_S / 4)
        for socket in list(self._retiring):
            if not len(socket) or not socket.is_open:
                self._retiring.discard(socket)
                socket.close()
        if self._sockets or self._retiring:
            self._sweeper = self._reactor.callLater(WEBSOCKET_IDLE_S / 8, self._sweep)
