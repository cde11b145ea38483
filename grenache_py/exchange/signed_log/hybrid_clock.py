"""
The hybrid logical clock that stamps a home's log (Kulkarni et al. 2014).

Pure: wall time is handed in. A reading is ``(ms, counter)``. It is never below the wall clock and
above every reading that was given out or merged before. Stamps of others raise it at most
``AHEAD_MS_MAX`` above the wall clock.

It differs from the paper in one point that safety needs: *the clock never steps back over a
restart*. A floor is made durable ahead of use, in the same transaction as whatever was decided with
the time it covers, and a restarted clock begins there. Without it a home could refuse a fill as
late, write nothing, crash, start again with an earlier wall clock, and accept the same fill
(docs/design/fills.rst#deadline).
"""

from __future__ import annotations

__all__ = ["AHEAD_MS_MAX", "FLOOR_AHEAD_MS", "HybridClock"]

#: A remote stamp further ahead of our wall clock than this is not believed.
AHEAD_MS_MAX = 5_000
#: How far ahead of use the floor is stored. A restarted home may stamp this far into the future,
#: so it must stay well below AHEAD_MS_MAX, or its neighbours would refuse what it signs.
FLOOR_AHEAD_MS = 2_000


class HybridClock:
    """
    Strictly rising ``(ms, counter)`` stamps.

    Args:
        floor_ms: the stored floor, 0 for a new home.
    """

    def __init__(self, floor_ms: int = 0) -> None:
        self.ms = floor_ms
        self.counter = 0
        self.floor_ms = floor_ms

    def resume(self, ms: int, counter: int) -> None:
        """Go on above the newest stamp of before the restart: it may have reached the floor."""
        self.ms, self.counter = max((self.ms, self.counter), (ms, counter))

    def stamp(self, now: float) -> tuple[int, int]:
        """The next stamp, above all earlier ones. ``now`` is wall time in seconds."""
        wall_ms = int(now * 1000)
        if wall_ms > self.ms:
            self.ms, self.counter = wall_ms, 0
        else:
            self.counter += 1
        return self.ms, self.counter

    def read_ms(self, now: float) -> int:
        """The time in ms to decide with (a deadline, an expiry); never below an earlier reading."""
        wall_ms = int(now * 1000)
        if wall_ms > self.ms:
            self.ms, self.counter = wall_ms, 0
        return self.ms

    def merge(self, ms: int, counter: int, now: float) -> bool:
        """
        Raise the clock to a remote stamp.

        Returns:
            False when the stamp is more than ``AHEAD_MS_MAX`` ahead of the wall clock. The clock is
            not raised then, and what has this stamp must not be believed yet.
        """
        if ms - int(now * 1000) > AHEAD_MS_MAX:
            return False
        self.ms, self.counter = max((self.ms, self.counter), (ms, counter))
        return True

    def raise_floor(self) -> int | None:
        """The floor to store with this batch, or None while the stored one is high enough."""
        if self.ms <= self.floor_ms:
            return None
        self.floor_ms = self.ms + FLOOR_AHEAD_MS
        return self.floor_ms
