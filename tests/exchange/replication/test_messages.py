"""Members of messages that catch up: each is what it must be, and names itself when it is not."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.mesh import HEADS_PER_MESSAGE_MAX, LINE_BYTES
from grenache_py.exchange.replication.frame import FRAME_BYTES_MAX
from grenache_py.exchange.replication.live_set_key import INFINITY, key_of
from grenache_py.exchange.replication.messages import (
    RANGE_MAX,
    bound_wire,
    fitting,
    read_bound,
    read_entries,
    read_frame,
    read_heads,
    read_key,
    read_number,
    read_records_wanted,
    read_short,
)
from grenache_py.exchange.signed_log.entries import EPOCH_MAX, SEQ_MAX
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.hybrid_clock import TIME_MS_MAX
from grenache_py.exchange.signed_log.merkle import Signed

KEY, HASH = "a" * 64, "b" * 64
HEAD: list[Any] = [KEY, 1, 0, HASH]


def test_heads_are_read() -> None:
    told = [HEAD, [KEY, EPOCH_MAX, SEQ_MAX, HASH]]
    assert read_heads({"heads": told}) == [
        (KEY, Head(1, 0, HASH)),
        (KEY, Head(EPOCH_MAX, SEQ_MAX, HASH)),
    ]
    most = [HEAD] * (4 * HEADS_PER_MESSAGE_MAX)
    assert len(read_heads({"heads": most})) == len(most)
    for wrong in (None, {}, [*most, HEAD]):
        with pytest.raises(RemoteProtocolError, match="'heads' must be a list"):
            read_heads({"heads": wrong})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 5), (0, "a" * 63), (0, "a" * 65), (1, 0), (1, -1), (1, EPOCH_MAX + 1), (1, True),
        (1, "1"),
        (2, -1), (2, SEQ_MAX + 1), (2, False), (2, 1.0), (3, None), (3, "b" * 63), (3, "b" * 65),
    ],
)  # fmt: skip
def test_a_head_with_one_wrong_member_is_refused(place: int, value: object) -> None:
    wrong = HEAD.copy()
    wrong[place] = value
    with pytest.raises(RemoteProtocolError, match="a head must be"):
        read_heads({"heads": [HEAD, wrong]})


@pytest.mark.parametrize("wrong", [None, "aaaa", {}, HEAD[:3], [*HEAD, 1]])
def test_a_head_has_four_members(wrong: object) -> None:
    with pytest.raises(RemoteProtocolError, match="a head must be"):
        read_heads({"heads": [wrong]})


def test_keys_and_numbers() -> None:
    assert read_key({"origin": KEY}, "origin") == KEY
    for wrong in (None, 5, "a" * 63, "a" * 65):
        with pytest.raises(RemoteProtocolError, match="'origin' must be a key"):
            read_key({"origin": wrong}, "origin")
    assert [read_number({"seq": number}, "seq") for number in (1, SEQ_MAX)] == [1, SEQ_MAX]
    for number in (None, 0, -1, SEQ_MAX + 1, True, 1.0, "1"):
        with pytest.raises(RemoteProtocolError, match="'seq' must be a positive integer"):
            read_number({"seq": number}, "seq")


def test_a_frame_is_base64_of_bounded_length() -> None:
    longest = bytes(FRAME_BYTES_MAX * 6 // 4)
    for frame in (b"", b"\xff\x00", longest):
        assert read_frame({"frame": b64encode(frame).decode()}) == frame
    for wrong in (None, 5, "YQ=", "Y Q==", "é", "A" * (2 * FRAME_BYTES_MAX + 4)):
        with pytest.raises(RemoteProtocolError, match="'frame' must be a base64"):
            read_frame({"frame": wrong})


def test_a_short_id_has_32_digits() -> None:
    assert read_short("0f" * 16) == b"\x0f" * 16
    for wrong in (None, 5, "0f" * 15, "0f" * 17, "x" * 32):
        with pytest.raises(RemoteProtocolError, match="32 hex digits"):
            read_short(wrong)


@pytest.mark.parametrize(
    "key", [0, key_of(5, 1 << 255), key_of(TIME_MS_MAX, (1 << 256) - 1), INFINITY]
)
def test_a_place_is_read_back(key: int) -> None:
    assert read_bound(bound_wire(key)) == key


def test_places_travel_short() -> None:
    assert bound_wire(INFINITY) is None
    assert bound_wire(key_of(7, 0xAB << 248)) == [7, "ab"]


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        [],
        [1],
        [1, "", 1],
        [-1, ""],
        [2**63, ""],
        [True, ""],
        [1, None],
        [1, "x"],
        [1, "00" * 33],
    ],
)
def test_a_place_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(RemoteProtocolError, match="a place must be"):
        read_bound(wrong)


@pytest.mark.parametrize("wrong", [None, {}, [], [None], [None, None, None]])
def test_records_are_asked_for_between_two_places(wrong: object) -> None:
    low = key_of(1_000, 0)
    assert read_records_wanted({"range": [bound_wire(low), None]}) == (low, INFINITY)
    with pytest.raises(RemoteProtocolError, match="'range' must be two places"):
        read_records_wanted({"range": wrong})


def signed(size: int) -> Signed:
    return Signed("x" * size, b"", 0, 1, bytes(64))


def test_entries_of_an_answer_are_read() -> None:
    entry = signed(3)
    wire = {"payload": "xxx", "signature": b64encode(bytes(64)).decode()}
    assert read_entries({"entries": [wire] * RANGE_MAX}) == [entry] * RANGE_MAX
    assert read_entries({"entries": []}) == []
    assert read_entries({"pruned": True}) is None
    for wrong in ({}, {"pruned": 1}, {"entries": None}, {"entries": [wire] * (RANGE_MAX + 1)}):
        with pytest.raises(RemoteProtocolError, match="'entries' must be a list"):
            read_entries(wrong)


def test_as_many_entries_are_sent_as_one_line_holds_and_at_least_one() -> None:
    one = signed(9_000)
    fits = LINE_BYTES // (one.wire_bytes + 1)
    assert fitting([one] * 50) == [one] * fits
    assert fitting([one] * fits) == [one] * fits
    assert fitting([]) == []
    huge = signed(LINE_BYTES)
    assert fitting([huge, one]) == [huge]
