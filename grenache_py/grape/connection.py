"""
One HTTP/1.1 client of the grape: bytes become requests, each request gets one answer, in order.

Shell: owns one transport, and no timer: `Clients` asks now and then whether it is overdue. Requests
are worked on one after the other; beyond ``pipelined_max`` they stay in the kernel's buffer.

Twisted's ``transport.write`` sends on the next turn of the reactor, which takes longer than parsing
the request did. So an answer goes to the socket at once, and ``write`` gets what that did not take.
While anything lies there the connection's next request waits: at most one answer is in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from math import inf
from socket import socket
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.grape.clients import Clients
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.messages import (
    DROPPED_BYTES_MAX,
    HEAD_END,
    KnownHeads,
    reader_limits,
    refusal_bytes,
)
from grenache_py.wire.http.messages import HTTPRequest, Refusal
from grenache_py.wire.http.reader import TargetReader
from grenache_py.wire.http.states import HTTP_TRANSITIONS, HTTPEvent, HTTPState, PauseReason
from grenache_py.wire.same_origin import refused_by_headers

__all__ = ["Connection"]

#: How long a client that is sent away may read why, while what it still sends is dropped.
LINGER_S = 2.0
NOT_MODIFIED = HTTPStatus.NOT_MODIFIED.value  # members of an enumeration are looked up slowly
# So are these; ANSWERING is READING with a request that is being worked on.
_READING, _DRAINING = HTTPState.READING, HTTPState.DRAINING
_WRITING, _PIPELINED = PauseReason.WRITING, PauseReason.PIPELINED


@implementer(IHalfCloseableProtocol, IPullProducer, IPushProducer)
class Connection(Protocol):
    """
    One client: its bytes become requests, and each request gets exactly one answer.

    Attributes:
        source: Whom its requests are counted for; empty when they are not.
    """

    log = Logger()

    def __init__(
        self,
        config: GrapeConfig,
        clients: Clients,
        known_heads: KnownHeads,
        ask: Callable[[Connection, HTTPRequest], None],
        source: str,
    ) -> None:
        """
        Args:
            clients: This one is among them while it is connected.
            known_heads: What the parser made of heads, for all clients.
            ask: Finds the answer to a request and gives it to `answer`, now or later.
        """
        self.source = source
        self._config = config
        self._clients = clients
        self._known_heads = known_heads
        self._ask = ask
        self._reader = TargetReader(reader_limits(config), self)
        self._socket: socket | None = None  # where the transport is one and nothing more
        self._waiting: deque[HTTPRequest | Refusal] = deque()
        self._current: HTTPRequest | None = None
        self._parsed: HTTPRequest | None = None  # the last that this piece completed
        self._advancing = False
        self._state = HTTPState.READING
        self._held: set[PauseReason] = set()
        self._dropped_bytes = 0
        self._deadline = self._message_deadline = inf

    @property
    def state(self) -> HTTPState:
        """What this connection is doing."""
        if self._state is _READING and self._current is not None:
            return HTTPState.ANSWERING
        return self._state

    def _happened(self, event: HTTPEvent) -> None:
        self._state = HTTP_TRANSITIONS.next(self.state, event)

    # -- what Twisted calls

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._deadline = self._clients.now + self._config.request_timeout_s
        if isinstance(transport, TCPConnection):
            with suppress(OSError):  # a UNIX socket
                transport.setTcpNoDelay(True)
            self._socket = transport.getHandle()
            self._clients.sockets.read(transport)
        else:
            transport.registerProducer(self, True)
        if not self._clients.admit(self):
            self._enqueue(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections"))

    def dataReceived(self, data: bytes) -> None:
        if self._state is not _READING:
            self._drop(len(data))
            return
        reader = self._reader
        between_messages = not reader.in_message
        if between_messages and not self._busy():
            head, _, body = data.partition(HEAD_END)
            known = self._known_heads.get(head)
            if known is not None and known.content_length == len(body):
                request = HTTPRequest(known.method, known.url, body, True, True)
                self._current = request  # what `_work_on` does, without the call
                self._deadline = self._clients.now + self._config.answer_timeout_s
                self._ask(self, request)
                return
        self._parsed = None
        begun = reader.begun
        try:
            reader.receive(data)
        except Exception:  # a bug, which must cost the client no more than this connection
            self.log.failure("a request failed", failure=Failure())
            self._enqueue(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR))
        if reader.in_message:
            if reader.begun != begun:
                self._message_deadline = self._clients.now + self._config.request_timeout_s
        elif between_messages:
            self._learn_head(data)
        if len(self._waiting) >= self._config.pipelined_max and _PIPELINED not in self._held:
            self._held.add(_PIPELINED)
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        """The client has said all it wants to say; it may still listen."""
        if self._state is HTTPState.LINGERING:
            self._happened(HTTPEvent.CLOSE)
        if self._state is HTTPState.CLOSING:
            self.transport.loseConnection()  # type: ignore[union-attr]
        elif self._state is _READING:
            if self._reader.in_message and not self._reader.discarding:
                self._waiting.append(Refusal(HTTPStatus.BAD_REQUEST))
            self._drain()

    def writeConnectionLost(self) -> None:
        """Our own half-close has been carried out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._happened(HTTPEvent.LOST)
        self._reader.close()
        self._socket = None
        self._current = None
        self._waiting.clear()
        self._clients.forget(self)

    def pauseProducing(self) -> None:
        """The buffer of a transport that is no bare socket is full."""
        self._held.add(_WRITING)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty (or the transport was just registered)."""
        if _WRITING in self._held:
            self._held.discard(_WRITING)
            if self._socket is not None:
                self.transport.unregisterProducer()  # type: ignore[union-attr]
            self._deadline = self._clients.now + self._config.idle_timeout_s
            self._advance()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` says so too."""

    # -- what the reader says

    def request_begun(self, request: HTTPRequest) -> None:
        reader = self._reader
        why_not = refused_by_headers(request.headers, self._config.api_names)
        if why_not:
            reader.refuse(HTTPStatus.FORBIDDEN, why_not)
        if reader.upgrade:
            reader.refuse(HTTPStatus.NOT_IMPLEMENTED, "this server upgrades to nothing")
        if reader.expects and reader.expects != b"100-continue":
            reader.refuse(HTTPStatus.EXPECTATION_FAILED)
        request.keep_alive = request.http11 and request.keep_alive

    def continue_wanted(self, request: HTTPRequest) -> None:
        # Between the answers to earlier requests it could be taken for one of them; a
        # client that hears nothing sends its body all the same (RFC 9110, 10.1.1).
        if self._state is _READING and not self._busy() and request.http11:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body_data(self, data: bytes) -> None:
        """No body is taken piece by piece here."""

    def request_complete(self, request: HTTPRequest) -> None:
        self._parsed = request
        self._enqueue(request)

    def request_refused(self, refusal: Refusal) -> None:
        if self._reader.discarding and not refusal.keep_alive:
            self._drain()  # a 413 has been given, so there is nothing left to say
        elif refusal.status == HTTPStatus.BAD_REQUEST:
            self._enqueue(Refusal(HTTPStatus.BAD_REQUEST))  # Node's says no more either
        else:
            self._enqueue(refusal)

    def _learn_head(self, data: bytes) -> None:
        request, reader = self._parsed, self._reader
        if request and request.keep_alive and not (reader.expects or reader.stopped):
            self._known_heads.learn(data, request)

    # -- answering

    def _busy(self) -> bool:
        """Whether the next request has to wait."""
        return bool(self._current or self._waiting or self._held or self._advancing)

    def _enqueue(self, request: HTTPRequest | Refusal) -> None:
        if self._state is not _READING:
            return
        if self._busy():
            self._waiting.append(request)
        else:
            self._work_on(request)

    def _work_on(self, request: HTTPRequest | Refusal) -> None:
        if type(request) is HTTPRequest:
            self._current = request
            self._deadline = self._clients.now + self._config.answer_timeout_s
            self._ask(self, request)
        elif isinstance(request, Refusal):
            self._send_refusal(request)

    def _advance(self) -> None:
        """Work on the requests that wait, until one has to be waited for itself."""
        if self._advancing:
            return  # an answer came before ``ask`` returned; the loop below goes on
        self._advancing = True
        while self._waiting and self._may_go_on():
            self._work_on(self._waiting.popleft())
        self._advancing = False
        if not self._may_go_on():
            return
        if self._state is _DRAINING:
            self._close()
        elif _PIPELINED in self._held:
            self._held.discard(_PIPELINED)
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def _may_go_on(self) -> bool:
        """Whether nothing is being worked on, and there is room for an answer."""
        ready = self._current is None and _WRITING not in self._held
        return ready and self._state in (_READING, _DRAINING)

    def answer(self, status: int, body: bytes, content_type: str = "", ready: bytes = b"") -> None:
        """
        Give the answer to the request that ``ask`` was given last.

        Args:
            content_type: Empty for the Grenache commands, whose answers have none.
            ready: The same answer with its head, as most requests need it.
        """
        request = self._current
        if request is None:
            return  # the client has gone
        clients = self._clients
        clients.statuses[status] += 1
        if ready and request.keep_alive and request.method != b"HEAD":
            self._finish(request, ready)
            return
        head = clients.heads.head(status, request.keep_alive, content_type)
        if request.method == b"HEAD" or status == NOT_MODIFIED:
            self._finish(request, head + b"\r\n")
        elif request.http11:
            self._finish(request, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            self._finish(request, b"%b\r\n%b" % (head, body))

    def _finish(self, request: HTTPRequest, answer: bytes) -> None:
        self._current = None
        self._deadline = self._clients.now + self._config.idle_timeout_s
        self._send(answer)
        if not request.keep_alive:
            self._close()
        elif self._waiting or self._held or self._state is not _READING:
            self._advance()

    def _send_refusal(self, refusal: Refusal) -> None:
        if refusal.keep_alive:
            self._current = HTTPRequest(keep_alive=True)
            self.answer(refusal.status, refusal.text.encode())
            return
        self._clients.statuses[refusal.status] += 1
        self._send(refusal_bytes(refusal.status, refusal.text))
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
        self._held.add(_WRITING)
        transport.write(data[sent:])

    # -- leaving

    def expire(self, now: float) -> None:
        """See whether this connection is overdue at ``now``, and then end it."""
        idle = self._may_go_on()
        if idle and self._reader.in_message:
            if now >= self._message_deadline:
                self._refuse_rest(HTTPStatus.REQUEST_TIMEOUT)
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
        if self._current is not None:
            self._current.keep_alive = False
        self._drain()

    def abort(self) -> None:
        """The grape has stopped waiting."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _refuse_rest(self, status: int) -> None:
        """Answer a request that will not be read to its end, after those before it; then close."""
        if not self._reader.discarding:
            self._waiting.append(Refusal(status))
            self._advance()
        else:
            self._drain()  # it has been answered with 413

    def _drain(self) -> None:
        """Close after the answers that are on their way."""
        if self._state is _READING:
            self._happened(HTTPEvent.DRAIN)
            self._advance()

    def _close(self) -> None:
        if self._state not in (_READING, _DRAINING):
            return
        self._happened(HTTPEvent.CLOSE)
        self._waiting.clear()
        self._deadline = self._clients.now + self._config.idle_timeout_s
        self.transport.unregisterProducer()  # type: ignore[union-attr]  # the rest is in the buffer
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _linger(self) -> None:
        """Close, but not before the client could read why: a reset would take that from it."""
        if self._state is _DRAINING or self._socket is None:
            self._close()
            return
        transport: Any = self.transport
        self._happened(HTTPEvent.LINGER)
        self._waiting.clear()
        self._deadline = self._clients.now + LINGER_S
        transport.unregisterProducer()
        transport.loseWriteConnection()
        if _PIPELINED in self._held:
            transport.resumeProducing()

    def _drop(self, length: int) -> None:
        self._dropped_bytes += length
        if self._dropped_bytes > DROPPED_BYTES_MAX:
            self.transport.abortConnection()  # type: ignore[union-attr]
