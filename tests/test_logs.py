"""Where log lines go, which of them, and under the real twistd and twist."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, Logger, LogLevel

from grenache_py.errors import ConfigError
from grenache_py.logs import Levels, SurvivingStream, observer

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


class Full(io.StringIO):
    """A stream on a disk that is full, for as long as ``full`` says so."""

    full = True

    def flush(self) -> None:
        if self.full:
            self.truncate(0)
            self.seek(0)
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_stream_that_cannot_be_written_costs_its_lines_and_is_told_of_once(format: str) -> None:
    told: list[str] = []
    full = Full()
    stream = SurvivingStream(full, format, told.append)
    for number in range(3):
        stream.write(f"{number}\n")
    assert told == ["the log cannot be written: No space left on device; this goes on without it"]
    full.full = False
    stream.write("3\n")
    stream.write("4\n")
    note, *lines = full.getvalue().splitlines()
    assert "3 lines" in (json.loads(note)["message"] if format == "json" else note)
    assert lines == ["3", "4"] and len(told) == 1


@pytest.mark.parametrize("how", ["closed", "none"])
def test_a_stream_that_is_closed_is_survived(how: str) -> None:
    told: list[str] = []
    closed = io.StringIO()
    closed.close()
    SurvivingStream(closed if how == "closed" else None, "text", told.append).write("x\n")
    assert len(told) == 1


@pytest.mark.network
@pytest.mark.parametrize("output", ["/dev/full", "|true", "closed"])
def test_a_daemon_does_not_die_of_its_output(output: str, tmp_path: Path) -> None:
    """``twistd -n exchange | true``: it serves, and says on stderr that its log is lost."""
    port = tmp_path / "client.sock"
    command = [
        sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n",
        "--pidfile=", "exchange",
        "--data", str(tmp_path / "data"), "--client", f"unix:{port}", "--http", "none",
        "--peer", "tcp:0:interface=127.0.0.1", "--dht", "0",
    ]  # fmt: skip
    with ExitStack() as opened:
        if output == "|true":
            reading, writing = os.pipe()
            os.close(reading)
            stdout: Any = opened.enter_context(os.fdopen(writing, "wb"))
        elif output == "closed":
            command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
            stdout = subprocess.DEVNULL
        else:
            stdout = opened.enter_context(open(output, "wb"))
        with (tmp_path / "stderr").open("wb") as stderr:
            process = subprocess.Popen(command, cwd=tmp_path, stdout=stdout, stderr=stderr)
        try:
            deadline = time.monotonic() + 60
            while True:
                with socket.socket(socket.AF_UNIX) as client:
                    try:
                        client.connect(str(port))
                        client.sendall(b"ping\n")
                        assert b"time" in client.recv(1000)
                        break
                    except (FileNotFoundError, ConnectionRefusedError):
                        assert process.poll() is None, (tmp_path / "stderr").read_text()
                        assert time.monotonic() < deadline
                time.sleep(0.05)
            process.terminate()
            assert process.wait(30) in (0, -signal.SIGTERM)
        finally:
            process.kill()
            process.wait()
    told = (tmp_path / "stderr").read_text()
    assert told.count("the log cannot be written") <= 1
    assert "Traceback" not in told
