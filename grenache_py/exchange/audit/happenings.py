"""
The life of one order, as ``trace.py`` finds it in a store and ``trace_log.py`` in logs.

Pure.
"""

from __future__ import annotations

import attrs

__all__ = ["ID_CHARS_MIN", "KINDS", "Happening", "Trace"]

#: So much of an order's id names it, as long as no other begins likewise.
ID_CHARS_MIN = 8
#: What can happen, in the order in which it does.
KINDS = ("received", "committed", "asked", "in doubt", "answered", "traded", "state", "settled")


@attrs.frozen
class Happening:
    """
    One thing that happened.

    Attributes:
        time: milliseconds since 1970, by the clock of the home that did it.
        what: one of `KINDS`, where what is committed is sent to the neighbours at once; or ``log``,
            a line of a daemon's log.
        text: for people.
        peer: the other home that had to do with it, "" for none.
        fill: the id of the fill it belongs to, "" for none.
    """

    time: int
    what: str
    text: str
    peer: str = ""
    fill: str = ""


@attrs.frozen
class Trace:
    """
    The life of an order.

    Attributes:
        home: the key of the peer it was placed at, "" for the one whose store this is.
        happenings: the earliest first.
    """

    order: str
    home: str
    happenings: list[Happening]
