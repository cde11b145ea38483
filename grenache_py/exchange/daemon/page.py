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
from grenache_py.exchange.daemon.metrics import exposition, health
from grenache_py.exchange.daemon.static_pages import static_pages
from grenache_py.metrics import CONTENT_TYPE
from grenache_py.wire.http.messages import Page, Pages
from grenache_py.wire.jsonrpc import encode

if TYPE_CHECKING:
    from grenache_py.exchange.daemon.commit_loop import CommitLoop
    from grenache_py.exchange.daemon.discovery import Discovery
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

    def pages(self) -> Pages:
        """Every page of the HTTP port, by path."""
        return {**static_pages(), "/health": self.health, "/metrics": self.metrics}

    def counters(self) -> dict[str, Any]:
        """What is known beyond the node: store, grapes, clients."""
        commit_loop = self.commit_loop
        return {
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
            "store": commit_loop.failed or "ok",
            "store_bytes": self.store.size_bytes,
            "wal": self.store.wal,
            "grapes": self.discovery.status(),
        }

    def facts(self) -> dict[str, Any] | None:
        """What the node and the rest know; None while there is no node."""
        node = self.commit_loop.node
        if node is None:
            return None
        return {**node.status(self.clock.seconds()), **self.counters()}

    def health(self) -> Page:
        """``/health``: 200 when all is well, 503 otherwise, and why, as JSON."""
        facts = self.facts()
        if facts is None:
            ok, said = False, {"ok": False, "store": self.commit_loop.failed or "opening"}
        else:
            ok, said = health(facts)
        return Page(encode(said) + b"\n", "application/json", 200 if ok else 503)

    def metrics(self) -> Page:
        """``/metrics``, as Prometheus reads it; 503 and empty while there is no node."""
        facts = self.facts()
        text = "" if facts is None else exposition(facts, self.commit_loop.commit_seconds)
        return Page(text.encode(), CONTENT_TYPE, 503 if facts is None else 200)
