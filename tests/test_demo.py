"""``make demo ONCE=1``: the show plays to its end, and fails with a sentence when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.network


MAIN = "from grenache_py.demo.__main__ import main; main()"


def run(folder: Path, *, code: str = MAIN) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, "--once"],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_show_plays_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for scene in (
        "announced at grape-1, found at grape-3",
        "they found each other",
        "buy 2 @ 100.50",
        "one trade, at the price of the order that was there first",
        "trades at peer-a",
        "book at peer-c",
        "the same book ",
    ):
        assert scene in done.stdout
    assert list(tmp_path.glob("grenache-demo-*")) == []
    daemons = [path for path in Path("/proc").glob("[0-9]*/cwd") if str(tmp_path) in where(path)]
    assert daemons == []


def test_the_network_stays_up_for_what_it_says_to_try_until_ctrl_c(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "grenache_py.demo"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        said: list[str] = []
        while "telnet" not in "".join(said[-1:]):
            said.append(demo.stdout.readline())
            assert said[-1], "".join(said)
        lookup, buy, trades = said[-4:-1]
        assert len(output_of(lookup).split()) == 3  # one address for each peer
        assert "filled" in output_of(buy)
        assert len(output_of(trades).splitlines()) == 3  # a heading and two trades
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    finally:
        demo.terminate()  # not kill: it has daemons to end
        demo.communicate(timeout=60)


def output_of(line: str) -> str:
    return subprocess.run(
        line.split(), capture_output=True, text=True, timeout=30, check=True
    ).stdout


def where(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def test_what_does_not_happen_is_said_with_the_log_and_exit_code_1(tmp_path: Path) -> None:
    broken = f"from grenache_py.demo import show; show.MARKET = 'no such thing'; {MAIN}"
    done = run(tmp_path, code=broken)
    assert done.returncode == 1
    assert "The demo failed: peer-a was to answer its clients, but it ended with code 1" in (
        done.stdout.replace("\n", " ")
    )
    assert "no such thing" in done.stdout
