"""Timers go off, and the time goes on, whatever the machine's clock does."""

from __future__ import annotations

import pytest
from twisted.internet.selectreactor import SelectReactor

from grenache_py.reactor_clock import go_forward

HOUR = 3600.0


class Machine:
    """Its wall clock, and the one that only goes forward."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_790_000_000.0, 77.0

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def reactor() -> SelectReactor:
    return SelectReactor()


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_timer_goes_off_in_time_although_the_clock_was_moved(
    machine: Machine, reactor: SelectReactor, jump: float
) -> None:
    clock = go_forward(reactor, lambda: machine.wall, lambda: machine.monotonic)
    fired: list[str] = []
    reactor.callLater(5.0, fired.append, "reactor")
    clock.callLater(5.0, fired.append, "clock")
    machine.wall += jump
    machine.go_on(4.0)
    reactor.runUntilCurrent()
    assert not fired
    machine.go_on(1.5)
    reactor.runUntilCurrent()
    assert fired == ["reactor", "clock"]


def test_the_time_is_the_machines_without_its_jumps(
    machine: Machine, reactor: SelectReactor
) -> None:
    clock = go_forward(reactor, lambda: machine.wall, lambda: machine.monotonic)
    before = clock.seconds()
    assert before == machine.wall == reactor.seconds()
    machine.wall += HOUR
    machine.go_on(1.0)
    assert clock.seconds() == pytest.approx(before + 1.0)
    machine.go_on(61.0)
    assert clock.seconds() == pytest.approx(machine.wall), "it lasted: the clock was put right"
    assert reactor.seconds() == pytest.approx(before + 62.0)
