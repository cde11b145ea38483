"""The write-ahead log copied into the file beside the commits: it stays short, whatever happens."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from grenache_py.exchange.effects.rows import Row
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage import database
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.pages import checkpoint
from grenache_py.exchange.storage.wal_checkpoints import (
    AGAIN_S,
    TELL_AFTER_S,
    TELL_EVERY_S,
    Checkpoints,
)
from tests.exchange.storage.test_store import make_store
from tests.support.store_rows import log_row, order_row

ROOT = Path(__file__).parents[3]
PAGE = 4096 + 24  # with the header of its frame


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "exchange.sqlite")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_CHANGES", 100)  # a batch
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 20 * PAGE)


def batch(number: int, orders: int = 50) -> list[Row]:
    """The ``number``th of equally large batches."""
    first = 1 + number * orders
    return [
        row
        for n in range(first, first + orders)
        for row in (order_row(n, order_id=random.Random(n).randbytes(16).hex()), log_row(n))
    ]


@pytest.fixture
def warnings_logged() -> Iterator[list[str]]:
    """What the operator is told of checkpoints."""
    told: list[str] = []

    def seen(event: LogEvent) -> None:
        if event["log_level"] == LogLevel.warn:
            told.append(formatEvent(event))

    globalLogPublisher.addObserver(seen)
    yield told
    globalLogPublisher.removeObserver(seen)


def wal_pages(path: str) -> int:
    """The greatest size the log had since it was made or truncated, in pages."""
    return os.path.getsize(f"{path}-wal") // PAGE


class Here:
    """A worker on the calling thread; ``meanwhile`` happens during everything it runs."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._meanwhile = meanwhile

    def run(self, call: Callable[[], Any]) -> Deferred[Any]:
        try:
            return succeed(call())
        except StoreError:
            return fail()
        finally:
            self._meanwhile()


class Trading:
    """Commits that never pause: while a copy is made, there always comes another one."""

    def __init__(self, database: Database) -> None:
        self.batches = 0
        self.pauses = False
        self._database = database
        database.open()
        copier: Any = Here(lambda: None if self.pauses else self._commit())
        writer: Any = Here()
        self.clock = Clock()
        self.checkpoints = Checkpoints(database, writer, copier, self.clock)

    def _commit(self) -> None:
        self._database.commit(batch(self.batches))
        self.batches += 1

    def close(self) -> None:
        Deferred.fromCoroutine(self.checkpoints.close())
        self._database.close()

    def goes_on(self, batches: int) -> int:
        """Commit that many and some more; how long the log ever was since it was truncated."""
        for _ in range(batches):
            self._commit()
            self.checkpoints.after_commit()
        return wal_pages(self._database.path)


@pytest.fixture
def trading(path: str) -> Iterator[Trading]:
    held = Database(path)
    made = Trading(held)
    yield made
    made.close()
    held.open()
    assert len(held.load().orders) == made.batches * 50
    held.close()


def test_the_log_stays_short_while_commits_never_pause(trading: Trading) -> None:
    few = trading.goes_on(4)
    assert trading.goes_on(20) < 2 * few


def test_the_log_of_who_commits_little_at_a_time_stays_short_too(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_CHANGES", 10**9)
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 100 * PAGE)
    monkeypatch.setattr(database, "WAL_KEPT_BYTES", 200 * PAGE)
    held = Database(path)
    held.open()
    here: Any = Here()
    checkpoints = Checkpoints(held, here, here, Clock())
    for number in range(300):  # one order changes several pages
        held.commit(batch(number, orders=1))
        checkpoints.after_commit()
        assert wal_pages(path) < 350
    Deferred.fromCoroutine(checkpoints.close())
    held.close()


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Somebody looks at the file as it is now, and needs the log for that."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        seen = other.execute("SELECT count(*) FROM orders").fetchone()
        yield
        assert other.execute("SELECT count(*) FROM orders").fetchone() == seen


def test_a_log_that_somebody_reads_grows_and_begins_anew_afterwards(
    trading: Trading, path: str
) -> None:
    short = trading.goes_on(4)
    with reading(path):
        grown = trading.goes_on(8)
        assert grown > 2 * short
    assert trading.goes_on(20) < 1.5 * grown  # which stays; but is used from its beginning


