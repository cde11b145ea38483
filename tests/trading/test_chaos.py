"""A few seeds of `tests.trading.chaos`, and one daemon killed under two bots."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from grenache_py.trading import line
from tests.exchange.daemon.test_daemon import Daemon
from tests.trading import chaos, kill9

pytestmark = pytest.mark.network


def test_nothing_is_lost_and_nothing_told_twice_over_cut_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "PAUSE_S_MAX", 0.1)
    monkeypatch.setattr(chaos, "ORDERS", 200)
    with Daemon(tmp_path) as daemon:
        for seed in (1, 2):
            said = asyncio.run(chaos.run(daemon, seed))
            assert " 0 cuts" not in said


def test_bots_survive_kill_9(tmp_path: Path) -> None:
    assert kill9.run(tmp_path, kills=1) == {"waiting": 75, "asyncio": 75}
