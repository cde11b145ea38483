"""Sockets that are read together: who is read when, and what becomes of those that end."""

from __future__ import annotations

import select
import socket
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from grenache_py.epoll_set import EpollSet

if not hasattr(select, "epoll"):
    pytest.skip("this system has no epoll", allow_module_level=True)


class Readers:
    """The part of a reactor that watches descriptors."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)


class Hung:
    """Says that a descriptor has an error and nothing to read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        return [(self.fd, select.EPOLLERR)]

    def unregister(self, fd: int) -> None:
        assert fd == self.fd


@implementer(IHalfCloseableDescriptor)
class Transport(FileDescriptor):
    """One end of a real socket; tells the story what happened to it."""

    connected = True

    def __init__(self, name: str, readers: Readers, story: list[str]) -> None:
        super().__init__(readers)  # type: ignore[arg-type]
        self.ours, self.theirs = socket.socketpair()
        self.name, self.story, self.raises = name, story, False

    def fileno(self) -> int:
        return self.ours.fileno()

    def doRead(self) -> Any:
        data = self.ours.recv(100)
        if self.raises:
            raise RuntimeError(self.name)
        self.story.append(f"{self.name} read {data.decode()}")
        return None if data else CONNECTION_DONE

    def serve(self) -> None:
        self.story.append(f"{self.name} served")

    def readConnectionLost(self, reason: Failure) -> None:
        self.story.append(f"{self.name} half over {reason.type.__name__}")

    def connectionLost(self, reason: Failure) -> None:
        self.story.append(f"{self.name} over {reason.type.__name__}")

    def abortConnection(self) -> None:
        self.stopReading()
        self.story.append(f"{self.name} aborted")


class EpollSetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.readers = Readers()
        self.story: list[str] = []
        self.set = EpollSet(self.readers)  # type: ignore[arg-type]
        self.a, self.b, self.c = (Transport(name, self.readers, self.story) for name in "abc")
        for transport in (self.a, self.b, self.c):
            self.addCleanup(transport.ours.close)
            self.addCleanup(transport.theirs.close)
            self.set.read(transport, transport.serve)

    def test_it_is_what_a_reactor_watches(self) -> None:
        verifyObject(IReadDescriptor, self.set)
        assert self.readers.readers == {self.set}
        assert self.set.fileno() >= 0

    def test_all_that_have_data_are_read_before_one_is_served(self) -> None:
        self.a.theirs.send(b"1")
        self.c.theirs.send(b"2")
        self.set.doRead()
        assert sorted(self.story[:2]) == ["a read 1", "c read 2"]
        assert sorted(self.story[2:]) == ["a served", "c served"]

    def test_it_says_while_it_reads_that_serving_comes_later(self) -> None:
        seen: list[bool] = []
        self.patch(self.a, "doRead", lambda: seen.append(self.set.gathering))
        self.set.read(self.a, lambda: seen.append(self.set.gathering))
        self.a.theirs.send(b"1")
        self.set.doRead()
        assert seen == [True, False]

    def test_one_whose_other_end_says_no_more_is_told_so(self) -> None:
        self.a.theirs.send(b"1")
        self.a.theirs.shutdown(socket.SHUT_WR)
        self.set.doRead()
        self.set.doRead()
        assert self.story == ["a read 1", "a served", "a read ", "a half over ConnectionDone"]
        self.set.doRead()
        assert len(self.story) == 4

    def test_one_whose_other_end_is_gone_is_read_to_its_end(self) -> None:
        self.a.theirs.send(b"1")
        self.a.theirs.close()
        self.set.doRead()
        self.set.doRead()
        assert self.story == ["a read 1", "a served", "a read ", "a half over ConnectionDone"]

    def test_one_that_cannot_be_read_is_over(self) -> None:
        self.patch(self.a, "doRead", lambda: CONNECTION_LOST)
        self.a.theirs.send(b"1")
        self.set.doRead()
        assert self.story == ["a over ConnectionLost"]

    def test_an_error_is_left_to_the_reactor(self) -> None:
        self.a.ours.shutdown(socket.SHUT_RDWR)
        self.patch(self.set, "_epoll", Hung(self.a.fileno()))
        self.set.doRead()
        assert self.story == []
        assert self.readers.readers == {self.set, self.a}
        assert self.a.reactor is self.readers

    def test_one_that_raises_is_cut_off_and_the_others_are_served(self) -> None:
        self.a.raises = True

        def fails() -> None:
            raise RuntimeError("b")

        self.set.read(self.b, fails)
        for transport in (self.a, self.b, self.c):
            transport.theirs.send(b"1")
        self.set.doRead()
        assert len(self.flushLoggedErrors(RuntimeError)) == 2
        assert {"a aborted", "b aborted", "c served"} <= set(self.story)
        for transport in (self.a, self.b, self.c):
            transport.theirs.send(b"2")
        self.set.doRead()
        assert self.story[-2:] == ["c read 2", "c served"]

    def test_one_that_was_stopped_by_another_is_not_read(self) -> None:
        for transport in (self.a, self.b):
            self.patch(transport, "doRead", self._stop_both)
            transport.theirs.send(b"1")
        self.set.doRead()
        assert self.story.count("read") == 1

    def _stop_both(self) -> None:
        self.story.append("read")
        self.a.stopReading()
        self.b.stopReading()

    def test_one_that_is_stopped_keeps_its_data_in_the_socket(self) -> None:
        self.a.stopReading()
        self.a.theirs.send(b"1")
        self.set.doRead()
        assert self.story == []
        self.a.startReading()
        self.set.doRead()
        assert self.story == ["a read 1", "a served"]

    def test_the_number_of_a_closed_socket_may_come_again(self) -> None:
        number = self.a.fileno()
        self.a.ours.close()
        self.a.stopReading()
        again = Transport("d", self.readers, self.story)
        self.addCleanup(again.theirs.close)
        self.addCleanup(again.ours.close)
        assert number in {again.ours.fileno(), again.theirs.fileno()}
        self.set.read(again, again.serve)
        again.theirs.send(b"1")
        self.set.doRead()
        assert self.story == ["d read 1", "d served"]

    def test_without_sockets_the_reactor_watches_nothing(self) -> None:
        for transport in (self.a, self.b, self.c):
            transport.stopReading()
            transport.stopReading()
        assert self.readers.readers == set()
        assert self.set.fileno() == -1

    def test_what_it_does_not_do_itself_is_the_reactors(self) -> None:
        self.a.startWriting()
        assert self.readers.writers == {self.a}

    def test_a_transport_that_is_no_socket_is_not_taken(self) -> None:
        assert not self.set.read(StringTransport())