def test_a_log_that_grew_too_long_is_folded_by_the_writer(
    trading: Trading, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "READERS_WAIT_S", 0.001)
    short = trading.goes_on(4)
    with reading(path):
        grown = trading.goes_on(8)
        monkeypatch.setattr(database, "WAL_BYTES_MAX", (short + grown) // 2 * PAGE)
        assert trading.goes_on(3) > grown  # the reader has it still, and is not waited for
    assert trading.goes_on(4) < 2 * short


def test_a_reader_that_holds_the_log_is_told_of_and_the_file_is_short_when_it_is_gone(
    trading: Trading, path: str, monkeypatch: pytest.MonkeyPatch, warnings_logged: list[str]
) -> None:
    monkeypatch.setattr(database, "READERS_WAIT_S", 0.001)
    monkeypatch.setattr(database, "WAL_KEPT_BYTES", 100 * PAGE)
    trading.pauses = True
    trading.goes_on(4)
    assert trading.checkpoints.held_s is None
    with reading(path):
        grown = trading.goes_on(8)
        assert trading.checkpoints.held_s == 0 and not warnings_logged
        for _ in range(6):  # nobody trades; it is looked at all the same
            trading.clock.advance(AGAIN_S)
        (told,) = warnings_logged
        assert f"for {TELL_AFTER_S:.0f} s a program has held a transaction open on {path}" in told
        assert trading.checkpoints.held_s == 6 * AGAIN_S
        for _ in range(int(TELL_EVERY_S / AGAIN_S)):
            trading.clock.advance(AGAIN_S)
        assert len(warnings_logged) == 2, "and again, but not every time"
    assert wal_pages(path) == grown > 100
    trading.clock.advance(AGAIN_S)
    assert trading.checkpoints.held_s is None
    assert wal_pages(path) == 0
    assert not trading.clock.getDelayedCalls()


def test_a_log_that_was_held_is_cut_when_it_begins_anew(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAL_KEPT_BYTES", 100 * PAGE)
    trading = Trading(Database(path))
    with reading(path):
        grown = trading.goes_on(12)
    trading.pauses = True
    assert trading.goes_on(4) < grown / 2
    trading.close()


# Disks that fail.


class Fragile(sqlite3.Connection):
    """A connection whose checkpoints fail."""

    broken = False

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:  # type: ignore[override]
        if self.broken and "wal_checkpoint" in sql:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type]


@pytest.fixture
def fragile(path: str) -> Database:
    class FragileDatabase(Database):
        def connect(self) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, factory=Fragile)

    return FragileDatabase(path)


def test_a_copy_that_fails_is_reported_and_tried_again_and_harms_no_commit(
    fragile: Database, monkeypatch: pytest.MonkeyPatch, warnings_logged: list[str]
) -> None:
    trading = Trading(fragile)
    short = trading.goes_on(4)
    monkeypatch.setattr(Fragile, "broken", True)
    grown = trading.goes_on(12)
    assert grown > 2 * short
    assert len(warnings_logged) > 5
    assert all("the disk under" in reason for reason in warnings_logged)
    monkeypatch.setattr(Fragile, "broken", False)
    assert trading.goes_on(20) < 1.5 * grown
    assert len(fragile.load().orders) == trading.batches * 50
    trading.close()


def test_a_disk_that_can_never_take_the_log_takes_no_more_orders(
    fragile: Database, monkeypatch: pytest.MonkeyPatch, warnings_logged: list[str]
) -> None:
    trading = Trading(fragile)
    short = trading.goes_on(4)
    trading.pauses = True  # during a copy: what it says is not for the one who commits
    monkeypatch.setattr(database, "WAL_BYTES_MAX", 2 * short * PAGE)
    monkeypatch.setattr(Fragile, "broken", True)
    with pytest.raises(StoreError, match="the disk under") as error:
        trading.goes_on(100)
    assert error.value.fault == "io"
    assert trading.batches < 30
    with pytest.raises(StoreError, match="the disk under"):
        fragile.open()
    monkeypatch.setattr(Fragile, "broken", False)
    fragile.open()
    assert len(fragile.load().orders) == trading.batches * 50
    trading.goes_on(4)
    trading.close()


@pytest_twisted.ensureDeferred
async def test_a_checkpoint_does_not_outlive_its_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_CHANGES", 1)
    store = make_store(tmp_path)
    for number in range(20):
        await store.open()
        await store.commit(batch(number))  # begins one
        if number % 3 == 0:
            await store.close()
    assert len((await store.open()).orders) == 20 * 50
    await store.close()


KILLED = """
import sqlite3, sys, threading
from grenache_py.exchange.storage import database
from tests.exchange.storage.test_wal_checkpoints import batch
held = database.Database(sys.argv[1])
held.open()
done = len(held.load().orders) // 50

def copy():
    connection = held.connect_for_checkpoints()
    while True:
        database.checkpoint(connection, held.path)

threading.Thread(target=copy, daemon=True).start()
while True:
    held.commit(batch(done))
    done += 1
    print(done, flush=True)
    if done % 5 == 0:
        held.finish_checkpoint()
"""


def test_killed_in_the_middle_of_a_checkpoint_nothing_is_lost(path: str) -> None:
    rng = random.Random(5)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, cwd=ROOT
        ) as child:
            assert child.stdout is not None
            for _ in range(rng.randrange(2, 20)):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
        found = Database(path)
        found.open()  # looks at every page
        with closing(found):
            times = [row.time_ms for row in found.load().orders]
            assert len(times) in (acknowledged * 50, acknowledged * 50 + 50)
            assert times == list(range(1, len(times) + 1))


def test_a_checkpoint_of_a_database_alone(path: str) -> None:
    held = Database(path)
    held.open()
    held.commit(batch(0))
    with closing(held.connect_for_checkpoints()) as connection:
        checkpoint(connection, path)
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as without_log:
        assert without_log.execute("SELECT count(*) FROM orders").fetchone() == (50,)
    without_log.close()
    held.close()
