"""Lines out of a stream, however it was cut on its way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.wire.jsonlines import LINE_BYTES_MAX, LineSplitter


def split(data: bytes, *cuts: int, line_bytes_max: int = 20) -> tuple[list[bytes], bool]:
    splitter = LineSplitter(line_bytes_max)
    lines: list[bytes] = []
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        lines += splitter.feed(data[start:end])
    return lines, splitter.too_long


def reference(data: bytes, line_bytes_max: int = 20) -> tuple[list[bytes], bool]:
    """What the splitter does, said as simply as possible, for streams without telnet."""
    lines = []
    *complete, rest = data.split(b"\n")
    for line in complete:
        line = line.removesuffix(b"\r")
        if len(line) > line_bytes_max:
            return [each for each in lines if each], True
        lines.append(line)
    may_end = rest.removesuffix(b"\r") if len(rest) == line_bytes_max + 1 else rest
    return [each for each in lines if each], len(may_end) > line_bytes_max


STREAMS = st.lists(
    st.sampled_from([b"\n", b"\r", b"a", b"{}", b"x" * 7, b"y" * 19, b"z" * 20, b"q\xff"]),
    max_size=30,
).map(b"".join)


@given(STREAMS, st.data())
def test_lines_do_not_depend_on_how_the_stream_is_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert split(stream, *cuts) == reference(stream)
    assert split(stream, *range(len(stream))) == reference(stream), "one byte at a time"


@given(st.lists(st.sampled_from([255, 250, 240, 251, 253, 244, 1, 10, 13, 97]), max_size=40))
def test_telnet_bytes_mean_the_same_one_by_one(stream: list[int]) -> None:
    data = bytes(stream)
    assert split(data) == split(data, *range(len(data)))


def test_telnet_negotiation_is_passed_over() -> None:
    will_echo, do_timing, interrupt = b"\xff\xfb\x01", b"\xff\xfd\x06", b"\xff\xf4"
    data = will_echo + b"ping\r\n" + interrupt + do_timing + b"\r\n" + do_timing + b"pong\n"
    assert split(data) == ([b"ping", b"pong"], False)
    assert split(data, *range(len(data))) == ([b"ping", b"pong"], False)


def test_a_byte_255_in_a_line_stays_there_and_costs_no_other_line() -> None:
    for line in (
        b'{"id":"a\xffb"}',
        b'{"\xff\xfa":1}',
        b'{"\xff\xfd',
        b"\xff\xfa\x1f",
        b"\xff",
        b"\xff\xffa",
    ):
        data = line + b"\nnext\n"
        assert split(data) == ([line, b"next"], False)
        assert split(data, *range(len(data))) == ([line, b"next"], False)


def test_the_longest_line_is_65536_bytes_with_either_end() -> None:
    longest = b"x" * 65_536
    for end in (b"\n", b"\r\n"):
        splitter = LineSplitter()
        assert splitter.feed(longest) == []
        assert not splitter.too_long
        assert splitter.feed(end) == [longest]
    splitter = LineSplitter()
    assert splitter.feed(longest + b"x") == []
    assert splitter.too_long


def test_ten_megabytes_without_an_end_are_not_kept() -> None:
    splitter = LineSplitter()
    for _ in range(160):
        assert splitter.feed(b"x" * LINE_BYTES_MAX) == []
        assert splitter.pending_bytes <= LINE_BYTES_MAX
    assert splitter.too_long


def test_lines_before_a_too_long_one_are_good_and_those_after_are_not_seen() -> None:
    assert split(b"one\ntwo\n" + b"x" * 21 + b"\nthree\n") == ([b"one", b"two"], True)
