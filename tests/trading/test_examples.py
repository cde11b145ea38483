"""The programs of examples/ that trade, each against a daemon that is killed under it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grenache_py.trading import Client
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon

pytestmark = pytest.mark.network

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def running(name: str, daemon: Daemon) -> Iterator[Iterator[str]]:
    """The lines that an example prints."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "EXCHANGE_CONNECT": daemon.path},
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout.readline, "")
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        process.stdout.close()


@pytest.mark.parametrize("shape", ["", "_asyncio", "_twisted"])
def test_a_watcher_says_when_its_book_is_not_current(tmp_path: Path, shape: str) -> None:
    with Daemon(tmp_path) as daemon:
        with Client(daemon.path) as client:
            client.buy("BTC-USD", "0.5", "99.8")
            client.sell("BTC-USD", "0.5", "100.2")
        with running(f"watcher{shape}", daemon) as lines:
            both = "<Book BTC-USD 0.5 @ 99.8 / 0.5 @ 100.2"
            assert next(lines) == f"{both}>\n"
            daemon.kill()
            assert next(lines) == f"{both}, NOT CURRENT>\n"
            daemon.start()
            assert next(lines) == f"{both}>\n"


@pytest.mark.parametrize("shape", ["", "_asyncio", "_twisted"])
def test_a_market_maker_quotes_both_sides_and_survives_its_daemon(
    tmp_path: Path, shape: str
) -> None:
    with Daemon(tmp_path) as daemon:
        with Client(daemon.path) as client:
            client.buy("BTC-USD", "0.5", "99")
            client.sell("BTC-USD", "0.5", "101")
        with running(f"market_maker{shape}", daemon) as lines:
            assert [next(lines), next(lines)] == ["buy 0.05 @ 99.9\n", "sell 0.05 @ 100.1\n"]
            daemon.kill()
            daemon.start()
            assert [next(lines), next(lines)] == ["buy 0.05 @ 99.9\n", "sell 0.05 @ 100.1\n"]
            with Client(daemon.path, account="maker") as maker:
                prices = sorted(order.price for order in maker.get_orders() if order.price)
                assert [str(price) for price in prices] == ["99.9", "100.1"]
