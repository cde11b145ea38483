"""
The hybrid logical clock that stamps a home's log (Kulkarni et al. 2014).

Pure: wall time is handed in. A reading is ``(ms, counter)``. It is never below the wall clock and
above every reading that was given out or merged before. Stamps of others raise it at most
``AHEAD_MS_MAX`` above the wall clock, and whatever they say, there is a next stamp: a full counter
carries into the milliseconds.

It *rests* while the wall clock is not believed (docs/design/log.rst#clock-rests): it is still
raised by each stamp, and by what others sign, but not by the wall clock.

It differs from the paper in one point that safety needs: *the clock never steps back over a
restart*. A floor is made durable ahead of use, in the same transaction as whatever was decided with
the time it covers, and a restarted clock begins there. Without it a home could refuse a fill as
late, write nothing, crash, start again with an earlier wall clock, and accept the same fill
(docs/design/fills.rst#deadline).
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = [
    "AHEAD_MS_MAX",
    "COUNTER_MAX",
    "FLOOR_AHEAD_MS",
    "LEAP_MS",
    "TIME_MS_MAX",
    "HybridClock",
]

#: The largest counter of a stamp: 20 bits, as orders are numbered by time and counter in the store.
COUNTER_MAX = 2**20 - 1
#: The latest time, in May 2248: 43 bits beside the counter.
TIME_MS_MAX = 2**43 - 1

#: A remote stamp further ahead of our wall clock than this is not believed.
AHEAD_MS_MAX = 5_000
#: How far ahead of use the floor is stored. A restarted home may stamp this far into the future,
#: so it must stay well below AHEAD_MS_MAX, or its neighbours would refuse what it signs.
FLOOR_AHEAD_MS = 2_000
#: A node reads its clock every second. When the wall clock is further ahead of the last reading, it
#: jumped, or the process slept: it is believed again once neighbours had a say.
LEAP_MS = 30_000


class HybridClock:
    """
    Strictly rising ``(ms, counter)`` stamps.

    Args:
        floor_ms: the stored floor, 0 for a new home.

    Attributes:
        ms, counter: the newest stamp that was given out or merged.
        may_leap: tells whether a leap is to be followed at once.
    """

    def __init__(self, floor_ms: int = 0) -> None:
        self.ms = floor_ms
        self.counter = 0
        self.floor_ms = floor_ms
        # How far the wall clock may raise this one at once; 0 while it rests.
        self._reach_ms = TIME_MS_MAX
        self.may_leap: Callable[[], bool] = lambda: False

    @property
    def resting(self) -> bool:
        """Whether the wall clock is not believed."""
        return not self._reach_ms

    def rest(self) -> None:
        """Do not follow the wall clock until ``trust``."""
        self._reach_ms = 0

    def trust(self, now: float) -> None:
        """Follow the wall clock from here on, until it leaps."""
        self._reach_ms = TIME_MS_MAX
        self.read_ms(now)
        self._reach_ms = LEAP_MS

    def leaps(self, now: float) -> bool:
        """Whether the wall clock is far ahead of the newest reading."""
        return int(now * 1000) - self.ms > LEAP_MS

    def resume(self, ms: int, counter: int) -> None:
        """Go on above the newest stamp of before the restart: it may have reached the floor."""
        self.ms, self.counter = max((self.ms, self.counter), (ms, counter))

    def stamp(self, now: float) -> tuple[int, int]:
        """The next stamp, above all earlier ones. ``now`` is wall time in seconds."""
        wall_ms = int(now * 1000)
        if wall_ms > self.ms and self._follows(wall_ms):
            self.ms, self.counter = wall_ms, 0
        elif self.counter < COUNTER_MAX:
            self.counter += 1
        else:
            self.ms, self.counter = self.ms + 1, 0
        return self.ms, self.counter

    def read_ms(self, now: float) -> int:
        """The time in ms to decide with (a deadline, an expiry); never below an earlier reading."""
        wall_ms = int(now * 1000)
        if wall_ms > self.ms and self._follows(wall_ms):
            self.ms, self.counter = wall_ms, 0
        return self.ms

    def earlier_ms(self, now: float) -> int:
        """The earlier of wall time and ``read_ms``: what is this long ago by both is."""
        return min(int(now * 1000), self.read_ms(now))

    def _follows(self, wall_ms: int) -> bool:
        """Whether a wall clock that is ahead is believed; after a leap it is not any more."""
        if wall_ms > TIME_MS_MAX:
            return False
        if wall_ms - self.ms <= self._reach_ms or (self._reach_ms and self.may_leap()):
            return True
        self.rest()
        return False

    def merge(self, ms: int, counter: int, now: float) -> bool:
        """
        Raise the clock to a remote stamp.

        Returns:
            False when the stamp is more than ``AHEAD_MS_MAX`` ahead of the wall clock. The clock is
            not raised then, and what has this stamp must not be believed yet. Also when it is
            beyond ``TIME_MS_MAX`` or ``COUNTER_MAX``.
        """
        if ms - int(now * 1000) > AHEAD_MS_MAX:
            return False
        if counter > COUNTER_MAX or ms > TIME_MS_MAX:
            return False
        self.ms, self.counter = max((self.ms, self.counter), (ms, counter))
        return True

    def raise_floor(self) -> int | None:
        """The floor to store with this batch, or None while the stored one is high enough."""
        if self.ms <= self.floor_ms:
            return None
        self.floor_ms = self.ms + FLOOR_AHEAD_MS
        return self.floor_ms
