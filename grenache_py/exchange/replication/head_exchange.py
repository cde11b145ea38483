"""
Heads: telling neighbours how far each log reaches here, and hearing how far it reaches there.

Pure. All heads are told when a link opens (``sync.heads``), those that moved every few seconds, and
everything to one neighbour after the other, some heads a second, because what was told may have
been lost. In a mesh, neighbours outside of it only hear once a second which heads moved
(``gossip.have``). Nothing here looks at a home whose log rests, apart from that round.
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
#: All heads are told to one neighbour this often, at so many a second.
HEADS_ALL_S = 30.0
HEADS_PER_S_MAX = 30


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
        self._routes = intake.routes
        self._fetching = fetching
        self._rng = rng
        self._heads_at = now + HEADS_S * rng.random()
        self._all_at = now + HEADS_ALL_S * rng.random()
        self._round: tuple[PeerLink, list[str]] | None = None  # who is told, and what is left
        self._own_told = NO_HEAD
        self._peering.method("sync.heads", self._heads_told)
        self._peering.method("gossip.have", self._have_told)

    # Telling.

    def joined(self, link: PeerLink) -> None:
        """
        A link opened: tell it everything.

        Its own log, too, when its lease is long over: its disk may be an old copy.
        """
        heads = self._held_logs.heads(self._held_logs.living())
        own = self._held_logs.head(link.key)
        if own.seq:
            heads[link.key] = own
        self._tell(link, heads)
        moved = self._held_logs.moved()
        link.told.update((home, head) for home, head in heads.items() if home in moved)

    def heartbeat(self, links: list[PeerLink], lazy: list[PeerLink], now: float) -> None:
        """
        Once a second: tell what is due.

        Args:
            links: all that are ready.
            lazy: those that hear only of heads that moved.
        """
        recent = self._peering.gossip.moved_heads()
        for link in lazy:
            self._tell(link, _news(link, recent), "gossip.have")
        if now >= self._heads_at or self._heads_at > now + HEADS_S:
            self._heads_at = now + HEADS_S
            self._tell_moved(links, recent)
        if links and (now >= self._all_at or self._all_at > now + HEADS_ALL_S):
            self._all_at = now + HEADS_ALL_S
            self._round = self._rng.choice(links), self._held_logs.living()
        self._go_round()

    def _tell_moved(self, links: list[PeerLink], recent: Mapping[str, Head]) -> None:
        heads = self._held_logs.heads(self._held_logs.take_moved())
        own = self._held_logs.head(self._peering.me)
        if own != self._own_told:
            heads[self._peering.me] = self._own_told = own
        for link in links:
            self._tell(link, _news(link, heads))
            # By now it was told of all that does not move again. What is remembered is what it told
            # itself and is not held here, and what would be announced again.
            told = {home: head for home, head in link.told.items() if home in link.heads}
            again = ((home, head) for home, head in heads.items() if home in recent)
            link.told = {**dict(again), **told}

    def _go_round(self) -> None:
        """Go on telling one neighbour everything."""
        if self._round is None:
            return
        link, homes = self._round
        if link.ready:
            self._tell(link, self._held_logs.heads(homes[-HEADS_PER_S_MAX:]))
            del homes[-HEADS_PER_S_MAX:]
        if not (link.ready and homes):
            self._round = None

    def _tell(self, link: PeerLink, heads: Mapping[str, Head], method: str = "sync.heads") -> None:
        told = [[home, *head] for home, head in heads.items()]
        for start in range(0, len(told), HEADS_PER_MESSAGE_MAX):
            part = told[start : start + HEADS_PER_MESSAGE_MAX]
            self._peering.notify(link, method, {"heads": part})

    # Hearing.

    def _heads_told(self, link: PeerLink, heads: list[tuple[str, Head]], now: float) -> PeerResult:
        if now < link.heads_again:
            return None
        moved = self._held_logs.moved()
        for origin, head in heads:
            if not has_room(link, origin):
                break
            if _is_news(link, origin, head):
                link.heads[origin] = head
            self._fetching.consider(origin, link, now)
            if origin in link.heads or origin in moved:
                link.told[origin] = max(head, link.told.get(origin, NO_HEAD))
            if origin not in link.heads and self._held_logs.holds(origin):
                self._routes.setdefault(origin, link.key)
        if self._fetching.behind:
            self._fetching.catch_up(now)
        return None

    def _have_told(self, link: PeerLink, heads: list[tuple[str, Head]], now: float) -> PeerResult:
        if now < link.heads_again:
            return None
        for origin, head in heads:
            held = self._held_logs.head(origin)
            if head == held or head.position < held.position:
                continue
            if has_room(link, origin) and _is_news(link, origin, head):
                link.heads[origin] = head
                if head.position > held.position:
                    self._fetching.announced(origin, link, now)
        return None


def _news(link: PeerLink, heads: Mapping[str, Head]) -> dict[str, Head]:
    """Those that the other side was not told of, and did not tell."""
    told = link.told
    return {
        home: head
        for home, head in heads.items()
        if told.get(home, NO_HEAD).position < head.position
    }


def _is_news(link: PeerLink, origin: str, head: Head) -> bool:
    """Whether a head that a neighbour tells is at least the one it told, and not hollow."""
    # A home that lives writes a heartbeat soon. The rest of one that died may be gone.
    return head.position >= link.heads.get(origin, NO_HEAD).position and not link.is_hollow(
        origin, head
    )
