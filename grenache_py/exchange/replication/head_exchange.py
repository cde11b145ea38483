"""
Heads: telling neighbours how far each log reaches here, and hearing how far it reaches there.

Pure. All heads are told when a link opens (``sync.heads``), those that moved every few seconds, and
everything to one neighbour now and then, because what was told may have been lost. In a mesh,
neighbours outside of it only hear once a second which heads moved (``gossip.have``).
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import HEADS_PER_MESSAGE_MAX
from grenache_py.exchange.peers.requests import PeerResult
from grenache_py.exchange.replication.fetching import Fetching
from grenache_py.exchange.replication.intake import Intake, has_room
from grenache_py.exchange.signed_log.head import NO_HEAD, Head

__all__ = ["HeadExchange"]

#: Heads that moved are told to all neighbours this often.
HEADS_S = 5.0
#: All heads are told to one neighbour this often.
HEADS_ALL_S = 30.0


class HeadExchange:
    """
    Tells heads and hears them.

    Args:
        fetching: gets what a head that was heard promises.
        rng: for jitter, and to choose the neighbour that is told everything.
    """

    def __init__(self, intake: Intake, fetching: Fetching, rng: random.Random, now: float) -> None:
        self._peering = intake.peering
        self._held_logs = intake.held_logs
        self._fetching = fetching
        self._rng = rng
        self._heads_at = now + HEADS_S * rng.random()
        self._all_at = now + HEADS_ALL_S * rng.random()
        self._peering.method("sync.heads", self._heads_told)
        self._peering.method("gossip.have", self._have_told)

    # Telling.

    def joined(self, link: PeerLink) -> None:
        """
        A link opened: tell it everything.

        Its own log, too, when its lease is long over: its disk may be an old copy.
        """
        heads = dict(self._held_logs.heads())
        own = self._held_logs.head(link.key)
        if own.seq:
            heads[link.key] = own
        self._tell(link, heads)

    def heartbeat(self, links: list[PeerLink], lazy: list[PeerLink], now: float) -> None:
        """
        Once a second: tell what is due.

        Args:
            links: all that are ready.
            lazy: those that hear only of heads that moved.
        """
        moved = self._peering.gossip.moved_heads()
        for link in lazy:
            self._tell(link, moved, "gossip.have")
        heads = self._held_logs.heads()
        if now >= self._heads_at or self._heads_at > now + HEADS_S:
            self._heads_at = now + HEADS_S
            for link in links:
                self._tell(link, heads)
        if links and (now >= self._all_at or self._all_at > now + HEADS_ALL_S):
            self._all_at = now + HEADS_ALL_S
            link = self._rng.choice(links)
            link.told.clear()
            self._tell(link, heads)

    def _tell(self, link: PeerLink, heads: Mapping[str, Head], method: str = "sync.heads") -> None:
        told = link.told
        news = [
            (origin, head)
            for origin, head in heads.items()
            if told.get(origin, NO_HEAD).position < head.position
        ]
        for start in range(0, len(news), HEADS_PER_MESSAGE_MAX):
            part = news[start : start + HEADS_PER_MESSAGE_MAX]
            self._peering.notify(
                link, method, {"heads": [[origin, *head] for origin, head in part]}
            )
        if method == "sync.heads":
            told.update(news)

    # Hearing.

    def _heads_told(self, link: PeerLink, heads: list[tuple[str, Head]], now: float) -> PeerResult:
        if now < link.heads_again:
            return None
        for origin, head in heads:
            if not has_room(link, origin):
                break
            if _is_news(link, origin, head):
                link.heads[origin] = head
            if head.position > link.told.get(origin, NO_HEAD).position:
                link.told[origin] = head
            self._fetching.consider(origin, link, now)
        if self._fetching.behind:
            self._fetching.catch_up(now)
        return None

    def _have_told(self, link: PeerLink, heads: list[tuple[str, Head]], now: float) -> PeerResult:
        if now < link.heads_again:
            return None
        for origin, head in heads:
            if has_room(link, origin) and _is_news(link, origin, head):
                link.heads[origin] = head
                if head.position > self._held_logs.head(origin).position:
                    self._fetching.announced(origin, link, now)
        return None


def _is_news(link: PeerLink, origin: str, head: Head) -> bool:
    """Whether a head that a neighbour tells is at least the one it told, and not hollow."""
    # A home that lives writes a heartbeat soon. The rest of one that died may be gone.
    return head.position >= link.heads.get(origin, NO_HEAD).position and not link.is_hollow(
        origin, head
    )
