"""
The wall clock without its jumps: what a machine's clock says, once it has kept saying it.

Pure. Both clocks are handed in. Between two looks time goes on as the monotonic clock does. A
small difference to the wall clock is followed at once, as time servers make them all day. A large
one is a jump: a virtual machine woke up, somebody typed a date, a time server answered for the
first time. It is believed after it has lasted ``BELIEVED_AFTER_S``. So an hour that lasts a second
changes nothing, and a clock that was really put right is followed a minute later.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["BELIEVED_AFTER_S", "JUMP_S", "SteadyClock"]

#: A larger difference between two looks is a jump.
JUMP_S = 1.0
#: A jump that lasts so long is followed.
BELIEVED_AFTER_S = 60.0


class SteadyClock:
    """
    Wall time in seconds that does not jump about.

    Args:
        wall: the wall clock, seconds since 1970; may jump in both directions.
        monotonic: a clock that only goes forward, at the pace of real time.

    Attributes:
        jump_s: by how much the wall clock is ahead (behind: negative) of what is told, as long as
            a jump is not believed yet; 0.0 otherwise.
        jumps, followed: how many jumps were seen, and how many of them were followed.
    """

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._candidate = self._offset
        self._since: float | None = None
        self._latest = 0.0
        self.jump_s = 0.0
        self.jumps = self.followed = 0

    def seconds(self) -> float:
        """
        The time. It goes back only when a jump backwards has lasted ``BELIEVED_AFTER_S``.
        """
        monotonic = self._monotonic()
        offset = self._wall() - monotonic
        if -JUMP_S <= offset - self._offset <= JUMP_S:  # nearly always, for each line of a client
            self._offset = offset
            if self._since is not None:
                self._since, self.jump_s = None, 0.0
        elif self._since is None or abs(offset - self._candidate) > JUMP_S:
            if self._since is None:
                self.jumps += 1
            self._candidate, self._since = offset, monotonic
            self.jump_s = offset - self._offset
        elif monotonic - self._since >= BELIEVED_AFTER_S:
            self._offset, self._since, self.jump_s = offset, None, 0.0
            self._latest = 0.0
            self.followed += 1
        told = monotonic + self._offset
        # A small correction backwards must not turn "before" into "after".
        if told < self._latest:
            return self._latest
        self._latest = told
        return told
