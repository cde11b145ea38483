"""
One timer for the deadlines of all requests in flight.

Shell: owns that timer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from grenache_py.rpc.in_flight import RequestTable

__all__ = ["DeadlineTimer"]


class DeadlineTimer:
    """The one timer of a RequestTable: armed for the earliest deadline."""

    def __init__(self, clock: IReactorTime, table: RequestTable[Any], due: Callable[[], None]):
        self._clock = clock
        self._table = table
        self._due = due
        self._armed_for = 0.0
        self._timer: IDelayedCall | None = None

    def arm(self, deadline: float) -> None:
        """Make sure that ``due`` is called at ``deadline``; an earlier call re-arms by itself."""
        if self._timer is not None:
            if self._armed_for <= deadline:
                return
            self._timer.cancel()
        self._armed_for = deadline
        self._timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._fire)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._due()
        following = self._table.next_deadline()
        if following is not None:
            self.arm(following)
