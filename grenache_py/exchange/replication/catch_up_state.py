"""
What a catch-up waits for: its states and their transitions.

Pure.
"""

from __future__ import annotations

from enum import Enum

from grenache_py.state_machine import Transitions

__all__ = ["CATCH_UP_TRANSITIONS", "CatchUpEvent", "CatchUpState"]


class CatchUpState(Enum):
    """
    What a session waits for.

    Attributes:
        BEATS: the newest heartbeat of each log, and the entries that follow it.
        RECONCILING: an answer to a frame.
        RECORDS: the records that differ.
        DONE: nothing; it ended well, or it broke.
    """

    BEATS = "beats"
    RECONCILING = "reconciling"
    RECORDS = "records"
    DONE = "done"


class CatchUpEvent(Enum):
    """
    What moves a session on.

    Attributes:
        BEATS_CAME: every log's heartbeat came, or the neighbour has none.
        DIFFERENCES_FOUND: the two live sets are reconciled, or that took too many frames.
        RECORDS_CAME: every record that was asked for came; each log may go on from its heartbeat.
        BROKE: the neighbour did not answer, broke the rules, or is gone.
    """

    BEATS_CAME = "beats came"
    DIFFERENCES_FOUND = "differences found"
    RECORDS_CAME = "records came"
    BROKE = "broke"


CATCH_UP_TRANSITIONS = Transitions(
    "catch-up",
    {
        (CatchUpState.BEATS, CatchUpEvent.BEATS_CAME): CatchUpState.RECONCILING,
        (CatchUpState.RECONCILING, CatchUpEvent.DIFFERENCES_FOUND): CatchUpState.RECORDS,
        (CatchUpState.RECORDS, CatchUpEvent.RECORDS_CAME): CatchUpState.DONE,
        (CatchUpState.BEATS, CatchUpEvent.BROKE): CatchUpState.DONE,
        (CatchUpState.RECONCILING, CatchUpEvent.BROKE): CatchUpState.DONE,
        (CatchUpState.RECORDS, CatchUpEvent.BROKE): CatchUpState.DONE,
    },
)
