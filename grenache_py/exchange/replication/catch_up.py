"""
Catching up on whole live sets, from one neighbour at a time.

Pure. See docs/design/sync.rst#live-sets. Chooses the logs and the neighbour; what is then asked of
it is ``catch_up_session.py``.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.replication.catch_up_session import CatchUpSession
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.signed_log.head import NO_HEAD, Head

__all__ = ["CatchUp"]

#: Catch-ups are begun at most this often.
SESSION_S = 2.0


class CatchUp:
    """
    At most one session at a time.

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
        self._session: CatchUpSession | None = None
        self._not_before = now
        self.adopted = self.sessions = self.broken = 0

    def covers(self, origin: str) -> bool:
        """Whether the catch-up under way is about this log."""
        return self._session is not None and origin in self._session.beats

    @property
    def under_way(self) -> bool:
        """Whether a catch-up is."""
        return self._session is not None

    def lost(self, link: PeerLink, now: float) -> None:
        """A link is gone, and with it what it was to bring."""
        if self._session is not None and self._session.link is link:
            self._session.abort(now)

    def begin(self, behind: Iterable[str], now: float) -> None:
        """
        Start, unless one is under way, with the neighbour that can help with the most logs.

        Args:
            behind: logs of which a neighbour holds more than can be fetched entry by entry;
                those whose live set is known to differ are added.
        """
        unsure = self._held_logs.unsure()
        wanted = {
            origin: self._held_logs.head(origin) for origin in (*sorted(behind), *sorted(unsure))
        }
        if self._session is not None or not wanted or now < self._not_before:
            return
        self._not_before = now + SESSION_S
        best: tuple[PeerLink | None, list[str]] = (None, [])
        links = self._peering.ready()
        self._rng.shuffle(links)
        for link in links:
            helped = [
                origin
                for origin, head in wanted.items()
                if (theirs := _head_at(link, origin)).position > head.position
                or (origin in unsure and theirs.position == head.position)
            ]
            if len(helped) > len(best[1]):
                best = (link, helped)
        chosen, origins = best
        if chosen is not None:
            self._session = CatchUpSession(chosen, origins, self._intake, self._live, self._ended)
            self._session.begin(now)

    def _ended(self) -> None:
        session, self._session = self._session, None
        assert session is not None
        if session.broke:
            self.broken += 1
        else:
            self.sessions += 1
        self.adopted += session.adopted


def _head_at(link: PeerLink, origin: str) -> Head:
    """How much of a log the other side holds: what it told, or was told, whichever is more."""
    return max(link.heads.get(origin, NO_HEAD), link.told.get(origin, NO_HEAD))
