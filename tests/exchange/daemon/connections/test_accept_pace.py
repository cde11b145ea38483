"""A flood of connections is accepted one by one, with turns for others in between."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock

from grenache_py.exchange.daemon.connections.accept_pace import AcceptPace
from grenache_py.exchange.rates import Rate

pytestmark = pytest.mark.network


class Flooded:
    """A port on loopback with ten connections in its backlog, and a reactor that does nothing."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.accepted: list[Protocol] = []
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = self._build  # type: ignore[method-assign]
        self.port = Port(0, factory, interface="127.0.0.1", reactor=self.reactor)
        self.port.startListening()
        here = ("127.0.0.1", self.port.getHost().port)
        self.clients = [socket.create_connection(here, timeout=5) for _ in range(10)]

    def _build(self, address: object) -> Protocol:
        self.accepted.append(Protocol())
        return self.accepted[-1]

    def turn(self) -> int:
        """What the reactor does in one turn; how many connections are accepted by now."""
        if self.port in self.reactor.getReaders():
            self.port.doRead()
        return len(self.accepted)

    def close(self) -> None:
        for protocol in self.accepted:
            protocol.transport.socket.close()  # type: ignore[union-attr]
        for each in (*self.clients, self.port.socket):
            each.close()


@pytest.fixture
def flooded() -> Iterator[Flooded]:
    made = Flooded()
    yield made
    made.close()


def test_one_connection_is_accepted_in_a_turn(flooded: Flooded) -> None:
    AcceptPace(flooded.port, flooded.reactor, Rate(10, 10))
    assert [flooded.turn() for _ in range(4)] == [1, 2, 3, 4]


def test_beyond_the_rate_connections_wait_in_the_kernel(flooded: Flooded) -> None:
    pace = AcceptPace(flooded.port, flooded.reactor, Rate(10, 3))
    assert [flooded.turn() for _ in range(6)] == [1, 2, 3, 3, 3, 3]
    assert flooded.port not in flooded.reactor.getReaders()  # which the reactor would come back for
    flooded.reactor.advance(0.1)
    assert [flooded.turn() for _ in range(3)] == [4, 4, 4]
    pace.stop()
    assert flooded.reactor.getDelayedCalls() == []
