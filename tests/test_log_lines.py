"""Log lines as people and programs read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from grenache_py.log_lines import MESSAGE_CHARS_MAX, json_line, text_line

EVENT: LogEvent = {
    "log_time": 1_795_357_894.1239,
    "log_level": LogLevel.warn,
    "log_namespace": "grenache_py.dht.service",
    "log_format": "peer {peer} closed: {reason}",
    "peer": "10.0.0.1:7071",
    "reason": "bye",
}


def failure(cause: BaseException | None = None) -> Failure:
    def inner() -> None:
        raise ValueError("bad\nprice") from cause

    try:
        inner()
    except ValueError:
        return Failure()
    raise AssertionError


def test_text_has_time_level_place_and_message() -> None:
    assert text_line(EVENT) == (
        "2026-11-22T14:31:34.123Z warn     grenache_py.dht.service: peer 10.0.0.1:7071 closed: bye"
    )


def test_json_has_the_same_and_every_field() -> None:
    assert json.loads(json_line(EVENT)) == {
        "time": "2026-11-22T14:31:34.123Z",
        "level": "warn",
        "namespace": "grenache_py.dht.service",
        "message": "peer 10.0.0.1:7071 closed: bye",
        "peer": "10.0.0.1:7071",
        "reason": "bye",
    }


def test_a_failure_is_one_readable_line() -> None:
    line = text_line({**EVENT, "log_failure": failure(KeyError("BTC-USD"))})
    assert "closed: bye: ValueError: bad\\nprice [tests/test_log_lines.py:" in line
    assert " in inner < " in line
    assert ", because of KeyError: 'BTC-USD'" in line
    assert "\n" not in line


def test_a_failure_in_json_has_its_type_text_and_place() -> None:
    record = json.loads(json_line({**EVENT, "log_failure": failure()}))
    assert record["failure"]["type"] == "builtins.ValueError"
    assert record["failure"]["text"] == "bad\nprice"
    assert " in inner < " in record["failure"]["traceback"]


@given(st.text(), st.binary())
def test_nothing_in_the_data_makes_a_second_line(text: str, data: bytes) -> None:
    event = {**EVENT, "peer": text, "reason": data, "log_namespace": text}
    for line in (text_line(event), json_line(event)):
        assert len(line.splitlines()) == 1
    record = json.loads(json_line(event))
    assert record["peer"] == text


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        (True, True),
        (10**30, 10**30),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (b"caf\xc3\xa9\xff", "café\\xff"),
        ({1: (b"a", {2.5})}, {"1": ["a", [2.5]]}),
        (Path("/tmp/x"), "/tmp/x"),
        (Broken(), "<Broken, whose text failed: RuntimeError>"),
        ([[[[[[1]]]]]], [[[["[[1]]"]]]]),
    ],
)
def test_a_field_json_cannot_say_becomes_text(value: object, said: object) -> None:
    assert json.loads(json_line({**EVENT, "field": value}))["field"] == said


def test_a_field_cannot_pretend_to_be_the_level() -> None:
    record = json.loads(json_line({**EVENT, "level": "debug"}))
    assert (record["level"], record["level_"]) == ("warn", "debug")


def test_a_huge_message_is_cut_and_says_so() -> None:
    event = {**EVENT, "peer": "x" * 10 * MESSAGE_CHARS_MAX}
    assert len(text_line(event)) < MESSAGE_CHARS_MAX + 200
    assert text_line(event).endswith("more characters)")
    assert len(json_line(event)) < 2 * MESSAGE_CHARS_MAX + 400


def test_a_message_that_cannot_be_formatted_is_not_lost() -> None:
    assert "Unable to format event" in text_line({**EVENT, "log_format": "{nothing} {"})
