"""
A grape: a DHT node on a UDP port, and the HTTP API in front of it.

Service: starts the node, then the HTTP port; stops the HTTP port, gives the requests
under way a moment, then stops the node, which saves its state.
"""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py import certificates
from grenache_py.alarm_watch import LOOK_S, AlarmWatch
from grenache_py.alarms import GRAPE
from grenache_py.deferreds import Background, DeadlinePassed, deadline, every
from grenache_py.dht.config import DHTConfig
from grenache_py.dht.protocol import DHTProtocol
from grenache_py.dht.service import DHTReactor, DHTService
from grenache_py.errors import ConfigError
from grenache_py.grape import pages
from grenache_py.grape.config import TABLE, GrapeConfig
from grenache_py.grape.site import Site
from grenache_py.grape.status_page import status_page
from grenache_py.metrics import CONTENT_TYPE
from grenache_py.service import Reread, at, place
from grenache_py.wire.http.messages import Page

__all__ = ["GrapeReactor", "GrapeService"]

FINISH_WITHIN_S = 3.0
"""How long a stop waits for requests under way; the DHT answers them in less."""
LISTEN_BACKLOG = 511
"""Connections the kernel holds until they are accepted; what Node asks for."""


class GrapeReactor(DHTReactor, IReactorTCP):
    """What this service needs of the reactor."""


