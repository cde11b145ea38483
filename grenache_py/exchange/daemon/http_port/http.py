"""
The HTTP port of a peer: the page, its live stream, health and metrics.

Shell: one TCP connection, read by `TargetReader` and, once it is a stream, by websockets. That
speaks the client port's JSON-RPC, one message a line, through the same session: one protocol to
learn, one to guard. A browser carries a user's reach into places the user does not know of, so
requests of pages from elsewhere and of names that merely resolve to this machine are refused
(docs/design/threat-model.rst#browser).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from zope.interface import implementer

from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.port_turns import PortTurns
from grenache_py.exchange.daemon.http_port.market_pages import (
    MARKET_PATHS,
    MARKET_ROUTES,
    TOO_MANY,
    MarketPages,
)
from grenache_py.exchange.daemon.http_port.responses import response, text_page
from grenache_py.exchange.daemon.http_port.static_pages import STATIC_PATHS
from grenache_py.wire.http.messages import HTTPRequest, Page, Pages, Refusal
from grenache_py.wire.http.reader import ReaderLimits, TargetReader
from grenache_py.wire.http.routes import HTTPRoute
from grenache_py.wire.http.states import HTTP_TRANSITIONS, HTTPEvent, HTTPState, PauseReason
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.same_origin import refused_by_headers

__all__ = ["ROUTES", "HTTPConnection"]

HEAD_BYTES_MAX = 16_384
#: Of what has arrived, so much is read before it is seen whether the client takes the answers:
#: at most one request of the largest file.
PIECE_BYTES = 32
#: Of a stream, so much is read at a time, and is worth so many requests: it may be 64 frames.
FRAMES_BYTES, FRAMES_REQUESTS = 512, 16
#: A page is worth so many requests of a round: /metrics takes 1 ms.
PAGE_REQUESTS = 32
IDLE_S = 30.0
"""Without a request for so long, a connection that is no stream is closed."""

#: Every path of the HTTP port.
ROUTES = (
    *(HTTPRoute(path, "GET, HEAD", what, "anybody") for path, what in STATIC_PATHS.items()),
    HTTPRoute("/alarms", "GET, HEAD", "what to do about each alarm", "anybody"),
    HTTPRoute("/health", "GET, HEAD", "JSON; 503 while no orders are taken", "anybody"),
    HTTPRoute("/metrics", "GET, HEAD", "for Prometheus", "anybody"),
    *MARKET_ROUTES,
    HTTPRoute("/ws", "GET", "the live stream, a WebSocket", "pages from here; no browser"),
)

_LIMITS = ReaderLimits(head_bytes_max=HEAD_BYTES_MAX, body_bytes_max=0)


@implementer(IPushProducer)
class _Writable:
    """Tells a connection whether its transport has taken what was written."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def pauseProducing(self) -> None:
        self._connection.written(False)

    def resumeProducing(self) -> None:
        self._connection.written(True)

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` says so too."""


class HTTPConnection(Protocol):
    """
    One connection. While its client does not take what was written, nothing of it is read.

    Once it is a stream, this is also the transport of its `ClientConnection`: each line written
    becomes a message.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        pages: Pages,
        make_stream: Callable[[Any], ClientConnection | None],
        turns: PortTurns,
        names: Collection[str] = (),
        no_page: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            pages: by path; called for each request.
            make_stream: given the peer's address; None when there are too many clients.
            turns: of all connections of the port.
            names: as in `same_origin.refusal`.
            no_page: called once, when no more pages will be asked for: gone, or a stream.
        """
        self._no_page = no_page
        self._names = names
        self._clock = clock
        self._pages = pages
        self._make_stream = make_stream
        self._turns = turns
        self._reader = TargetReader(_LIMITS, self)
        self.state = HTTPState.READING
        self._answered = False  # before the rest of its body has come
        self._socket: ServerProtocol | None = None
        self._stream: ClientConnection | None = None
        self._market = MarketPages(self._new_stream)
        self._idle: IDelayedCall | None = None
        self._later: list[HTTPRequest] = []  # requests that wait until the one before is answered
        self._unread = b""  # bytes that wait until the client takes earlier answers
        self._held: set[PauseReason] = set()  # why nothing is read
        self._writable: IPushProducer | None = _Writable(self)
        self._of_stream: IPushProducer | None = None

    def connectionMade(self) -> None:
        self._idle = self._clock.callLater(IDLE_S, self._idled)
        self.transport.registerProducer(self._writable, True)

    def _idled(self) -> None:
        self._idle = None
        self._abort()

    def _abort(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._happened(HTTPEvent.LOST)
        self._reader.close()
        self._turns.leave(self)
        self._unread = b""
        self._writable = None
        if self._socket is None:
            self._no_page()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._market.close()
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        if self._socket is not None or self.state is HTTPState.READING:
            self._unread += data
            self._read_on()

    def work(self) -> None:
        """Go on: it is this connection's turn."""
        self._hold(PauseReason.TURN, False)
        self._read_on()

    def _read_on(self) -> None:
        """Read a little at a time, as long as the client takes the answers and others may wait."""
        while self._unread and not self._held:
            stream = self._socket is not None
            if not stream and self.state is not HTTPState.READING:
                return
            size = FRAMES_BYTES if stream else PIECE_BYTES
            # A page may be dear; of a stream each request has its own turn.
            if (not stream or len(self._unread) > size) and not self._turns.begin(self):
                self._hold(PauseReason.TURN, True)
                return
            piece, self._unread = self._unread[:size], self._unread[size:]
            if stream:
                self._turns.spend(FRAMES_REQUESTS, 0)
                self._frames(piece)
                continue
            self._reader.receive(piece)
            if self._socket is not None:
                self._unread = self._reader.unread + self._unread

    def written(self, all_of_it: bool) -> None:
        """The client has not taken what was written (False), or now it has."""
        self._hold(PauseReason.WRITING, not all_of_it)
        producer = self._of_stream
        if producer is not None:
            (producer.resumeProducing if all_of_it else producer.pauseProducing)()
        if all_of_it:
            self._read_on()

    def _hold(self, reason: PauseReason, held: bool) -> None:
        """Stop reading while there is any reason to; ``reason`` begins or ends."""
        before = bool(self._held)
        (self._held.add if held else self._held.discard)(reason)
        if self._held and not before:
            self.transport.pauseProducing()
        elif before and not self._held and self.state is not HTTPState.CLOSED:
            self.transport.resumeProducing()

    # What the reader says. Nothing is done with a body, so an answer does not wait for it.

    def request_begun(self, request: HTTPRequest) -> None:
        """Answer a request, or make it a stream."""
        if self.state is not HTTPState.READING:
            return
        if request.headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            self._reader.refuse(HTTPStatus.NOT_IMPLEMENTED)
        self._answered = True
        self._reader.stream_body()
        if self._idle is not None:
            self._idle.reset(IDLE_S)
        self._later.append(request)  # of one piece, so they are few
        self._answer_on()

    def _answer_on(self) -> None:
        while self._later and PauseReason.PIPELINED not in self._held:
            self._answer(self._later.pop(0))

    def _answer(self, request: HTTPRequest) -> None:
        path = request.url.partition("?")[0]
        close = not (request.http11 and request.keep_alive)
        why_not = refused_by_headers(request.headers, self._names)
        make = self._pages.get(path)
        if why_not:
            self._respond(text_page(403, why_not), close=True)
        elif path == "/ws":
            self._upgrade(request)
        elif request.method not in {b"GET", b"HEAD"}:
            self._respond(text_page(405, "Only GET is understood here."), close=close)
        elif path in MARKET_PATHS:
            self._ask(request, close)
        else:
            page = make() if make else text_page(404, f"There is nothing at {path[:100]!r}.")
            accepted = request.headers.get(b"accept-encoding", b"").split(b",")
            self._respond(
                page,
                body=request.method != b"HEAD",
                close=close,
                gzipped=b"gzip" in {each.strip() for each in accepted},
            )

    def _ask(self, request: HTTPRequest, close: bool) -> None:
        """Answer from what every client is told; read no further request before that is here."""

        def answer(page: Page) -> None:
            self._respond(page, body=request.method != b"HEAD", close=close)
            self._hold(PauseReason.PIPELINED, False)
            self._answer_on()
            self._read_on()

        self._hold(PauseReason.PIPELINED, True)
        self._market.ask(request, answer)

    def continue_wanted(self, request: HTTPRequest) -> None:
        """The answer has been given, and no body is wanted."""

    def body_data(self, data: bytes) -> None:
        """Nothing is done with a body."""

    def request_complete(self, request: HTTPRequest) -> None:
        self._answered = False

    def request_refused(self, refusal: Refusal) -> None:
        if self.state is not HTTPState.READING:
            return
        if self._answered:
            self._abort()  # the request is answered already; its body is no HTTP
        else:
            self._respond(text_page(refusal.status, "This is not HTTP/1.1."), close=True)

    def _respond(
        self, page: Page, *, body: bool = True, close: bool = False, gzipped: bool = False
    ) -> None:
        self._turns.spend(PAGE_REQUESTS, 0)
        self.transport.write(response(page, body=body, close=close, gzipped=gzipped))
        if close:
            self._close()

    def _close(self) -> None:
        if HTTP_TRANSITIONS.allows(self.state, HTTPEvent.CLOSE):
            self._happened(HTTPEvent.CLOSE)
        self._unread = b""
        if self._writable is not None:  # or the transport would wait for it
            self._writable = None
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _happened(self, event: HTTPEvent) -> None:
        self.state = HTTP_TRANSITIONS.next(self.state, event)

    # The stream.

    def _new_stream(self) -> ClientConnection | None:
        return self._make_stream(self.transport.getPeer())

    def _upgrade(self, request: HTTPRequest) -> None:
        stream = self._new_stream()
        if stream is None:
            self._respond(text_page(503, TOO_MANY), close=True)
            return
        socket = ServerProtocol(max_size=LINE_BYTES_MAX)
        lines = [b"GET /ws HTTP/1.1", *(b": ".join(each) for each in request.headers.items())]
        socket.receive_data(b"\r\n".join([*lines, b"", b""]))
        for event in socket.events_received():
            assert isinstance(event, Request)
            socket.send_response(socket.accept(event))
        self.transport.write(b"".join(socket.data_to_send()))
        if socket.state is not State.OPEN:
            stream.connectionLost()
            self._close()
            return
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._happened(HTTPEvent.ASKED)  # the stream is the answer
        self._reader.stop()
        self._no_page()
        self._socket = socket
        self._stream = stream
        stream.makeConnection(self)

    def _frames(self, data: bytes) -> None:
        socket, stream = self._socket, self._stream
        assert socket is not None and stream is not None
        socket.receive_data(data)
        lines = b""
        for frame in socket.events_received():
            if isinstance(frame, Frame) and frame.opcode in {Opcode.TEXT, Opcode.CONT}:
                # As it comes: the line splitter keeps no more than a line may have.
                lines += bytes(frame.data) + (b"\n" if frame.fin else b"")
            elif isinstance(frame, Frame) and frame.opcode is Opcode.BINARY:
                socket.fail(1003, "text, please")
        if lines:
            stream.dataReceived(lines)
        self._flush()

    def _flush(self) -> None:
        """Send what the protocol has to say: messages, pongs, the closing handshake."""
        socket = self._socket
        assert socket is not None
        data = b"".join(socket.data_to_send())
        if data:
            self.transport.write(data)
        if socket.close_expected():
            self._close()

    # What a stream's ClientConnection asks of its transport.

    def write(self, data: bytes) -> None:
        """Send lines, each as one message."""
        socket = self._socket
        assert socket is not None
        if socket.state is State.OPEN:
            for line in data.split(b"\n")[:-1]:
                socket.send_text(line)
            self._flush()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See IConsumer."""
        self._of_stream = producer
        if PauseReason.WRITING in self._held:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._of_stream = None

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._hold(PauseReason.STREAM, True)

    def resumeProducing(self) -> None:
        """Read again."""
        self._hold(PauseReason.STREAM, False)
        self._read_on()

    def loseConnection(self) -> None:
        """Close once everything is written."""
        if self._socket is not None and self._socket.state is State.OPEN:
            self._socket.send_close(1000)
            self._flush()
        self._close()

    def abortConnection(self) -> None:
        """Close at once."""
        self._abort()
