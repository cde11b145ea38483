"""
Answers on their way: made while the disk works, released when what they say is durable.

Shell: writes to the connections of clients, and starts what an answer waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from grenache_py.deferreds import Background
from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.client_port.answer import INTERNAL, Answer
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.errors import INTERNAL_ERROR

__all__ = ["AnswerQueue", "QueuedAnswers"]

#: Answers and the connections they belong to, oldest first.
QueuedAnswers: TypeAlias = list[tuple[ClientConnection, Answer]]


class AnswerQueue:
    """
    The answers that no batch has taken along yet.

    Attributes:
        waiting: in the order of their requests; `take` empties it.
    """

    log = Logger()

    def __init__(
        self,
        background: Background,
        again: Callable[[], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        """
        Args:
            background: runs what answers wait for.
            again: called when an answer came back to ``waiting``, because it changed the node.
            failed: called, with the exception being handled, when a method that waits raises
                what it must not; the arguments say what was under way, and what it raised.
        """
        self.waiting: QueuedAnswers = []
        self._background = background
        self._again = again
        self._failed = failed

    def take(self) -> QueuedAnswers:
        """What waits now, for the batch that is being made."""
        taken, self.waiting = self.waiting, []
        return taken

    def seal(self, answers: QueuedAnswers) -> None:
        """The batch of these is complete: make what waited for that."""
        for _, answer in answers:
            while True:
                try:
                    answer.seal()
                except Exception as error:  # no await in here: a bug of ours, in one request
                    self._failed("making an answer", error)
                    answer.fault()
                else:
                    break

    def release(self, answers: QueuedAnswers) -> None:
        """What these say is durable: send them, or wait for what they wait for."""
        clients: dict[ClientConnection, None] = {}
        for connection, answer in answers:
            if answer.waits:
                self._background.spawn("an answer", self._finish(connection, answer))
            elif answer.ready is None:
                try:
                    answer.release()
                except LocalProtocolError:  # a bug of ours, which costs this answer only
                    self.log.failure("an answer could not be released")
                    answer.refuse(INTERNAL_ERROR, INTERNAL)
            clients[connection] = None
        for connection in clients:
            self._deliver(connection)

    def refuse(self, answers: QueuedAnswers, code: int, message: str, **data: Any) -> None:
        """Send an error instead: what was done for these is not durable."""
        for _, answer in answers:
            answer.refuse(code, message, **data)
        self.release(answers)

    def _deliver(self, connection: ClientConnection) -> None:
        for pages in connection.deliver():
            self._background.spawn("telling what was missed", connection.follow(pages))

    async def _finish(self, connection: ClientConnection, answer: Answer) -> None:
        while True:
            try:
                await answer.finish()
            except CancelledError:  # the daemon stops
                answer.refuse(INTERNAL_ERROR, INTERNAL)
                raise
            except Exception as error:  # a bug of ours, in one request
                self._failed("a method that waited", error)
                answer.fault()
            else:
                break
        if answer.ready is None:  # it placed an order, which has to become durable
            self.waiting.append((connection, answer))
            self._again()
        else:
            self._deliver(connection)
