"""
Many sockets behind one descriptor of the reactor: all that have data are read before any is served.

Shell: owns one epoll descriptor (``epoll(7)``), which the reactor watches in their place. Twisted
looks up a descriptor, enters a logging context and calls six functions for each socket that has
data; here that is done once for all of them. That all are read first is worth more: what they
asked is carried out together, and shares one write to the disk.

Ends and errors go back to the reactor, which knows what to do with them.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

__all__ = ["EpollSet"]

#: Sockets read before they are served; more have their turn after that.
READS_MAX = 512


@implementer(IReadDescriptor)
class EpollSet:
    """
    Reads sockets for a reactor.

    Attributes:
        gathering: data is being read that will be served in a moment, by the ``serve`` that was
            given to `start`; who gets it from its transport meanwhile only keeps it.
    """

    log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self.gathering = False
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._sockets: dict[int, tuple[FileDescriptor, Callable[[], None]]] = {}
        self._fds: dict[FileDescriptor, int] = {}

    @staticmethod
    def takes(transport: object) -> bool:
        """Whether this transport gives the bytes of its socket as they are, and there is epoll."""
        return hasattr(select, "epoll") and isinstance(transport, FileDescriptor)

    def start(self, transport: FileDescriptor, serve: Callable[[], None]) -> None:
        """
        Read a transport, which the reactor does not read from now on.

        Args:
            serve: called after each time that data came, when all others have been read too.
        """
        transport.stopReading()
        if transport in self._fds or not transport.connected:
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        fd = self._fds[transport] = transport.fileno()
        self._sockets[fd] = (transport, serve)
        self._epoll.register(fd, select.EPOLLIN)

    def stop(self, transport: FileDescriptor) -> None:
        """Do not read a transport any more; its socket may be closed already. Idempotent."""
        fd = self._fds.pop(transport, None)
        if fd is None or self._epoll is None:
            return
        del self._sockets[fd]
        if transport.fileno() == fd:
            self._epoll.unregister(fd)
        if not self._sockets:
            self._reactor.removeReader(self)
            epoll, self._epoll = self._epoll, None
            epoll.close()

    # What the reactor calls.

    def fileno(self) -> int:
        return -1 if self._epoll is None else self._epoll.fileno()

    def logPrefix(self) -> str:
        return "EpollSet"

    def connectionLost(self, reason: object) -> None:
        """The reactor has stopped."""

    def doRead(self) -> None:
        assert self._epoll is not None
        read: list[tuple[FileDescriptor, Callable[[], None]]] = []
        self.gathering = True
        for fd, event in self._epoll.poll(0, READS_MAX):
            socket = self._sockets.get(fd)
            if socket is None:
                continue  # closed by what another one sent
            transport = socket[0]
            try:
                if event == select.EPOLLIN and transport.doRead() is None:
                    read.append(socket)
                    continue
            except Exception:
                self._failed(transport)
            else:
                self.stop(transport)
                transport.startReading()
        self.gathering = False
        for transport, serve in read:
            try:
                serve()
            except Exception:
                self._failed(transport)

    def _failed(self, transport: Any) -> None:
        """As in the reactor: what raises costs its own connection, and no other."""
        self.log.failure("a connection is closed, because serving it failed")
        self.stop(transport)
        transport.abortConnection()
