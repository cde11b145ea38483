"""A primary with a synchronous standby: what is acknowledged survives the loss of either."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grenache_py.exchange.errors import StoreError
from tests.exchange.storage.test_postgresql import opened, raises, stored
from tests.support.postgresql import MISSING, Server, primary, standby
from tests.support.store_rows import log_row, order_row

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    with primary() as one, standby(one) as two:
        yield one, two


@pytest.fixture
def url(pair: tuple[Server, Server]) -> str:
    return pair[0].database()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from grenache_py.exchange.storage.postgresql import sessions

    monkeypatch.setattr(sessions, "SILENT_S", 0.5)


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def until(true: object) -> None:
    """Wait until ``true()``."""
    ends = time.monotonic() + DEADLINE_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < ends
        time.sleep(0.02)


def waiting(server: Server) -> list[int]:
    """The processes that wait for the standby."""
    found = server.ask("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [pid for (pid,) in found]


def test_without_its_standby_nothing_is_acknowledged_nor_loaded(
    pair: tuple[Server, Server], url: str, impatient: None
) -> None:
    one, two = pair
    with opened(url, alone=False) as database:
        database.commit([order_row(1)])
        with stopped(two):
            with raises("io", "has not confirmed a commit.*its synchronous standby is there"):
                database.commit([order_row(2), log_row(2)])
            with raises("closed", "not open"):
                database.commit([order_row(3)])
            # What is in the primary alone is not read: opening waits for the standby as well.
            with raises("io", "has not confirmed a commit"):
                database.open()
        until(lambda: not waiting(one))
        database.open()
        found = database.load()
        assert [row.time_ms for row in found.orders] in ([1], [1, 2])
        assert len(found.orders) - 1 == len(found.log_tail)  # all of a batch, or nothing
        database.commit([order_row(4)])


def test_a_wait_that_was_cancelled_is_no_acknowledgement(
    pair: tuple[Server, Server], url: str
) -> None:
    one, two = pair

    def cancel() -> None:
        until(lambda: waiting(one))
        one.ask(f"SELECT pg_cancel_backend({waiting(one)[0]})")

    with opened(url, alone=False) as database:
        with stopped(two):
            other = threading.Thread(target=cancel)
            other.start()
            with raises("io", "warned, so a commit's outcome is unknown: cancel"):
                database.commit([order_row(1)])
            other.join()
        database.open()


def test_a_server_that_gives_up_its_standby_is_noticed_by_the_next_commit(
    pair: tuple[Server, Server], url: str
) -> None:
    one, _ = pair
    with opened(url, alone=False) as database:
        one.set(synchronous_standby_names="")
        try:
            until(lambda: one.ask("SHOW synchronous_standby_names") == [("",)])
            with raises("refused", "commits wait for no standby any more"):
                for n in range(100):  # the server's processes hear of it one by one
                    database.commit([order_row(n)])
                    time.sleep(0.01)
            with raises("refused", "names no synchronous standby"):
                database.open()
        finally:
            one.set(synchronous_standby_names="*")


def test_a_replica_is_refused_and_passed_over_in_a_list(
    pair: tuple[Server, Server], url: str
) -> None:
    one, two = pair
    name = url.removeprefix("postgresql:///").partition("?")[0]
    until(lambda: two.ask(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))
    with (
        raises("refused", "is a replica: name the primary too"),
        opened(two.url(name) + "&target_session_attrs=any"),
    ):
        pass
    with raises("io", "cannot be reached: .*read-only"), opened(two.url(name)):
        pass
    with opened(two.url(name, one), alone=False) as database:
        database.commit([order_row(1)])


def test_a_primary_killed_with_commits_in_flight_loses_nothing_that_was_acknowledged(
    impatient: None,
) -> None:
    with primary() as one, standby(one) as two:
        url = one.database()
        name = url.removeprefix("postgresql:///").partition("?")[0]
        acknowledged = 0

        def trade() -> None:
            nonlocal acknowledged
            with opened(one.url(name, two), alone=False) as database:
                for n in range(1, 100_000):
                    try:
                        database.commit([order_row(n), log_row(n)])
                    except StoreError:
                        return
                    acknowledged = n

        trading = threading.Thread(target=trade)
        trading.start()
        until(lambda: acknowledged > 50)
        one.kill()
        trading.join(DEADLINE_S)
        assert not trading.is_alive()
        two.promote()
        with opened(one.url(name, two), "2") as database:
            found = database.load()
            numbers = [row.time_ms for row in found.orders]
            # The one in flight is there or not, and whole.
            assert numbers in (
                list(range(1, acknowledged + 1)),
                list(range(1, acknowledged + 2)),
            )
            assert found.head == log_row(numbers[-1])
            assert database.number == 2
            database.commit([order_row(200_000)])


def test_a_frozen_daemon_that_wakes_after_a_takeover_adds_no_row(
    pair: tuple[Server, Server], url: str
) -> None:
    one, _ = pair
    program = """
        import sys
        from grenache_py.exchange.errors import StoreError
        from tests.support.databases import postgresql_database
        from tests.support.store_rows import order_row
        database = postgresql_database(sys.argv[1], "1" * 32, alone=False)
        database.open()
        n = 0
        while True:
            n += 1
            try:
                database.commit([order_row(n)])
            except StoreError as error:
                print(error.fault, flush=True)
                break
            print(n, flush=True)
        for _ in range(3):
            try:
                database.open()
                database.commit([order_row(n + 1)])
                print("wrote")
            except StoreError as error:
                print(error.fault)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout is not None
    try:
        told = 0
        while told < 20:
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGSTOP)
        with opened(url, "2", by_force=True, alone=False) as database:
            taken = [row.time_ms for row in database.load().orders]
            database.commit([order_row(10_000)])
            child.send_signal(signal.SIGCONT)
            rest = child.stdout.read().split()
        acknowledged = max([told, *(int(word) for word in rest if word.isdigit())])
        assert [word for word in rest if not word.isdigit()] == ["io", *["locked"] * 3]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert taken in (list(range(1, acknowledged + 1)), list(range(1, acknowledged + 2)))
    assert stored(one, url) == [*taken, 10_000]


def test_a_daemon_whose_session_was_ended_says_that_and_no_other_thing(
    pair: tuple[Server, Server], url: str
) -> None:
    with opened(url) as database:
        pair[0].ask(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE starts_with(application_name, 'grenache ')"
        )
        with raises("io", "ended the session"):
            database.commit([order_row(1)])
