"""The wall clock without its jumps: whatever it does for a moment, time goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.steady_clock import BELIEVED_AFTER_S, JUMP_S, SteadyClock

HOUR = 3600.0


class Machine:
    """A machine whose wall clock can be put wrong."""

    def __init__(self) -> None:
        self.monotonic, self.error = 50.0, 1_000_000.0
        self.clock = SteadyClock(lambda: self.monotonic + self.error, lambda: self.monotonic)

    def after(self, seconds: float) -> float:
        """Look at the clock each second until then."""
        end = self.monotonic + seconds
        while self.monotonic + 1.0 < end:
            self.monotonic += 1.0
            self.clock.seconds()
        self.monotonic = end
        return self.clock.seconds()

    @property
    def true(self) -> float:
        return self.monotonic + 1_000_000.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 24 * HOUR, -2.0])
def test_a_jump_that_lasts_a_moment_changes_nothing(jump: float) -> None:
    machine = Machine()
    machine.error += jump
    assert machine.after(1.0) == pytest.approx(machine.true)
    assert machine.clock.jump_s == pytest.approx(jump)
    machine.error -= jump
    assert machine.after(1.0) == pytest.approx(machine.true)
    assert (machine.clock.jump_s, machine.clock.jumps, machine.clock.followed) == (0.0, 1, 0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_was_put_right_is_followed(jump: float) -> None:
    machine = Machine()
    machine.error += jump
    assert machine.after(BELIEVED_AFTER_S - 2.0) == pytest.approx(machine.true)
    assert machine.after(5.0) == pytest.approx(machine.true + jump)
    assert (machine.clock.jump_s, machine.clock.followed) == (0.0, 1)


def test_a_small_correction_is_followed_and_never_goes_back() -> None:
    machine = Machine()
    before = machine.after(10.0)
    machine.error -= 0.5
    assert machine.clock.seconds() == before
    assert machine.after(10.0) == pytest.approx(machine.true - 0.5)


def test_a_clock_that_keeps_jumping_is_not_followed() -> None:
    machine = Machine()
    for number in range(100):
        machine.error = 1_000_000.0 + HOUR * (1 + number % 2)
        machine.after(30.0)
    assert machine.clock.seconds() == pytest.approx(machine.true)
    assert machine.clock.followed == 0


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(-5_000.0, 5_000.0)), max_size=60))
def test_it_goes_back_only_when_a_jump_back_has_lasted(
    steps: list[tuple[float, float]],
) -> None:
    machine, last = Machine(), 0.0
    for seconds, error in steps:
        machine.error = 1_000_000.0 + error
        followed = machine.clock.followed
        now = machine.after(seconds)
        assert now >= last or machine.clock.followed > followed
        assert abs(machine.clock.jump_s) > JUMP_S or machine.clock.jump_s == 0.0
        last = now
