"""The request reader: the same events however the bytes are cut, and its limits."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.wire.http.messages import HTTPRequest, Refusal
from grenache_py.wire.http.reader import ReaderLimits, TargetReader
from tests.fuzz.target_http_reader import LIMITS, SEEDS, Recorder

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"


def read(data: bytes, limits: ReaderLimits = LIMITS, step: int = 0) -> list[object]:
    return Recorder(limits).read(data, step).events


@pytest.mark.parametrize("seed", SEEDS)
def test_one_byte_at_a_time_is_the_same(seed: bytes) -> None:
    assert read(seed, step=1) == read(seed)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(SEEDS), max_size=3).map(b"".join), st.integers(1, 50))
def test_any_cut_is_the_same(data: bytes, step: int) -> None:
    assert read(data, step=step) == read(data)


def test_a_request_is_read_whole() -> None:
    begun, complete = read(HEAD + b"X: y\r\nContent-Length: 2\r\n\r\nhi")
    assert begun == ("begun", b"POST", "/a")
    assert complete == (
        "complete",
        b"hi",
        True,
        {b"host": b"x", b"x": b"y", b"content-length": b"2"},
    )


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"X: " + b"y" * 300 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (HEAD + b"Content-Length: 1000\r\n\r\n", 413),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", 413),
    ],
)
def test_a_refusal_ends_the_reading(data: bytes, status: int) -> None:
    recorder = Recorder(LIMITS).read(data)
    assert recorder.events[-1][:2] == ("refused", status)
    assert recorder.reader.stopped
    events = list(recorder.events)
    recorder.read(HEAD + b"\r\n")
    assert recorder.events == events


def test_the_rest_of_a_body_that_is_a_little_too_large_is_dropped() -> None:
    body = b"x" * (LIMITS.body_bytes_max + 10)
    events = read(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) + HEAD + b"\r\n")
    assert [event[0] for event in events] == ["begun", "refused", "begun", "complete"]
    assert events[1] == ("refused", 413, True)


def test_a_head_that_does_not_end_is_refused() -> None:
    limits = attrs.evolve(LIMITS, unended_head_bytes_max=200)
    recorder = Recorder(limits).read(b"POST / HTTP/1.1\r\nX: ")
    recorder.read(b"y" * 100, step=10)
    assert recorder.events == []
    recorder.read(b"y" * 1000, step=10)
    assert recorder.events == [("refused", 431, False)]


def test_a_request_for_an_upgrade_that_is_not_granted_is_one_like_others() -> None:
    upgrade = HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    events = read(upgrade * 1500)
    assert [event[0] for event in events] == ["begun", "complete"] * 1500


def test_what_follows_an_upgrade_that_is_granted_is_left_unread() -> None:
    class Granting(Recorder):
        def request_begun(self, request: HTTPRequest) -> None:
            assert self.reader.upgrade
            self.reader.stop()

    recorder = Granting(LIMITS).read(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80"
    )
    assert recorder.reader.unread == b"\x81\x80"


def test_what_a_receiver_raises_comes_out() -> None:
    class Faulty(Recorder):
        def request_begun(self, request: HTTPRequest) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Faulty(LIMITS).read(HEAD + b"\r\n")


def test_a_receiver_may_refuse() -> None:
    class Strict(Recorder):
        def request_begun(self, request: HTTPRequest) -> None:
            self.reader.refuse(418, "no")

    assert Strict(LIMITS).read(HEAD + b"\r\n").events == [("refused", 418, False)]
    assert Refusal(418, "no") == Refusal(418, "no", False)
    assert TargetReader.__slots__ == ()
