"""The daemon with its store in a database that has a standby."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from grenache_py.trading import Client
from grenache_py.trading.errors import ExchangeError, Standby, Unavailable
from tests.exchange.daemon.test_daemon import (
    DEADLINE_S,
    Daemon,
    place,
    placed,
    refusal,
    start_in_vain,
    tool,
)
from tests.support.postgresql import MISSING, Server, primary, standby

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    with primary() as one, standby(one) as two:
        yield one, two


def on(url: str, folder: Path) -> Daemon:
    folder.mkdir(exist_ok=True)
    return Daemon(folder, "--store", url)


def elsewhere(daemon: Daemon, folder: Path) -> Path:
    """A machine that has the key of a daemon, and nothing else."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(daemon.folder / "data" / "identity.key", folder / "data")
    return folder


def until(daemon: Daemon, store: str = "ok") -> dict[str, Any]:
    """Wait until the daemon says that of its store; its status."""
    ends, found = time.monotonic() + DEADLINE_S, dict[str, Any]()
    while True:
        with suppress(ExchangeError), daemon.client() as client:
            found = client.call("status")
            if store in found["store"]:
                return found
        assert time.monotonic() < ends, found
        time.sleep(0.05)


def test_open_orders_outlive_the_daemon_and_its_machine(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon:
        with daemon.client() as client:
            peer = client.call("hello")["peer"]
            kept = [placed(client, "buy", f"{90 + n}", client_order_id=f"c{n}") for n in range(5)]
            placed(client, "sell", "94")
            assert client.call("status")["database"]["term"] == 1
            trades = client.call("trades.list", market="BTC-USD")
            assert len(trades["trades"]) == 1
        assert daemon.stop() in (0, -signal.SIGTERM)
        daemon.start()  # as any daemon
        with daemon.client() as client:
            assert client.call("trades.list", market="BTC-USD") == trades
        assert sorted(path.name for path in (daemon.folder / "data").iterdir()) == ["identity.key"]
        there = elsewhere(daemon, tmp_path / "there")
        second = start_in_vain(there, "--data", str(there / "data"), "--store", url)
        assert "in use by another exchange" in refusal(second)
        daemon.kill()
        with on(url, there) as another, another.client() as client:
            assert client.call("hello")["peer"] == peer
            database = until(another)["database"]
            assert (database["role"], database["term"]) == ("serving", 3)
            assert [each["sync"] for each in database["standbys"]] == ["sync"]
            again = placed(client, "buy", "92", client_order_id="c2")
            assert again["order_id"] == kept[2]["order_id"], "not placed twice"
            report = client.call("order.cancel", order_id=kept[0]["order_id"])
            assert report["status"] == "cancelled"


def spare(daemon: Daemon, url: str, folder: Path, *options: str) -> Daemon:
    """Another daemon of the same home, which stands by."""
    return Daemon(elsewhere(daemon, folder), "--store", url, "--standby", *options)


def becomes(daemon: Daemon, role: str, term: int) -> dict[str, Any]:
    """Wait until the daemon has that role, and the home that term; its status."""
    ends, found = time.monotonic() + DEADLINE_S, dict[str, Any]()
    while time.monotonic() < ends:
        with suppress(ExchangeError), daemon.client() as client:
            found = client.call("status")
            if (found["role"], found["database"].get("newest_term")) == (role, term):
                return found
        time.sleep(0.05)
    raise AssertionError(found)


def address(daemon: Daemon) -> str:
    """Where clients reach it by TCP."""
    with daemon.client() as client:
        return str(client.call("status")["listen"]["client"][0])


def test_a_daemon_that_stands_by_answers_reads_and_serves_when_the_other_is_killed(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon, spare(daemon, url, tmp_path / "there") as other:
        with daemon.client() as client:
            kept = placed(client, "buy", "90", client_order_id="c")["order_id"]
            placed(client, "sell", "90", quantity="0.5")
            listed = client.call("order.list"), client.call("markets.list")
            order = client.call("order.get", order_id=kept)
        found = becomes(other, "standby", 1)
        assert found["store"] == "standby" and found["raised"] == []
        assert found["database"]["holder"] == address(daemon)
        assert found["database"]["age_s"] < DEADLINE_S
        with other.client() as client:
            assert (client.call("order.list"), client.call("markets.list")) == listed
            assert client.call("order.get", order_id=kept) == order
            assert client.call("order.get", client_order_id="c") == order
            assert len(client.call("trades.list", market="BTC-USD")["trades"]) == 1
            assert client.call("positions.list")["positions"]
            with pytest.raises(Standby) as refused:
                place(client, "buy", "80")
            assert refused.value.serving == address(daemon)
            with pytest.raises(Standby):
                client.call("book.subscribe", market="BTC-USD")
            assert client.call("hello")["serving"] == address(daemon)
        with daemon.client() as client:
            placed(client, "buy", "91")  # the one that serves is not hurt
        daemon.kill()
        found = becomes(other, "serving", 2)
        assert found["store"] == "ok" and found["database"]["holder"] == address(other)
        with other.client() as client:
            assert client.call("order.get", order_id=kept) == order
            assert placed(client, "buy", "90", client_order_id="c")["order_id"] == kept


def test_a_frozen_daemon_is_replaced_and_stands_by_when_it_wakes(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon, spare(daemon, url, tmp_path / "there") as other:
        becomes(other, "standby", 1)
        with daemon.client() as client:
            kept = placed(client, "buy", "90")["order_id"]
            daemon.process.send_signal(signal.SIGSTOP)
            becomes(other, "serving", 2)
            with other.client() as another:
                another.call("order.cancel", order_id=kept)
            daemon.process.send_signal(signal.SIGCONT)
            # What it has in memory is old: it does not tell that, and takes no order.
            with suppress(Unavailable):
                assert client.call("order.get", order_id=kept)["status"] == "cancelled"
            with pytest.raises(Unavailable):
                place(client, "buy", "91")
        found = becomes(daemon, "standby", 2)
        assert found["database"]["holder"] == address(other)
        other.kill()
        becomes(daemon, "serving", 3)
        with daemon.client() as client:
            assert client.call("order.get", order_id=kept)["status"] == "cancelled"
            placed(client, "buy", "91")
        assert "Traceback" not in daemon.log.read_text() + other.log.read_text()


def test_of_two_daemons_that_start_at_once_one_serves(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon:
        pass
    folders = [elsewhere(daemon, tmp_path / name) for name in ("first", "second")]
    with ThreadPoolExecutor() as threads:
        starting = [
            threads.submit(Daemon, folder, "--store", url, "--standby") for folder in folders
        ]
        both = [each.result() for each in starting]
    try:
        ends = time.monotonic() + DEADLINE_S
        while True:
            roles = []
            for each in both:
                with each.client() as client:
                    roles.append(client.call("status")["role"])
            assert roles != ["serving", "serving"]
            if sorted(roles) == ["serving", "standby"]:
                break
            assert time.monotonic() < ends, roles
            time.sleep(0.05)
    finally:
        for each in both:
            each.kill()


class Trader(threading.Thread):
    """
    A client that knows both daemons, and places orders one by one until it is told to end.

    Attributes:
        placed: the order's id by client_order_id, as it was acknowledged.
        problem: what it was told that it cannot simply send again; None for nothing.
    """

    def __init__(self, *daemons: Daemon) -> None:
        super().__init__(daemon=True)
        self.placed: dict[str, str] = {}
        self.problem: ExchangeError | None = None
        self.ends = threading.Event()
        self._addresses = [daemon.path for daemon in daemons]

    def run(self) -> None:
        try:
            with Client(self._addresses, timeout_s=DEADLINE_S) as client:
                while not self.ends.is_set():
                    name = f"t{len(self.placed)}"
                    order = client.buy("BTC-USD", 1, 50, client_order_id=name)
                    self.placed[name] = order.order_id
        except ExchangeError as error:
            self.problem = error

    def goes_on(self) -> None:
        """Wait for some more orders."""
        enough, ends = len(self.placed) + 5, time.monotonic() + DEADLINE_S
        while len(self.placed) < enough:
            assert self.problem is None and time.monotonic() < ends, self.problem
            time.sleep(0.02)


def test_daemons_change_over_by_plan_while_a_client_trades(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon, spare(daemon, url, tmp_path / "there") as other:
        trader = Trader(daemon, other)
        trader.start()
        trader.goes_on()
        assert tool(other, "promote") == "serves, in term 2\n"
        trader.goes_on()
        becomes(daemon, "standby", 2)
        assert tool(other, "demote") == "stands by\n"
        becomes(daemon, "serving", 3)
        trader.goes_on()
        assert other.stop() in (0, -signal.SIGTERM)  # who stands by stops as any daemon
        other.start()
        daemon.stop()  # at once, and without a silence that is waited for
        becomes(other, "serving", 4)
        trader.goes_on()
        trader.ends.set()
        trader.join(DEADLINE_S)
        assert trader.problem is None
        stored = one.ask("SELECT client_order_id, order_id FROM exchange.orders", "home")
        assert len(stored) == len(dict(stored))
        assert trader.placed.items() <= dict(stored).items()
        assert "Traceback" not in daemon.log.read_text() + other.log.read_text()


def test_a_failover_of_the_database_costs_a_moment_and_nothing_else(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    with on(one.url("home", two), tmp_path / "here") as daemon, daemon.client() as client:
        kept = [placed(client, "buy", f"{80 + n}")["order_id"] for n in range(10)]
        one.kill()
        two.promote()
        two.set(synchronous_standby_names="")
        with suppress(ExchangeError):
            place(client, "buy", "50")  # finds out
        until(daemon, "names no synchronous standby")
        with standby(two):
            until(daemon)
            listed = {order["order_id"] for order in client.call("order.list")["orders"]}
            assert listed >= set(kept)
            placed(client, "sell", "89")


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from twisted.application.twist._twist import Twist\n"
        "Twist.main(['twist', 'exchange', '--store', 'postgresql://db/home'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, timeout=DEADLINE_S,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'grenache-py[postgresql]'" in done.stderr
    assert "Traceback" not in done.stderr
