"""Where log lines go, which of them, and under the real twistd and twist."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger, LogLevel

from grenache_py.errors import ConfigError
from grenache_py.logs import Levels, observer

EVENT: LogEvent = {
    "log_time": 1_795_357_894.1239,
    "log_level": LogLevel.warn,
    "log_namespace": "grenache_py.dht.service",
    "log_format": "peer {peer} closed: {reason}",
    "peer": "10.0.0.1:7071",
    "reason": "bye",
}


def test_levels_can_differ_by_namespace_and_change_while_it_runs() -> None:
    stream = io.StringIO()
    levels = Levels("warn,grenache_py.dht=debug")
    seen = observer(stream, "text", levels)
    store = Logger("grenache_py.exchange.storage.store", observer=seen)
    dht = Logger("grenache_py.dht.service", observer=seen)
    store.info("one")
    dht.debug("two")
    levels.set("info")
    store.info("three")
    levels.set("error", "grenache_py.dht")
    dht.warn("four")
    assert [line.rpartition(": ")[2] for line in stream.getvalue().splitlines()] == ["two", "three"]
    assert str(levels) == "info,grenache_py.dht=error"
    assert str(Levels(str(levels))) == str(levels)


def test_twisteds_own_chatter_is_left_out_unless_asked_for() -> None:
    for spec, expected in (("info", ["warned"]), ("info,log_legacy=info", ["chatter", "warned"])):
        stream = io.StringIO()
        legacy = Logger("log_legacy", observer=observer(stream, "text", Levels(spec)))
        legacy.info("chatter")
        legacy.warn("warned")
        assert [line.rpartition(": ")[2] for line in stream.getvalue().splitlines()] == expected


@pytest.mark.parametrize("spec", ["loud", "", "info,", "=info", "grenache_py=", "info=warn=x"])
def test_a_level_that_does_not_exist_is_a_readable_error(spec: str) -> None:
    with pytest.raises(ConfigError, match="log level"):
        Levels(spec)


def test_warning_is_warn() -> None:
    assert str(Levels("WARNING")) == "warn"


def test_an_unknown_format_is_a_readable_error() -> None:
    with pytest.raises(ConfigError, match="choose one of text, json"):
        observer(io.StringIO(), "xml", Levels())


def test_the_journal_gets_priorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "journal", "w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        observer(stream, "text", Levels())(EVENT)
        observer(stream, "json", Levels())(EVENT)
        stream.seek(0)
        text, json_text = stream.read().splitlines()
    assert text.startswith("<4>2026-11-22T")
    assert json_text.startswith("{")
