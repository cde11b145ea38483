"""
The connection of one client: answers in the order of requests, and pages as fast as it reads.

Shell. A client that does not read its answers is not read from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from grenache_py.epoll_set import EpollSet
from grenache_py.exchange.client_port.answer import Answer
from grenache_py.exchange.client_port.foreign import TLS_HANDSHAKE
from grenache_py.exchange.client_port.methods.registry import FollowingLines
from grenache_py.exchange.client_port.session import Session
from grenache_py.exchange.daemon.connections.line_connection import UNRELEASED_MAX, LineConnection
from grenache_py.exchange.daemon.connections.port_turns import PortTurns

__all__ = ["ClientConnection"]

#: Bytes of answers a client has not read; before it does, no more requests are taken from it.
UNREAD_BYTES_MAX = 262_144
#: With more bytes than this unread, a client gets no further page of what it missed.
PAGE_UNREAD_BYTES = 65_536
#: How long to wait before looking again whether a client has read.
PAGE_PAUSE_S = 0.01


class ClientConnection(LineConnection):
    """
    One client. Its answers leave in the order of its requests, whichever is ready first.

    Attributes:
        session: carries out its requests; set by whoever made this connection.
    """

    session: Session

    def __init__(
        self,
        clock: IReactorTime,
        take: Callable[[ClientConnection, bytes | None], None],
        lost: Callable[[ClientConnection], None],
        turns: PortTurns,
        epoll_set: EpollSet | None = None,
    ) -> None:
        """
        Args:
            take: given each line; None stands for one that was too long.
            turns: of all clients.
            epoll_set: reads the socket; None: the reactor does.
        """
        super().__init__(clock, epoll_set)
        self._take = take
        self._lost_to = lost
        self._turns = turns
        self._answers: deque[Answer] = deque()

    def first(self, data: bytes) -> None:
        if data.startswith(TLS_HANDSHAKE):  # it has no lines: waiting for one is in vain
            self.line(TLS_HANDSHAKE)

    def may_take(self) -> bool:
        return self.unreleased < UNRELEASED_MAX and self.send_queue.size < UNREAD_BYTES_MAX

    def line(self, line: bytes) -> None:
        line = line.strip()
        if line:
            self._take(self, line)

    def serve(self, inbox: deque[bytes]) -> None:
        while inbox and not self._closing and self.may_take():
            if len(inbox) == 1:  # as nearly always: nobody has to wait for it
                self.line(inbox.popleft())
                return
            if not self._turns.begin(self):
                return
            session = self.session
            requests, lookups = session.requests, session.lookups
            self.line(inbox.popleft())
            lookups = session.lookups - lookups
            self._turns.spend(session.requests - requests, lookups)
            if lookups:
                self._answers[-1].lookups = lookups

    def too_long(self) -> None:
        self._take(self, None)

    def lost(self, reason: str) -> None:
        self._turns.leave(self)
        for answer in self._answers:
            answer.discard()
            self._turns.looked_up(answer.lookups)
        self._answers.clear()
        self._lost_to(self)

    def expect(self, answer: Answer) -> None:
        """An answer is on its way; those to later requests come after it."""
        self.unreleased += answer.requests
        self._answers.append(answer)

    async def follow(self, pages: FollowingLines) -> None:
        """Send ``pages``, each when the client has read most of what was sent before."""
        lines: list[bytes] | None = None
        while True:
            if lines == []:
                await deferLater(self._clock, PAGE_PAUSE_S)
            while self.send_queue.size > PAGE_UNREAD_BYTES and not self._lost:
                await deferLater(self._clock, PAGE_PAUSE_S)
            try:
                # With a default, CPython unpacks a tuple that is awaited in there.
                lines = await anext(pages)
            except StopAsyncIteration:
                lines = None
            for line in lines or ():
                self.send_queue.answer(line)
            self.flush()
            if lines is None:
                return

    def deliver(self) -> list[FollowingLines]:
        """
        Send the answers that are ready and not behind one that is not; take more lines.

        Returns what has to follow those answers.
        """
        answers = self._answers
        pages: list[FollowingLines] = []
        while answers and (line := answers[0].ready) is not None:
            answer = answers.popleft()
            pages += answer.pages
            self.unreleased -= answer.requests
            if answer.lookups:
                self._turns.looked_up(answer.lookups)
            if line:
                self.send_queue.answer(line)
            for name in answer.begun:
                self.send_queue.open(name)
        self.flush()
        if self._inbox or not self._reading or self._closing:
            self.work()
        return pages
