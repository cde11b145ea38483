"""
The clocks of a daemon, which the machine's wall clock can neither stop nor throw about.

Shell: changes the reactor it is given. Twisted's reactor goes by the wall clock, so its timers
stand still for an hour when that is put back an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from grenache_py.steady_clock import SteadyClock

__all__ = ["WallTimers", "go_forward"]


def go_forward(
    reactor: Any, wall: Callable[[], float], monotonic: Callable[[], float]
) -> WallTimers:
    """
    Have the timers of ``reactor`` go by a clock that only goes forward, from the present time on.

    Call it before anything is scheduled.

    Args:
        wall: the wall clock, in seconds.
        monotonic: a clock that only goes forward.

    Returns:
        the wall time without its jumps, with the same timers.
    """
    offset = wall() - monotonic()
    reactor.seconds = lambda: monotonic() + offset
    steady = SteadyClock(wall, monotonic)
    return WallTimers(reactor, steady.seconds, lambda: bool(steady.jump_s))


@attrs.frozen
class WallTimers:
    """
    A reactor's timers beside another time.

    Attributes:
        seconds: the time, in seconds since 1970.
        jumps: whether the wall clock says another time now, which is not followed yet.
    """

    _reactor: Any
    seconds: Callable[[], float]
    jumps: Callable[[], bool]

    def callLater(self, delay: float, call: Callable[..., object], *args: Any) -> IDelayedCall:
        """Call in ``delay`` seconds, whatever the time is then."""
        timer: IDelayedCall = self._reactor.callLater(delay, call, *args)
        return timer
