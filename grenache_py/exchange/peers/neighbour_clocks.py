"""
How far this peer's clock is from its neighbours', by the times in their answers to pings.

Pure. A neighbour may lie, so the median counts, and of links that this peer dialled when there are
enough of them: an attacker chooses who dials in, not whom a peer dials.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.link_table import LinkTable

__all__ = ["ClockOffset", "NeighbourClocks"]

#: So many neighbours are believed against the own clock.
ENOUGH = 2


class ClockOffset(NamedTuple):
    """
    What the neighbours say.

    Attributes:
        neighbours: how many of them.
        ahead_s: this clock less theirs, in seconds: the median.
    """

    neighbours: int
    ahead_s: float


@attrs.frozen
class NeighbourClocks:
    """Reads what ``keep_alive.py`` measured on each link."""

    _table: LinkTable

    def offset(self, since: float = 0.0) -> ClockOffset | None:
        """What the neighbours say that answered a ping at ``since`` or later; None: nobody did."""
        heard: list[PeerLink] = []
        for link in self._table.by_key.values():
            if link.clock_ahead_s is not None and link.clock_at >= since:
                heard.append(link)
        dialled = [link for link in heard if link.outbound]
        if len(dialled) >= ENOUGH:
            heard = dialled
        if not heard:
            return None
        found = sorted(link.clock_ahead_s or 0.0 for link in heard)
        middle = found[(len(found) - 1) // 2 : len(found) // 2 + 1]
        # Of two in the middle, the one that agrees with this clock: one liar must not do.
        return ClockOffset(len(found), min(middle, key=abs))
