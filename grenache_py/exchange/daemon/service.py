"""
One peer of the exchange: what it opens, in which order, and how it comes down again.

Service: the peer port is bound, because the node must know it; then store, node, the other
ports, the grapes. Nobody is served before the store is open, and nobody is told of this peer
before it listens. Down it goes the other way round.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

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
from grenache_py.exchange.daemon.open_ports import OpenPorts
from grenache_py.exchange.daemon.pruning import Pruning
from grenache_py.exchange.daemon.reconfiguration import Reconfiguration
from grenache_py.exchange.daemon.role.serving_role import ServingRole
from grenache_py.exchange.daemon.stores import make_store
from grenache_py.exchange.effects.batch import Dial
from grenache_py.exchange.errors import SHUTTING_DOWN, OrderError, StoreError
from grenache_py.exchange.rates import RateLimits
from grenache_py.exchange.settings.config import ExchangeConfig
from grenache_py.exchange.settings.secret_files import read_or_make_identity
from grenache_py.service import Reread

if TYPE_CHECKING:
    from grenache_py.exchange.storage.postgresql.postgresql_store import PostgreSQLStore

__all__ = ["EmbeddedGrape", "ExchangeService"]

#: How often those who follow the status are told it.
STATUS_S = 1.0
#: How often it is looked how late the reactor is.
TIMING_S = 0.5
#: How long a stop waits for clients and peers to take what was written for them.
CLOSE_TIMEOUT_S = 2.0


class EmbeddedGrape(Protocol):
    """A grape that runs in this process; made by ``tap.py``, the only one who may know it."""

    api_port: int | None
    running: Any

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
        steady: Callable[[], float] | None = None,
        wall_jumps: Callable[[], bool] = lambda: False,
        grape: EmbeddedGrape | None = None,
        log_level: Callable[[str, str], None] = lambda level, namespace: None,
    ) -> None:
        """
        Args:
            clock: the time that orders are stamped with; None: the reactor's.
            steady: seconds of a clock that also goes on while the machine sleeps; None: the
                reactor's.
            wall_jumps: whether the machine's clock says another time than ``clock`` does.
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
        self.identity = read_or_make_identity(
            config.data, config.identity, may_make=not config.standby
        )
        self._open_ports = OpenPorts(reactor)
        self.ports = self._open_ports.by_name
        self.store = make_store(config, self.identity.key, reactor, clock, rng)
        self._settings = Reconfiguration.of(config, self.ports)
        self._settings.certificates = self._open_ports.certificate_ends
        self.gateway = self._make_gateway(version, log_level)
        self._nodes = NodeFactory(
            config,
            self.identity,
            rng,
            version,
            lambda: self._open_ports.number("peer"),
            self._look,
            lambda: None if self._role is None else self._role.load,
            wall_jumps,
        )
        self.commit_loop = CommitLoop(self.store, clock, self.gateway, self._nodes.make, self._dial)
        self._role: ServingRole | None = None
        if config.store:
            self._role = ServingRole(
                cast("PostgreSQLStore", self.store),
                self.commit_loop,
                self.gateway,
                reactor,
                steady or reactor.seconds,
                stands_by=config.standby,
                new_epoch=config.new_epoch,
                cannot=self._cannot,
            )
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
            self._open_ports.places,
            config.advertise,
            self._peers.door.counters,
            self._settings.expiring,
            AlarmWatch(clock, PEER),
            dict if self._role is None else self._role.facts,
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
                lambda: self._role,
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
            self._ready.fire(self.describe())

    def _cannot(self, reason: Failure) -> None:
        """It does not come to serve, or cannot take over."""
        if self._ready.happened:
            self.log.failure("cannot take over, and stops", reason)
            self._reactor.callLater(0, self._reactor.stop)
        else:
            self._ready.fail(reason)

    async def _open(self) -> None:
        config = self._config
        await self._open_ports.listen("peer", config.peer, PeerPort(self._peers.accept))
        if self._role is None:
            await self.commit_loop.start()
            await self._listen_to_clients()
            self._announce()
        else:
            # Who stands by answers clients, too; and the term names where they reach this daemon.
            await self._listen_to_clients()
            self._role.on_serving, self._role.on_standby = self._announce, self._withdraw
            await self._role.begin(self._open_ports.clients_reach(config.advertise))
        pruning = Pruning(self.store, self._clock, lambda: self.commit_loop.requests)
        self._background.spawn("forgetting old history", pruning.run())
        looking = every(lambda: LOOK_S, self._clock, self.log, "looking for alarms", self._look_on)
        self._background.spawn("looking for alarms", looking)
        telling = every(lambda: STATUS_S, self._clock, self.log, "telling", self._tell_status)
        self._background.spawn("telling the status", telling)
        self._background.spawn("timing the reactor", self._time_reactor())

    async def _listen_to_clients(self) -> None:
        config = self._config
        await self._open_ports.listen("client", config.client, ClientPort(self._clients.accept))
        pages = HTTPPort(
            self._reactor, self._pages.pages(), self._clients.accept_stream, config.http_names
        )
        await self._open_ports.listen("http", config.http, pages)

    def _announce(self) -> None:
        """Tell grapes where this peer is, and ask them for others."""
        grapes = list(self._config.grapes)
        if self._grape is not None:
            if not self._grape.running:
                self._grape.startService()
            grapes.append(f"http://127.0.0.1:{self._grape.api_port}")
        # Who is to be reached at another port is looked for there.
        advertised = self._config.advertise.rpartition(":")[2]
        self._discovery.start(
            grapes,
            int(advertised) if advertised else self._open_ports.number("peer"),
            self.commit_loop.peer_input.own_record,
            self._config.advertise,
        )

    def _withdraw(self) -> None:
        self._background.spawn("asking grapes no more", self._discovery.stop())

    def describe(self) -> str:
        """Where it listens, on one line."""
        places = self._open_ports.places().items()
        return f"peer {self.identity.key[:8]}, " + ", ".join(
            f"{name} {each}" for name, all_ in places for each in all_
        )

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
        await self._open_ports.close()
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
        if self._role is not None:
            await self._role.stop()
        try:
            await self.store.close()
        except StoreError as error:
            self.log.error("closing the store: {error}", error=str(error))
