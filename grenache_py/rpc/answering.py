"""
What a server does with a request, whichever transport brought it.

Shell: runs the program's handler, owns one timer for all the handlers' deadlines.
Every request is answered: with the result, with the handler's own error, or with one
of the texts below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import OneShot
from grenache_py.rpc.deadline_timer import DeadlineTimer
from grenache_py.rpc.errors import NotSendable, RPCFailure
from grenache_py.rpc.frames import Request, encode_reply
from grenache_py.rpc.in_flight import RequestTable
from grenache_py.rpc.limits import ServerLimits

__all__ = ["Answering", "Handler"]

#: A program's handler: returns a result that JSON can express, a Deferred or a coroutine of
#: one; raises RPCFailure to answer with an error.
Handler = Callable[[Request], Any]

#: More requests are being handled than the server allows.
ERR_BUSY = "ERR_BUSY"
#: The handler took too long and was cancelled.
ERR_TIMEOUT = "ERR_TIMEOUT"
#: The handler failed with something else than an RPCFailure.
ERR_INTERNAL = "ERR_INTERNAL"
#: The handler's result cannot be sent.
ERR_REPLY_ENCODING = "ERR_REPLY_ENCODING"
#: The server has begun to stop.
ERR_SHUTTING_DOWN = "ERR_SHUTTING_DOWN"


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
