"""
One HTTP/1.1 client of the grape: bytes become requests, each request gets one answer, in order.

Shell: owns one transport, and no timer: the `Site` asks each connection from time to time
whether it is overdue. Parsing is httptools' (llhttp, the parser inside Node), so both
grapes refuse the same bytes. The requests of one connection are worked on one after the
other, and what is pipelined beyond ``pipelined_max`` stays in the kernel's buffer.

Twisted's ``transport.write`` arms epoll and sends on the next turn of the reactor, which
takes longer than parsing the request did. So an answer goes to the socket at once, and only
what that does not take goes through ``write``. While anything lies there the connection's
next request waits: at most one answer is in memory.

The requests of a client begin alike, byte for byte, as long as their bodies are of one
length. So what the parser made of such a head is remembered, and a segment that is that
head and a body of that length is a request that need not be parsed.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from http import HTTPStatus
from math import inf
from socket import socket
from typing import TYPE_CHECKING, Any

import attrs
import httptools
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from grenache_py.grape.site import Site

__all__ = ["Connection", "Request"]

LINGER_S = 2.0
"""How long a client that is sent away may read why, while what it still sends is dropped."""
DROPPED_BYTES_MAX = 1024 * 1024
"""How much of a body that is too large is read and dropped before the connection is cut."""
NOT_MODIFIED = HTTPStatus.NOT_MODIFIED.value  # members of an enumeration are looked up slowly
HEAD_END = b"\r\n\r\n"
LINE_OVERHEAD_BYTES = 4
"""The colon, blank and line end of a header, which the parser keeps to itself."""


@attrs.define
class Request:
    """
    One request as it was read.

    Attributes:
        refusal: A status to answer with in place of asking anybody; 0: a good request.
        text: The body of that answer. (It is empty where Node's is.)
    """

    method: bytes = b""
    url: str = ""
    body: bytes = b""
    http11: bool = True
    keep_alive: bool = False
    refusal: int = 0
    text: bytes = b""


@attrs.frozen
class Head:
    """What the parser made of a head, of HTTP/1.1 and with the connection kept."""

    method: bytes
    url: str
    content_length: int


@implementer(IHalfCloseableProtocol, IPullProducer, IPushProducer)
class Connection(Protocol):
    """
    One client: its bytes become requests, and each request gets exactly one answer.

    Attributes:
        source: Whom its requests are counted for; empty when they are not.
    """

    log = Logger()

    def __init__(self, site: Site, source: str) -> None:
        self._site = site
        self.source = source
        self._config = site.config
        self._parser: httptools.HttpRequestParser | None = None
        self._socket: socket | None = None  # where the transport is one and nothing more
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._parsed: Request | None = None  # the last that this segment completed
        self._advancing = False
        self._unsent = False  # part of an answer is still in the transport's buffer
        self._closing = False  # the last answer is given; whatever comes now is dropped
        self._eof = False
        self._paused = False
        self._dropped_bytes = 0
        self._deadline = inf
        self._message_deadline = inf
        self._in_message = self._in_head = False
        self._url = self._expect = b""
        self._body: bytes | bytearray = b""
        self._head_bytes = self._content_length = self._message_bytes = 0
        self._has_host = self._answered = False
        self._http11 = True

    # -- what Twisted calls

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._deadline = self._site.now + self._config.request_timeout_s
        if isinstance(transport, TCPConnection):
            with suppress(OSError):  # a UNIX socket
                transport.setTcpNoDelay(True)
            self._socket = transport.getHandle()
        else:
            transport.registerProducer(self, True)
        self._parser = httptools.HttpRequestParser(self)
        if not self._site.admit(self):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, b"too many connections")

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            self._drop(len(data))
            return
        between_messages = not self._in_message
        if between_messages and not self._busy():
            head, _, body = data.partition(HEAD_END)
            known = self._site.known_heads.get(head)
            if known is not None and known.content_length == len(body):
                self._work_on(Request(known.method, known.url, body, True, True))
                return
        assert self._parser is not None
        self._parsed = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, b"this server upgrades to nothing")
        except httptools.HttpParserCallbackError as error:
            self.log.failure("a request failed", failure=Failure(error))
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            if self._in_message:
                self._limit_message(len(data))
            elif between_messages:
                self._learn_head(data)
        if len(self._waiting) >= self._config.pipelined_max and not self._paused:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        """The client has said all it wants to say; it may still listen."""
        self._eof = True
        if self._closing:
            self.transport.loseConnection()  # type: ignore[union-attr]
        elif self._in_message:
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif self._current is None and not self._unsent:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our own half-close has been carried out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self._parser = None  # it refers to us
        self._socket = None
        self._current = None
        self._waiting.clear()
        self._site.forget(self)

    def pauseProducing(self) -> None:
        """The buffer of a transport that is no bare socket is full."""
        self._unsent = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty (or the transport has just made our acquaintance)."""
        if self._unsent:
            self._unsent = False
            if self._socket is not None:
                self.transport.unregisterProducer()  # type: ignore[union-attr]
            self._deadline = self._site.now + self._config.idle_timeout_s
            self._advance()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` says so too."""

    # -- what the parser calls

    def on_message_begin(self) -> None:
        self._begin_message()
        self._in_message = self._in_head = True
        self._message_deadline = self._site.now + self._config.request_timeout_s

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        length = len(name)
        self._head_bytes += length + len(value) + LINE_OVERHEAD_BYTES
        if length == 4 and name.lower() == b"host":
            self._has_host = True
        elif length == 6 and name.lower() == b"expect":
            self._expect = value.lower()
        elif length == 14 and name.lower() == b"content-length":
            self._content_length = int(value)  # the parser has made sure that it is a number

    def on_headers_complete(self) -> None:
        self._in_head = False
        assert self._parser is not None
        version = self._parser.get_http_version()
        self._http11 = version == "1.1"
        if self._head_bytes + len(self._url) > self._config.header_bytes_max:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not (self._has_host if self._http11 else version == "1.0"):
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif self._content_length > self._config.payload_bytes_max:
            self._too_large()
        elif self._expect:
            self._meet_expectation()

    def on_body(self, body: bytes) -> None:
        if self._body:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        else:
            self._body = body
        if len(self._body) > self._config.payload_bytes_max:
            self._too_large()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._message_deadline = inf
        assert self._parser is not None
        if self._answered or self._parser.should_upgrade():
            return
        self._parsed = Request(
            self._parser.get_method(),
            self._url.decode("latin-1"),
            bytes(self._body),
            self._http11,
            self._http11 and self._parser.should_keep_alive(),
        )
        self._enqueue(self._parsed)

    # -- reading

    def _begin_message(self) -> None:
        self._url = self._body = self._expect = b""
        self._head_bytes = self._content_length = self._message_bytes = 0
        self._has_host = False
        self._http11 = True
        self._answered = False  # an answer does not wait for the rest of the message

    def _learn_head(self, data: bytes) -> None:
        """Remember the head of the request that ``data`` is, if it is one and nothing else."""
        request = self._parsed
        if request is None or not request.keep_alive or self._expect:
            return
        head, end, body = data.partition(HEAD_END)
        if end and body == request.body:  # so it is not chunked, and no other follows it
            self._site.remember(head, Head(request.method, request.url, len(body)))

    def _limit_message(self, length: int) -> None:
        """Cut off a head, or a body hidden in chunk extensions, that does not end."""
        first, self._message_bytes = not self._message_bytes, self._message_bytes + length
        if self._in_head:
            # What came with the head's beginning may belong to the message before it.
            if not first and self._message_bytes > self._config.header_bytes_max:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._message_bytes > self._config.header_bytes_max + DROPPED_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _meet_expectation(self) -> None:
        if self._expect != b"100-continue":
            self._refuse(HTTPStatus.EXPECTATION_FAILED)
        elif not (self._closing or self._current or self._unsent) and self._http11:
            # Between the answers to earlier requests it could be taken for one of them; a
            # client that hears nothing sends its body all the same (RFC 9110, 10.1.1).
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _too_large(self) -> None:
        """Answer at once; drop the rest of the body if that is worth keeping the connection."""
        if self._answered:
            self._body = b""
            return
        self._answered = True
        self._body = b""
        drop = not self._expect and self._content_length <= DROPPED_BYTES_MAX
        self._enqueue(
            Request(
                keep_alive=drop and self._http11,
                refusal=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                text=b"ERR_GRAPE_PAYLOAD_SIZE",
            )
        )

    def _refuse(self, status: int, text: bytes = b"") -> None:
        """Answer a request that cannot be read to its end, after those before it; then close."""
        if not self._answered:
            self._answered = True
            self._enqueue(Request(refusal=status, text=text))
        else:
            self._eof = True  # a 413 has been given, so there is nothing left to say
            if self._current is None and not self._unsent:
                self._close()

    # -- answering

    def _busy(self) -> bool:
        """Whether the next request has to wait."""
        return bool(self._current or self._waiting or self._unsent or self._advancing)

    def _enqueue(self, request: Request) -> None:
        if self._closing:
            return
        if self._busy():
            self._waiting.append(request)
        else:
            self._work_on(request)

    def _work_on(self, request: Request) -> None:
        self._current = request
        if request.refusal:
            self._send_refusal(request)
        else:
            self._deadline = self._site.now + self._config.answer_timeout_s
            self._site.ask(self, request)

    def _advance(self) -> None:
        """Work on the requests that wait, until one has to be waited for itself."""
        if self._advancing:
            return  # an answer came before `Site.ask` returned; the loop below goes on
        self._advancing = True
        while self._waiting and self._current is None and not self._unsent and not self._closing:
            self._work_on(self._waiting.popleft())
        self._advancing = False
        if self._closing or self._current is not None or self._unsent:
            return
        if self._eof:
            self._close()
        elif self._paused:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def answer(self, status: int, body: bytes, content_type: str = "", ready: bytes = b"") -> None:
        """
        Give the answer to the request that `Site.ask` was given last.

        Args:
            content_type: Empty for the Grenache commands, whose answers have none.
            ready: The same answer with its head, as most requests need it.
        """
        request = self._current
        if request is None:
            return  # the client has gone
        self._site.statuses[status] += 1
        if ready and request.keep_alive and request.method != b"HEAD":
            self._finish(request, ready)
            return
        head = self._site.head(status, request.keep_alive, content_type)
        if request.method == b"HEAD" or status == NOT_MODIFIED:
            self._finish(request, head + b"\r\n")
        elif request.http11:
            self._finish(request, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            self._finish(request, b"%b\r\n%b" % (head, body))

    def _finish(self, request: Request, answer: bytes) -> None:
        self._current = None
        self._deadline = self._site.now + self._config.idle_timeout_s
        self._send(answer)
        if not request.keep_alive:
            self._close()
        elif self._waiting or self._eof or self._paused:
            self._advance()

    def _send_refusal(self, request: Request) -> None:
        if request.keep_alive:
            self.answer(request.refusal, request.text)
            return
        self._current = None
        self._site.statuses[request.refusal] += 1
        self._send(self._site.refusal(request.refusal, request.text))
        self._linger()

    def _send(self, data: bytes) -> None:
        transport: Any = self.transport
        if self._socket is None:
            transport.write(data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            transport.abortConnection()
            return
        if sent == len(data):
            return
        # Registered as a producer we are told when the buffer is empty again.
        transport.registerProducer(self, False)
        self._unsent = True
        transport.write(data[sent:])

    # -- leaving

    def expire(self, now: float) -> None:
        """See whether this connection is overdue at ``now``, and then end it."""
        idle = self._current is None and not self._closing and not self._unsent
        if idle and self._in_message:
            if now >= self._message_deadline:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif now < self._deadline:
            pass
        elif idle:
            self._close()
        elif self._current is not None:
            self._current.keep_alive = False
            self.answer(HTTPStatus.GATEWAY_TIMEOUT, b"ERR_GRAPE_TIMEOUT")
        else:
            self.abort()

    def finish(self) -> None:
        """The grape stops: answer what is being worked on, then close."""
        self._waiting.clear()
        self._eof = True
        if self._current is not None:
            self._current.keep_alive = False
        elif not self._unsent:
            self._close()

    def abort(self) -> None:
        """The grape has stopped waiting."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._waiting.clear()
        self._deadline = self._site.now + self._config.idle_timeout_s
        transport: Any = self.transport
        transport.unregisterProducer()  # whatever is left to send is in the buffer
        transport.loseConnection()

    def _linger(self) -> None:
        """Close, but not before the client could read why: a reset would take that from it."""
        if self._eof or self._socket is None:
            self._close()
            return
        transport: Any = self.transport
        self._closing = True
        self._waiting.clear()
        self._deadline = self._site.now + LINGER_S
        transport.unregisterProducer()
        transport.loseWriteConnection()
        if self._paused:
            transport.resumeProducing()

    def _drop(self, length: int) -> None:
        self._dropped_bytes += length
        if self._dropped_bytes > DROPPED_BYTES_MAX:
            self.transport.abortConnection()  # type: ignore[union-attr]
