"""
A core in a Twisted reactor.

Shell: owns a connection of the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from grenache_py.trading.address import DaemonAddress
from grenache_py.trading.core import Core
from grenache_py.trading.driver import Driver, Timer

__all__ = ["TwistedDriver"]


class TwistedDriver(Driver):
    """A core in a reactor."""

    def __init__(
        self,
        core: Core,
        addresses: Sequence[DaemonAddress],
        tls: IOpenSSLClientConnectionCreator | None,
        reactor: Any,
    ) -> None:
        super().__init__(core, reactor.seconds)
        self.reactor = reactor
        self._endpoints = [_endpoint(address, tls, reactor) for address in addresses]
        self._connection: _Connection | None = None
        self._connecting: Deferred[Any] | None = None

    def connect(self, attempt: int) -> None:
        factory = Factory.forProtocol(lambda: _Connection(self, attempt))
        factory.noisy = False
        self._connecting = self._endpoints[self.core.line.place].connect(factory)

        def failed(failure: Failure) -> None:
            self.gone(attempt, f"{self.core.address}: {failure.getErrorMessage()}")

        self._connecting.addErrback(failed)

    def accept(self, attempt: int, connection: _Connection) -> None:
        """A connection is there."""
        self._connection = connection
        if not self.opened(attempt):
            connection.transport.abortConnection()

    def write(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.transport.write(data)

    def hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            if self._connecting is not None:
                self._connecting.cancel()
        elif self.core.state == "closed":
            connection.transport.loseConnection()
        else:
            connection.transport.abortConnection()

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        return _Later(self.reactor.callLater(delay_s, call))


def _endpoint(
    address: DaemonAddress, tls: IOpenSSLClientConnectionCreator | None, reactor: Any
) -> Any:
    endpoint: Any
    if address.path:
        endpoint = UNIXClientEndpoint(reactor, address.path)
    else:
        endpoint = HostnameEndpoint(reactor, address.host.encode(), address.port)
    return endpoint if tls is None else wrapClientTLS(tls, endpoint)


class _Later:
    """A delayed call that may be cancelled when it was made already."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        if self._call.active():
            self._call.cancel()


class _Connection(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, reactor: TwistedDriver, attempt: int) -> None:
        self._reactor = reactor
        self._attempt = attempt

    def connectionMade(self) -> None:
        if hasattr(self.transport, "setTcpNoDelay"):  # not on UNIX sockets
            self.transport.setTcpNoDelay(True)
        self._reactor.accept(self._attempt, self)

    def dataReceived(self, data: bytes) -> None:
        self._reactor.data(self._attempt, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        why = f"{self._reactor.core.address}: {reason.getErrorMessage()}"
        self._reactor.gone(self._attempt, why)
