"""
Alarms that take a failing disk, another program or other peers: each provoked in real daemons.

Those of the outside, of clocks and of what ends soon are in ``test_alarms.py`` and
``tests/test_signals.py``; ``tests/test_alarms.py`` sees to it that none is missing.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from grenache_py.exchange.storage.positions import SEQ_MASK
from grenache_py.exchange.storage.read_only import read_only
from grenache_py.trading import Refused
from tests.exchange.daemon.test_alarms import doctor, machine, page, raised, until, until_raised
from tests.exchange.daemon.test_daemon import Daemon, place
from tests.exchange.daemon.test_relay import shell
from tests.support.wire_client import WireClient

pytestmark = pytest.mark.network


def until_over(daemon: Daemon, *ids: str) -> None:
    until(lambda: raised(daemon), lambda found: not found.keys() & set(ids))


def until_serving(client: WireClient) -> None:
    until(lambda: client.call("status")["listening"], lambda listens: not listens)


def peer_address(daemon: Daemon) -> str:
    host, port = daemon.address("peer")
    return f"{host}:{port}"


def test_what_fails_on_a_machine_and_round_it_is_told_of_until_it_is_over(tmp_path: Path) -> None:
    nobody = ("--dht", "0", "--bn", "127.0.0.1:9", "--connect", "127.0.0.1:9")
    with machine(tmp_path / "a", *nobody) as daemon, daemon.client() as client:
        assert "none is linked" in until_raised(daemon, "no-links")
        until_raised(daemon, "not-announced")
        store = tmp_path / "a/data/exchange.sqlite"
        with closing(sqlite3.connect(store, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            for _ in range(5):
                place(client, "buy", "90")
            assert "a program has held a transaction open" in until_raised(daemon, "log-held")
            # No file of this process may grow any more: the log is the longest that it writes.
            full = store.with_name("exchange.sqlite-wal").stat().st_size
            _, most = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (full, most))
            with pytest.raises(Refused):
                while True:  # the journal has room for some
                    place(client, "buy", "91")
            until_raised(daemon, "store-failed")
            code, findings = doctor("--unix", daemon.path, "doctor")
            assert code == 1 and findings["store-failed"]["verdict"] == "bad"
            assert page(daemon, "/health")[0] == 503
            metrics = page(daemon, "/metrics")[1]
            assert 'exchange_alarm{id="store-failed",level="alarm"} 1' in metrics
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (most, most))
        until_over(daemon, "store-failed", "log-held")
        until_serving(client)
        place(client, "buy", "91")
        for line in ("alarm store-failed is over", "warning log-held is over"):
            until(daemon.log.read_text, lambda log, line=line: line in log)


def test_a_program_that_writes_to_the_store_holds_its_journal_and_no_order(tmp_path: Path) -> None:
    with machine(tmp_path / "a") as daemon, daemon.client() as client:
        until_serving(client)
        store = tmp_path / "a/data/exchange.sqlite"
        with closing(sqlite3.connect(store, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            place(client, "buy", "90")
            assert "could not take what is in its journal" in until_raised(daemon, "journal-behind")
            place(client, "buy", "91")
            behind = "exchange_journal_behind_seconds 1"  # 1x seconds
            assert behind in page(daemon, "/metrics")[1]
        until_over(daemon, "journal-behind")
        with read_only(str(store)) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2,)


def test_two_daemons_with_one_key_both_stop_serving(tmp_path: Path) -> None:
    data = tmp_path / "b" / "data"
    data.mkdir(parents=True)
    with machine(tmp_path / "a") as one:
        shutil.copy(tmp_path / "a/data/identity.key", data)
        with machine(tmp_path / "b", "--connect", peer_address(one)) as two:
            for daemon in (one, two):
                assert "key" in until_raised(daemon, "two-daemons")
                assert page(daemon, "/health")[0] == 503
                code, findings = doctor("--unix", daemon.path, "doctor")
                assert code == 1 and findings["two-daemons"]["verdict"] == "bad"
                with daemon.client() as client, pytest.raises(Refused, match="does not serve"):
                    place(client, "buy", "90")


def test_a_home_that_is_silent_and_one_that_goes_on_from_an_old_copy_are_told_of(
    tmp_path: Path,
) -> None:
    old = tmp_path / "old" / "data"
    old.mkdir(parents=True)
    with ExitStack() as running:
        start = running.enter_context
        other = start(machine(tmp_path / "b"))
        home = start(machine(tmp_path / "a", "--connect", peer_address(other)))
        with other.client() as far, home.client() as near:
            place(far, "sell", "100")
            until(lambda: near.call("book.get", market="BTC-USD")["asks"], bool)
            other.process.send_signal(signal.SIGSTOP)
            place(near, "buy", "100")
            assert "1 in doubt" in until_raised(home, "fills-in-doubt")
            other.process.send_signal(signal.SIGCONT)
            until_over(home, "fills-in-doubt")
            # As a snapshot of a virtual machine: without the mark of `exchange backup`.
            shutil.copy(tmp_path / "a/data/identity.key", old)
            with (
                closing(sqlite3.connect(tmp_path / "a/data/exchange.sqlite")) as whole,
                closing(sqlite3.connect(old / "exchange.sqlite")) as copy,
            ):
                whole.backup(copy)
                shutil.copy(tmp_path / "a/data/exchange.journal", old)
            place(near, "sell", "110")
            until(lambda: far.call("book.get", market="BTC-USD")["asks"], bool)
        home.stop()
        with machine(tmp_path / "old") as again, again.client() as client:
            until_serving(client)
            place(client, "sell", "120")
            client.call("peers.connect", address=peer_address(other))
            until_raised(again, "own-log")
            assert page(again, "/health")[0] == 503
            code, findings = doctor("--unix", again.path, "doctor")
            assert code == 1 and "--new-epoch" in findings["own-log"]["advice"]
            assert "signed two histories" in until_raised(other, "home-frozen")


def test_what_a_neighbour_tells_of_and_does_not_show_is_missing(tmp_path: Path) -> None:
    told = {"heads": [["ab" * 32, 1, 7, "cd" * 32]]}
    with machine(tmp_path) as daemon, shell(daemon.address("peer")) as talk:
        assert talk.stdin and talk.stdout and talk.stdout.readline()
        notice = {"jsonrpc": "2.0", "method": "sync.heads", "params": told}
        talk.stdin.write(json.dumps(notice) + "\n")
        talk.stdin.flush()
        assert "7 entries are missing" in until_raised(daemon, "not-synced")
        talk.kill()


def test_orders_with_another_tick_that_a_third_peer_passes_on_are_told_of(tmp_path: Path) -> None:
    def tick(text: str, market: str = "BTC-USD") -> tuple[str, str]:
        return ("--market", f"{market}:tick={text},lot=1")

    with ExitStack() as running:
        start = running.enter_context
        middle = start(machine(tmp_path / "m", *tick("1", "ETH-USD")))
        connect = ("--connect", peer_address(middle))
        one = start(machine(tmp_path / "a", *tick("1"), *connect))
        other = start(machine(tmp_path / "b", *tick("5"), *connect))
        with other.client() as client:
            until_serving(client)
            place(client, "sell", "100")
        text = until_raised(one, "orders-hidden")
        assert text.startswith("1 in BTC-USD are not shown") and "has tick 5 and lot 1" in text
        code, findings = doctor("--unix", one.path, "doctor")
        assert code == 1 and "agree on one" in findings["orders-hidden"]["advice"]


def test_a_damaged_entry_costs_its_order_and_the_home_goes_on_in_the_same_log(
    tmp_path: Path,
) -> None:
    with ExitStack() as running:
        start = running.enter_context
        other = start(machine(tmp_path / "b"))
        home = start(machine(tmp_path / "a", "--connect", peer_address(other)))
        with home.client() as near, other.client() as far:
            until_serving(near)
            kept, lost = (place(near, "sell", price)["order_id"] for price in ("100", "101"))
            until(lambda: prices(far), ["100", "101"].__eq__)
            epoch = near.call("status")["log"]["epoch"]
        home.stop()
        damage(tmp_path / "a/data/exchange.sqlite", lost)
        home.start()
        with home.client() as near, other.client() as far:
            text = until_raised(home, "log-damaged")
            assert "cannot be read" in text and "1 open order" in text
            until_serving(near)
            status = until(lambda: near.call("status"), lambda found: found["serving"])
            assert status["log"]["epoch"] == epoch and page(home, "/health")[0] == 200
            until(lambda: near.call("order.get", order_id=lost)["status"], "cancelled".__eq__)
            assert near.call("order.get", order_id=kept)["status"] == "new"
            place(near, "sell", "102")
            until(lambda: prices(far), ["100", "102"].__eq__)
            # Who comes anew takes the whole set over, and trades with it.
            third = start(machine(tmp_path / "c", "--connect", peer_address(home)))
            with third.client() as new:
                until(lambda: prices(new), ["100", "102"].__eq__)
                until(lambda: new.call("status")["synced"], bool)
                until_serving(new)
                place(new, "buy", "100")
                until(lambda: prices(far), ["102"].__eq__)
            assert not raised(other).keys() & {"home-frozen", "not-synced"}
            code, findings = doctor("--unix", home.path, "doctor")
            assert code == 1 and findings["log-damaged"]["verdict"] == "warning"


def prices(client: WireClient) -> list[str]:
    return [ask[0] for ask in client.call("book.get", market="BTC-USD")["asks"]]


def damage(store: Path, order_id: str) -> None:
    """Change a byte of the log's entry that published an order."""
    with closing(sqlite3.connect(store, isolation_level=None)) as rows:
        entry = f"position & {SEQ_MASK} = (SELECT order_seq FROM orders WHERE order_id = ?)"
        changed = f"UPDATE log SET payload = '!' || substr(payload, 2) WHERE {entry}"
        assert rows.execute(changed, [order_id]).rowcount == 1
