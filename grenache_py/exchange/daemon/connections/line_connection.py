"""
Lines in and lines out on one TCP connection, with nothing unbounded.

Shell. Both directions push back: a connection whose other end does not read is not read from, one
that sends requests faster than the disk commits waits in its own socket, and nobody gets more
than a few lines served in one turn of the reactor while others wait (``port_turns.py`` for clients,
``link_turns.py`` for peers).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.epoll_set import EpollSet
from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.wire.jsonlines import LineSplitter

__all__ = ["UNRELEASED_MAX", "LineConnection"]

#: Requests of one connection that wait for the disk; more are left in its socket.
UNRELEASED_MAX = 512
#: Bytes handed to the transport at a time.
WRITE_BYTES = 65_536
#: A connection whose other end has read nothing of what waits for it for so long is cut off.
STALLED_S = 60.0
#: Bytes that are read and dropped while the other end is saying its farewell.
FAREWELL_BYTES_MAX = 65_536


@implementer(IPushProducer, IHalfCloseableProtocol)
class LineConnection(Protocol):
    """
    A connection of the client port or of the peer port: what both have in common.

    Attributes:
        send_queue: what waits to be written.
        unreleased: requests taken whose consequences are not durable yet.
        aborted: it was closed at once.
        leave_s: once all is written, the connection must be gone in this time.
    """

    leave_s = STALLED_S

    def __init__(self, clock: IReactorTime, epoll_set: EpollSet | None = None) -> None:
        """
        Args:
            epoll_set: reads the socket, if there is one; None: the reactor does.
        """
        self._clock = clock
        self._epoll_set = epoll_set
        self._splitter = LineSplitter()
        self._inbox: deque[bytes] = deque()
        self.send_queue = SendQueue()
        self.unreleased = 0
        self.aborted = False
        self._reading = True
        self._write_blocked = False
        self._input_ended = False
        self._too_long_told = False
        self._closing = False
        self._left = False
        self._lost = False
        self._spoken = False
        self._direct = False  # the transport is a plain socket
        self._at_once = False  # and holds nothing that must leave first
        self._again: IDelayedCall | None = None  # no line is taken before it
        self._stalled: IDelayedCall | None = None
        self._leaving: IDelayedCall | None = None
        self._dropped = 0

    # What the two kinds differ in.

    def first(self, data: bytes) -> None:
        """Look at what comes first: not everybody who calls speaks in lines."""

    def line(self, line: bytes) -> None:
        """Take one line."""
        raise NotImplementedError

    def too_long(self) -> None:
        """A line was too long; nothing more will come."""
        raise NotImplementedError

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        raise NotImplementedError

    def serve(self, inbox: deque[bytes]) -> None:
        """Take lines for one turn; when it ends with lines left, see to the next one."""
        raise NotImplementedError

    def may_take(self) -> bool:
        """Whether the next line may be taken now."""
        return self.unreleased < UNRELEASED_MAX

    # What Twisted calls.

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._direct = self._at_once = isinstance(transport, FileDescriptor)
        if self._epoll_set is not None and not self._epoll_set.read(transport, self.work):
            self._epoll_set = None
        if hasattr(transport, "setTcpNoDelay"):  # not on UNIX sockets
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            self._dropped += len(data)
            if self._dropped > FAREWELL_BYTES_MAX:
                self.abort()
            return
        if not self._spoken and data:
            self._spoken = True
            self.first(data)
        self._inbox.extend(self._splitter.feed(data))
        if self._epoll_set is None or not self._epoll_set.gathering:
            self.work()

    def readConnectionLost(self) -> None:
        self._input_ended = True
        self._leave_if_done()

    def writeConnectionLost(self) -> None:
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = self._closing = True
        # Some of what refers to a connection refers to itself, and goes much later.
        self._inbox.clear()
        self.send_queue.clear()
        for call in (self._again, self._stalled, self._leaving):
            if call is not None and call.active():
                call.cancel()
        self._again = self._stalled = self._leaving = None
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

    # What the two kinds and the commit loop call.

    def work(self) -> None:
        """Take lines as far as allowed, and read more only when none are left over."""
        if self._closing:
            self._leave_if_done()
            return
        if self._again is not None:
            return
        inbox = self._inbox
        self.serve(inbox)
        if not inbox and self._splitter.too_long and not self._too_long_told:
            self._too_long_told = True
            self.too_long()
        self._read(not inbox and self.may_take() and not self._splitter.too_long)
        if self._closing or self._input_ended:
            self._leave_if_done()

    def _read(self, wanted: bool) -> None:
        if wanted == self._reading or self._lost or self._input_ended:
            return
        if self._left and not wanted:
            return  # what comes now is dropped
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
        if self._closing or self._input_ended:
            self._leave_if_done()

    def close(self) -> None:
        """Close once everything queued is written."""
        if not self._closing:
            self._closing = True
            self._read(False)
            self._leave_if_done()

    def abort(self) -> None:
        """Close at once, dropping what is queued."""
        self._closing = self.aborted = True
        self.send_queue.clear()
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
            self._read(True)  # TLS waits for the other side's farewell, which has to be read
            transport.loseConnection()
            self._must_be_gone()

    def _must_be_gone(self) -> None:
        """From now on the other end has ``leave_s``: it may neither read nor answer."""
        if self._leaving is None and not self._lost:
            self._leaving = self._clock.callLater(self.leave_s, self.abort)
