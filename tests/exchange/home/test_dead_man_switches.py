"""Dead man's switches by themselves: what is stored of them is enough to go on."""

from __future__ import annotations

import pytest

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import MetaRow
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.home.dead_man_switches import SWITCHES_MAX, DeadManSwitches


def restarted(switches: DeadManSwitches) -> DeadManSwitches:
    """As after kill -9: the newest row of each name was stored."""
    rows = [row for row in switches.outbox.rows if isinstance(row, MetaRow)]
    again = DeadManSwitches(Outbox())
    again.restore({"floor_ms": 1, **{row.name: row.value for row in rows}})
    return again


def test_each_goes_off_once_and_at_its_time_also_after_restarts() -> None:
    switches = DeadManSwitches(Outbox())
    assert (switches.next_ms, switches.due(10**13)) == (None, [])
    switches.set("a:b", "BTC-USD", 2_000)  # an account may have a colon
    switches.set("a:b", "", 3_000)
    switches.set("carol", "", 5_000)
    switches.set("dave", "", 4_000)
    switches.set("dave", "", 0)
    switches = restarted(switches)
    assert (len(switches), switches.next_ms) == (3, 2_000)
    assert switches.due(1_999) == []
    assert switches.due(2_000) == [("a:b", "BTC-USD")]
    assert (len(switches), switches.next_ms) == (2, 3_000)
    assert switches.due(9_000) == [("a:b", ""), ("carol", "")]
    assert (len(switches), switches.next_ms) == (0, None)


def test_one_that_went_off_is_not_on_after_a_restart() -> None:
    switches = DeadManSwitches(Outbox())
    switches.set("alice", "", 2_000)
    switches.due(2_000)
    assert len(restarted(switches)) == 0


def test_so_many_are_on_at_a_time_and_those_may_still_be_set_anew() -> None:
    switches = DeadManSwitches(Outbox())
    for number in range(SWITCHES_MAX):
        switches.set(str(number), "", 2_000)
    with pytest.raises(OrderError, match=f"{SWITCHES_MAX} dead man's switches, its limit"):
        switches.set("one more", "", 2_000)
    switches.set("7", "", 3_000)
    switches.set("8", "", 0)
    switches.set("one more", "", 2_000)
    assert len(switches) == SWITCHES_MAX
