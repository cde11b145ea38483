"""
One TCP connection of the client port or the peer port: lines in, lines out, nothing unbounded.

Shell. Both directions push back: a client that does not read its answers is not read from; one
that pipelines faster than the disk commits waits in its own socket; nobody gets more than a
few lines served in one turn of the reactor while others wait. A peer is never held up by its
own queue (two peers waiting for each other would wait for ever): when the queue overflows,
its link is closed, and the two reconcile when they meet again (cause F5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.exchange.client_port.methods.registry import Pages
from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.exchange.client_port.session import Answer, Session
from grenache_py.wire.jsonlines import LineSplitter

__all__ = ["ClientConnection", "LineConnection", "PeerConnection"]

LINES_PER_TURN_MAX = 64
"""Served from one connection before the others get their turn."""
UNRELEASED_MAX = 512
"""Requests of one connection waiting for the disk; more are left in its socket."""
UNREAD_BYTES_MAX = 262_144
"""Answers a client has not read; before it does, no more requests are taken from it."""
WRITE_BYTES = 65_536
"""Handed to the transport at a time."""
PAGE_UNREAD_BYTES = 65_536
"""With more than this unread, a client gets no further page of what it missed."""
PAGE_PAUSE_S = 0.01
STALLED_S = 60.0
"""After reading nothing of what waits for it for so long, a client is cut off."""
PEER_QUEUE_BYTES_MAX = 16 * 1_048_576
"""What may wait for one peer; about 20,000 log entries."""


@implementer(IPushProducer, IHalfCloseableProtocol)
class LineConnection(Protocol):
    """
    What both ports have in common.

    Attributes:
        outbound: what waits to be written.
        unreleased: lines taken whose consequences are not durable yet.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._splitter = LineSplitter()
        self._inbox: deque[bytes] = deque()
        self.send_queue = SendQueue()
        self.unreleased = 0
        self._reading = True
        self._write_blocked = False
        self._input_ended = False
        self._too_long_told = False
        self._closing = False
        self._left = False
        self._lost = False
        self._direct = False  # the transport is a plain socket
        self._at_once = False  # and holds nothing that must leave first
        self._again: IDelayedCall | None = None
        self._stalled: IDelayedCall | None = None

    # What the two kinds differ in.

    def line(self, line: bytes) -> None:
        """Take one line."""
        raise NotImplementedError

    def too_long(self) -> None:
        """A line was too long; nothing more will come."""
        raise NotImplementedError

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        raise NotImplementedError

    def may_take(self) -> bool:
        """Whether the next line may be taken now."""
        return self.unreleased < UNRELEASED_MAX

    # What Twisted calls.

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._direct = self._at_once = isinstance(transport, FileDescriptor)
        if hasattr(transport, "setTcpNoDelay"):  # not on UNIX sockets
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        self._inbox.extend(self._splitter.feed(data))
        if self._again is None:
            self.work()

    def readConnectionLost(self) -> None:
        self._input_ended = True
        self._leave_if_done()

    def writeConnectionLost(self) -> None:
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = self._closing = True
        self._inbox.clear()
        for call in (self._again, self._stalled):
            if call is not None and call.active():
                call.cancel()
        self._again = self._stalled = None
        self.lost(reason.getErrorMessage())

    def pauseProducing(self) -> None:
        self._write_blocked = True
        if self._stalled is None:
            self._stalled = self._clock.callLater(STALLED_S, self.abort)

    def resumeProducing(self) -> None:
        self._write_blocked = False
        self._at_once = self._direct  # the transport asks for more: it is empty
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        self.flush()
        self.work()

    def stopProducing(self) -> None:
        self._write_blocked = True

    # What this file and the service call.

    def work(self) -> None:
        """Take lines as far as allowed, and read more only when none are left over."""
        if self._closing:
            self._leave_if_done()
            return
        inbox = self._inbox
        left = LINES_PER_TURN_MAX
        while inbox and left and not self._closing and self.may_take():
            left -= 1
            self.line(inbox.popleft())
        if inbox:
            if not left and self._again is None:
                self._again = self._clock.callLater(0, self._work_again)
        elif self._splitter.too_long and not self._too_long_told:
            self._too_long_told = True
            self.too_long()
        self._read(not inbox and self.may_take() and not self._splitter.too_long)
        self._leave_if_done()

    def _work_again(self) -> None:
        self._again = None
        self.work()

    def _read(self, wanted: bool) -> None:
        if wanted == self._reading or self._lost or self._input_ended:
            return
        self._reading = wanted
        transport: Any = self.transport
        if wanted:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    def flush(self) -> None:
        """Hand the transport what it will take."""
        transport: Any = self.transport
        while self.send_queue.size and not self._write_blocked and not self._lost:
            data = self.send_queue.take(WRITE_BYTES)
            if self._at_once:
                # An answer fits the socket nearly always; the way through the reactor (two
                # epoll_ctl and an event of its own) costs as much as the request did.
                sent = transport.writeSomeData(data)
                if sent == len(data):
                    continue
                self._at_once = False
                if isinstance(sent, int) and sent > 0:
                    data = data[sent:]
            transport.write(data)
        self._leave_if_done()

    def close(self) -> None:
        """Close once everything queued is written."""
        if not self._closing:
            self._closing = True
            self._read(False)
            self._leave_if_done()

    def abort(self) -> None:
        """Close at once, dropping what is queued."""
        self._closing = True
        if not self._lost:
            transport: Any = self.transport
            transport.abortConnection()

    def _leave_if_done(self) -> None:
        if self._left or self._lost or self.send_queue.size or self.unreleased:
            return
        if self._closing or (self._input_ended and not self._inbox):
            self._closing = self._left = True
            transport: Any = self.transport
            transport.unregisterProducer()  # or the transport would wait for it
            transport.loseConnection()


