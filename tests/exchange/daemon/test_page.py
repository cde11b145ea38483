"""The page at the HTTP port, as a browser draws it and as a person clicks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from grenache_py.exchange.client.blocking import CannotReach, Client

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")
DEADLINE_S = 60

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not BROWSER, reason="needs chromium"),
]


class Page:
    """One tab, steered by what the DevTools protocol calls Runtime.evaluate."""

    def __init__(self, tab: ClientConnection) -> None:
        self._tab = tab
        self._count = 0

    def evaluate(self, script: str) -> Any:
        self._count += 1
        params = {"expression": script, "returnByValue": True}
        request = {"id": self._count, "method": "Runtime.evaluate", "params": params}
        self._tab.send(json.dumps(request))
        while True:
            answer = json.loads(self._tab.recv(DEADLINE_S))
            if answer.get("id") == self._count:
                return answer["result"]["result"].get("value")

    def rows(self, table: str) -> list[list[str]]:
        cells = "[...row.cells].map((cell) => cell.textContent)"
        found = self.evaluate(
            f'[...document.querySelectorAll("#{table} tbody tr")].map((row) => {cells})'
        )
        return found or []


def eventually(look: Any, wanted: Any) -> None:
    """Fail if ``look`` does not return ``wanted`` before the deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while (seen := look()) != wanted:
        assert time.monotonic() < give_up, f"{seen} is not {wanted}"
        time.sleep(0.1)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Client]:
    socket = str(tmp_path / "s")
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted", "exchange", "--data", str(tmp_path / "data"),
         "--client", f"unix:{socket}", "--peer", "none", "--http", "tcp:0:interface=127.0.0.1",
         "--http-trading"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        give_up = time.monotonic() + DEADLINE_S
        while True:
            try:
                client = Client(socket, time.monotonic)
                break
            except CannotReach:
                assert process.poll() is None and time.monotonic() < give_up
                time.sleep(0.05)
        with client:
            yield client
    finally:
        process.kill()
        process.wait(DEADLINE_S)


@pytest.fixture
def page(daemon: Client, tmp_path: Path) -> Iterator[Page]:
    [address] = daemon.call("status")["listen"]["http"]
    profile = tmp_path / "browser"
    process = subprocess.Popen(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={profile}", "--remote-debugging-port=0", f"http://{address}/"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        told = profile / "DevToolsActivePort"
        give_up = time.monotonic() + DEADLINE_S
        while not (told.exists() and told.read_text().count("\n")):
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.05)
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=DEADLINE_S) as tabs:
            [tab] = [tab for tab in json.load(tabs) if tab["type"] == "page"]
        with connect(tab["webSocketDebuggerUrl"], max_size=None, open_timeout=DEADLINE_S) as there:
            yield Page(there)
    finally:
        process.kill()
        process.wait(DEADLINE_S)


def place(client: Client, side: str, quantity: str, price: str) -> None:
    client.call("order.place", market="BTC-USD", side=side, quantity=quantity, price=price)


def test_a_browser_shows_what_happens_and_trades(daemon: Client, page: Page) -> None:
    eventually(lambda: page.rows("book"), [["No orders stand in this market."]])
    place(daemon, "sell", "2", "101")
    place(daemon, "sell", "0.25", "100.5")
    place(daemon, "buy", "1.5", "99.95")
    place(daemon, "buy", "0.05", "100.5")
    eventually(
        lambda: page.rows("book"),
        [
            ["ask", "101.00", "2.0", "1"],
            ["ask", "100.50", "0.2", "1"],
            ["spread 0.55"],
            ["bid", "99.95", "1.5", "1"],
        ],
    )
    eventually(lambda: [trade[1:] for trade in page.rows("trades")], [["buy", "0.05", "100.5"]])
    eventually(
        lambda: sorted(order[:4] for order in page.rows("orders")),
        [
            ["buy", "1.5", "99.95", "new"],
            ["sell", "0.2", "100.5", "partially filled"],
            ["sell", "2", "101", "new"],
        ],
    )
    assert page.rows("peers") == [["No link to another peer."]]

    page.evaluate(
        'document.getElementById("quantity").value = "0.1";'
        'document.querySelector("#order button[value=buy]").click()'
    )
    eventually(
        lambda: [trade[1:] for trade in page.rows("trades")],
        [["buy", "0.10", "100.5"], ["buy", "0.05", "100.5"]],
    )
    page.evaluate('document.querySelector("#orders button").click()')
    eventually(lambda: len(page.rows("orders")), 2)
