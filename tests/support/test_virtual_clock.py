"""The simulations' clock keeps time and order."""

from __future__ import annotations

import pytest

from tests.support.virtual_clock import Scheduler


def test_calls_run_in_order_of_time_then_of_making() -> None:
    clock, seen = Scheduler(), []
    clock.at(2.0, lambda: seen.append(("b", clock.now)))
    clock.at(1.0, lambda: seen.append(("a", clock.now)))
    clock.at(2.0, lambda: seen.append(("c", clock.now)))
    clock.at(1.0, lambda: clock.after(0.5, lambda: seen.append(("later", clock.now))))
    clock.at(3.0, lambda: seen.append(("too late", clock.now)))
    clock.run_until(2.5)
    assert seen == [("a", 1.0), ("later", 1.5), ("b", 2.0), ("c", 2.0)]
    assert clock.now == 2.5


def test_a_cancelled_call_does_not_run() -> None:
    clock, seen = Scheduler(), []
    clock.at(1.0, lambda: seen.append(1)).cancel()
    clock.run_until(2.0)
    assert seen == []


def test_a_simulation_that_never_rests_is_stopped() -> None:
    clock = Scheduler()

    def again() -> None:
        clock.after(0.0, again)

    again()
    with pytest.raises(RuntimeError, match="still busy"):
        clock.run_until(1.0, steps_max=100)
