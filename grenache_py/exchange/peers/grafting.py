"""
Agreeing with neighbours on the mesh: ``gossip.graft`` and ``gossip.prune``, both ways.

Pure. ``mesh.py`` decides; this module tells the neighbours and takes what they tell.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.mesh import PRUNE_BACKOFF_S, Mesh
from grenache_py.exchange.peers.message_table import PeerParams
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.scores import Scores

__all__ = ["Grafting", "read_backoff"]


@attrs.frozen
class Grafting:
    """
    Keeps both sides' view of the mesh the same.

    Args:
        penalise: (link, points, reason, now): counts a fault of a link.
    """

    _mesh: Mesh
    _table: LinkTable
    _scores: Scores
    _outgoing: Outgoing
    _penalise: Callable[[PeerLink, float, str, float], None]

    def joined(self, link: PeerLink) -> None:
        """A link became ready: graft it at once while the mesh is too small."""
        if self._mesh.joined(link):
            link.mesh = True
            self._outgoing.notify(link, "gossip.graft", {})

    def heartbeat(self, homes: int, now: float) -> list[PeerLink]:
        """
        Mend the mesh, and tell the links it grafts and prunes.

        Args:
            homes: live homes known of, this one not counted.

        Returns:
            the links to tell lazily which heads moved.
        """
        scores = self._scores
        good = [link for link in self._table.ready() if scores.of(link.key, now) >= 0]
        graft, prune, lazy = self._mesh.heartbeat(good, homes, now)
        for link in graft:
            self._outgoing.notify(link, "gossip.graft", {})
        for link in prune:
            self._outgoing.notify(link, "gossip.prune", {"backoff_s": int(PRUNE_BACKOFF_S)})
        return lazy

    def graft_told(self, link: PeerLink, params: PeerParams, now: float) -> None:
        """A neighbour counts the link into its mesh; agree, or prune it again."""
        if link.mesh_again > now + 1.0:
            self._penalise(link, -2.0, "graft during back-off", now)
        low = self._scores.of(link.key, now) < 0
        backoff_s = PRUNE_BACKOFF_S if low else self._mesh.grafted(link, self._table.ready(), now)
        if backoff_s is not None:
            self._outgoing.notify(link, "gossip.prune", {"backoff_s": int(backoff_s) + 1})

    def prune_told(self, link: PeerLink, backoff_s: int, now: float) -> None:
        """A neighbour takes the link out of its mesh."""
        self._mesh.pruned(link, backoff_s, now)


def read_backoff(params: PeerParams) -> int:
    """The params of ``gossip.prune``: for how many seconds not to graft again."""
    backoff_s = params.get("backoff_s")
    if isinstance(backoff_s, bool) or not isinstance(backoff_s, int):
        raise RemoteProtocolError("'backoff_s' must be an integer")
    return backoff_s
