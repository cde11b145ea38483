"""
A table of transitions: which state follows when an event happens, and which events are illegal.

Pure. Each object that has states keeps its own current state; the table is shared by all objects
of its kind and never changes. States and events are members of two enums. The documentation shows
the table that the code uses: see ``Transitions.rst``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from grenache_py.errors import LocalProtocolError

__all__ = ["Transitions"]

_State = TypeVar("_State", bound=Enum)
_Event = TypeVar("_Event", bound=Enum)


class Transitions(Generic[_State, _Event]):
    """
    The transitions of one kind of object.

    Args:
        name: of the machine, for error messages and the documentation: "link".
        table: the state that follows, by (state, event). A pair that is missing is illegal.
    """

    __slots__ = ("_after", "_table", "name")

    def __init__(self, name: str, table: Mapping[tuple[_State, _Event], _State]) -> None:
        self.name = name
        self._table = dict(table)
        # Members hash by their name, in Python. Here they are kept, so their ids will do.
        self._after = {(id(before), id(event)): after for (before, event), after in table.items()}

    def next(self, state: _State, event: _Event) -> _State:
        """
        The state that follows ``state`` after ``event``.

        Raises:
            LocalProtocolError: the table has no such transition. The message names the machine,
                the state and the event.
        """
        try:
            return self._after[id(state), id(event)]
        except KeyError:
            raise LocalProtocolError(
                f"{self.name}: {event.name} cannot happen in state {state.name}"
            ) from None

    def allows(self, state: _State, event: _Event) -> bool:
        """Whether ``event`` may happen in ``state``."""
        return (state, event) in self._table

    def rst(self) -> str:
        """
        A reStructuredText table: a row a state, a column an event, the state that follows.

        States and events stand in the order of the table's first mention; an illegal event has an
        en dash. The text ends with a newline.
        """
        states: dict[_State, None] = {}
        events: dict[_Event, None] = {}
        for (state, event), after in self._table.items():
            states.update({state: None, after: None})
            events[event] = None
        rows = [["state", *(event.name for event in events)]]
        for state in states:
            cells = [self._table.get((state, event)) for event in events]
            rows.append([state.name, *("–" if cell is None else cell.name for cell in cells)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rule = "  ".join("=" * width for width in widths)
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])
