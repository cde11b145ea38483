"""
When this home shows that it lives, which renews the lease of all its orders.

Pure. Among few homes a heartbeat in the log does it. Among many it is a pulse, which costs others
next to nothing (``own_lease.py``), as long as it has orders to be matched; the log has a heartbeat
after what was written. A heartbeat is due after some hundred entries, too.
"""

from __future__ import annotations

from collections.abc import Sized

from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.own_lease import SLOT_S, OwnLease

__all__ = ["Heartbeat", "is_many"]

#: A heartbeat at least this often among few homes ...
BEAT_S = 5.0
#: ... and after so many entries without one: neighbours keep 1,024 and start from a heartbeat.
BEAT_ENTRIES = 500
#: A log that rests has the next after 10, 20, 40 s and so on, for who missed an entry or was
#: restarted sees by it what is there. Then it has one so often: who was restarted has no entries to
#: give to who joins.
RESTING_S = 2_400.0
#: One without orders has no more after so long: soon it is forgotten.
EMPTY_S = 300.0
#: How long others may match this home's orders after its last heartbeat.
LEASE_MS = 20_000
#: Among more homes than this pulses show that they live: their heartbeats would be 50 a second.
BEATING_HOMES_MAX = 250
#: They return to heartbeats below this part of it, not at once.
FEW_AGAIN = 0.8


def is_many(homes: int, before: bool) -> bool:
    """
    Whether pulses show that homes live among so many others.

    Args:
        before: they did.
    """
    return homes > BEATING_HOMES_MAX * (FEW_AGAIN if before else 1.0)


class Heartbeat:
    """
    The schedule.

    Args:
        origins: the other homes known of.
    """

    def __init__(self, ledger: Ledger, lease: OwnLease, origins: Sized, now: float) -> None:
        self._ledger = ledger
        self._lease = lease
        self._origins = origins
        self._among_many = False
        self._at = now
        self._every_s = BEAT_S
        self._seq = 0
        self._beat_at, self._rested_s = 0.0, float(SLOT_S)

    @property
    def at(self) -> float:
        """When the next sign of life is due, in seconds."""
        return self._at

    def due(self, now: float) -> bool:
        """Whether it is time; also when the clock jumped back."""
        return now >= self._at or self._at > now + self._every_s

    def due_by_entries(self) -> bool:
        """Whether the log grew by so much since the last heartbeat that the next is due."""
        return self._ledger.log.seq - self._seq >= BEAT_ENTRIES

    def show(self, now: float) -> None:
        """Show that this home lives."""
        live = bool(self._ledger.writer.live_set.count)
        if live or not self._among_many:
            # Homes without orders are soon forgotten. Were silence taken for few homes, all of them
            # would beat again together.
            self._among_many = is_many(len(self._origins), self._among_many)
        if not self._among_many:
            self._every_s = BEAT_S
            self.beat(now)
            return
        if self._ledger.log.seq != self._seq:
            self.beat(now)
            self._rested_s = SLOT_S
        elif abs(now - self._beat_at) >= self._rested_s and (live or self._rested_s < EMPTY_S):
            self.beat(now)
            self._rested_s = min(2 * self._rested_s, RESTING_S)
        lease = self._lease
        if live and lease.must_state(now):
            lease.state(now)
        elif live:
            lease.pulse(now)
        self._every_s = SLOT_S
        self._at = now + (lease.next_s(now) if live else SLOT_S)

    def beat(self, now: float) -> None:
        """Write a heartbeat into the log."""
        self._ledger.writer.beat(now, LEASE_MS)
        self._seq = self._ledger.log.seq
        self._beat_at = now
        if not self._among_many:
            self._at = now + BEAT_S
