"""
One peer of the exchange: what it opens, in which order, and how it comes down again.

Service: the peer port is bound, because the node must know it; then store, node, the other
ports, the grapes. Nobody is served before the store is open, and nobody is told of this peer
before it listens. Down it goes the other way round.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import Background, DeadlinePassed, OneShot, deadline, every
from grenache_py.errors import ConfigError
from grenache_py.exchange.client_port.access import ALL_SCOPES, ClientTokens, Grant
from grenache_py.exchange.client_port.feed import Feed
from grenache_py.exchange.client_port.gateway import Facts, Gateway, Principal
from grenache_py.exchange.client_port.reports import trades_until
from grenache_py.exchange.client_port.session import Session
from grenache_py.exchange.daemon.commit_loop import CommitLoop
from grenache_py.exchange.daemon.config import ExchangeConfig
from grenache_py.exchange.daemon.connections import ClientConnection, PeerConnection
from grenache_py.exchange.daemon.discovery import Discovery
from grenache_py.exchange.daemon.history import StoreOffice
from grenache_py.exchange.daemon.http import HTTPConnection, static_pages
from grenache_py.exchange.daemon.metrics import exposition, health
from grenache_py.exchange.daemon.secret_files import read_or_make_identity, read_tokens
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.errors import SHUTTING_DOWN, OrderError, StoreError
from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.rates import RateLimits
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.storage.store import Store
from grenache_py.metrics import CONTENT_TYPE
from grenache_py.service import place
from grenache_py.wire.http.messages import Page
from grenache_py.wire.jsonrpc import encode

__all__ = ["EmbeddedGrape", "ExchangeService"]

DIAL_TIMEOUT_S = 5.0
DIALS_MAX = 64
"""Connections being opened at a time."""
CLOSE_TIMEOUT_S = 2.0
"""How long a stop waits for clients and peers to take what was written for them."""
PEERS_MAX = 200
"""Connections to the peer port at a time; the node keeps far fewer, this bounds a flood."""

PRUNE_INTERVAL_S = 60.0
"""Between two looks for history that may be forgotten."""


class EmbeddedGrape(Protocol):
    """A grape that runs in this process; made by ``tap.py``, the only one who may know it."""

    api_port: int | None

    def startService(self) -> None: ...
    def stopService(self) -> Any: ...


class ExchangeService(Service):
    """
    One peer.

    Attributes:
        commit_loop: the node and what drives it.
        ports: where it listens, by ``client``, ``peer`` and ``http``.
    """

    log = Logger()

    def __init__(
        self,
        config: ExchangeConfig,
        reactor: Any,
        rng: random.Random,
        version: str,
        *,
        grape: EmbeddedGrape | None = None,
        log_level: Callable[[str, str], None] = lambda level, namespace: None,
    ) -> None:
        """
        Args:
            grape: started and stopped with this service, and asked for other peers.
            log_level: changes what is logged.

        Raises:
            ConfigError: the identity or the tokens cannot be used.
        """
        self._config = config
        self._reactor = reactor
        self._rng = rng
        self._requests_before = -1
        self._version = version
        self._grape = grape
        self._log_level = log_level
        self._epoch_found: int | None = None
        self.identity: Identity = read_or_make_identity(config.data)
        self._tokens: ClientTokens | None = (
            read_tokens(config.tokens_file) if config.tokens_file else None
        )
        self.ports: dict[str, list[IListeningPort]] = {"client": [], "peer": [], "http": []}
        self._ready: OneShot[str] = OneShot()
        self._links = count(1)
        self._dials: dict[Deferred[Any], str] = {}
        self._background = Background(self.log)
        self._limits = RateLimits(config.connection_rate, config.account_rate)
        self.store = Store(config.data, reactor, accept_copy=config.new_epoch)
        office = StoreOffice(self.store, self.identity.key, self._status, log_level, self._shutdown)
        facts = Facts(
            self.identity.key,
            config.network,
            version,
            reactor.seconds(),
            self._tokens is not None,
        )
        markets = {market.symbol: market for market in config.markets}
        feed = Feed(markets, self._trades_behind)
        self.gateway = Gateway(
            feed=feed,
            office=office,
            facts=facts,
            check_token=lambda token: self._tokens.grant(token) if self._tokens else None,
            closed=OrderError(SHUTTING_DOWN, "This daemon is still starting."),
        )
        self.commit_loop = CommitLoop(
            self.store, reactor, self.gateway, self._make_node, self._dial
        )
        self.discovery = Discovery(reactor, rng, config.service_name, self.commit_loop.discovered)

    def when_ready(self) -> Deferred[str]:
        """
        Wait until the store is open and the ports are bound.

        Fires with: a line of status.
        Fails with:
            ConfigError: something the operator named cannot be used.
        """
        return self._ready.when()

    def startService(self) -> None:
        super().startService()
        # The store's threads report to the reactor, which does not run yet.
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if self.running:
            self._background.spawn("start", self._start())

    async def _start(self) -> None:
        try:
            await self._open()
        except (ConfigError, CannotListenError) as error:
            self._ready.fail(error)
        except StoreError as error:
            self._ready.fail(ConfigError(error.message))
        except CancelledError:
            raise
        except Exception:
            self._ready.fail(Failure())  # a bug: it must not leave a daemon that lives on deaf
        else:
            self._ready.fire(self.describe())

    async def _open(self) -> None:
        config = self._config
        await self._listen("peer", config.peer, self._peer_factory())
        await self.commit_loop.start()
        await self._listen("client", config.client, self._client_factory())
        await self._listen("http", config.http, self._http_factory())
        grapes = list(config.grapes)
        if self._grape is not None:
            self._grape.startService()
            grapes.append(f"http://127.0.0.1:{self._grape.api_port}")
        port = self.peer_port
        self.discovery.start(grapes, port)
        self._background.spawn(
            "forgetting old history",
            every(
                lambda: PRUNE_INTERVAL_S,
                self._reactor,
                self.log,
                "forgetting old history",
                self._forget_history,
            ),
        )

    async def _forget_history(self) -> None:
        if self.commit_loop.requests == self._requests_before:
            gc.collect()  # see tap.GC_THRESHOLDS
        self._requests_before = self.commit_loop.requests
        try:
            rows = await self.store.prune(int(self._reactor.seconds() * 1000))
        except StoreError as error:
            self.log.warn("old history is kept for now: {reason}", reason=error.message)
        else:
            if rows:
                self.log.info("forgot {rows} rows of old history", rows=rows)

    async def _listen(self, name: str, endpoints: Iterable[str], factory: Factory) -> None:
        factory.noisy = False
        for description in endpoints:
            try:
                endpoint = serverFromString(self._reactor, description)
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise ConfigError(f"{name} endpoint {description!r}: {error}") from None
            self.ports[name].append(await endpoint.listen(factory))

    @property
    def peer_port(self) -> int | None:
        """The TCP port other peers are told of."""
        return next(
            (port for each in self.ports["peer"] if (port := _port(each)) is not None), None
        )

    def describe(self) -> str:
        """Where it listens, on one line."""
        places = [f"{name} {place(port)}" for name, ports in self.ports.items() for port in ports]
        return f"peer {self.identity.key[:8]}, {', '.join(places)}"

    # The node and its surroundings.

    def _make_node(self, snapshot: Snapshot, now: float) -> ExchangeNode:
        config = self._config
        listen = config.advertise
        if not listen and self.peer_port is not None:
            listen = f":{self.peer_port}"
        # A store that failed is no second disaster: once the new epoch is on the disk, it is kept.
        epoch = snapshot.head.epoch if snapshot.head else 0
        if self._epoch_found is None:
            self._epoch_found = epoch
        new_epoch = config.new_epoch and epoch == self._epoch_found
        peering = PeeringConfig(
            network=config.network,
            listen=listen,
            connect=config.connect,
            software=f"grenache-py/{self._version}",
        )
        node = ExchangeNode(
            NodeConfig(peering, config.markets, new_epoch=new_epoch),
            self.identity,
            snapshot,
            self._rng,
            now,
        )
        node.peering.on_ready.append(self._log_linked)
        node.peering.on_gone.append(partial(self._log_unlinked, node))
        return node

    def _log_linked(self, link: PeerLink, now: float) -> None:
        self.log.info(
            "linked to peer {peer} at {address} ({direction})",
            peer=link.key[:8],
            address=link.listen or link.address,
            direction="outbound" if link.outbound else "inbound",
        )

    def _log_unlinked(self, node: ExchangeNode, link: PeerLink, now: float) -> None:
        self.log.info(
            "no link to peer {peer} any more, {links} left",
            peer=link.key[:8],
            links=len(node.peering.by_key),
        )

    def _trades_behind(self, copy: LiveOrder) -> Iterable[Trade]:
        node = self.commit_loop.node
        now = node.order(copy.order_id) if node is not None and copy.filled else None
        if node is None or now is None:
            return ()
        return trades_until(node.trades_of(copy.order_id), now.filled - copy.filled)

    async def _status(self) -> dict[str, Any]:
        return self._counters()

    def _counters(self) -> dict[str, Any]:
        commit_loop = self.commit_loop
        return {
            "time": int(self._reactor.seconds() * 1000),
            "listen": {name: [place(port) for port in ports] for name, ports in self.ports.items()},
            "advertise": self._config.advertise or None,
            "clients": commit_loop.clients,
            "subscriptions": len(self.gateway.feed),
            "gaps": self.gateway.feed.gaps,
            "requests": commit_loop.requests,
            "commits": commit_loop.commits,
            "commit_rows": commit_loop.commit_rows,
            "store": commit_loop.failed or "ok",
            "store_bytes": self.store.size_bytes,
            "grapes": self.discovery.status(),
        }

    def _shutdown(self) -> None:
        self.log.info("stopping, as a client with the scope admin asked")
        self._reactor.callLater(0, self._reactor.stop)

    # Clients.

    def _client_factory(self) -> Factory:
        return ClientPort(self._accept_client)

    def _accept_client(self, address: Any) -> ClientConnection | None:
        return self._client(self._first_grant(address))

    def _client(
        self, grant: Grant, ceiling: frozenset[str] = ALL_SCOPES
    ) -> ClientConnection | None:
        if self.commit_loop.clients >= self._config.clients_max:
            return None
        commit_loop = self.commit_loop
        connection = ClientConnection(
            self._reactor, commit_loop.client_line, commit_loop.client_lost
        )
        client = Principal(grant, connection.send_queue, ceiling)
        connection.session = Session(
            self.gateway, client, self._limits, self._reactor.seconds(), commit_loop.method_failed
        )
        commit_loop.client_opened(connection)
        return connection

    def _first_grant(self, address: object) -> Grant:
        """What a client may do before it has shown a token."""
        if self._tokens is not None:
            return Grant(frozenset())
        if isinstance(address, (IPv4Address, IPv6Address)) and not _is_loopback(address.host):
            return Grant(frozenset({"read"}))
        return Grant(ALL_SCOPES)

    # The page.

    def _http_factory(self) -> Factory:
        pages = static_pages()
        pages["/health"] = self._health
        pages["/metrics"] = self._metrics

        def accept(address: Any) -> HTTPConnection:
            return HTTPConnection(self._reactor, pages, self._accept_stream)

        return HTTPPort(accept)

    def _accept_stream(self, address: Any) -> ClientConnection | None:
        """A page's stream: no admin, and no orders unless the operator or a token allows them."""
        allowed = {"read", "trade"} if self._config.http_trading else {"read"}
        scopes = self._first_grant(address).scopes & allowed
        return self._client(Grant(scopes), ceiling=frozenset({"read", "trade"}))

    def _facts(self) -> dict[str, Any] | None:
        node = self.commit_loop.node
        if node is None:
            return None
        return {**node.status(self._reactor.seconds()), **self._counters()}

    def _health(self) -> Page:
        facts = self._facts()
        if facts is None:
            ok, said = False, {"ok": False, "store": self.commit_loop.failed or "opening"}
        else:
            ok, said = health(facts)
        return Page(encode(said) + b"\n", "application/json", 200 if ok else 503)

    def _metrics(self) -> Page:
        facts = self._facts()
        text = "" if facts is None else exposition(facts, self.commit_loop.commit_seconds)
        return Page(text.encode(), CONTENT_TYPE, 503 if facts is None else 200)

    # Peers.

    def _peer_factory(self) -> Factory:
        return PeerPort(self._accept_peer)

    def _accept_peer(self, address: Any) -> PeerConnection | None:
        if self.commit_loop.links >= PEERS_MAX:
            return None
        place = f"{address.host}:{address.port}" if hasattr(address, "port") else "local"
        return self._link(place, outbound=False)

    def _link(self, address: str, *, outbound: bool) -> PeerConnection:
        commit_loop = self.commit_loop
        return PeerConnection(
            self._reactor,
            next(self._links),
            address,
            lambda connection: commit_loop.link_opened(connection, outbound),
            commit_loop.peer_line,
            commit_loop.link_lost,
        )

    def _dial(self, address: str) -> None:
        if len(self._dials) >= DIALS_MAX or not self.running:
            self._reactor.callLater(0, self.commit_loop.link_failed, address, "too many dials")
            return
        host, _, port = address.rpartition(":")
        endpoint = HostnameEndpoint(
            self._reactor, host.strip("[]"), int(port), timeout=DIAL_TIMEOUT_S
        )
        factory = Factory.forProtocol(lambda: self._link(address, outbound=True))
        factory.noisy = False
        dial: Deferred[Any] = endpoint.connect(factory)
        self._dials[dial] = address

        def done(result: Any) -> None:
            self._dials.pop(dial, None)
            if isinstance(result, Failure) and self.running:
                self.commit_loop.link_failed(address, result.getErrorMessage())

        dial.addBoth(done)

    # The end.

    def stopService(self) -> Deferred[None]:
        """
        Finish what was begun, say goodbye, flush, close.

        Fires with: None, within a few seconds.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        await self._background.stop()
        for ports in self.ports.values():
            for port in ports:
                await maybeDeferred(port.stopListening)
        await self.discovery.stop()
        for dial in list(self._dials):
            dial.cancel()
        try:
            await deadline(
                self.commit_loop.stop(), CLOSE_TIMEOUT_S, self._reactor, "the last answers"
            )
            await deadline(
                self.commit_loop.when_all_closed(), CLOSE_TIMEOUT_S, self._reactor, "closing"
            )
        except DeadlinePassed as passed:
            self.log.warn("{problem}; connections were cut off", problem=str(passed))
        self.commit_loop.abort_connections()
        if self._grape is not None:
            await maybeDeferred(self._grape.stopService)
        try:
            await self.store.close()
        except StoreError as error:
            self.log.error("closing the store: {error}", error=str(error))


class _Port(Factory):
    """Makes a protocol for each connection by a function; None refuses it."""

    def __init__(self, accept: Callable[[Any], Any]) -> None:
        self._accept = accept

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._accept(addr)


class ClientPort(_Port):
    """What Twisted calls the client port in its log."""


class HTTPPort(_Port):
    """What Twisted calls the HTTP port in its log."""


class PeerPort(_Port):
    """What Twisted calls the peer port in its log."""


def _is_loopback(host: str) -> bool:
    return host.startswith(("127.", "::ffff:127.")) or host in {"::1", "localhost"}


def _port(listening: IListeningPort) -> int | None:
    return getattr(listening.getHost(), "port", None)
