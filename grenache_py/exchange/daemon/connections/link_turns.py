"""
One turn of a link after the other, with a visit to all sockets in between.

Shell: owns one timer. What a turn is, and who gets the next, says ``peers/turns.py``.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from grenache_py.exchange.peers.turns import Turn, Turns

__all__ = ["LinkTurns", "Served"]


class Served(Protocol):
    """A connection that takes turns."""

    turn: Turn

    def work(self) -> None:
        """Take lines for one turn."""


class LinkTurns(Turns):
    """The turns of all links of one daemon."""

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        self._served: dict[Turn, Served] = {}
        self._timer: IDelayedCall | None = None

    def queue(self, connection: Served) -> None:
        """Have ``connection`` work when its turn comes."""
        self.wait(connection.turn)
        self._served[connection.turn] = connection
        if self._timer is None:
            # The reactor looks at every socket before it calls this.
            self._timer = self._clock.callLater(0, self._next)

    def leave(self, connection: Served) -> None:
        """A connection is gone."""
        self.forget(connection.turn)
        self._served.pop(connection.turn, None)
        if self.empty and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._timer = None
        turn = self.visit()
        if turn is not None:
            self._served.pop(turn).work()
        if not self.empty and self._timer is None:
            self._timer = self._clock.callLater(0, self._next)
