"""
Catching up on whole live sets, from two neighbours at once at most.

Pure. See docs/design/sync.rst#live-sets and docs/design/sync.rst#distrust. Chooses the logs and the
neighbours; what is then asked of each is ``catch_up_session.py``.
"""

from __future__ import annotations

import random
from collections.abc import Container, Iterable

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.scores import network_prefix
from grenache_py.exchange.replication.catch_up_session import CatchUpSession
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.signed_log.head import NO_HEAD, Head

__all__ = ["CatchUp"]

#: Catch-ups are begun at most this often.
SESSION_S = 2.0
#: Neighbours are looked through at most this often.
LOOK_S = 0.5
#: Catch-ups under way. A helper that delivers nothing must not be the only one that is asked.
SESSIONS_MAX = 2
#: Logs of one catch-up.
SESSION_ORIGINS_MAX = 1_000


class CatchUp:
    """
    The sessions under way, at most ``SESSIONS_MAX``, each with another neighbour.

    Args:
        rng: to choose among neighbours that can help alike.

    Attributes:
        sessions: those that ended well; ``broken`` others ended early.
        adopted: records that ended sessions took over.
    """

    def __init__(self, intake: Intake, live: LiveSetIndex, rng: random.Random, now: float) -> None:
        self._intake = intake
        self._peering = intake.peering
        self._held_logs = intake.held_logs
        self._live = live
        self._rng = rng
        self._missing = MissingOrders(intake.held_logs.replica.adoption.table)
        self._under_way: list[CatchUpSession] = []
        self._not_before = now
        self.adopted = self.sessions = self.broken = 0

    def covers(self, origin: str) -> bool:
        """Whether a catch-up under way is about this log."""
        return any(origin in session.beats for session in self._under_way)

    @property
    def under_way(self) -> bool:
        """Whether a catch-up is, with a neighbour that broke no promise lately."""
        broken = self._intake.helpers.broken
        return any(not broken(session.link.key) for session in self._under_way)

    def lost(self, link: PeerLink, now: float) -> None:
        """A link is gone, and with it what it was to bring."""
        for session in [session for session in self._under_way if session.link is link]:
            session.abort(now)

    def heartbeat(self, now: float) -> None:
        """End what brings too little: others may bring more. The others ask on."""
        self._missing.expire()
        for session in list(self._under_way):
            if session.too_slow(now):
                session.give_up(now)
            else:
                session.ask_again(now)

    def begin(self, behind: Iterable[str], now: float) -> None:
        """
        Start another session, if one may be started, with the neighbour that ranks best of those
        that can help.

        Args:
            behind: logs of which a neighbour holds more than can be fetched entry by entry;
                those whose live set is known to differ are added, and those that a helper was
                asked for that brings nothing.
        """
        unsure, moved = self._held_logs.unsure(), self._held_logs.moved()
        slow = {o for session in self._under_way if session.slow(now) for o in session.beats}
        origins = {*behind, *unsure, *slow}
        wanted = {
            origin: self._held_logs.head(origin)
            for origin in sorted(origins)
            if origin in slow or not self.covers(origin)
        }
        # Further ahead only when the clock was put back since.
        again = self._not_before <= now or self._not_before > now + SESSION_S
        if not wanted or len(self._under_way) >= SESSIONS_MAX or not again:
            return
        self._not_before = now + LOOK_S
        helped: dict[PeerLink, list[str]] = {}
        for link in self._free():
            found = [
                origin
                for origin, head in wanted.items()
                if (theirs := _head_at(link, origin, head, moved)).position > head.position
                or (origin in unsure and theirs.position == head.position)
            ]
            if found:
                helped[link] = found[:SESSION_ORIGINS_MAX]
        if not helped:
            return
        # How much each promises says nothing: of equals, chance decides.
        chosen = min(helped, key=self._intake.helpers.rank)
        session = CatchUpSession(
            chosen, helped[chosen], self._intake, self._live, self._missing, self._ended
        )
        self._not_before = now + SESSION_S
        self._under_way.append(session)
        session.begin(now)

    def _free(self) -> list[PeerLink]:
        """Neighbours that can be asked, of other networks than those that help already."""
        keys = {session.link.key for session in self._under_way}
        prefixes = {network_prefix(session.link.address) for session in self._under_way} - {""}
        links = [
            link
            for link in self._peering.ready()
            if not link.full
            and link.key not in keys
            and network_prefix(link.address) not in prefixes
        ]
        self._rng.shuffle(links)
        return links

    def _ended(self, session: CatchUpSession) -> None:
        self._under_way.remove(session)
        if session.broke:
            self.broken += 1
        else:
            self.sessions += 1
        self.adopted += session.adopted


def _head_at(link: PeerLink, origin: str, held: Head, moved: Container[str]) -> Head:
    """
    How much of a log the other side can show: what it told, or was told, whichever is more.

    Args:
        held, moved: the head here, and the logs whose head neighbours were not told yet.
    """
    head = max(link.heads.get(origin, NO_HEAD), link.told.get(origin, NO_HEAD))
    if origin not in moved:
        head = max(head, held)
    return NO_HEAD if link.is_hollow(origin, head) else head
