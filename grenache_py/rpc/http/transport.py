"""
A client's HTTP connections, kept per address and closed when nobody uses them.

Shell: owns the connections.
"""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from grenache_py.rpc.connecting import NotConnected, RPCReply, TransportSettings, connect
from grenache_py.rpc.errors import BadFrame
from grenache_py.rpc.frames import decode_reply, gunzip
from grenache_py.rpc.http.client import HTTPClientConnection
from grenache_py.rpc.limits import CLOSE_TIMEOUT_S
from grenache_py.rpc.sockets import Connections
from grenache_py.rpc.streams import ClientStream

__all__ = ["HTTPTransport"]

#: Below the 5 s after which Node's servers close an idle HTTP connection.
HTTP_IDLE_S = 4.0


class HTTPTransport:
    """
    HTTP connections: one request at a time on each, several to an address.

    Args:
        reactor: connects, and keeps the time.
        settings: of all its connections; ``tls`` makes them HTTPS.
        compress: gzip requests, and with them the replies.
        connections_max: connections to one address; more requests wait for one of them.
    """

    def __init__(
        self,
        reactor: Any,
        settings: TransportSettings,
        *,
        compress: bool = False,
        connections_max: int = 64,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._compress = compress
        self._connections_max = connections_max
        self._hosts: dict[str, _HTTPHost] = {}
        self._connections = Connections()
        self._sweeper: IDelayedCall | None = None

    def call_now(self, address: str, rid: str, frame: bytes) -> Deferred[RPCReply] | None:
        host = self._hosts.get(address)
        connection = self._kept(host) if host is not None else None
        if host is None or connection is None:
            return None
        return self._send(host, connection, rid, frame)

    async def call(self, address: str, rid: str, frame: bytes) -> RPCReply:
        host = self._host(address)
        return await self._send(host, await self._take(host), rid, frame)

    def _send(
        self, host: _HTTPHost, connection: HTTPClientConnection, rid: str, frame: bytes
    ) -> Deferred[RPCReply]:
        if self._compress:
            frame = gzip.compress(frame, compresslevel=6, mtime=0)
        answer = connection.call(host.head % len(frame) + frame)

        def over(result: tuple[int, bytes] | Failure) -> RPCReply | Failure:
            self._give_back(host, connection)
            return result if isinstance(result, Failure) else self._read(result, host.address, rid)

        return answer.addBoth(over)

    def _read(self, answer: tuple[int, bytes], address: str, rid: str) -> RPCReply:
        status, body = answer
        if self._compress:
            plain = gunzip(body, self._settings.message_bytes_max)
            body = body if plain is None else plain
        try:
            echoed, error, data = decode_reply(body)
        except BadFrame as bad:
            raise BadFrame(f"{address} answered with HTTP {status}: {bad}") from None
        if echoed != rid and error is None:
            raise BadFrame(f"{address} answered another request than was sent")
        return error, data

    async def open_stream(
        self, address: str, rid: str, key: str, headers: Mapping[str, Any]
    ) -> ClientStream:
        """Begin a stream to ``address``; header values that are not text are sent as JSON."""
        host = self._host(address)
        lines = [b"POST / HTTP/1.1\r\nHost: %b\r\n" % host.address.encode()]
        for name, value in {"_gr": [rid, key], **headers}.items():
            text = value if isinstance(value, str) else json.dumps(value)
            line = f"{name}: {text}"
            if "\r" in line or "\n" in line or not name.replace("-", "").replace("_", "").isalnum():
                raise BadFrame(f"{line!r} cannot be a header")
            lines.append(line.encode() + b"\r\n")
        lines.append(b"Transfer-Encoding: chunked\r\n\r\n")
        connection = await self._take(host)
        stream, ended = connection.open(b"".join(lines))
        ended.addCallback(lambda _: self._give_back(host, connection))
        return stream

    def distrust(self, address: str) -> None:
        host = self._hosts.get(address)
        if host is not None:
            for connection in host.idle:
                host.all.discard(connection)
                connection.close()
            host.idle.clear()
            self._forget_unused(host)

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in self._connections:
            connection.close()
        await self._connections.when_empty(self._reactor, CLOSE_TIMEOUT_S)

    def _host(self, address: str) -> _HTTPHost:
        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = _HTTPHost(address, self._compress)
        return host

    def _forget_unused(self, host: _HTTPHost) -> None:
        if not host.all and not host.connecting and not host.waiting:
            self._hosts.pop(host.key, None)

    def _kept(self, host: _HTTPHost) -> HTTPClientConnection | None:
        """Return a connection that is idle and still open, the one used last."""
        while host.idle:
            connection = host.idle.pop()
            if connection.is_free():
                return connection
            host.all.discard(connection)
            connection.close()
        return None

    async def _take(self, host: _HTTPHost) -> HTTPClientConnection:
        """Return a free connection: a kept one, a new one, or the next that becomes free."""
        kept = self._kept(host)
        if kept is not None:
            return kept
        if host.connecting + len(host.all) >= self._connections_max:
            waiter: Deferred[HTTPClientConnection | None] = Deferred(host.waiting.remove)
            host.waiting.append(waiter)
            freed = await waiter
            if freed is not None:
                return freed
        host.connecting += 1
        try:
            connection: HTTPClientConnection = await connect(
                self._reactor,
                host.address,
                self._settings,
                lambda: HTTPClientConnection(
                    host.address, self._settings.message_bytes_max, self._connections
                ),
            )
        except (NotConnected, CancelledError):
            if host.waiting:
                host.waiting.popleft().callback(None)
            raise
        finally:
            host.connecting -= 1
            self._forget_unused(host)
        host.all.add(connection)
        self._hosts[host.key] = host
        return connection

    def _give_back(self, host: _HTTPHost, connection: HTTPClientConnection) -> None:
        if not connection.usable:
            host.all.discard(connection)
            if host.waiting:
                host.waiting.popleft().callback(None)
            self._forget_unused(host)
            return
        if host.waiting:
            host.waiting.popleft().callback(connection)
            return
        connection.idle_since = self._reactor.seconds()
        host.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._reactor.callLater(HTTP_IDLE_S / 4, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long; runs only while something is."""
        self._sweeper = None
        now = self._reactor.seconds()
        for host in list(self._hosts.values()):
            while host.idle and (
                not host.idle[0].usable or now - host.idle[0].idle_since >= HTTP_IDLE_S * 0.75
            ):
                connection = host.idle.popleft()
                host.all.discard(connection)
                connection.close()
            self._forget_unused(host)
        if any(host.idle for host in self._hosts.values()):
            self._sweeper = self._reactor.callLater(HTTP_IDLE_S / 4, self._sweep)


class _HTTPHost:
    """The connections to one address."""

    def __init__(self, address: str, compress: bool) -> None:
        self.key = address
        self.address = address.removeprefix("tcp://")
        self.idle: deque[HTTPClientConnection] = deque()  # the one used last at the right
        self.all: set[HTTPClientConnection] = set()
        self.connecting = 0
        self.waiting: deque[Deferred[HTTPClientConnection | None]] = deque()
        self.head = (
            b"POST / HTTP/1.1\r\nHost: %b\r\ngrc-compress: %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %%d\r\n\r\n"
        ) % (self.address.encode(), b"gzip" if compress else b"none")
