"""
The HTTP port of a peer: the page, its live stream, health and metrics.

Shell: one TCP connection, parsed by h11 and, once it is a stream, by websockets. The stream
speaks the client port's JSON-RPC, one message a line, through the same session: one protocol to
learn, one to guard. A browser carries a user's reach into places the user does not know of, so a
stream is refused to pages from elsewhere (its ``Origin``), and where this port listens on the
loopback interface, to names that merely resolve to it (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import h11
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from grenache_py.exchange.daemon.client_connection import ClientConnection
from grenache_py.wire.jsonlines import LINE_BYTES_MAX

__all__ = ["HTTPConnection", "Page", "Pages", "static_pages"]

HEAD_BYTES_MAX = 16_384
IDLE_S = 30.0
"""Without a request for so long, a connection that is no stream is closed."""

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:;"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@attrs.frozen
class Page:
    """An answer to GET."""

    body: bytes
    content_type: str
    status: int = 200


Pages: TypeAlias = "dict[str, Callable[[], Page]]"


def static_pages() -> Pages:
    """The files of ``web/`` by path."""
    found: Pages = {}
    for path, name, content_type in (
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/app.js", "app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "style.css", "text/css; charset=utf-8"),
    ):
        file = files("grenache_py.exchange.daemon") / "web" / name
        page = Page(file.read_bytes(), content_type)
        found[path] = lambda page=page: page  # type: ignore[misc]
    return found


def _text(status: int, sentence: str) -> Page:
    return Page(f"{sentence}\n".encode(), "text/plain; charset=utf-8", status)


class HTTPConnection(Protocol):
    """
    One connection.

    Once it is a stream, this is also the transport of its `ClientConnection`: each line written
    becomes a message.
    """

    def __init__(
        self,
        clock: IReactorTime,
        pages: Pages,
        make_stream: Callable[[Any], ClientConnection | None],
    ) -> None:
        """
        Args:
            pages: by path; called for each request.
            make_stream: given the peer's address; None when there are too many clients.
        """
        self._clock = clock
        self._pages = pages
        self._make_stream = make_stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._socket: ServerProtocol | None = None
        self._stream: ClientConnection | None = None
        self._idle: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._idle = self._clock.callLater(IDLE_S, self._idled)

    def _idled(self) -> None:
        self._idle = None
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        if self._socket is not None:
            self._frames(data)
            return
        try:
            self._http.receive_data(data)
            self._requests()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                self._respond(_text(error.error_status_hint, "This is not HTTP/1.1."), close=True)
            else:
                self._abort()

    # HTTP.

    def _requests(self) -> None:
        transport: Any = self.transport
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                return
            if event is h11.PAUSED:
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
            elif isinstance(event, h11.Request):
                if self._idle is not None:
                    self._idle.reset(IDLE_S)
                if self._request(event):
                    return
            elif isinstance(event, h11.ConnectionClosed):
                transport.loseConnection()
                return

    def _request(self, request: h11.Request) -> bool:
        """Answer a request; True when it made this a stream."""
        path = request.target.decode("ascii", "replace").partition("?")[0]
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        if path == "/ws":
            return self._upgrade(request, headers)
        make = self._pages.get(path)
        if request.method not in {b"GET", b"HEAD"}:
            page = _text(405, "Only GET is understood here.")
        elif make is None:
            page = _text(404, f"There is nothing at {path[:100]!r}.")
        else:
            page = make()
        self._respond(page, body=request.method != b"HEAD")
        return False

    def _respond(self, page: Page, *, body: bool = True, close: bool = False) -> None:
        headers = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", CONTENT_SECURITY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]
        if page.status == 405:
            headers.append(("Allow", "GET, HEAD"))
        if close:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(page.status).phrase
        data = (
            self._http.send(h11.Response(status_code=page.status, headers=headers, reason=reason))
            or b""
        )
        if body:
            data += self._http.send(h11.Data(data=page.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        transport: Any = self.transport
        transport.write(data)
        if self._http.our_state is h11.MUST_CLOSE:
            transport.loseConnection()

    # The stream.

    def _upgrade(self, request: h11.Request, headers: dict[str, str]) -> bool:
        transport: Any = self.transport
        why_not = _refuse_origin(headers, transport.getHost())
        if why_not:
            self._respond(_text(403, why_not), close=True)
            return False
        stream = self._make_stream(transport.getPeer())
        if stream is None:
            self._respond(_text(503, "There are too many clients; come back later."), close=True)
            return False
        socket = ServerProtocol(max_size=LINE_BYTES_MAX)
        lines = [b"GET /ws HTTP/1.1", *(b": ".join(header) for header in request.headers), b"", b""]
        socket.receive_data(b"\r\n".join(lines))
        for event in socket.events_received():
            assert isinstance(event, Request)
            socket.send_response(socket.accept(event))
        transport.write(b"".join(socket.data_to_send()))
        if socket.state is not State.OPEN:
            stream.connectionLost()
            transport.loseConnection()
            return True
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._socket = socket
        self._stream = stream
        stream.makeConnection(self)
        self._frames(self._http.trailing_data[0])
        return True

    def _frames(self, data: bytes) -> None:
        socket, stream = self._socket, self._stream
        assert socket is not None and stream is not None
        if data:
            socket.receive_data(data)
        for frame in socket.events_received():
            if isinstance(frame, Frame) and frame.opcode in {Opcode.TEXT, Opcode.CONT}:
                # As it comes: the line splitter keeps no more than a line may have.
                stream.dataReceived(bytes(frame.data))
                if frame.fin:
                    stream.dataReceived(b"\n")
            elif isinstance(frame, Frame) and frame.opcode is Opcode.BINARY:
                socket.fail(1003, "text, please")
        self._flush()

    def _flush(self) -> None:
        """Send what the protocol has to say: messages, pongs, the closing handshake."""
        transport: Any = self.transport
        socket = self._socket
        assert socket is not None
        data = b"".join(socket.data_to_send())
        if data:
            transport.write(data)
        if socket.close_expected():
            transport.loseConnection()

    # What a stream's ClientLines asks of its transport.

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
        transport: Any = self.transport
        transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        transport: Any = self.transport
        transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read no more for now."""
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        transport: Any = self.transport
        transport.resumeProducing()

    def loseConnection(self) -> None:
        """Close once everything is written."""
        transport: Any = self.transport
        if self._socket is not None and self._socket.state is State.OPEN:
            self._socket.send_close(1000)
            self._flush()
        transport.loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
        self._abort()


def _refuse_origin(headers: dict[str, str], host: Any) -> str:
    """Why a stream is refused to this page; "" when it is not."""
    asked = headers.get("host", "")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != asked:
        return "A page from elsewhere may not use this stream."
    if _is_loopback(getattr(host, "host", "127.0.0.1")):
        name = urlsplit(f"//{asked}").hostname or ""
        if name != "localhost" and not _is_loopback(name):
            return "This port is for this machine: call it 127.0.0.1 or localhost."
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
