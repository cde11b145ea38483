"""
The server of requests.

Service: listens, keeps itself announced, and stops in order. It can be used without an
application too: ``await server.start()``, ``await server.stop()``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory

from grenache_py.errors import LocalProtocolError
from grenache_py.link.announcing import EVERY_S_DEFAULT
from grenache_py.link.client import Link
from grenache_py.rpc.answering import ERR_INTERNAL, Answering, Handler
from grenache_py.rpc.errors import BadFrame, PeerLost, RPCFailure
from grenache_py.rpc.http.server import HTTPServerFactory
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.listening import Listening
from grenache_py.rpc.streams import ServerStream
from grenache_py.rpc.websocket.connection import GOING_AWAY
from grenache_py.rpc.websocket.server import RPCServerSocket, WebSocketServerFactory

__all__ = ["RPCServer", "StreamHandler"]

#: Reads and writes a stream; the answer is finished when it returns.
StreamHandler = Callable[[ServerStream], Any]


class RPCServer(Listening):
    """
    Answers requests over HTTP or WebSocket and announces where it does.

    Args:
        link: announces it; None for a server that is found in another way.
        names: the service name, or several.
        handler: called with a :class:`~grenache_py.rpc.frames.Request`; returns a result that JSON
            can express, or a Deferred or coroutine of one; raises
            :class:`~grenache_py.rpc.errors.RPCFailure` to answer with an error.
        reactor: listens, and keeps the time.
        endpoint: Twisted endpoint or its string, such as ``tcp:1337`` or, for secure mode,
            ``ssl:1337:privateKey=key.pem:certKey=cert.pem``. Port 0 picks one.
        transport: ``"http"`` or ``"ws"``.
        stream_handler: called with a :class:`~grenache_py.rpc.streams.ServerStream` for each
            request that is a stream (HTTP only); without it streams are read as requests.
        limits: what clients may do.
        announce_port: the port to announce, where it differs from the one listened on.
        announce_every_s: seconds between announcements.
    """

    def __init__(
        self,
        link: Link | None,
        names: str | Sequence[str],
        handler: Handler,
        reactor: Any,
        *,
        endpoint: str | IStreamServerEndpoint = "tcp:0",
        transport: Literal["http", "ws"] = "http",
        stream_handler: StreamHandler | None = None,
        limits: ServerLimits | None = None,
        announce_port: int | None = None,
        announce_every_s: float = EVERY_S_DEFAULT,
    ) -> None:
        limits = limits or ServerLimits()
        super().__init__(link, names, reactor, endpoint, limits, announce_port, announce_every_s)
        if transport not in ("http", "ws"):
            raise LocalProtocolError(f'a transport is "http" or "ws", not {transport!r}')
        if stream_handler is not None and transport != "http":
            raise LocalProtocolError("streams are a matter of HTTP, not of WebSocket")
        self._transport = transport
        self._stream_handler = stream_handler
        self._answering = Answering(handler, reactor, limits)

    @property
    def answered(self) -> int:
        """Requests answered so far, errors included."""
        return self._answering.answered

    def _make_factory(self) -> Factory:
        limits, clock, answering = self._limits, self._reactor, self._answering
        if self._transport == "http":
            streams = self._run_stream if self._stream_handler is not None else None
            return HTTPServerFactory(answering, limits, clock, streams)
        return WebSocketServerFactory(lambda: RPCServerSocket(answering, limits, clock), limits)

    def _run_stream(self, stream: ServerStream, reply: Any) -> None:
        self._background.spawn(f"stream {stream.action}", self._stream(stream, reply))

    async def _stream(self, stream: ServerStream, reply: Any) -> None:
        assert self._stream_handler is not None
        try:
            result = self._stream_handler(stream)
            if result is not None:
                await result
        except RPCFailure as error:
            reply.fail(stream.rid, error.message)
        except BadFrame as error:  # what the caller sent is not a chunked body, or too much
            reply.fail(stream.rid, f"ERR_REQUEST_INVALID: {error}")
        except PeerLost:
            pass
        except BaseException:
            reply.fail(stream.rid, ERR_INTERNAL)
            raise
        else:
            stream.outgoing.finish()

    async def _sweep(self) -> None:
        now = self._reactor.seconds()
        for connection in self._factory.connections:
            if self._transport == "http":
                connection.sweep(now)
            else:
                connection.sweep(now, self._limits.idle_timeout_s)

    async def _finish(self) -> None:
        await self._answering.drain()

    def _close_connections(self) -> None:
        self._answering.stop()
        for connection in self._factory.connections:
            if self._transport == "http":
                connection.shut()
            else:
                connection.close(GOING_AWAY, "shutting down")
