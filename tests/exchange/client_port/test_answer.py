"""The states of an answer's parts: their table, and whole answers under random events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from twisted.internet.defer import Deferred

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.client_port.answer import (
    PART_TRANSITIONS,
    Answer,
    Fault,
    Known,
    PartEvent,
    PartState,
    error_part,
    result_part,
)
from grenache_py.exchange.client_port.methods.registry import AtSeal

KINDS = ("line", "fault", "at_seal", "at_seal_waits", "waits", "waits_places", "notification")


def content(kind: str, number: int, gates: list[Deferred[None]]) -> Any:
    """What a method left behind, of each kind there is."""

    async def waits(result: Any) -> Any:
        gates.append(gate := Deferred())
        await gate
        return result

    result = {"number": number}
    if kind == "line":
        return result_part(number, result)
    if kind == "fault":
        return Fault(error_part(number, -32603, "a bug"))
    if kind == "at_seal":
        return AtSeal(lambda: result)
    if kind == "at_seal_waits":
        return AtSeal(lambda: waits(result))
    if kind == "waits":
        return waits(result)
    if kind == "waits_places":
        return waits(AtSeal(lambda: result))
    return b""


@given(st.lists(st.sampled_from(list(PartEvent)), max_size=20), st.sampled_from(list(PartState)))
def test_an_event_is_in_the_table_or_refused(events: list[PartEvent], state: PartState) -> None:
    for event in events:
        if PART_TRANSITIONS.allows(state, event):
            state = PART_TRANSITIONS.next(state, event)
        else:
            with pytest.raises(LocalProtocolError, match=event.name):
                PART_TRANSITIONS.next(state, event)


def test_an_answer_may_be_refused_in_every_state_and_released_in_one_only() -> None:
    assert all(PART_TRANSITIONS.allows(state, PartEvent.REFUSED) for state in PartState)
    may = [state for state in PartState if PART_TRANSITIONS.allows(state, PartEvent.RELEASED)]
    assert may == [PartState.KNOWN]


@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    st.sampled_from(["never", "before", "sealed", "waiting"]),
    st.booleans(),
)
def test_each_request_is_answered_once_in_its_order_whatever_its_parts_wait_for(
    kinds: list[str], refused: str, discarded: bool
) -> None:
    gates: list[Deferred[None]] = []
    parts = [
        (UNSET if kind == "notification" else number, content(kind, number, gates))
        for number, kind in enumerate(kinds)
    ]
    answer = Answer(parts, batch=True)
    if refused == "before":
        answer.refuse(-32010, "lost")
    while answer.ready is None:
        answer.seal()
        if refused == "sealed":
            answer.refuse(-32010, "lost")
        elif answer.waits:
            finishing = Deferred.fromCoroutine(answer.finish())
            if refused == "waiting":
                answer.refuse(-32010, "lost")
            if discarded:
                answer.discard()
            while gates:
                gates.pop().callback(None)
            assert finishing.called
        else:
            answer.release()
    if answer.ready == b"":
        assert discarded or set(kinds) == {"notification"}
        return
    answers = json.loads(answer.ready)
    wanted = [number for number, kind in enumerate(kinds) if kind != "notification"]
    assert [each["id"] for each in answers] == wanted
    for each in answers:
        if kinds[each["id"]] == "fault":
            assert each["error"]["code"] == -32603, "a bug stays told"
        elif "error" in each:
            assert refused != "never" and each["error"]["code"] == -32010
        else:
            assert each["result"] == {"number": each["id"]}


def test_what_is_not_known_yet_cannot_leave() -> None:
    answer = Answer([(1, AtSeal(dict))])
    with pytest.raises(LocalProtocolError, match="RELEASED cannot happen in state AT_SEAL"):
        answer.release()
    assert answer.ready is None


def test_a_result_known_at_once_is_released_or_refused() -> None:
    known = Known(7, result_part(7, {"time": 1}))
    assert (known.ready, known.waits) == (None, False)
    known.release()
    assert json.loads(known.ready or b"")["result"] == {"time": 1}
    known.refuse(-32010, "lost")
    assert json.loads(known.ready or b"")["error"]["code"] == -32010
