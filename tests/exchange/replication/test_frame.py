"""Frames of set reconciliation, read and written: every limit from both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.frame import (
    FINGERPRINT,
    FRAME_BYTES_MAX,
    LIST,
    SKIP,
    WHOLE,
    FrameWriter,
    read_ranges,
    read_varint,
    varint,
)
from grenache_py.exchange.replication.live_set_key import INFINITY, key_of

PRINT = bytes(range(16))


@given(st.integers(0, 2**63))
def test_a_number_is_read_back(number: int) -> None:
    assert read_varint(b"\xff" + varint(number) + b"\xff", 1) == (number, 1 + len(varint(number)))


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8100"), (255, "817f"), (16_384, "818000")],
)
def test_numbers_are_written_as_negentropy_does(number: int, written: str) -> None:
    assert varint(number).hex() == written
    assert read_varint(bytes.fromhex(written), 0) == (number, len(written) // 2)


def test_a_number_ends_within_ten_bytes_and_within_the_frame() -> None:
    assert read_varint(b"\x80" * 9 + b"\x01", 0) == (1, 10)
    for broken in (b"\x80" * 10 + b"\x01", b"\x80", b""):
        with pytest.raises(RemoteProtocolError, match="broken number"):
            read_varint(broken, 0)


def a_frame() -> tuple[bytes, list[tuple[int, int, bytes]]]:
    low, high = key_of(5, 1 << 255), key_of(9, 3)
    writer = FrameWriter()
    writer.skip(key_of(1, 0))
    writer.skip(key_of(2, 0))  # one with the skip before it
    writer.fingerprint(low, PRINT)
    writer.nothing(key_of(6, 0))
    writer.put(high, LIST, b"\x02" + PRINT + PRINT)
    writer.put(key_of(10, 0), WHOLE, varint(300))
    writer.rest(PRINT)
    return writer.finish(), [
        (key_of(2, 0), SKIP, b""),
        (low, FINGERPRINT, PRINT),
        (key_of(6, 0), LIST, b""),
        (high, LIST, PRINT + PRINT),
        (key_of(10, 0), WHOLE, varint(300)),
        (INFINITY, FINGERPRINT, PRINT),
    ]


def test_a_frame_is_read_back_as_it_was_written() -> None:
    frame, ranges = a_frame()
    assert list(read_ranges(frame)) == ranges


def test_a_frame_that_ends_too_early_is_refused() -> None:
    frame, ranges = a_frame()
    whole = {0}
    for number in range(1, len(ranges)):
        writer = FrameWriter()
        for bound, mode, payload in ranges[:number]:
            writer.put(bound, mode, bytes([len(payload) // 16]) * (mode == LIST) + payload)
        whole.add(len(writer.finish()))
    for size in range(len(frame)):
        if size in whole:
            assert list(read_ranges(frame[:size])) == ranges[: sorted(whole).index(size)]
        else:
            with pytest.raises(RemoteProtocolError):
                list(read_ranges(frame[:size]))


def test_a_skip_at_the_end_is_left_out_and_an_empty_list_is_not() -> None:
    writer = FrameWriter()
    writer.skip(key_of(4, 0))
    assert writer.finish() == b""
    writer.nothing(key_of(5, 0))
    assert list(read_ranges(writer.finish())) == [
        (key_of(4, 0), SKIP, b""),
        (key_of(5, 0), LIST, b""),
    ]


def test_a_hash_in_a_bound_has_at_most_32_bytes() -> None:
    longest = key_of(1, (1 << 256) - 1)
    writer = FrameWriter()
    writer.fingerprint(longest, PRINT)
    assert list(read_ranges(writer.finish())) == [(longest, FINGERPRINT, PRINT)]
    with pytest.raises(RemoteProtocolError, match="longer than a hash"):
        list(read_ranges(b"\x02\x21" + bytes(33) + b"\x00"))


def test_times_have_a_range_and_bounds_rise() -> None:
    highest = key_of((1 << 63) - 1, 0)
    writer = FrameWriter()
    writer.put(highest, SKIP, b"")
    assert list(read_ranges(writer.finish())) == [(highest, SKIP, b"")]
    with pytest.raises(RemoteProtocolError, match="out of range"):
        list(read_ranges(varint(1 + (1 << 63)) + b"\x00\x00"))
    same = b"\x02\x01\x05\x00" + b"\x01\x01\x05\x00"  # the same bound twice is no step back
    assert [bound for bound, _, _ in read_ranges(same)] == [key_of(1, 5 << 248)] * 2
    with pytest.raises(RemoteProtocolError, match="do not rise"):
        list(read_ranges(b"\x02\x01\x05\x00" + b"\x01\x01\x04\x00"))


def test_an_unknown_mode_and_a_huge_frame_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="mode 4"):
        list(read_ranges(b"\x02\x00\x04"))
    assert len(list(read_ranges(b"\x01\x00\x00" * (2 * FRAME_BYTES_MAX // 3)))) == 30_000
    with pytest.raises(RemoteProtocolError, match="90001 bytes"):
        list(read_ranges(bytes(2 * FRAME_BYTES_MAX + 1)))


def test_a_writer_says_when_it_is_full_and_what_it_wrote_until_then_fits() -> None:
    writer, number = FrameWriter(), 0
    while writer.room():
        number += 1
        writer.fingerprint(key_of(number, 1), PRINT)
    for _ in range(17):
        number += 1
        writer.fingerprint(key_of(number, (1 << 256) - 1), PRINT)
    writer.rest(PRINT)
    assert FRAME_BYTES_MAX - 1_500 < len(writer.finish()) <= FRAME_BYTES_MAX
