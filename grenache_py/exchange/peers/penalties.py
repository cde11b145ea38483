"""
What bad behaviour of a link leads to: out of the mesh, gossip unread, closed and banned.

Pure. ``scores.py`` counts; this module acts.
"""

from __future__ import annotations

import attrs

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.scores import BAN_S, DISCONNECT_BELOW, IGNORE_BELOW, Scores

__all__ = ["Penalties"]


@attrs.frozen
class Penalties:
    """Applies scores and bans to links."""

    _table: LinkTable
    _scores: Scores
    _outgoing: Outgoing

    def penalise(self, link: PeerLink, points: float, reason: str, now: float) -> None:
        """
        Count a fault of a link; close and ban it when it has too many.

        Args:
            points: negative.
        """
        score = self._scores.add(link.key, points, now)
        if score < IGNORE_BELOW and link.mesh:
            link.mesh = False
            self._outgoing.notify(link, "gossip.prune", {"backoff_s": 60})
        if score < DISCONNECT_BELOW and not link.closing:
            self._scores.ban(link.key, BAN_S, now)
            self._table.close(link, f"score {score:.0f}: {reason}", now)

    def ignored(self, link: PeerLink, now: float) -> bool:
        """Whether gossip from this link is not read any more."""
        return self._scores.of(link.key, now) < IGNORE_BELOW

    def ban(self, key: str, seconds: float, reason: str, now: float) -> None:
        """Close every link of ``key``, and refuse it for a while."""
        self._scores.ban(key, seconds, now)
        for link in self._table.of(key):
            self._table.close(link, reason, now)
