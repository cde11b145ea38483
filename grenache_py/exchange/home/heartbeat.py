"""
When a home signs its next heartbeat, which renews the lease of all its orders.

Pure. A heartbeat is due after some seconds, and after some hundred entries without one.
"""

from __future__ import annotations

from collections.abc import Sized

from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.signed_log.entries import LEASE_MS_MAX

__all__ = ["Heartbeat"]

#: A heartbeat at least this often (more seldom in very large networks, see ``period_s``) ...
BEAT_S = 5.0
#: ... and after so many entries without one: neighbours keep 1,024 and start from a heartbeat.
BEAT_ENTRIES = 500
#: How long others may match this home's orders after its last heartbeat.
LEASE_MS = 20_000
#: Heartbeats of all homes together, a second, at most.
BEATS_PER_S_MAX = 50


class Heartbeat:
    """
    The schedule.

    Args:
        origins: the other homes known of.
    """

    def __init__(self, ledger: Ledger, origins: Sized, now: float) -> None:
        self._ledger = ledger
        self._origins = origins
        self._at = now
        self._seq = 0

    @property
    def at(self) -> float:
        """When the next one is due, in seconds."""
        return self._at

    def period_s(self) -> float:
        """Seconds between two: longer with many homes, so that all stay below 50 a second."""
        return max(BEAT_S, len(self._origins) / BEATS_PER_S_MAX)

    def due(self, now: float) -> bool:
        """Whether it is time; also when the clock jumped back."""
        return now >= self._at or self._at > now + self.period_s()

    def due_by_entries(self) -> bool:
        """Whether the log grew by so much since the last one that the next is due."""
        return self._ledger.log.seq - self._seq >= BEAT_ENTRIES

    def beat(self, now: float) -> None:
        """Write one into the log."""
        period_s = self.period_s()
        self._at = now + period_s
        self._ledger.writer.beat(now, min(max(LEASE_MS, int(4000 * period_s)), LEASE_MS_MAX))
        self._seq = self._ledger.log.seq
