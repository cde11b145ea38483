"""Both ends of a connection in memory, for the RPC tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from grenache_py.rpc.answering import Answering
from grenache_py.rpc.errors import RPCFailure
from grenache_py.rpc.limits import ServerLimits


class Wire(StringTransport):
    """A TCP transport that remembers what was done to it."""

    aborted = half_closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True

    def hang_up(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = self.value()
        self.clear()
        return data

    @property
    def over(self) -> bool:
        return self.disconnecting or self.half_closed or self.aborted


def wired(protocol: Any) -> Wire:
    transport = Wire(peerAddress=IPv4Address("TCP", "192.0.2.1", 5555))
    transport.protocol = protocol
    protocol.makeConnection(transport)
    return transport


def node_test_handler(request: Any) -> Any:
    """The handler of the real server the vectors were recorded from."""
    if request.payload == "boom":
        raise RPCFailure("something went wrong")
    if request.payload == "both":
        raise RPCFailure("partial", {"a": 1})
    if request.payload == "undef":
        return None
    return {"echo": request.payload}


def answering(handler: Any = node_test_handler, limits: ServerLimits | None = None, clock=None):
    return Answering(handler, clock or Clock(), limits or ServerLimits())
