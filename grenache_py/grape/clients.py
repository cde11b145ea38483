"""
The HTTP clients of one grape: how many may be there, how long each may take, and how they leave.

Shell: has the one timer that serves all connections. Once a second each of them is asked to see
whether it is overdue.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from grenache_py.epoll_set import EpollSet
from grenache_py.grape.messages import AnswerHeads

__all__ = ["Clients"]

#: How often overdue connections are looked for, and the Date header is renewed.
SWEEP_INTERVAL_S = 1.0


class _Client(Protocol):
    def expire(self, now: float) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Clients:
    """
    The connections of one grape's HTTP port.

    Args:
        clock: Twisted's reactor.
        connections_max: Clients beyond so many are sent away.

    Attributes:
        now: The clock's time at the last sweep: near enough for deadlines.
        heads: The heads of answers, with the date of the last sweep.
        connections: The clients there are.
        sockets: Reads those that speak without TLS.
        refused: How many were sent away because there were too many.
        statuses: How many answers had each status.
    """

    def __init__(self, clock: IReactorTime, connections_max: int) -> None:
        self.now = 0.0
        self.heads = AnswerHeads(clock.seconds)
        self.connections: set[_Client] = set()
        self.refused = 0
        self.statuses: Counter[int] = Counter()
        self.sockets = EpollSet(clock)
        self._clock = clock
        self._connections_max = connections_max
        self._sweeping: IDelayedCall | None = None
        self._leaving: Deferred[None] | None = None

    def expect_one(self) -> None:
        """A client has connected; `admit` is called for it next."""
        if self._sweeping is None:
            self._renew()

    def admit(self, connection: _Client) -> bool:
        """Count a new client in, and say whether it may stay."""
        full = len(self.connections) >= self._connections_max
        self.refused += full
        # One that is sent away is swept like the others, in case it does not go.
        self.connections.add(connection)
        return not full and self._leaving is None

    def forget(self, connection: _Client) -> None:
        """A client has gone."""
        self.connections.discard(connection)
        if self._leaving is not None:
            self._see_last_leave(self._leaving)

    def finish(self) -> Deferred[None]:
        """
        Answer what is being worked on, and close every connection.

        Fires with: None, when the last client has gone.
        Cancel: those that are left are cut off.
        """
        self._leaving = Deferred(lambda _: self._abort())
        for connection in list(self.connections):
            connection.finish()
        self._see_last_leave(self._leaving)
        return self._leaving

    def _see_last_leave(self, leaving: Deferred[None]) -> None:
        if self.connections or leaving.called:
            return
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        leaving.callback(None)

    def _abort(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    def _sweep(self) -> None:
        """End what is overdue; goes on while there are clients."""
        self._sweeping = None
        if self.connections:
            self._renew()
            for connection in list(self.connections):
                connection.expire(self.now)

    def _renew(self) -> None:
        self.now = self._clock.seconds()
        self.heads.renew()
        self._sweeping = self._clock.callLater(SWEEP_INTERVAL_S, self._sweep)
