"""
Whose turn it is: links pay for what they ask, and who overspent waits longer.

Pure. See docs/design/gossip.rst#cost. All links together get ``TURN_POINTS`` between two visits to
the sockets, where clients are served; then one link after the other gets a turn of as much, with a
visit in between. What a link spends beyond its turn is taken off its next ones. Nobody is refused:
when no other link waits, the turns of the one that does follow each other at once.

A link also pays for the bytes of its answers, because 91 bytes can ask for 61,694. Beyond
``ANSWER_BYTES_AT_ONCE`` it owes them, and waits until they are paid off. All links that owe share
``ANSWER_BYTES_PER_S``: a lone joiner gets all of it, and many together get no more.
"""

from __future__ import annotations

from collections import deque
from math import inf

import attrs

__all__ = ["LINE_POINT_BYTES", "TURN_LINES_MAX", "TURN_POINTS", "Turn", "Turns"]

#: Lines that are taken from a link in one turn.
TURN_LINES_MAX = 64
#: Points of one turn, of 10 µs each: 2 ms.
TURN_POINTS = 200
#: Bytes of answers a second for all links that owe some, in equal shares.
ANSWER_BYTES_PER_S = 32 * 1_048_576
#: Bytes of answers that one link may ask for before it owes, and how fast that is earned back.
ANSWER_BYTES_AT_ONCE, ANSWER_BYTES_EARNED_PER_S = 8 * 1_048_576, 1_048_576
#: Decoding so many bytes costs a point at worst, that is when a line is nothing but empty lists:
#: 62,000 bytes take 4 to 6 ms. To see what is in a line would cost more than it is worth.
LINE_POINT_BYTES = 128


@attrs.define(eq=False)
class Turn:
    """
    One link's account.

    Attributes:
        points: what is left of its turn; below 0 it is owed.
        lines: left of its turn.
        answer_bytes: left of the bytes of answers; below 0 it owes them, and waits.
        answered_bytes: of all answers it ever got.
        waiting: it is in the row of those who wait.
        granted: its turn has begun, by `Turns.visit`.
        paid_at: the time up to which `answer_bytes` is reckoned.
    """

    points: int = 0
    lines: int = 0
    answer_bytes: float = ANSWER_BYTES_AT_ONCE
    answered_bytes: int = 0
    waiting: bool = False
    granted: bool = False
    paid_at: float = inf


class Turns:
    """
    The row of links that wait, and what may be spent before the sockets are visited again.

    Whoever serves links calls `visit` after each visit to the sockets, as long as a link waits.
    """

    def __init__(self) -> None:
        self._row: deque[Turn] = deque()
        self._points = TURN_POINTS
        self._owing: set[Turn] = set()

    def begin(self, turn: Turn) -> bool:
        """Whether a link that has lines gets a turn now; if not, it has to `wait`."""
        if turn.waiting or self._points <= 0:
            return False
        if not turn.granted:
            self._grant(turn)
        turn.granted = False
        return turn.points > 0

    def goes_on(self, turn: Turn) -> bool:
        """Whether the link whose turn it is may have another line carried out."""
        return turn.points > 0 and self._points > 0 and turn.lines > 0

    def pay_line(self, turn: Turn, line: bytes) -> None:
        """A line is taken: it counts, and it has to be decoded."""
        points = len(line) // LINE_POINT_BYTES
        turn.lines -= 1
        turn.points -= points
        self._points -= points

    def pay(self, turn: Turn, points: int, answer_bytes: int) -> None:
        """A line was carried out; this is what it cost on top."""
        turn.points -= points
        turn.answer_bytes -= answer_bytes
        turn.answered_bytes += answer_bytes
        if turn.answer_bytes < 0:
            self._owing.add(turn)
        self._points -= points

    def answers_wait_s(self, turn: Turn, now: float) -> float:
        """
        For how many seconds a link has to wait for answers it had already; 0 for not at all.

        It may have to wait again then: its share is smaller when others owe as well.
        """
        # A clock that was set back must not hold a link up.
        passed = max(0.0, now - turn.paid_at)
        turn.paid_at = now
        if turn in self._owing:
            share = ANSWER_BYTES_PER_S / len(self._owing)
            turn.answer_bytes = min(0.0, turn.answer_bytes + passed * share)
            if turn.answer_bytes < 0:
                return -turn.answer_bytes / share
            self._owing.remove(turn)
        else:
            earned = turn.answer_bytes + passed * ANSWER_BYTES_EARNED_PER_S
            turn.answer_bytes = min(float(ANSWER_BYTES_AT_ONCE), earned)
        return 0.0

    def wait(self, turn: Turn) -> None:
        """Put a link that has more lines at the end of the row, unless it is there."""
        if not turn.waiting:
            turn.waiting = True
            self._row.append(turn)

    def forget(self, turn: Turn) -> None:
        """A link is gone."""
        self._owing.discard(turn)
        if turn.waiting:
            turn.waiting = False
            self._row.remove(turn)

    def visit(self) -> Turn | None:
        """
        The sockets were visited: who is served now.

        Returns:
            the next link in the row, whose turn has begun; None when all of them still owe theirs,
            or nobody waits.
        """
        self._points = TURN_POINTS
        for _ in range(len(self._row)):
            turn = self._row.popleft()
            self._grant(turn)
            if turn.points > 0:
                turn.waiting, turn.granted = False, True
                return turn
            self._row.append(turn)
        return None

    @property
    def empty(self) -> bool:
        """Whether no link waits."""
        return not self._row

    @staticmethod
    def _grant(turn: Turn) -> None:
        turn.points = min(TURN_POINTS, turn.points + TURN_POINTS)
        turn.lines = TURN_LINES_MAX
