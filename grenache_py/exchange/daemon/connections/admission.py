"""
Who is let in at the three ports, and what a client may do before it has shown a token.

Shell: makes one connection for each that is accepted. A refused one is closed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from grenache_py.epoll_set import EpollSet
from grenache_py.exchange.client_port.access import ALL_SCOPES, Grant
from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.session import Session
from grenache_py.exchange.client_port.token_guesses import guesser
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.daemon.connections.port_turns import PortTurns
from grenache_py.exchange.daemon.connections.secure_channel import (
    Knock,
    SecureChannel,
    SecureChannels,
)
from grenache_py.exchange.daemon.http_port.http import HTTPConnection
from grenache_py.exchange.daemon.loop.commit_loop import CommitLoop
from grenache_py.exchange.peers.door import Door, Visitor
from grenache_py.exchange.rates import RateLimits
from grenache_py.wire.http.messages import Pages

__all__ = ["ClientAdmission", "ClientPort", "HTTPPort", "PeerAdmission", "PeerPort"]

#: Links at a time, those included that are just being closed; the node keeps far fewer.
PEERS_MAX = 200
#: Connections to the HTTP port at a time that are no streams; those count as clients.
PAGE_CONNECTIONS_MAX = 256
#: What a page's stream never exceeds, whatever token it shows: no admin.
STREAM_CEILING = frozenset({"read", "trade"})


class ClientAdmission:
    """Makes the connections of clients: those of the client port and the streams of pages."""

    def __init__(
        self,
        clock: IReactorTime,
        commit_loop: CommitLoop,
        gateway: Gateway,
        limits: RateLimits,
        *,
        clients_max: int,
        stream_scopes: frozenset[str],
        epoll_set: EpollSet | None = None,
    ) -> None:
        """
        Args:
            epoll_set: reads the sockets of the client port; None: the reactor does.
            clients_max: connections at a time, streams among them.
            stream_scopes: what a page's stream may do at most before it has shown a token.
        """
        self._clock = clock
        self._commit_loop = commit_loop
        self._gateway = gateway
        self._limits = limits
        self._clients_max = clients_max
        self._stream_scopes = stream_scopes
        self._epoll_set = epoll_set
        self._turns = PortTurns(clock)

    def accept(self, address: object) -> ClientConnection | None:
        """A connection to the client port; None when there are too many."""
        return self._client(address, self._first_grant(address), epoll_set=self._epoll_set)

    def accept_stream(self, address: object) -> ClientConnection | None:
        """A page's stream: no admin, and no orders unless the operator or a token allows them."""
        scopes = self._first_grant(address).scopes & self._stream_scopes
        return self._client(address, Grant(scopes), STREAM_CEILING)

    def _client(
        self,
        address: object,
        grant: Grant,
        ceiling: frozenset[str] = ALL_SCOPES,
        epoll_set: EpollSet | None = None,
    ) -> ClientConnection | None:
        commit_loop = self._commit_loop
        if commit_loop.clients >= self._clients_max:
            return None
        connection = ClientConnection(
            self._clock, commit_loop.client_line, commit_loop.client_lost, self._turns, epoll_set
        )
        source = guesser(getattr(address, "host", ""))
        client = Principal(grant, connection.send_queue, ceiling, source=source)
        connection.session = Session(
            self._gateway,
            client,
            self._limits,
            self._clock.seconds(),
            commit_loop.guarded.method_failed,
        )
        commit_loop.client_opened(connection)
        return connection

    def _first_grant(self, address: object) -> Grant:
        """What a client may do before it has shown a token."""
        if self._gateway.facts.tokens_wanted:
            return Grant(frozenset())
        if isinstance(address, (IPv4Address, IPv6Address)) and not _is_loopback(address.host):
            return Grant(frozenset({"read"}))
        return Grant(ALL_SCOPES)


