"""Bytes that leave at once, and in order although the kernel does not take them all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.testing import StringTransport
from zope.interface import alsoProvides

from grenache_py.rpc.sockets import Writer


class Plain(StringTransport):
    """A TCP transport over one end of a real pair of sockets."""

    def __init__(self, handle: socket.socket) -> None:
        super().__init__()
        self._handle = handle
        self.aborted = False
        alsoProvides(self, ITCPTransport)

    def getHandle(self) -> socket.socket:
        return self._handle

    def abortConnection(self) -> None:
        self.aborted = True


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_message_is_sent_before_write_returns(ends) -> None:
    transport = Plain(ends[0])
    Writer(transport).write(b"now")
    assert ends[1].recv(100) == b"now"
    assert transport.value() == b""


def test_what_the_kernel_does_not_take_follows_in_order(ends) -> None:
    transport = Plain(ends[0])
    writer = Writer(transport)
    data = bytes(range(256)) * 8192
    writer.write(data)
    taken = len(data) - len(transport.value())
    assert 0 < taken < len(data)
    writer.write(b"after")
    received = b""
    while len(received) < taken:
        received += ends[1].recv(65_536)
    writer.write(b"more")  # there is room again, and still this may not overtake
    assert received + transport.value() == data + b"aftermore"


def test_a_connection_that_is_gone_is_let_go(ends) -> None:
    transport = Plain(ends[0])
    ends[1].close()
    Writer(transport).write(b"into the void")
    assert transport.aborted


def test_tls_and_other_transports_write_for_themselves(ends) -> None:
    secure = Plain(ends[0])
    alsoProvides(secure, ISSLTransport)
    for transport in (secure, StringTransport()):
        Writer(transport).write(b"later")
        assert transport.value() == b"later"
