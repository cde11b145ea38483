"""
What a server does with a request, whichever transport brought it.

Shell: runs the program's handler, owns one timer for all the handlers' deadlines.
Every request is answered: with the result, with the handler's own error, or with one
of the texts below.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import DeadlinePassed, OneShot, deadline
from grenache_py.rpc.errors import NotSendable, RPCFailure
from grenache_py.rpc.frames import Request, RequestTable, encode_reply
from grenache_py.rpc.limits import ServerLimits

__all__ = [
    "Answering",
    "Connections",
    "DeadlineTimer",
    "Handler",
    "Writer",
    "peek",
    "peer_certificate",
]

#: A program's handler: returns a result that JSON can express, a Deferred or a coroutine of
#: one; raises RPCFailure to answer with an error.
Handler = Callable[[Request], Any]

ERR_BUSY = "ERR_BUSY"
ERR_TIMEOUT = "ERR_TIMEOUT"
ERR_INTERNAL = "ERR_INTERNAL"
ERR_REPLY_ENCODING = "ERR_REPLY_ENCODING"
ERR_SHUTTING_DOWN = "ERR_SHUTTING_DOWN"


class Connections:
    """The open connections of one server or client, and the moment when there are none left."""

    def __init__(self) -> None:
        self._open: dict[Any, None] = {}
        self._empty: OneShot[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._open))

    def add(self, connection: Any) -> None:
        """A connection was made."""
        self._open[connection] = None

    def discard(self, connection: Any) -> None:
        """A connection is gone."""
        self._open.pop(connection, None)
        if self._empty is not None and not self._open and not self._empty.happened:
            self._empty.fire(None)

    async def when_empty(self, clock: IReactorTime, timeout_s: float) -> None:
        """Wait until none is left, where no new ones come; cut off those that last too long."""
        if not self._open:
            return
        self._empty = self._empty or OneShot()
        try:
            await deadline(self._empty.when(), timeout_s, clock, "closing connections")
        except DeadlinePassed:
            for connection in self:
                connection.transport.abortConnection()


class DeadlineTimer:
    """The one timer of a RequestTable: armed for the earliest deadline, moved only forward."""

    def __init__(self, clock: IReactorTime, table: RequestTable[Any], due: Callable[[], None]):
        self._clock = clock
        self._table = table
        self._due = due
        self._armed_for = 0.0
        self._timer: IDelayedCall | None = None

    def arm(self, deadline: float) -> None:
        """Make sure that ``due`` is called at ``deadline``; an earlier call re-arms by itself."""
        if self._timer is not None:
            if self._armed_for <= deadline:
                return
            self._timer.cancel()
        self._armed_for = deadline
        self._timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._fire)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._due()
        following = self._table.next_deadline()
        if following is not None:
            self.arm(following)


class _Running:
    """One handler that has not finished, and where its reply goes."""

    __slots__ = ("request", "send", "work")

    def __init__(self, request: Request, send: Callable[[bytes], None], work: Deferred[Any]):
        self.request = request
        self.send = send
        self.work = work


class Answering:
    """Runs the handler for each request and sends exactly one reply."""

    _log = Logger()

    def __init__(self, handler: Handler, clock: IReactorTime, limits: ServerLimits) -> None:
        self._handler = handler
        self._clock = clock
        self._limits = limits
        self._running: RequestTable[_Running] = RequestTable(limits.requests_max)
        self._timer = DeadlineTimer(clock, self._running, self._time_is_up)
        self._serial = 0
        self._idle: OneShot[None] | None = None
        self.answered = 0

    def answer(self, request: Request, send: Callable[[bytes], None]) -> None:
        """Handle ``request``; ``send`` is called once, now or later, with the reply frame."""
        if self._idle is not None:
            send(encode_reply(request.rid, ERR_SHUTTING_DOWN))
            return
        if len(self._running) >= self._limits.requests_max:
            send(encode_reply(request.rid, ERR_BUSY))
            return
        try:
            result = self._handler(request)
        except RPCFailure as error:
            self._send(request, send, error.message, error.data)
            return
        except Exception:  # the program's own code; nothing is awaited here
            self._log.failure("the handler of {key} failed", key=repr(request.key))
            self._send(request, send, ERR_INTERNAL, None)
            return
        if inspect.iscoroutine(result):
            work: Deferred[Any] = Deferred.fromCoroutine(result)
        elif isinstance(result, Deferred):
            work = result
        else:
            self._send(request, send, None, result)
            return
        self._serial += 1
        serial = self._serial
        deadline = self._clock.seconds() + self._limits.handler_timeout_s
        self._running.add(serial, _Running(request, send, work), deadline)
        work.addBoth(self._finished, serial)
        if serial in self._running:
            self._timer.arm(deadline)

    async def drain(self) -> None:
        """Refuse what comes from now on and wait until every running handler has answered."""
        if self._idle is None:
            self._idle = OneShot()
        if not len(self._running):
            return
        await self._idle.when()

    def stop(self) -> None:
        """Answer what is still running with an error and cancel it."""
        self._timer.stop()
        for running in self._running.take_all():
            self._give_up(running, ERR_SHUTTING_DOWN)

    def _finished(self, result: Any, serial: int) -> None:
        running = self._running.take(serial)
        if running is None:  # its time was up before
            if isinstance(result, Failure) and not result.check(CancelledError, RPCFailure):
                self._log.failure("a handler failed after its deadline", result)
            return
        if not isinstance(result, Failure):
            self._send(running.request, running.send, None, result)
        elif isinstance(result.value, RPCFailure):
            self._send(running.request, running.send, result.value.message, result.value.data)
        else:
            key = repr(running.request.key)
            self._log.failure("the handler of {key} failed", result, key=key)
            self._send(running.request, running.send, ERR_INTERNAL, None)
        self._check_idle()

    def _time_is_up(self) -> None:
        for running in self._running.expired(self._clock.seconds()):
            self._log.warn(
                "the handler of {key} took more than {timeout_s} s",
                key=repr(running.request.key),
                timeout_s=self._limits.handler_timeout_s,
            )
            self._give_up(running, ERR_TIMEOUT)
        self._check_idle()

    def _check_idle(self) -> None:
        if self._idle is not None and not len(self._running) and not self._idle.happened:
            self._idle.fire(None)

    def _give_up(self, running: _Running, err: str) -> None:
        self._send(running.request, running.send, err, None)
        running.work.cancel()

    def _send(
        self, request: Request, send: Callable[[bytes], None], err: str | None, data: Any
    ) -> None:
        self.answered += 1
        try:
            frame = encode_reply(request.rid, err, data)
        except NotSendable as error:
            self._log.error("answering {key}: {error}", key=repr(request.key), error=str(error))
            frame = encode_reply(request.rid, ERR_REPLY_ENCODING)
        send(frame)


def peer_certificate(transport: Any) -> Any:
    """Return the other side's certificate in secure mode, None if it has shown none."""
    if not ISSLTransport.providedBy(transport):
        return None
    certificate: Any = transport.getPeerCertificate()
    return certificate.to_cryptography() if certificate is not None else None


class Writer:
    """
    Writes to a connection at once, and not at the reactor's next turn.

    Twisted's transports keep what is written until the reactor finds the socket writable: two
    calls of ``epoll_ctl`` and one of ``epoll_wait`` for each message of somebody who sends one at
    a time, which is a third of what a round trip costs. Where the kernel does not take
    everything, and where TLS is between, the transport does it from then on.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        plain = ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport)
        handle = transport.getHandle() if plain and hasattr(transport, "getHandle") else None
        self._socket = handle if isinstance(handle, socket.socket) else None

    def write(self, data: bytes) -> None:
        """Send ``data`` after all that was written before."""
        if self._socket is not None:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._socket = None
                self._transport.abortConnection()
                return
            if sent == len(data):
                return
            self._socket, data = None, data[sent:]
        self._transport.write(data)


def peek(transport: Any) -> bytes | None:
    """
    Return a byte that waits to be read, ``b""`` at the end of the connection, None for neither.

    A server that restarted may have closed a kept connection long ago while this process
    was busy; asking the kernel saves a request from being sent into the void.
    """
    tcp = getattr(transport, "transport", transport)  # below TLS, if there is any
    try:
        first: bytes = tcp.getHandle().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
    return first
