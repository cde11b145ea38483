"""
The one command of ``grenache serve --json-lines``: requests and replies are its lines.

Edge: owns a process, writes to stderr.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from grenache_py.cli.output import say, to_json
from grenache_py.cli.service_options import TEXT_BYTES_MAX
from grenache_py.rpc import RPCFailure

__all__ = ["LastingCommand"]

#: How long a command that is to end has for it.
END_S = 2.0


class _Reply(msgspec.Struct):
    id: int
    result: Any = None
    error: str | None = None


class LastingCommand(ProcessProtocol):
    """
    A command that answers all requests.

    Attributes:
        ended: fires with why it is over.
        told_to_end: that is no fault of its own.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.ended: Deferred[str] = Deferred()
        self.told_to_end = False
        self._clock = clock
        self._waiting: dict[int, Deferred[Any]] = {}
        self._number = 0
        self._begun = b""
        self._over = False
        self._killing: IDelayedCall | None = None

    def ask(self, payload: Any) -> Deferred[Any]:
        """
        Send one request.

        Fires with: the result.
        Fails with:
            RPCFailure: what the command says is wrong, or that it has ended.
        Cancel: the reply is ignored when it comes.
        """
        if self._over or self.transport is None:
            raise RPCFailure("the command has ended")
        self._number += 1
        number = self._number

        def forget(_: Deferred[Any]) -> None:
            del self._waiting[number]

        reply: Deferred[Any] = Deferred(forget)
        self._waiting[number] = reply
        self.transport.write(to_json({"id": number, "payload": payload}).encode() + b"\n")
        return reply

    def end(self) -> Deferred[str]:
        """
        Close its input, and kill it when it goes on.

        Fires with: why it is over.
        """
        self.told_to_end = True
        if not self._over and self.transport is not None:
            self.transport.closeStdin()
            self._killing = self._clock.callLater(END_S, self._kill)
        return self.ended

    def outReceived(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._begun) > TEXT_BYTES_MAX:
            say(f"grenache: the command wrote a line of more than {TEXT_BYTES_MAX} bytes")
            self._kill()

    def processEnded(self, reason: Failure) -> None:
        self._over = True
        if self._killing is not None and self._killing.active():
            self._killing.cancel()
        code = getattr(reason.value, "exitCode", None)
        why = "the command ended" + ("" if code is None else f" with {code}")
        waiting, self._waiting = self._waiting, {}
        for reply in waiting.values():
            reply.errback(RPCFailure(why))
        self.ended.callback(why)

    def _take(self, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line, type=_Reply)
        except msgspec.DecodeError as error:
            say(f"grenache: the command wrote no reply: {error}")
            return
        reply = self._waiting.pop(said.id, None)
        if reply is None:
            return  # nobody waits for it any more
        if said.error is not None:
            reply.errback(RPCFailure(said.error))
        else:
            reply.callback(said.result)

    def _kill(self) -> None:
        try:
            if self.transport is not None:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