class GrapeService(Service):
    """
    One grape.

    Args:
        config: What the operator set; ``host`` must be an address, not a name.
        reactor: Twisted's.
        rng: A `random.SystemRandom` in production.

    Attributes:
        dht_port: The UDP port really bound.
        api_port: The TCP port really bound; None when the HTTP API is on no TCP port.
    """

    log = Logger()

    def __init__(self, config: GrapeConfig, reactor: GrapeReactor, rng: random.Random) -> None:
        self.config = config
        self.api_port = config.api_port
        self._reactor = reactor
        self._stopping = False
        self._listening: IListeningPort | None = None
        self._site: Site | None = None
        self._certificate_ends: float | None = None
        self._watch = AlarmWatch(reactor, GRAPE)
        self._background = Background(self.log)
        self._asked, self._asked_at = 0, 0.0
        self._dht = DHTService(
            reactor,
            rng,
            config=_dht_config(config),
            port=config.dht_port,
            bootstrap=[_host_and_port(entry) for entry in config.bootstrap],
            state_path=_path(config.state_file),
            key_path=_path(config.node_id_file),
        )

    @property
    def dht(self) -> DHTProtocol:
        """The node, for lookups without HTTP; there once the service has started."""
        return self._dht.protocol

    @property
    def dht_port(self) -> int:
        return self._dht.port

    def startService(self) -> None:
        """
        Open both ports.

        Raises:
            ConfigError: a port, a file or the endpoint cannot be used.
        """
        self._stopping = False
        self._dht.startService()
        try:
            self._listen()
        except ConfigError:
            self._dht.stopService()
            raise
        super().startService()
        self._asked_at = self._reactor.seconds()
        looking = every(lambda: LOOK_S, self._reactor, self.log, "looking for alarms", self._look)
        self._background.spawn("looking for alarms", looking)
        status = self.dht.status()
        self.log.info(
            "grape {node_id} on UDP port {dht_port}, HTTP API on {api}",
            node_id=status.node_id.hex(),
            dht_port=self.dht_port,
            api="no port" if self._listening is None else place(self._listening),
        )

    def follow(self, fresh: GrapeConfig) -> Reread:
        """
        Read the certificate of the HTTP port again, while it listens.

        Args:
            fresh: newer settings; what differs in them takes a restart.

        Raises:
            ConfigError: certificate or key cannot be used; nothing has changed.
        """
        endpoint, later = self.config.api_endpoint, TABLE.differing(self.config, fresh)
        context = None
        if endpoint is not None and endpoint == fresh.api_endpoint:
            context = certificates.read(endpoint)
        if context is None or self._listening is None:
            return Reread(later=tuple(later))
        certificates.renew(self._listening, context)
        self._certificate_ends = certificates.ends(context)
        return Reread(("1 TLS certificate",), tuple(later))

    def stopService(self) -> Deferred[None]:
        """
        Close both ports, in order.

        Fires with: None, at most a few seconds later.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        self._stopping = True
        await self._background.stop()
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
            self._listening = None
        if self._site is not None:
            try:
                await deadline(
                    self._site.clients.finish(),
                    FINISH_WITHIN_S,
                    self._reactor,
                    "the last HTTP requests",
                )
            except DeadlinePassed as passed:
                self.log.warn("{problem}; they were cut off", problem=str(passed))
        await self._dht.stopService()

    # -- the HTTP port

    def _listen(self) -> None:
        if self.config.api_endpoint is None and self.config.api_port is None:
            return
        metrics = self._metrics if self.config.metrics else _no_metrics
        served = {"/": self._page, "/health": self._health, "/metrics": metrics}
        self._site = Site(self.dht, self.config, self._reactor, lambda: self.dht_port, served)
        try:
            if self.config.api_endpoint is not None:
                self._listening = self._listen_endpoint(self.config.api_endpoint, self._site)
            else:
                self._listening = self._listen_tcp(self.config.api_port or 0, self._site)
        except CannotListenError as problem:
            raise ConfigError(_cannot_listen(problem)) from None
        self.api_port = getattr(self._listening.getHost(), "port", None)

    def _listen_tcp(self, port: int, site: Site) -> IListeningPort:
        host = self.config.host
        if host is not None:
            return self._reactor.listenTCP(port, site, LISTEN_BACKLOG, host)
        try:
            # IPv4 too, as Node has it: "localhost" may be ::1 first.
            return self._reactor.listenTCP(port, site, LISTEN_BACKLOG, "::")
        except CannotListenError as problem:
            if not _no_ipv6(problem):
                raise
            return self._reactor.listenTCP(port, site, LISTEN_BACKLOG)

    def _listen_endpoint(self, description: str, site: Site) -> IListeningPort:
        context = certificates.read(description)  # whose errors are readable
        self._certificate_ends = None if context is None else certificates.ends(context)
        try:
            endpoint = serverFromString(self._reactor, description)
            listening = endpoint.listen(site)
        except (ValueError, TypeError, LookupError, OSError) as problem:
            raise ConfigError(f"api endpoint {description!r} cannot be used: {problem}") from None
        ports: list[IListeningPort] = []
        failures: list[Failure] = []
        listening.addCallbacks(ports.append, failures.append)
        if failures:
            if isinstance(failures[0].value, CannotListenError):
                raise failures[0].value
            raise ConfigError(
                f"api endpoint {description!r} cannot be used: {failures[0].getErrorMessage()}"
            )
        if not ports:
            listening.cancel()
            raise ConfigError(f"api endpoint {description!r} does not listen at once")
        return ports[0]

    async def _look(self) -> None:
        self._raised()

    def _health(self) -> Page:
        raised = self._raised()
        code, text = pages.condition(raised, stopping=self._stopping)
        body = pages.health(self.dht.status(), text, raised)
        return Page(body, "application/json", code)

    def _page(self) -> Page:
        raised = self._raised()
        code, text = pages.condition(raised, stopping=self._stopping)
        body = status_page(text, code == 200, self.dht.status(), self._statistics(), raised)
        return Page(body, "text/html; charset=utf-8", code)

    def _metrics(self) -> Page:
        text = pages.metrics(self.dht.status(), self._statistics(), self._raised())
        return Page(text, CONTENT_TYPE)

    def _statistics(self) -> pages.HTTPStatistics:
        site = self._site
        assert site is not None
        return pages.HTTPStatistics(
            len(site.clients.connections),
            site.clients.refused,
            site.requests,
            site.clients.statuses,
        )

    def _raised(self) -> list[dict[str, Any]]:
        """What is wrong now, in plain JSON values."""
        dht, now = self.dht.status(), self._reactor.seconds()
        asked = dht.counters.queries_answered + dht.counters.queries_refused
        if asked != self._asked:
            self._asked, self._asked_at = asked, now
        facts = pages.GrapeFacts(
            dht=dht,
            alone_is_fine=not self.config.bootstrap,
            unasked_s=now - self._asked_at,
            unresolved=self._dht.unresolved,
            unsaved=self._dht.unsaved,
            clients=0 if self._site is None else len(self._site.clients.connections),
            clients_max=self.config.connections_max,
            items_max=self.config.dht_max_values,
            certificate_ends=self._certificate_ends,
            time=now,
        )
        return self._watch.look(pages.wrong(facts))


def _no_metrics() -> Page:
    return Page(b"metrics are off: start the grape with --metrics\n", "text/plain", 404)


def _dht_config(config: GrapeConfig) -> DHTConfig:
    return DHTConfig(
        host=config.announce_host,
        concurrency=config.dht_concurrency,
        peer_max_age_s=config.dht_peer_max_age_s,
        node_liveness_s=config.dht_node_liveness_s,
        tables_max=config.dht_max_tables,
        items_max=config.dht_max_values,
    )


def _host_and_port(entry: str) -> tuple[str, int]:
    host, _, port = entry.rpartition(":")
    return host, int(port)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _no_ipv6(problem: CannotListenError) -> bool:
    return getattr(problem.socketError, "errno", None) in (
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        errno.EPROTONOSUPPORT,
    )


def _cannot_listen(problem: CannotListenError) -> str:
    reason = getattr(problem.socketError, "strerror", None) or str(problem.socketError)
    where = at(problem.interface, problem.port) if problem.interface else f"port {problem.port}"
    return f"HTTP API cannot listen on {where}: {reason}"
