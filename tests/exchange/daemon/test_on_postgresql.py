"""The daemon with its store in a database that has a standby."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from grenache_py.trading.errors import ExchangeError
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon, place, refusal, start_in_vain
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
            kept = [place(client, "buy", f"{90 + n}", client_order_id=f"c{n}") for n in range(5)]
            place(client, "sell", "94")
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
            again = place(client, "buy", "92", client_order_id="c2")
            assert again["order_id"] == kept[2]["order_id"], "not placed twice"
            report = client.call("order.cancel", order_id=kept[0]["order_id"])
            assert report["status"] == "cancelled"


def test_a_daemon_that_wakes_after_a_takeover_serves_nothing_more(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon:
        with daemon.client() as client:
            kept = place(client, "buy", "90")
        daemon.process.send_signal(signal.SIGSTOP)
        # As the server does when it hears nothing of the machine any more.
        one.ask(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'grenache%'"
        )
        with on(url, elsewhere(daemon, tmp_path / "there")) as another:
            with another.client() as client:
                client.call("order.cancel", order_id=kept["order_id"])
            daemon.process.send_signal(signal.SIGCONT)
            with suppress(ExchangeError), daemon.client() as client:
                place(client, "buy", "91")
            until(daemon, "has taken over this home (term 2)")
            with daemon.client() as client, pytest.raises(ExchangeError):
                place(client, "buy", "92")
            with another.client() as client:
                assert client.call("order.list", status="open")["orders"] == []


class Spare(Daemon):
    """One that stands by; it has started when it says so."""

    def serves(self) -> bool:
        return "stands by" in self.log.read_text() or super().serves()


def test_a_daemon_that_stands_by_serves_when_the_other_is_killed(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    options = ("--store", url, "--standby")
    with on(url, tmp_path / "here") as daemon:
        with daemon.client() as client:
            kept = place(client, "buy", "90")["order_id"]
        with Spare(elsewhere(daemon, tmp_path / "there"), *options) as spare:
            assert "in use by another exchange" in spare.log.read_text()
            with pytest.raises(ExchangeError):
                spare.client()
            with daemon.client() as client:
                place(client, "buy", "91")  # the one that serves is not hurt
            daemon.kill()
            assert until(spare)["database"]["term"] == 2
            with spare.client() as client:
                assert client.call("order.get", order_id=kept)["status"] == "new"
            daemon.options += ("--standby",)
            with Spare(daemon.folder, *options) as former:
                assert former.log.read_text().count("stands by") >= 1
                assert former.stop() in (0, -signal.SIGTERM)
            # Frozen, and its sessions ended: it stands by again, and does not stay closed for ever.
            with Spare(daemon.folder, *options) as former:
                spare.process.send_signal(signal.SIGSTOP)
                one.ask(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE application_name LIKE 'grenache %'"
                )
                assert until(former)["database"]["term"] == 3
                spare.process.send_signal(signal.SIGCONT)
                with suppress(ExchangeError), spare.client() as client:
                    place(client, "buy", "92")
                taken = until(spare, "in use by another exchange")["database"]
                assert (taken["role"], taken["term"]) == ("standby", 0)
                former.kill()
                assert until(spare)["database"]["term"] == 4


def test_a_failover_of_the_database_costs_a_moment_and_nothing_else(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    with on(one.url("home", two), tmp_path / "here") as daemon, daemon.client() as client:
        kept = [place(client, "buy", f"{80 + n}")["order_id"] for n in range(10)]
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
            place(client, "sell", "89")


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