class PeerAdmission:
    """
    Makes the connections to peers, those that are accepted and those that are dialled.

    Attributes:
        door: the accepted ones that have proven no key.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, commit_loop: CommitLoop, seed: bytes) -> None:
        """
        Args:
            seed: of this peer's identity, 32 secret bytes.
        """
        self.door = Door(clock.seconds())
        self._clock = clock
        self._commit_loop = commit_loop
        self._channels = SecureChannels(seed, clock)
        self._links = count(1)
        self._visitors: dict[Visitor, Knock] = {}
        self._dials: dict[PeerConnection, None] = {}

    def accept(self, address: Any) -> Knock | None:
        """A connection to the peer port; None when there are too many links."""
        if not self._commit_loop.room_for_link(PEERS_MAX):
            return None
        place = f"{address.host}:{address.port}" if hasattr(address, "port") else "local:0"
        visitor, evicted = self.door.enter(place)
        if evicted is not None:
            self._visitors[evicted].abort()

        def opened(connection: PeerConnection) -> None:
            self._visitors.pop(visitor, None)
            self.door.leave(visitor)
            self._commit_loop.peer_input.link_opened(connection)

        def unproven(connection: PeerConnection, reason: str) -> None:
            self._visitors.pop(visitor, None)
            self.door.refuse(visitor, "no_key" if visitor.ready else "silent")
            self.log.debug("{address} proved no key: {reason}", address=place, reason=reason)

        connection = self._connection(place, opened, unproven, outbound=False)
        knock = Knock(self._clock, self._channels, connection, self.door, visitor)
        self._visitors[visitor] = knock
        return knock

    def dialled(self, address: str) -> SecureChannel:
        """The connection to a peer that we called."""

        def opened(connection: PeerConnection) -> None:
            self._dials.pop(connection, None)
            self._commit_loop.peer_input.link_opened(connection)

        def unproven(connection: PeerConnection, reason: str) -> None:
            self._dials.pop(connection, None)
            self.log.info("no link to {address}: {reason}", address=address, reason=reason)
            self._commit_loop.peer_input.link_failed(address, reason)

        connection = self._connection(address, opened, unproven, outbound=True)
        self._dials[connection] = None
        return self._channels.over(connection)

    def stop(self) -> None:
        """Close at once what has proven no key."""
        for knock in list(self._visitors.values()):
            knock.abort()
        for dialled in list(self._dials):
            dialled.abort()

    def _connection(
        self,
        address: str,
        opened: Callable[[PeerConnection], None],
        unproven: Callable[[PeerConnection, str], None],
        *,
        outbound: bool,
    ) -> PeerConnection:
        peer_input = self._commit_loop.peer_input
        return PeerConnection(
            self._clock,
            next(self._links),
            address,
            opened,
            peer_input.peer_line,
            peer_input.link_lost,
            outbound=outbound,
            unproven=unproven,
        )


class _Port(Factory):
    """Makes a protocol for each connection by a function; None refuses it."""

    noisy = False

    def __init__(self, accept: Callable[[Any], Any]) -> None:
        self._accept = accept

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._accept(addr)


class ClientPort(_Port):
    """What Twisted calls the client port in its log."""


class HTTPPort(_Port):
    """What Twisted calls the HTTP port in its log."""

    def __init__(
        self,
        clock: IReactorTime,
        pages: Pages,
        accept_stream: Callable[[Any], ClientConnection | None],
        names: Collection[str],
    ) -> None:
        super().__init__(lambda address: self._connection())
        self._made = (clock, pages, accept_stream, PortTurns(clock), names)
        self.pages_asked = 0  # connections that are no streams

    def _connection(self) -> HTTPConnection | None:
        if self.pages_asked >= PAGE_CONNECTIONS_MAX:
            return None
        self.pages_asked += 1
        return HTTPConnection(*self._made, no_page=self._one_less)

    def _one_less(self) -> None:
        self.pages_asked -= 1


class PeerPort(_Port):
    """What Twisted calls the peer port in its log."""


def _is_loopback(host: str) -> bool:
    return host.startswith(("127.", "::ffff:127.")) or host in {"::1", "localhost"}
