"""
RPC over HTTP, the client's side of a connection.

Shell: owns its transport.
"""

from __future__ import annotations

from typing import Any

import httptools
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.rpc.errors import BadFrame, PeerLost
from grenache_py.rpc.sockets import Connections, Writer, peek
from grenache_py.rpc.streams import ClientStream, IncomingBytes, OutgoingBytes

__all__ = ["HTTPClientConnection"]


@implementer(IPushProducer)
class HTTPClientConnection(Protocol):
    """
    A client's connection to one server: one request at a time, then the next.

    Attributes:
        usable: whether another request may be sent on it.
        idle_since: clock seconds at which the last answer ended.
    """

    transport: Any  # TCP or TLS; both are also an IConsumer and an IPushProducer

    def __init__(self, address: str, reply_bytes_max: int, connections: Connections) -> None:
        self.address = address
        self._connections = connections
        self.usable = True
        self.idle_since = 0.0
        self._reply_bytes_max = reply_bytes_max
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: Deferred[tuple[int, bytes]] | None = None
        self._stream: ClientStream | None = None
        self._incoming: IncomingBytes | None = None
        self._outgoing: OutgoingBytes | None = None
        self._ended: Deferred[None] | None = None
        self._held = False
        self._body: list[bytes] = []
        self._size = 0
        self._headers_done = False
        self._until_eof = True

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._writer = Writer(self.transport)
        self._connections.add(self)

    def is_free(self) -> bool:
        """Whether a request may be sent, as far as can be known."""
        # What a server sends on an idle connection is its end, TLS or not.
        return self.usable and peek(self.transport) is None

    def call(self, request: bytes) -> Deferred[tuple[int, bytes]]:
        """
        Send one request.

        Fires with: status and body of the answer.
        Fails with:
            PeerLost: the connection went away first.
            BadFrame: the answer is not HTTP, or too large.
        Cancel: the connection is dropped, since an answer may still be on its way.
        """
        assert self._waiter is None and self.usable
        self._waiter = Deferred(lambda _: self._drop())
        self._writer.write(request)
        return self._waiter

    def open(self, head: bytes) -> tuple[ClientStream, Deferred[None]]:
        """Begin a stream; the Deferred fires when the connection is free or gone."""
        self.transport.registerProducer(self, True)
        self._incoming = IncomingBytes(self._hold)
        self._outgoing = OutgoingBytes(self)

        def abort() -> None:
            if self._stream is stream:  # else the connection serves others by now
                self._drop()

        stream = ClientStream(self.address, self._incoming, self._outgoing, abort)
        self._stream = stream
        self._ended = Deferred()
        self._writer.write(head)
        return stream, self._ended

    def send_chunk(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def send_end(self) -> None:
        self._writer.write(b"0\r\n\r\n")

    def close(self) -> None:
        """Close the connection."""
        self.usable = False
        self.transport.loseConnection()

    def _drop(self) -> None:
        self.usable = False
        self._waiter = None
        self.transport.abortConnection()

    def _hold(self, held: bool) -> None:
        if held and not self._held:
            self.transport.pauseProducing()
        elif self._held and not held and self.usable:
            self.transport.resumeProducing()
        self._held = held

    def pauseProducing(self) -> None:
        if self._outgoing is not None:
            self._outgoing.hold(True)

    def resumeProducing(self) -> None:
        if self._outgoing is not None:
            self._outgoing.hold(False)

    def stopProducing(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        if self._waiter is None and self._stream is None:
            self._drop()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BadFrame(f"{self.address} does not speak HTTP: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.usable = False
        self._connections.discard(self)
        if self._headers_done and self._until_eof:
            self.on_message_complete()
        else:
            self._fail(PeerLost(f"the connection to {self.address} was lost"))

    def on_message_begin(self) -> None:
        self._body.clear()
        self._size = 0
        self._headers_done = False
        self._until_eof = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._until_eof = False

    def on_headers_complete(self) -> None:
        self._headers_done = True
        if self._stream is not None:
            self._stream.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(data)
            return
        self._size += len(data)
        if self._size > self._reply_bytes_max:
            limit = self._reply_bytes_max
            self._fail(BadFrame(f"{self.address} answered with more than {limit} bytes"))
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._headers_done = False
        if not self._parser.should_keep_alive():
            self.usable = False
        incoming = self._incoming
        if incoming is not None:
            assert self._outgoing is not None
            if not self._outgoing.finished:
                self.usable = False  # it answered before it had read everything
            self._free()  # first, so that the reader may use the connection again at once
            incoming.end()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback((status, b"".join(self._body)))

    def _free(self) -> None:
        self._hold(False)
        self.transport.unregisterProducer()
        self._stream = self._incoming = self._outgoing = None
        if not self.usable:
            self.transport.loseConnection()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _fail(self, error: Exception) -> None:
        self.usable = False
        self.transport.abortConnection()
        waiter, self._waiter = self._waiter, None
        if self._incoming is not None and self._outgoing is not None:
            self._incoming.end(error)
            self._outgoing.lost(error)
            self._free()
        if waiter is not None:
            waiter.errback(error)
