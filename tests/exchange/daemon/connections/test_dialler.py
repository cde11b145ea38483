"""What a name of a stranger's resolves to is dialled only where the operator let it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from grenache_py.exchange.daemon.connections.dialler import Dialler

NAMES = {
    "peer.example": ["8.8.8.8"],
    "rebound.example": ["10.1.2.3"],
    "both.example": ["127.0.0.1", "8.8.4.4"],
}


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Resolving(MemoryReactorClock):
    """A reactor that opens no connection and has its names from a table."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: Any = self

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *_: Any, **__: Any) -> Any:
        receiver.resolutionBegan(None)
        for host in NAMES.get(name, [name]):
            receiver.addressResolved(IPv4Address("TCP", host, port))
        receiver.resolutionComplete()


def dialled(address: str, inside: frozenset[str] | None) -> tuple[list[str], int]:
    """The hosts that are connected to, and how many dials have failed."""
    reactor, failed = Resolving(), []
    dialler = Dialler(reactor, lambda _: None, lambda *told: failed.append(told))  # type: ignore[arg-type, return-value, func-returns-value]
    dialler.dial(address, inside)
    hosts = [client[0] for client in reactor.tcpClients]
    dialler.stop()
    return hosts, len(failed)


@pytest.mark.parametrize(
    ("address", "inside", "hosts"),
    [
        ("peer.example:7071", frozenset(), ["8.8.8.8"]),
        ("rebound.example:22", frozenset(), []),
        ("both.example:7071", frozenset(), ["8.8.4.4"]),
        ("rebound.example:22", frozenset({"10.9.0.0/16"}), []),
        ("rebound.example:22", frozenset({"10.1.0.0/16"}), ["10.1.2.3"]),
        ("rebound.example:22", None, ["10.1.2.3"]),  # the operator named it
        ("10.1.2.3:7071", frozenset(), ["10.1.2.3"]),  # the address book has let it in
    ],
)
def test_a_name_does_not_lead_into_the_operators_network(
    address: str, inside: frozenset[str] | None, hosts: list[str]
) -> None:
    assert dialled(address, inside) == (hosts, int(not hosts))
