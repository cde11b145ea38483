"""The programs of examples/ that trade, against daemons that are killed under most of them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from grenache_py.trading import Client
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon

pytestmark = pytest.mark.network

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def running(name: str, daemon: Daemon, *words: str) -> Iterator[Iterator[str]]:
    """The lines that an example prints."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *words],
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


def test_a_bot_that_is_killed_buys_each_slice_once(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        with Client(daemon.path) as client:
            client.sell("BTC-USD", "1", "101")
        for seen in (3, 9, 14):  # it is killed with kill -9 in the middle of its work
            with running("slicer", daemon) as lines:
                assert [next(lines) for _ in range(seen)][-1].startswith(f"{seen - 1} filled")
        daemon.kill()
        daemon.start()
        with running("slicer", daemon) as lines:
            assert list(lines)[-1] == "bought 0.20 in 20 trades\n"


def test_the_cells_of_the_notebook_print_what_stands_below_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 3

    async def run() -> None:
        names: dict[str, Any] = {}
        for cell in code:
            printed = StringIO()
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            compiled = compile("".join(cell["source"]), "notebook.ipynb", "exec", flags=flags)
            with redirect_stdout(printed):
                result = eval(compiled, names)
                if inspect.iscoroutine(result):
                    await result
            wanted = [line for output in cell["outputs"] for line in output["text"]]
            assert printed.getvalue() == "".join(wanted)

    with Daemon(tmp_path) as daemon:
        monkeypatch.setenv("EXCHANGE_CONNECT", daemon.path)
        asyncio.run(run())
