"""
RPC over HTTP, the server's side of a connection.

Shell: owns its transport. Twisted's own ``web.server`` answers some 9,000 requests a
second where a Protocol on httptools answers 70,000, hence this one. What it speaks is
docs/design/grenache-wire.rst#http-rpc: any method, path and query, the body
``[rid, key, payload]``, an answer with status 200 in the same form, gzipped if the request said
``grc-compress: gzip``, and streams. Unlike a Node server it answers what it cannot read.
"""

from __future__ import annotations

import gzip
from collections import deque
from typing import Any

import msgspec
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.rpc.answering import Answering
from grenache_py.rpc.errors import BadFrame
from grenache_py.rpc.frames import decode_request, encode_reply, gunzip
from grenache_py.rpc.headers import arguments, json_header, text_headers, wanted_action
from grenache_py.rpc.http.reading import PIECE_BYTES, reader_limits
from grenache_py.rpc.http.replies import ChunkedReply, ReplyPlace, answer
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.sockets import Connections, Writer, peer_certificate
from grenache_py.rpc.streams import IncomingBytes, OutgoingBytes, ServerStream, lost
from grenache_py.wire.http.messages import HTTPRequest, Refusal
from grenache_py.wire.http.reader import RequestReader
from grenache_py.wire.http.states import HTTP_TRANSITIONS, HTTPEvent, HTTPState, PauseReason
from grenache_py.wire.same_origin import refused_by_headers

__all__ = ["HTTPServerConnection", "HTTPServerFactory"]


