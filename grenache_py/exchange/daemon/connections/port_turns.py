"""
Whose turn it is at one port, when connections ask for more than can be done at once.

Shell: owns one timer. The reactor visits every socket, then everything that is due, and an order
waits for about three such rounds: until it is read, until its commit begins, and until it is
released. So what a round costs is what a flood costs everybody else. In one round the connections
of a port that have more than one request waiting get ``ROUND_S`` and ``ROUND_REQUESTS_MAX``
together; the others follow in later rounds, in the order in which they came. What is looked up
costs when its batch is complete: of that at most ``LOOKUPS_MAX`` are under way. A single request
never waits here.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["LOOKUPS_MAX", "ROUND_REQUESTS_MAX", "ROUND_S", "PortTurns", "Waiting"]

#: Requests of one round. Fewer would make the commits of who sends many orders at once small.
ROUND_REQUESTS_MAX = 64
#: Seconds of one round, for requests that are dear; what is begun in it may take longer.
ROUND_S = 0.004
#: Lookups under way: a book of 500 levels a side takes 1 ms to show.
LOOKUPS_MAX = 8


class Waiting(Protocol):
    """A connection that takes turns."""

    def work(self) -> None:
        """It is its turn: go on as long as `PortTurns.begin` allows it."""


class PortTurns:
    """The turns of all connections of one port."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._row: dict[Waiting, None] = {}
        self._turn_of: Waiting | None = None
        self._ends = 0.0
        self._left = 0
        self._lookups = 0
        self._round: IDelayedCall | None = None

    def begin(self, connection: Waiting) -> bool:
        """Whether a connection may do one thing more now; if not, it is called in its turn."""
        if self._round is None:
            self._begin_round()
        if (self._turn_of is connection or not self._row) and self._lasts():
            return True
        if self._turn_of is connection:
            self._turn_of = None
        self._row[connection] = None
        return False

    def spend(self, requests: int, lookups: int) -> None:
        """A connection that may go on did so much; call `looked_up` when the lookups are over."""
        self._left -= requests
        self._lookups += lookups

    def looked_up(self, lookups: int) -> None:
        """So many lookups have their answers, or nobody waits for them any more."""
        self._lookups -= lookups
        if self._row and self._round is None:
            self._begin_round()

    def leave(self, connection: Waiting) -> None:
        """A connection is gone."""
        self._row.pop(connection, None)

    def _lasts(self) -> bool:
        return self._left > 0 and self._lookups < LOOKUPS_MAX and self._clock.seconds() < self._ends

    def _begin_round(self) -> None:
        self._left = ROUND_REQUESTS_MAX
        self._ends = self._clock.seconds() + ROUND_S
        # The reactor looks at every socket before it calls this.
        self._round = self._clock.callLater(0, self._next_round)

    def _next_round(self) -> None:
        self._round = None
        if not self._row or self._lookups >= LOOKUPS_MAX:
            return
        self._begin_round()
        for _ in range(len(self._row)):
            if not self._row or not self._lasts():
                return
            self._turn_of = connection = next(iter(self._row))
            del self._row[connection]
            connection.work()
            self._turn_of = None
