"""A table of transitions names what is illegal, and is what the documentation shows."""

from __future__ import annotations

import enum

import pytest

from grenache_py.errors import LocalProtocolError
from grenache_py.state_machine import Transitions


class Door(enum.Enum):
    OPEN = enum.auto()
    SHUT = enum.auto()
    WALLED = enum.auto()


class Act(enum.Enum):
    PUSH = enum.auto()
    PULL = enum.auto()
    WALL_UP = enum.auto()


DOOR = Transitions(
    "door",
    {
        (Door.OPEN, Act.PUSH): Door.SHUT,
        (Door.SHUT, Act.PULL): Door.OPEN,
        (Door.SHUT, Act.WALL_UP): Door.WALLED,
    },
)


def test_an_event_leads_to_the_state_that_the_table_says() -> None:
    assert DOOR.next(Door.OPEN, Act.PUSH) is Door.SHUT
    assert DOOR.next(Door.SHUT, Act.PULL) is Door.OPEN


def test_an_illegal_event_names_machine_state_and_event() -> None:
    with pytest.raises(LocalProtocolError, match="door: PULL cannot happen in state WALLED"):
        DOOR.next(Door.WALLED, Act.PULL)


def test_whether_an_event_is_legal_can_be_asked_first() -> None:
    for state in Door:
        for act in Act:
            if DOOR.allows(state, act):
                assert DOOR.next(state, act) in Door
            else:
                with pytest.raises(LocalProtocolError):
                    DOOR.next(state, act)


def test_the_table_is_drawn_with_a_row_for_each_state_and_a_column_for_each_event() -> None:
    assert DOOR.rst().splitlines() == [
        "======  ====  ====  =======",
        "state   PUSH  PULL  WALL_UP",
        "======  ====  ====  =======",
        "OPEN    SHUT  –     –",
        "SHUT    –     OPEN  WALLED",
        "WALLED  –     –     –",
        "======  ====  ====  =======",
    ]


def test_what_is_drawn_is_valid_rst() -> None:
    docutils = pytest.importorskip("docutils.core")
    page = docutils.publish_string(DOOR.rst(), settings_overrides={"halt_level": 2})
    assert b"WALL_UP" in page


def test_a_machine_does_not_follow_a_table_that_is_changed_later() -> None:
    table = {(Door.OPEN, Act.PUSH): Door.SHUT}
    machine = Transitions("door", table)
    table.clear()
    assert machine.next(Door.OPEN, Act.PUSH) is Door.SHUT
