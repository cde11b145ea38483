"""
One peer of the exchange: what it opens, in which order, and how it comes down again.

Service: the peer port is bound, because the node must know it; then store, node, the other
ports, the grapes. Nobody is served before the store is open, and nobody is told of this peer
before it listens. Down it goes the other way round.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py import certificates
from grenache_py.alarm_watch import LOOK_S, AlarmWatch
from grenache_py.alarms import PEER
from grenache_py.deferreds import Background, DeadlinePassed, OneShot, deadline, every
from grenache_py.epoll_set import EpollSet
from grenache_py.errors import ConfigError
from grenache_py.exchange.client_port.feed import Feed
from grenache_py.exchange.client_port.gateway import Facts, Gateway, trades_behind
from grenache_py.exchange.client_port.methods.peers import tell_status
from grenache_py.exchange.client_port.token_guesses import TokenGuesses
from grenache_py.exchange.daemon.address_slots import AddressSlots
from grenache_py.exchange.daemon.admin import DaemonAdmin
from grenache_py.exchange.daemon.connections.accept_pace import ACCEPT_RATES, AcceptPace
from grenache_py.exchange.daemon.connections.admission import (
    ClientAdmission,
    ClientPort,
    HTTPPort,
    PeerAdmission,
    PeerPort,
)
from grenache_py.exchange.daemon.connections.dialler import Dialler
from grenache_py.exchange.daemon.discovery import Discovery
from grenache_py.exchange.daemon.history import StoreHistory
from grenache_py.exchange.daemon.http_port.page import StatusPages
from grenache_py.exchange.daemon.loop.commit_loop import CommitLoop
from grenache_py.exchange.daemon.loop.node_factory import NodeFactory
from grenache_py.exchange.daemon.loop.settling import Settling
from grenache_py.exchange.daemon.pruning import Pruning
from grenache_py.exchange.daemon.reconfiguration import Reconfiguration
from grenache_py.exchange.daemon.stores import make_store
from grenache_py.exchange.effects.batch import Dial
from grenache_py.exchange.errors import SHUTTING_DOWN, OrderError, StoreError
from grenache_py.exchange.rates import RateLimits
from grenache_py.exchange.settings.config import ExchangeConfig
from grenache_py.exchange.settings.secret_files import read_or_make_identity
from grenache_py.service import Reread, place

__all__ = ["EmbeddedGrape", "ExchangeService"]

#: How often those who follow the status are told it.
STATUS_S = 1.0
#: How often it is looked how late the reactor is.
TIMING_S = 0.5
#: Between two tries of a daemon that stands by; each looks for some seconds itself.
TAKE_OVER_AGAIN_S = 0.1
#: How long a stop waits for clients and peers to take what was written for them.
CLOSE_TIMEOUT_S = 2.0


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
        gateway: what serves clients.
        identity: the key pair of this peer.
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
        clock: IReactorTime | None = None,
        grape: EmbeddedGrape | None = None,
        log_level: Callable[[str, str], None] = lambda level, namespace: None,
    ) -> None:
        """
        Args:
            clock: the time that orders are stamped with; None: the reactor's.
            grape: started and stopped with this service, and asked for other peers.
            log_level: changes what is logged.

        Raises:
            ConfigError: the identity or the tokens cannot be used.
        """
        self._config = config
        self._reactor = reactor
        self._clock = clock = reactor if clock is None else clock
        self._grape = grape
        self._ready: OneShot[str] = OneShot()
        self._background = Background(self.log)
        self.identity = read_or_make_identity(config.data)
        self.ports: dict[str, list[IListeningPort]] = {"client": [], "peer": [], "http": []}
        self._paces: list[AcceptPace] = []
        self.store = make_store(config, self.identity.key, reactor, clock, rng)
        self._settings = Reconfiguration.of(config, self.ports)
        self.gateway = self._make_gateway(version, log_level)
        self._nodes = NodeFactory(
            config, self.identity, rng, version, lambda: self.peer_port, self._look, self._term
        )
        self.commit_loop = CommitLoop(self.store, clock, self.gateway, self._nodes.make, self._dial)
        peer_input = self.commit_loop.peer_input
        self._peers = PeerAdmission(reactor, self.commit_loop, self.identity.seed)
        self._dialler = Dialler(reactor, self._peers.dialled, peer_input.link_failed)
        self._clients = ClientAdmission(
            clock,
            self.commit_loop,
            self.gateway,
            RateLimits(config.connection_rate, config.account_rate),
            clients_max=config.clients_max,
            stream_scopes=frozenset({"read", "trade"} if config.http_trading else {"read"}),
            epoll_set=EpollSet(reactor),
        )
        key = self.identity.key
        self._discovery = Discovery(
            reactor,
            rng,
            config.service_name,
            peer_input.discovered,
            key,
            AddressSlots(reactor, rng, config.network, key, peer_input.record_found),
            peer_input.lonely,
        )
        self._pages = StatusPages(
            clock,
            self.commit_loop,
            self.store,
            self.gateway.feed,
            self.gateway.guesses,
            self._discovery,
            self._listening,
            config.advertise,
            self._peers.door.counters,
            self._settings.expiring,
            AlarmWatch(clock, PEER),
        )

    def _make_gateway(self, version: str, log_level: Callable[[str, str], None]) -> Gateway:
        settings, reactor = self._settings, self._reactor
        feed = Feed(settings.markets, lambda copy: trades_behind(self.commit_loop.node, copy))
        return Gateway(
            feed=feed,
            history=StoreHistory(self.store, self.identity.key),
            admin=DaemonAdmin(
                self.store,
                self._counters,
                log_level,
                lambda: reactor.callLater(0, reactor.stop),
            ),
            facts=Facts(
                self.identity.key,
                self._config.network,
                version,
                self._clock.seconds(),
                tokens_wanted=settings.tokens is not None,
            ),
            settled=Settling(self._clock, feed).wait,
            check_token=settings.grant,
            closed=OrderError(SHUTTING_DOWN, "This daemon is still starting."),
            guesses=TokenGuesses(self._tell_of_guesses),
        )

    def _tell_of_guesses(self, address: str) -> None:
        self.log.warn(
            "too many wrong tokens from {address}: for a while none from there is looked at",
            address=address or "a UNIX socket",
        )

    # The gateway, the commit loop and the nodes are made before what these ask.

    def _counters(self) -> dict[str, Any]:
        return self._pages.counters()

    def _look(self) -> None:
        self._pages.look()

    def _term(self) -> int:
        return int(self.store.facts.get("database", {}).get("term", 0))

    async def _look_on(self) -> None:
        self._look()
        self._settings.turn_out_ended(self.commit_loop, self._clock.seconds())

    async def _time_reactor(self) -> None:
        clock, delays = self._clock, self.commit_loop.timings.reactor
        while True:
            due = clock.seconds() + TIMING_S
            await deferLater(clock, TIMING_S)
            delays.observe(max(0.0, clock.seconds() - due))

    async def _tell_status(self) -> None:
        if tell_status(self.gateway, self._clock.seconds()):
            self.commit_loop.kick()

    def _dial(self, dial: Dial) -> None:
        self._dialler.dial(dial.address, dial.inside)

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
            self._cannot(Failure(error))
        except StoreError as error:
            self._cannot(Failure(ConfigError(error.message)))
        except CancelledError:
            raise
        except Exception:
            self._cannot(Failure())  # a bug: it must not leave a daemon that lives on deaf
        else:
            if not self._ready.happened:
                self._ready.fire(self.describe())

    def _cannot(self, reason: Failure) -> None:
        """It does not come to serve; one that stood by has been ready for that already."""
        if self._ready.happened:
            self.log.failure("cannot take over, and stops", reason)
            self._reactor.callLater(0, self._reactor.stop)
        else:
            self._ready.fail(reason)

    async def _open(self) -> None:
        config, reactor = self._config, self._reactor
        await self._listen("peer", config.peer, PeerPort(self._peers.accept))
        await self._begin_to_serve()
        await self._listen("client", config.client, ClientPort(self._clients.accept))
        pages = HTTPPort(
            reactor, self._pages.pages(), self._clients.accept_stream, config.http_names
        )
        await self._listen("http", config.http, pages)
        grapes = list(config.grapes)
        if self._grape is not None:
            self._grape.startService()
            grapes.append(f"http://127.0.0.1:{self._grape.api_port}")
        # Who is to be reached at another port is looked for there.
        advertised = config.advertise.rpartition(":")[2]
        self._discovery.start(
            grapes,
            int(advertised) if advertised else self.peer_port,
            self.commit_loop.peer_input.own_record,
            config.advertise,
        )
        pruning = Pruning(self.store, self._clock, lambda: self.commit_loop.requests)
        self._background.spawn("forgetting old history", pruning.run())
        looking = every(lambda: LOOK_S, self._clock, self.log, "looking for alarms", self._look_on)
        self._background.spawn("looking for alarms", looking)
        telling = every(lambda: STATUS_S, self._clock, self.log, "telling", self._tell_status)
        self._background.spawn("telling the status", telling)
        self._background.spawn("timing the reactor", self._time_reactor())

    async def _begin_to_serve(self) -> None:
        """Open the store; a daemon that stands by does so once the one that serves is gone."""
        while True:
            try:
                await self.commit_loop.start()
            except StoreError as error:
                if not self._config.standby or (
                    error.fault != "locked" and not self._ready.happened
                ):
                    raise
                if not self._ready.happened:
                    self.log.info("stands by: {reason}", reason=error.message)
                    self._ready.fire(f"peer {self.identity.key[:8]} stands by")
                await deferLater(self._reactor, TAKE_OVER_AGAIN_S)
            else:
                break
        if self._ready.happened:
            self.log.info("has taken over, and serves")

    async def _listen(self, name: str, endpoints: Iterable[str], factory: Factory) -> None:
        for description in endpoints:
            context = certificates.read(description)  # whose errors are readable
            try:
                endpoint = serverFromString(self._reactor, description)
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise ConfigError(f"{name} endpoint {description!r}: {error}") from None
            port = await endpoint.listen(factory)
            self.ports[name].append(port)
            self._paces.append(AcceptPace(port, self._reactor, ACCEPT_RATES[name]))
            if context is not None:
                self._settings.certificates[port] = certificates.ends(context)

    @property
    def peer_port(self) -> int | None:
        """The TCP port other peers are told of."""
        return next(
            (port for each in self.ports["peer"] if (port := _port(each)) is not None), None
        )

    def describe(self) -> str:
        """Where it listens, on one line."""
        places = [f"{name} {each}" for name, places in self._listening().items() for each in places]
        return f"peer {self.identity.key[:8]}, {', '.join(places)}"

    def _listening(self) -> dict[str, list[str]]:
        return {name: [place(port) for port in ports] for name, ports in self.ports.items()}

    def follow(self, fresh: ExchangeConfig) -> Reread:
        """
        Take up what can be of newer settings, while it runs.

        Raises:
            ConfigError: something of them is wrong, and nothing has changed.
        """
        return self._settings.follow(fresh, self.commit_loop, self._nodes)

    # The end.

    def stopService(self) -> Deferred[None]:
        """
        Finish what was begun, say goodbye, flush, close.

        Fires with: None, within a few seconds.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        self._dialler.refuse()
        await self._background.stop()
        for pace in self._paces:
            pace.stop()
        for ports in self.ports.values():
            for port in ports:
                await maybeDeferred(port.stopListening)
        await self._discovery.stop()
        self._dialler.stop()
        self._peers.stop()
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


def _port(listening: IListeningPort) -> int | None:
    return getattr(listening.getHost(), "port", None)
