"""
The ports of a daemon: opened as its endpoints say, and where each is reached.

Service: binds sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from grenache_py import certificates
from grenache_py.errors import ConfigError
from grenache_py.exchange.daemon.connections.accept_pace import ACCEPT_RATES, AcceptPace
from grenache_py.service import at, place

__all__ = ["OpenPorts"]

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not bound


class OpenPorts:
    """
    See the module.

    Attributes:
        by_name: ``client``, ``peer`` and ``http``.
        certificate_ends: when the certificate of each port that speaks TLS ends, in seconds.
    """

    def __init__(self, reactor: Any) -> None:
        self.by_name: dict[str, list[IListeningPort]] = {"client": [], "peer": [], "http": []}
        self.certificate_ends: dict[IListeningPort, float] = {}
        self._reactor = reactor
        self._paces: list[AcceptPace] = []

    async def listen(self, name: str, endpoints: Iterable[str], factory: Factory) -> None:
        """
        Open the ports of one name.

        Raises:
            ConfigError, CannotListenError: an endpoint or its certificate cannot be used.
        """
        for description in endpoints:
            context = certificates.read(description)  # whose errors are readable
            try:
                endpoint = serverFromString(self._reactor, description)
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise ConfigError(f"{name} endpoint {description!r}: {error}") from None
            port = await endpoint.listen(factory)
            self.by_name[name].append(port)
            self._paces.append(AcceptPace(port, self._reactor, ACCEPT_RATES[name]))
            if context is not None:
                self.certificate_ends[port] = certificates.ends(context)

    async def close(self) -> None:
        """Accept nothing more."""
        for pace in self._paces:
            pace.stop()
        for ports in self.by_name.values():
            for port in ports:
                await maybeDeferred(port.stopListening)

    def number(self, name: str) -> int | None:
        """The first TCP port of a name; None: it has none."""
        return next((host.port for host in self._tcp(name)), None)

    def places(self) -> dict[str, list[str]]:
        """Where each listens, for people."""
        return {name: [place(port) for port in ports] for name, ports in self.by_name.items()}

    def clients_reach(self, advertise: str) -> str:
        """
        Where clients reach this daemon, as far as it knows: ``host:port``, or a socket's path.

        Args:
            advertise: where other peers reach it, ``host:port``; "" when nobody has said.
        """
        tcp = next(self._tcp("client"), None)
        if tcp is None:
            return next((place(port) for port in self.by_name["client"]), socket.gethostname())
        host = advertise.rpartition(":")[0].strip("[]")
        if not host:
            host = socket.gethostname() if tcp.host in _EVERYWHERE else tcp.host
        return at(host, tcp.port)

    def _tcp(self, name: str) -> Any:
        hosts = (port.getHost() for port in self.by_name[name])
        return (host for host in hosts if hasattr(host, "port"))
