"""
Virtual time for networks in one process: a heap of calls, and nothing else.

``twisted.internet.task.Clock`` re-sorts its calls at every turn and runs them with the clock
already at the end of the step; a simulation of many nodes needs neither.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Scheduler", "Timer"]


class Timer:
    """A call to come; ``cancel`` it and it does not."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None] | None) -> None:
        self.when = when
        self.call = call

    def cancel(self) -> None:
        """Forget the call. Idempotent."""
        self.call = None


class Scheduler:
    """
    Runs calls in order of time, calls for one time in the order they were made.

    Attributes:
        now: seconds since the simulation began.
        steps: calls run so far.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Timer]] = []
        self._made = 0

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Run ``call`` at ``when``, or next if that is past."""
        timer = Timer(max(when, self.now), call)
        self._made += 1
        heapq.heappush(self._heap, (timer.when, self._made, timer))
        return timer

    def after(self, delay: float, call: Callable[[], None]) -> Timer:
        """Run ``call`` in ``delay`` seconds."""
        return self.at(self.now + delay, call)

    def run_until(self, end: float, steps_max: int | None = None) -> None:
        """
        Run everything due up to ``end``; the clock then shows ``end``.

        Raises:
            RuntimeError: ``steps_max`` calls were not enough: something does not come to rest.
        """
        limit = None if steps_max is None else self.steps + steps_max
        while self._heap and self._heap[0][0] <= end:
            when, _, timer = heapq.heappop(self._heap)
            call = timer.call
            if call is None:
                continue
            self.now = when
            self.steps += 1
            if limit is not None and self.steps > limit:
                raise RuntimeError(f"still busy after {steps_max} steps, at {self.now:.3f} s")
            call()
        self.now = max(self.now, end)
