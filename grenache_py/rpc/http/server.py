"""
RPC over HTTP, the server's side of a connection.

Shell: owns its transport. Twisted's own ``web.server`` answers some 9,000 requests a
second where a Protocol on httptools answers 70,000, hence this one. What it speaks is
section f of the reference: any method, path and query, the body ``[rid, key, payload]``,
an answer with status 200 in the same form, gzipped if the request said
``grc-compress: gzip``, and streams. Unlike a Node server it answers what it cannot read.
"""

from __future__ import annotations

import gzip
from collections import deque
from typing import Any

import httptools
import msgspec
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.rpc.answering import Answering
from grenache_py.rpc.errors import BadFrame
from grenache_py.rpc.frames import decode_request, encode_reply, gunzip
from grenache_py.rpc.http.replies import ChunkedReply, Reply, answer
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.sockets import Connections, Writer, peer_certificate
from grenache_py.rpc.streams import IncomingBytes, OutgoingBytes, ServerStream, lost

__all__ = ["HTTPServerConnection", "HTTPServerFactory"]


def _json_header(text: str | None) -> Any:
    if text is None:
        return None
    return msgspec.json.decode(text.encode("utf-8", "surrogateescape"))


@implementer(IPushProducer, IHalfCloseableProtocol)
class HTTPServerConnection(Protocol):
    """
    One client's connection to a server of requests.

    Args:
        answering: runs the program's handler.
        limits: what the client may do.
        streams: starts the program's stream handler, None if it has none.
    """

    transport: Any  # TCP or TLS; both are also an IConsumer and an IPushProducer

    def __init__(self, answering: Answering, limits: ServerLimits, streams: Any = None) -> None:
        self._answering = answering
        self._limits = limits
        self._streams = streams
        self._parser = httptools.HttpRequestParser(self)
        self._replies: deque[Reply] = deque()
        self._held_by: set[str] = set()
        self._closing = False
        self._lingers = False
        self._let_go = False
        self._peer = ""
        self._certificate: Any = None
        self._new_message()
        self.active_at = 0.0
        self.began_at: float | None = None

    # Twisted calls these

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._writer = Writer(self.transport)
        peer = self.transport.getPeer()
        self._peer = f"{getattr(peer, 'host', peer)}:{getattr(peer, 'port', 0)}"
        self.active_at = self.factory.clock.seconds()
        self.factory.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self.active_at = self.factory.clock.seconds()
        if not self._in_body:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._refuse(cause.status, cause.message)
            else:
                self._refuse(400, f"not HTTP: {error}")
        else:
            # The parser keeps a header line to itself until it has all of it.
            if not self._in_body and self._header_bytes > self._limits.header_bytes_max + 65_536:
                self._refuse(431, "too many header bytes")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)
        self._closing = True
        for reply in self._replies:
            if reply.stream is not None:
                reply.stream.incoming.end(lost(self._peer))
                reply.stream.outgoing.lost(lost(self._peer))

    def readConnectionLost(self) -> None:
        """The client will send no more, but may well read what it has asked for."""
        if self._lingers:
            self.shut()
        elif self.began_at is not None:
            self._refuse(400, "the connection ended in the middle of a request")
        else:
            self.shut()

    def writeConnectionLost(self) -> None:
        pass

    def pauseProducing(self) -> None:
        self._hold("writing", True)
        self._hold_stream(True)

    def resumeProducing(self) -> None:
        self.active_at = self.factory.clock.seconds()  # the client reads
        self._hold("writing", False)
        self._hold_stream(False)

    def stopProducing(self) -> None:
        pass

    # the service calls these

    def sweep(self, now: float) -> None:
        """Close the connection if the client has been idle, or too slow, for too long."""
        limit_s = self._limits.idle_timeout_s
        if self._closing:
            if now - self.active_at > limit_s:
                self.transport.abortConnection()
        elif not self._replies and self.began_at is None:
            if now - self.active_at > limit_s:
                self._lose()
        elif any(reply.stream is not None for reply in self._replies):
            if now - self.active_at > limit_s:
                self.transport.abortConnection()
        elif self.began_at is not None and now - self.began_at > limit_s:
            self._refuse(408, "the request took too long to arrive")

    def abort(self) -> None:
        """Cut the connection off."""
        self.transport.abortConnection()

    def shut(self) -> None:
        """Close the connection after the answers that are on their way."""
        if self._lingers and not self._replies:
            self.transport.loseConnection()
        elif not self._closing:
            self._closing = True
            if not self._replies:
                self._lose()

    # httptools calls these

    def on_message_begin(self) -> None:
        self._new_message()
        if self.began_at is None:
            self.began_at = self.active_at

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value) + 4
        if self._header_size > self._limits.header_bytes_max:
            raise _Refused(431, "too many header bytes")
        self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_body = True
        if self._parser.should_upgrade():
            wanted = self._headers.get("upgrade", "a tunnel")
            raise _Refused(400, f"this port speaks HTTP/1.1 and not {wanted}")
        if "_gr" in self._headers:
            self._read_gr()
        expects = self._headers.get("expect", "").lower() == "100-continue"
        if expects and not self._replies and not self._gr_refused:
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.incoming.feed(data)
            return
        self._body_size += len(data)
        if self._body_size > self._limits.body_bytes_max:
            raise _Refused(413, f"a body of more than {self._limits.body_bytes_max} bytes")
        self._body.append(data)

    def on_message_complete(self) -> None:
        self.began_at = None
        self._header_bytes = 0
        self._in_body = False
        if self._stream is not None:
            self._stream.incoming.end()
            return
        if self._gr_refused:
            return
        reply = self._new_reply()
        compressed = "gzip" in self._headers.get("grc-compress", "")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        try:
            if compressed:
                plain = gunzip(body, self._limits.body_bytes_max)
                body = body if plain is None else plain
            request = decode_request(body)
        except BadFrame as error:
            self._respond(reply, 400, encode_reply(self._gr[0], f"ERR_REQUEST_INVALID: {error}"))
            return
        if self._gr_given:
            request.rid, request.key = self._gr
        request.peer = self._peer
        request.certificate = self._peer_certificate()
        no_body = self._parser.get_method() == b"HEAD"

        def send(frame: bytes) -> None:
            if compressed:
                frame = gzip.compress(frame, compresslevel=6, mtime=0)
            self._respond(reply, 200, frame, no_body)

        self._answering.answer(request, send)

    def _new_message(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_size = 0
        self._header_bytes = 0  # as they arrived, whole lines or not
        self._header_size = 0  # of whole lines
        self._in_body = False
        self._gr: tuple[Any, Any] = (None, None)
        self._gr_given = False
        self._gr_refused = False
        self._stream: ServerStream | None = None  # what the body belongs to

    def _read_gr(self) -> None:
        try:
            gr = _json_header(self._headers["_gr"])
        except msgspec.DecodeError:
            gr = False
        if gr is None:
            return
        if type(gr) is not list:
            self._gr_refused = True
            # these bytes are what a Node server answers, blanks included
            self._respond(self._new_reply(), 500, b'[null, "ERR_HEADER_PARSE_GR", null]')
            return
        rid, key, *_ = [*gr, None, None]
        self._gr, self._gr_given = (rid, key), True
        if self._streams is not None and "transfer-encoding" in self._headers:
            self._open_stream()

    def _open_stream(self) -> None:
        try:
            args = _json_header(self._headers.get("_ar", "{}"))
        except msgspec.DecodeError:
            args = {}
        reply = self._new_reply()
        body = ChunkedReply(self, reply)
        incoming = IncomingBytes(lambda held: self._hold("reading", held))
        outgoing = OutgoingBytes(body)
        stream = ServerStream(
            self._gr,
            self._headers.get("_a"),
            args,
            self._headers,
            self._peer,
            self._peer_certificate(),
            incoming,
            outgoing,
        )
        self._stream = reply.stream = stream
        outgoing.hold(reply is not self._replies[0] or "writing" in self._held_by)
        self._streams(stream, body)

    def stream_ended(self, reply: Reply) -> None:
        """The answer to a stream is complete."""
        if reply.stream is self._stream and self.began_at is not None:
            # The rest of the body is still to come, and nobody will read it.
            self._closing = True
            self._lose()

    def _peer_certificate(self) -> Any:
        if self._certificate is None:
            self._certificate = peer_certificate(self.transport)
        return self._certificate

    def _new_reply(self) -> Reply:
        reply = Reply(close=not self._parser.should_keep_alive())
        self._replies.append(reply)
        if len(self._replies) >= self._limits.pipelined_max:
            self._hold("pipelined", True)
        return reply

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be understood, and close: nobody knows where the next one begins."""
        if self._closing:
            return
        self._closing = True
        if self._stream is not None:
            self._stream.incoming.end(BadFrame(message))
            self._lose()
            return
        reply = self._new_reply()
        reply.close = self._lingers = True
        self._respond(reply, status, encode_reply(self._gr[0], f"ERR_REQUEST_INVALID: {message}"))

    def _respond(self, reply: Reply, status: int, body: bytes, no_body: bool = False) -> None:
        close = reply.close or self._closing
        self.write_reply(reply, answer(status, body, close=close, no_body=no_body), done=True)

    def write_reply(self, reply: Reply, data: bytes, done: bool) -> None:
        """Send ``data`` when it is this reply's turn; ``done`` is the last of it."""
        reply.done = done
        if not done and "writing" not in self._held_by:
            self.active_at = self.factory.clock.seconds()
        if reply is not self._replies[0]:
            reply.chunks.append(data)
            return
        self._writer.write(data)
        while self._replies and self._replies[0].done:
            over = self._replies.popleft()
            self.active_at = self.factory.clock.seconds()
            if over.close or (self._closing and not self._replies):
                self._closing = True
                self._lose()
                return
            if self._replies:
                self._writer.write(b"".join(self._replies[0].chunks))
                self._replies[0].chunks.clear()
                self._hold_stream("writing" in self._held_by)
        if self._held_by:
            self._hold("pipelined", len(self._replies) >= self._limits.pipelined_max)

    def _lose(self) -> None:
        if self._let_go:
            return
        self._let_go = True
        self.transport.unregisterProducer()
        if self._lingers and not ISSLTransport.providedBy(self.transport):
            # Closing with bytes unread would reset the connection and take the answer with it;
            # so only our half is closed, and ``sweep`` ends it if the client does not.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _hold_stream(self, held: bool) -> None:
        """Make the stream whose turn it is wait, or let it go on."""
        if self._replies and self._replies[0].stream is not None:
            self._replies[0].stream.outgoing.hold(held)

    def _hold(self, reason: str, held: bool) -> None:
        """Stop reading while there is any reason to; ``reason`` begins or ends."""
        before = bool(self._held_by)
        (self._held_by.add if held else self._held_by.discard)(reason)
        if bool(self._held_by) and not before:
            self.transport.pauseProducing()
        elif before and not self._held_by and not self._closing:
            self.transport.resumeProducing()


class _Refused(Exception):
    """Raised inside a callback of the parser to end the parsing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class HTTPServerFactory(Factory):
    """Makes the connections of one listening port and knows those that are open."""

    noisy = False

    def __init__(
        self, answering: Answering, limits: ServerLimits, clock: Any, streams: Any
    ) -> None:
        self.clock = clock
        self.connections = Connections()
        self._answering = answering
        self._limits = limits
        self._streams = streams

    def buildProtocol(self, addr: object) -> HTTPServerConnection | None:
        if len(self.connections) >= self._limits.connections_max:
            return None
        connection = HTTPServerConnection(self._answering, self._limits, self._streams)
        connection.factory = self
        return connection
