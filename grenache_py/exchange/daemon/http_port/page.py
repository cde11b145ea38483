"""
What the daemon says of itself: the counters of ``status``, and the pages of its HTTP port.

Shell: reads the commit loop, the store and the ports, and changes none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import IReactorTime

from grenache_py.exchange.client_port.feed import Feed
from grenache_py.exchange.client_port.token_guesses import TokenGuesses
from grenache_py.exchange.condition.symptoms import OPENING, symptoms
from grenache_py.exchange.daemon.http_port.alarm_page import alarm_page
from grenache_py.exchange.daemon.http_port.metrics import exposition, health
from grenache_py.exchange.daemon.http_port.static_pages import static_pages
from grenache_py.metrics import CONTENT_TYPE
from grenache_py.wire.http.messages import Page, Pages
from grenache_py.wire.jsonrpc import encode

if TYPE_CHECKING:
    from grenache_py.alarm_watch import AlarmWatch
    from grenache_py.exchange.daemon.discovery import Discovery
    from grenache_py.exchange.daemon.loop.commit_loop import CommitLoop
    from grenache_py.exchange.storage.store import Store

__all__ = ["StatusPages"]


@attrs.frozen
class StatusPages:
    """
    The state of one daemon, for ``status``, ``/health`` and ``/metrics``.

    Attributes:
        listen: returns where it listens, by ``client``, ``peer`` and ``http``.
        door: returns what is known of connections to the peer port that have proven no key.
        advertise: the address that other peers are told, "" for the one they see.
        expiring: returns what of the settings ends by itself: certificates and tokens.
        watch: told what is wrong by all of it.
        of_role: returns what is known of this daemon's role, by member of ``status``.
    """

    clock: IReactorTime
    commit_loop: CommitLoop
    store: Store
    feed: Feed
    guesses: TokenGuesses
    discovery: Discovery
    listen: Callable[[], dict[str, list[str]]]
    advertise: str
    door: Callable[[], dict[str, object]]
    expiring: Callable[[], dict[str, Any]]
    watch: AlarmWatch
    of_role: Callable[[], dict[str, Any]] = dict

    def pages(self) -> Pages:
        """Every page of the HTTP port, by path."""
        own = {"/alarms": alarm_page, "/health": self.health, "/metrics": self.metrics}
        return {**static_pages(), **own}

    def look(self) -> None:
        """See whether an alarm has come, or is over."""
        self.facts()

    def counters(self) -> dict[str, Any]:
        """What is known beyond the node: store, grapes, clients, and what is wrong."""
        return self._counters(self._of_node())

    def _of_node(self) -> dict[str, Any]:
        node = self.commit_loop.node
        return {} if node is None else node.summary(self.clock.seconds())

    def _counters(self, of_node: dict[str, Any]) -> dict[str, Any]:
        commit_loop = self.commit_loop
        found = {
            "time": int(self.clock.seconds() * 1000),
            "listen": self.listen(),
            "advertise": self.advertise or None,
            "clients": commit_loop.clients,
            "door": self.door(),
            "subscriptions": len(self.feed),
            "gaps": self.feed.gaps,
            "links_refused": commit_loop.peer_input.refusals.status(),
            "tokens": {"wrong": self.guesses.wrong, "not_looked_at": self.guesses.refused},
            "requests": commit_loop.requests,
            "commits": commit_loop.commits,
            "commit_rows": commit_loop.commit_rows,
            "store": commit_loop.failed or ("ok" if of_node else OPENING),
            "store_bytes": self.store.size_bytes,
            "store_free_bytes": self.store.free_bytes,
            "wal": self.store.wal,
            **self.store.facts,
            **self.of_role(),
            "grapes": self.discovery.status(),
            **self.expiring(),
        }
        return {**found, "raised": self.watch.look(symptoms({**of_node, **found}))}

    def facts(self) -> dict[str, Any]:
        """What the node and the rest know; without the former while there is no node."""
        of_node = self._of_node()
        return {**of_node, **self._counters(of_node)}

    def health(self) -> Page:
        """``/health``: 200 when orders are taken, 503 otherwise, and what is wrong, as JSON."""
        facts = self.facts()
        ok, said = health(facts)
        said["listen"] = facts["listen"]
        return Page(encode(said) + b"\n", "application/json", 200 if ok else 503)

    def metrics(self) -> Page:
        """``/metrics``, as Prometheus reads it; few while there is no node."""
        timings, node = self.commit_loop.timings, self.commit_loop.node
        known = {
            "commits": timings.commits,
            "orders": timings.orders,
            "reactor": timings.reactor,
        }
        if node is not None:
            known["round_trips"] = node.taker.asking.round_trips
            known["ages"] = node.sync.intake.ages
        text = exposition(self.facts(), known)
        return Page(text.encode(), CONTENT_TYPE)
