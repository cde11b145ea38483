"""
Log entries as they come from neighbours: taken into the replica, passed on, and judged.

Pure. Everything that brings entries uses this: pushes (``gossip.publish``), fetched ranges and
catch-up. What an entry changed here is passed on, and nothing else (docs/failure-modes.rst#f1).
Proofs that a home signed two histories (``gossip.proof``) come and go here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.peers.link import ORIGINS_MAX, PeerLink
from grenache_py.exchange.peers.networks import crowd_of
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.requests import PeerResult
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.helpers import Helpers
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.received import Received
from grenache_py.exchange.signed_log.head import NO_HEAD, Head
from grenache_py.exchange.signed_log.merkle import Signed
from grenache_py.metrics import Histogram

__all__ = ["ENTRY_POINTS", "KNOWN_POINTS", "Intake", "has_room"]

#: What an entry costs that is checked, and one that is known already.
ENTRY_POINTS, KNOWN_POINTS = 10, 1
#: A neighbour that promised entries and did not deliver them is not believed for so long.
DISTRUST_S = 30.0
#: Upper bounds of the histogram of ages.
AGE_BOUNDS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)


class Intake:
    """
    The way of every entry into the replica.

    Attributes:
        peering, held_logs: what entries come over, and what is held already.
        received: entries that came.
        ages: of those that were news and pushed, when they came: by the stamp, in seconds.
        illegal_transitions: events that the state of an origin or of a catch-up did not allow: each
            is a bug, and cost the entry or the catch-up in which it happened.
        routes: the key of the neighbour that brought the newest entry of each origin first, or any
            entry or word of it when nothing new came.
        helpers: whom to ask next.
        consider: called with an origin, a link that may hold more of its log, and the time.
    """

    def __init__(self, peering: Peering, held_logs: HeldLogs) -> None:
        self.peering = peering
        self.held_logs = held_logs
        self._replica = held_logs.replica
        self._forks = held_logs.replica.forks
        self.routes: dict[str, str] = {}
        self.helpers = Helpers()
        self.ages = Histogram(AGE_BOUNDS_S)
        self.received = self.illegal_transitions = 0
        self.consider: Callable[[str, PeerLink, float], None] = lambda origin, link, now: None
        self._replica.on_forgotten.append(self._forgotten)
        peering.method("gossip.publish", self._published)
        peering.method("gossip.proof", self._proof_told)

    def _published(self, link: PeerLink, entries: list[Any], now: float) -> PeerResult:
        if not self.peering.ignored(link, now):
            for item in entries:
                news = self.take(link, Signed.from_wire(item), now)
                if news is not None:
                    self.ages.observe(max(0.0, now - news.time[0] / 1000))
        return None

    def take(self, link: PeerLink, signed: Signed, now: float) -> Origin | None:
        """
        One log entry came over ``link``.

        Returns:
            its origin, if it was applied; the time of that is the newest entry's stamp.

        Raises:
            RemoteProtocolError: it is not valid, and an honest neighbour would have noticed.
        """
        self.received += 1
        link.points += ENTRY_POINTS
        try:
            received = self._replica.receive(signed, now, crowd_of(link.address))
        except LocalProtocolError:
            self.illegal_transitions += 1
            return None
        if received.novel:
            self.peering.scores.delivered(link.key, now)
            link.delivered += 1
            link.delivered_at = now
        elif received.verdict == "known":
            link.points += KNOWN_POINTS - ENTRY_POINTS
        self.came(link, received, now)
        return received.origin if received.novel else None

    def came(self, link: PeerLink, received: Received, now: float) -> None:
        """Pass on what an entry changed here, and go after what it shows to be missing."""
        for novel, origin, head in received.novel:
            self.routes[origin] = link.key
            resting = received.origin is not None and received.origin.resting
            self.peering.gossip.relay(novel, origin, head, link.id, announced=not resting)
            # Who sends an entry holds the log up to it, perhaps further, and need not be told.
            link.told[origin] = max(head, link.told.get(origin, NO_HEAD))
        if received.origin is None:
            return
        home = received.origin.home
        if self.held_logs.holds(home):  # else there may be any number of them
            # Who passes on what a home signed leads to it, though its time be too early here.
            self.routes.setdefault(home, link.key)
        if received.verdict == "frozen":
            self._tell_proof(home, None)  # also to who sent it: that may be the home itself
        elif received.verdict in ("waiting", "full") and (gap := received.origin.gap) is not None:
            # Who sends an entry holds those before it, and it names the one right before it: what
            # is missing, or, when that does not follow, another entry with the head's number.
            before = received.origin.waiting[gap[1] + 1][0].prev
            head = Head(received.origin.epoch, gap[1], before)
            link.hollow.pop(home, None)  # it holds more now than when it could show nothing
            if head.position > link.heads.get(home, NO_HEAD).position and has_room(link, home):
                link.heads[home] = head
            self.consider(home, link, now)

    def _forgotten(self, home: str) -> None:
        """A home is not held any more: what neighbours told of its log is not missed."""
        self.routes.pop(home, None)
        self.peering.gossip.forget(home)
        for link in self.peering.ready():
            link.heads.pop(home, None)
            link.hollow.pop(home, None)
            link.told.pop(home, None)

    def broken_promise(self, link: PeerLink, now: float) -> None:
        """``link`` told of entries and did not deliver them: others are asked for a while."""
        self.helpers.broke(link.key, now)
        if link.ready and now >= link.heads_again:  # one stall is one fault, however much it holds
            link.heads.clear()
            link.heads_again = now + DISTRUST_S
            self.peering.penalise(link, -3.0, "what it told of did not come", now)

    def expire(self, now: float) -> None:
        """Forgive what is long ago, also when the clock was put back."""
        self.helpers.expire(now)
        for link in self.peering.ready():
            link.heads_again = min(link.heads_again, now + DISTRUST_S)

    # Proofs.

    def _proof_told(self, link: PeerLink, proof: tuple[Signed, Signed], now: float) -> PeerResult:
        home = self._forks.prove(*proof, crowd_of(link.address))
        if home is not None:
            self._tell_proof(home, link)
        return None

    def _tell_proof(self, home: str, source: PeerLink | None) -> None:
        """Show all but ``source`` two entries that contradict each other: each is convinced."""
        for link in self.peering.ready():
            if link is not source:
                self._show_proof(home, link)

    def show_proofs(self, link: PeerLink) -> None:
        """Show a new neighbour all proofs that are held."""
        for home in self._forks.proofs:
            self._show_proof(home, link)

    def _show_proof(self, home: str, link: PeerLink) -> None:
        first, second = self._forks.proofs[home]
        self.peering.notify(link, "gossip.proof", {"first": first.wire(), "second": second.wire()})


def has_room(link: PeerLink, origin: str) -> bool:
    """Whether one more head that ``link`` tells can be remembered."""
    return origin in link.heads or len(link.heads) < ORIGINS_MAX