class ClientConnection(LineConnection):
    """
    One client. Its answers leave in the order of its requests, whichever is ready first.

    Attributes:
        session: what is known of it, set by whoever made this.
    """

    session: Session

    def __init__(
        self,
        clock: IReactorTime,
        take: Callable[[ClientConnection, bytes | None], None],
        lost: Callable[[ClientConnection], None],
    ) -> None:
        """
        Args:
            take: given each line; None stands for one that was too long.
        """
        super().__init__(clock)
        self._take = take
        self._lost_to = lost
        self._answers: deque[Answer] = deque()
        self._pages: list[Pages] = []

    def may_take(self) -> bool:
        return self.unreleased < UNRELEASED_MAX and self.send_queue.size < UNREAD_BYTES_MAX

    def line(self, line: bytes) -> None:
        line = line.strip()
        if line:
            self._take(self, line)

    def too_long(self) -> None:
        self._take(self, None)

    def lost(self, reason: str) -> None:
        for answer in self._answers:
            answer.discard()
        self._answers.clear()
        self._lost_to(self)

    def expect(self, answer: Answer) -> None:
        """An answer is on its way; those to later requests come after it."""
        self.unreleased += 1
        self._answers.append(answer)

    def take_pages(self) -> list[Pages]:
        """What has to follow the answers that were delivered."""
        pages, self._pages = self._pages, []
        return pages

    async def follow(self, pages: Pages) -> None:
        """Send ``pages``, each when the client has read most of what was sent before."""
        lines: list[bytes] | None = None
        while True:
            if lines == []:
                await deferLater(self._clock, PAGE_PAUSE_S)
            while self.send_queue.size > PAGE_UNREAD_BYTES and not self._lost:
                await deferLater(self._clock, PAGE_PAUSE_S)
            lines = await anext(pages, None)
            for line in lines or ():
                self.send_queue.answer(line)
            self.flush()
            if lines is None:
                return

    def deliver(self) -> None:
        """Send the answers that are ready and not behind one that is not; take more lines."""
        answers = self._answers
        while answers and (line := answers[0].ready) is not None:
            answer = answers.popleft()
            self._pages += answer.pages
            self.unreleased -= 1
            if line:
                self.send_queue.answer(line)
            for name in answer.begun:
                self.send_queue.open(name)
        self.flush()
        if self._inbox or not self._reading or self._closing:
            self.work()


class PeerConnection(LineConnection):
    """
    One link.

    Attributes:
        link: its number, as the node knows it.
        address: ``host:port`` of the other end.
    """

    def __init__(
        self,
        clock: IReactorTime,
        link: int,
        address: str,
        opened: Callable[[PeerConnection], None],
        take: Callable[[PeerConnection, bytes | None], None],
        lost: Callable[[PeerConnection, str], None],
    ) -> None:
        super().__init__(clock)
        self.link = link
        self.address = address
        self._opened = opened
        self._take = take
        self._lost_to = lost

    def connectionMade(self) -> None:
        super().connectionMade()
        self._opened(self)

    def line(self, line: bytes) -> None:
        line = line.strip()
        if line:
            self._take(self, line)

    def too_long(self) -> None:
        self._take(self, None)

    def lost(self, reason: str) -> None:
        self._lost_to(self, reason)

    def send(self, line: bytes) -> bool:
        """Queue a line; False if the link had to be given up because its queue is full."""
        self.send_queue.answer(line)
        if self.send_queue.size > PEER_QUEUE_BYTES_MAX:
            self.abort()
            return False
        return True
