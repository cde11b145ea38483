"""
Many sockets behind one descriptor of the reactor: all that have data are read before any is served.

Shell: owns one epoll descriptor (``epoll(7)``), which the reactor watches in their place. Twisted
looks up a descriptor, enters a logging context and calls six functions for each socket that has
data; here that is done once for all of them. Where what they ask is carried out together, as at
the client port, it also shares one write to the disk.

A socket that has an error and no data goes back to the reactor, which knows what to do with it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["EpollSet"]

#: Sockets read before they are served; more have their turn after that.
READS_MAX = 512


@implementer(IReadDescriptor)
class EpollSet:
    """
    Reads sockets for a reactor.

    Attributes:
        gathering: data is being read, and what is to be done with it follows in a moment.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        """
        Args:
            reactor: one that watches descriptors (``IReactorFDSet``).
        """
        self.gathering = False
        self.reactor = reactor
        self._epoll: select.epoll | None = None
        self._read: dict[int, _Reading] = {}

    def read(self, transport: Any, serve: Callable[[], None] | None = None) -> bool:
        """
        Read a transport from now on, as long as it is connected.

        Its owner pauses, resumes and closes it as ever.

        Args:
            serve: called after each time that its protocol got data, when the other sockets that
                had some have been read too.

        Returns whether it is read here: only what gives the bytes of a socket as they are can be,
        and only where there is epoll.
        """
        if not hasattr(select, "epoll") or not isinstance(transport, FileDescriptor):
            return False
        transport.stopReading()
        transport.reactor = _Reading(self, transport, serve)  # type: ignore[assignment]
        transport.startReading()
        return True

    def _add(self, reading: _Reading) -> None:
        if self._epoll is None:
            self._epoll = select.epoll()
            self.reactor.addReader(self)
        reading.fd = reading.transport.fileno()
        self._read[reading.fd] = reading
        self._epoll.register(reading.fd, select.EPOLLIN)

    def _remove(self, reading: _Reading) -> None:
        """The socket may be closed already, and then the kernel has forgotten it."""
        assert self._epoll is not None
        fd, reading.fd = reading.fd, -1
        del self._read[fd]
        if reading.transport.fileno() == fd:
            self._epoll.unregister(fd)
        if not self._read:
            self.reactor.removeReader(self)
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
        served: list[_Reading] = []
        self.gathering = True
        for fd, event in self._epoll.poll(0, READS_MAX):
            reading = self._read.get(fd)
            if reading is None:
                continue  # closed by what another one sent
            try:
                if not event & select.EPOLLIN:
                    reading.give_back()
                elif (reason := reading.transport.doRead()) is not None:
                    reading.ended(reason)
                elif reading.serve is not None:
                    served.append(reading)
            except Exception:
                self._failed(reading.transport)
        self.gathering = False
        for reading in served:
            try:
                reading.serve()  # type: ignore[misc]
            except Exception:
                self._failed(reading.transport)

    def _failed(self, transport: Any) -> None:
        """As in the reactor: what raises costs its own connection, and no other."""
        self.log.failure("a connection is closed, because serving it failed")
        transport.abortConnection()


class _Reading:
    """
    Stands in for the reactor of one transport: reading is the set's, the rest the reactor's.

    Attributes:
        fd: what is watched; -1 while the transport is paused.
    """

    __slots__ = ("_set", "fd", "serve", "transport")

    def __init__(
        self, epoll_set: EpollSet, transport: Any, serve: Callable[[], None] | None
    ) -> None:
        self._set = epoll_set
        self.transport = transport
        self.serve = serve
        self.fd = -1

    def addReader(self, reader: object) -> None:
        if self.fd < 0:
            self._set._add(self)

    def removeReader(self, reader: object) -> None:
        if self.fd >= 0:
            self._set._remove(self)

    def give_back(self) -> None:
        """Leave the transport to the reactor, for good."""
        transport = self.transport
        transport.stopReading()
        transport.reactor = self._set.reactor
        transport.startReading()

    def ended(self, reason: Exception) -> None:
        """Nothing more can be read (see ``IReadDescriptor.doRead``), or this is half of the end."""
        transport = self.transport
        transport.stopReading()
        if isinstance(reason, ConnectionDone) and IHalfCloseableDescriptor.providedBy(transport):
            transport.readConnectionLost(Failure(reason))
        else:
            transport.connectionLost(Failure(reason))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._set.reactor, name)