# Members of an enumeration are looked up slowly.
_READING = HTTPState.READING
_WRITING, _PIPELINED = PauseReason.WRITING, PauseReason.PIPELINED


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
        self._streams = streams
        self._reader = RequestReader(reader_limits(limits), self)
        self._limits = limits
        self._replies: deque[ReplyPlace] = deque()
        self._held_by: set[PauseReason] = set()
        self._state = HTTPState.READING
        self._peer = ""
        self._certificate: Any = None
        self._called: tuple[Any, Any] | None = None  # Host and Origin that may call this port
        self._gr: tuple[Any, Any] | None = None  # of the request being read
        self._stream: ServerStream | None = None  # what the body belongs to
        self._answered_early = False  # before the body
        self._unread = b""  # requests that wait until the client takes earlier answers
        self._receiving = False
        self.active_at = 0.0
        self.began_at: float | None = None

    @property
    def state(self) -> HTTPState:
        """What this connection is doing."""
        if self._state is _READING and self._replies:
            return HTTPState.ANSWERING
        return self._state

    def _happened(self, event: HTTPEvent) -> None:
        self._state = HTTP_TRANSITIONS.next(self.state, event)

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
        if self._state is not _READING:
            return
        self.active_at = self.factory.clock.seconds()
        self._unread = self._unread + data if self._unread else data
        self._read_on()

    def _read_on(self) -> None:
        """Read requests, a few at a time, as long as the client takes the answers."""
        if self._receiving:
            return  # from within: the loop below goes on
        self._receiving, reader = True, self._reader
        while self._unread and not self._held_by and self._state is _READING:
            data, self._unread = self._unread, b""
            if len(data) > PIECE_BYTES:
                data, self._unread = data[:PIECE_BYTES], data[PIECE_BYTES:]
            reader.receive(data)
            if not reader.in_message:
                self.began_at = None
            elif self.began_at is None:
                self.began_at = self.active_at
        self._receiving = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)
        self._happened(HTTPEvent.LOST)
        self._unread = b""
        self._reader.close()
        for reply in self._replies:
            if reply.stream is not None:
                reply.stream.incoming.end(lost(self._peer))
                reply.stream.outgoing.lost(lost(self._peer))

    def readConnectionLost(self) -> None:
        """The client will send no more, but may well read what it has asked for."""
        if self.began_at is not None and self._state is _READING:
            self._refuse(400, "the connection ended in the middle of a request")
        else:
            self.shut()

    def writeConnectionLost(self) -> None:
        pass

    def pauseProducing(self) -> None:
        self._hold(_WRITING, True)
        self._hold_stream(True)

    def resumeProducing(self) -> None:
        self.active_at = self.factory.clock.seconds()  # the client reads
        self._hold(_WRITING, False)
        self._hold_stream(False)

    def stopProducing(self) -> None:
        pass

    # the service calls these

    def sweep(self, now: float) -> None:
        """Close the connection if the client has been idle, or too slow, for too long."""
        limit_s = self._limits.idle_timeout_s
        if self._state is not _READING:
            if now - self.active_at > limit_s:
                self.transport.abortConnection()
        elif not self._replies and self.began_at is None:
            if now - self.active_at > limit_s:
                self.shut()
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
        if self._state is HTTPState.LINGERING:
            self._happened(HTTPEvent.CLOSE)
            self.transport.loseConnection()
        elif self._state is _READING:
            self._happened(HTTPEvent.DRAIN)
            if not self._replies:
                self._lose()

    # the reader calls these

    def request_begun(self, request: HTTPRequest) -> None:
        self._gr = self._stream = None
        self._answered_early = False
        headers, limits = request.headers, self._limits
        called = headers.get(b"host"), headers.get(b"origin")
        if called != self._called:  # nearly always those of the request before
            why_not = refused_by_headers(headers, limits.allow_hosts, limits.allow_origins)
            if why_not:
                self._reader.refuse(403, why_not)
            self._called = called
        if self._reader.upgrade:
            wanted = headers.get(b"upgrade", b"a tunnel").decode("latin-1")
            self._reader.refuse(400, f"this port speaks HTTP/1.1 and not {wanted}")
        if b"_gr" in headers:
            self._read_gr(request)

    def continue_wanted(self, request: HTTPRequest) -> None:
        if not self._replies and not self._answered_early:
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body_data(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.incoming.feed(data)

    def request_complete(self, request: HTTPRequest) -> None:
        self.began_at = None
        if self._stream is not None:
            self._stream.incoming.end()
            return
        if self._answered_early:
            return
        reply = self._new_reply(not request.keep_alive)
        headers, body = request.headers, request.body
        compressed = b"grc-compress" in headers and b"gzip" in headers[b"grc-compress"]
        gr = self._gr
        try:
            if compressed:
                plain = gunzip(body, self._limits.body_bytes_max)
                body = body if plain is None else plain
            asked = decode_request(body)
        except BadFrame as error:
            rid = None if gr is None else gr[0]
            self._respond(reply, 400, encode_reply(rid, f"ERR_REQUEST_INVALID: {error}"))
            return
        if gr is not None:
            asked.rid, asked.key = gr
        asked.raw_headers, asked.is_stream = headers, self._reader.chunked
        asked.peer = self._peer
        asked.certificate = self._peer_certificate()
        no_body = request.method == b"HEAD"

        def send(frame: bytes) -> None:
            if compressed:
                frame = gzip.compress(frame, compresslevel=6, mtime=0)
            self._respond(reply, 200, frame, no_body)

        self._answering.answer(asked, send)

    def request_refused(self, refusal: Refusal) -> None:
        self._refuse(refusal.status, refusal.text)

    def _read_gr(self, request: HTTPRequest) -> None:
        try:
            gr = json_header(request.headers[b"_gr"])
        except msgspec.DecodeError:
            gr = False
        if gr is None:
            return
        if type(gr) is not list:
            self._answered_early = True
            # these bytes are what a Node server answers, blanks included
            reply = self._new_reply(not request.keep_alive)
            self._respond(reply, 500, b'[null, "ERR_HEADER_PARSE_GR", null]')
            return
        rid, key, *_ = [*gr, None, None]
        self._gr = (rid, key)
        if self._streams is not None and self._reader.chunked:
            self._open_stream(request, self._gr)

    def _open_stream(self, request: HTTPRequest, gr: tuple[Any, Any]) -> None:
        headers = request.headers
        self._reader.stream_body()
        reply = self._new_reply(not request.keep_alive)
        body = ChunkedReply(self, reply)
        incoming = IncomingBytes(lambda held: self._hold(PauseReason.STREAM, held))
        outgoing = OutgoingBytes(body)
        stream = ServerStream(
            gr,
            wanted_action(headers),
            arguments(headers),
            text_headers(headers),
            self._peer,
            self._peer_certificate(),
            incoming,
            outgoing,
        )
        self._stream = reply.stream = stream
        outgoing.hold(reply is not self._replies[0] or _WRITING in self._held_by)
        self._streams(stream, body)

    def stream_ended(self, reply: ReplyPlace) -> None:
        """The answer to a stream is complete."""
        if reply.stream is self._stream and self._reader.in_message:
            # The rest of the body is still to come, and nobody will read it.
            self._drain()
            self._lose()

    def _peer_certificate(self) -> Any:
        if self._certificate is None:
            self._certificate = peer_certificate(self.transport)
        return self._certificate

    def _new_reply(self, close: bool) -> ReplyPlace:
        reply = ReplyPlace(close)
        self._replies.append(reply)
        if len(self._replies) >= self._limits.pipelined_max:
            self._hold(_PIPELINED, True)
        return reply

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be understood, and close: nobody knows where the next one begins."""
        if self._state is not _READING:
            return
        self._drain()
        if self._stream is not None:
            self._stream.incoming.end(BadFrame(message))
            self._lose()
            return
        reply = self._new_reply(close=True)
        reply.lingers = True
        rid = None if self._gr is None else self._gr[0]
        self._respond(reply, status, encode_reply(rid, f"ERR_REQUEST_INVALID: {message}"))

    def _drain(self) -> None:
        """Read no more."""
        if self._state is _READING:
            self._happened(HTTPEvent.DRAIN)

    def _respond(self, reply: ReplyPlace, status: int, body: bytes, no_body: bool = False) -> None:
        close = reply.close or self._state is not _READING
        self.write_reply(reply, answer(status, body, close=close, no_body=no_body), done=True)

    def write_reply(self, reply: ReplyPlace, data: bytes, done: bool) -> None:
        """Send ``data`` when it is this reply's turn; ``done`` is the last of it."""
        reply.done = done
        if not done and _WRITING not in self._held_by:
            self.active_at = self.factory.clock.seconds()
        if reply is not self._replies[0]:
            reply.chunks.append(data)
            return
        self._writer.write(data)
        while self._replies and self._replies[0].done:
            over = self._replies.popleft()
            self.active_at = self.factory.clock.seconds()
            if over.close or (self._state is not _READING and not self._replies):
                self._drain()
                self._lose(over.lingers)
                return
            if self._replies:
                self._writer.write(b"".join(self._replies[0].chunks))
                self._replies[0].chunks.clear()
                self._hold_stream(_WRITING in self._held_by)
        if self._held_by:
            self._hold(_PIPELINED, len(self._replies) >= self._limits.pipelined_max)

    def _lose(self, lingers: bool = False) -> None:
        if self._state is not HTTPState.DRAINING:
            return
        self.transport.unregisterProducer()
        if lingers and not ISSLTransport.providedBy(self.transport):
            # Closing with bytes unread would reset the connection and take the answer with it;
            # so only our half is closed, and ``sweep`` ends it if the client does not.
            self._happened(HTTPEvent.LINGER)
            self.transport.loseWriteConnection()
        else:
            self._happened(HTTPEvent.CLOSE)
            self.transport.loseConnection()

    def _hold_stream(self, held: bool) -> None:
        """Make the stream whose turn it is wait, or let it go on."""
        if self._replies and self._replies[0].stream is not None:
            self._replies[0].stream.outgoing.hold(held)

    def _hold(self, reason: PauseReason, held: bool) -> None:
        """Stop reading while there is any reason to; ``reason`` begins or ends."""
        before = bool(self._held_by)
        (self._held_by.add if held else self._held_by.discard)(reason)
        if bool(self._held_by) and not before:
            self.transport.pauseProducing()
        elif before and not self._held_by and self._state is _READING:
            self._read_on()
            if not self._held_by and self._state is _READING:
                self.transport.resumeProducing()


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
