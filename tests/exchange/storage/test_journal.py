"""
The journal: what is in it and not in the tables is neither lost nor there twice, wherever it stops.

A stop is a copy of the files as they are at that moment: what a process killed there leaves.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_twisted

from grenache_py.exchange.effects.rows import (
    IntentRow,
    IntentSettled,
    MetaGone,
    MetaRow,
    RecordChanged,
    RecordGone,
    RecordRow,
    Row,
)
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage import journal as journals
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.directory_lock import DirectoryLock
from grenache_py.exchange.storage.journal import Journal, pack, unpack
from grenache_py.exchange.storage.read_only import read_only
from grenache_py.exchange.storage.sqlite_store import SQLiteStore
from tests.support.memory_database import MemoryDatabase
from tests.support.store_rows import batch, order_row, sample

FILES = ("exchange.sqlite", "exchange.sqlite-wal", "exchange.journal")


class Home:
    """A store's two sides without threads: the journal, and the tables that it is folded into."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "exchange.sqlite")
        self.database = Database(self.path)
        self.database.open()
        self.journal = self.database.begin_journal()
        self.written: list[tuple[list[Row], Any]] = []
        self.stops = 0

    def write(self, number: int) -> None:
        rows = batch(number)
        mark, _ = self.journal.append(rows)
        self.written.append((rows, mark))

    def fold(self) -> None:
        batches, mark = [rows for rows, _ in self.written], self.written[-1][1]
        self.database.fold(batches, mark)
        self.journal.folded = mark
        self.written.clear()

    def stopped(self) -> Path:
        """What the process would leave if it were killed now."""
        self.stops += 1
        left = self.directory / f"stop{self.stops}"
        left.mkdir()
        for name in FILES:
            if (self.directory / name).exists():
                shutil.copy(self.directory / name, left)
        return left


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.journal.close()
    made.database.close()


def watching(stop: Callable[[], None]) -> Callable[[str], sqlite3.Connection]:
    """Opens connections that call ``stop`` before each statement."""

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
            stop()
            return super().execute(sql, *more)

    return lambda path: sqlite3.connect(path, isolation_level=None, factory=Watched)


def holds(directory: Path, numbers: Sequence[int]) -> None:
    """A start finds these batches, each once and whole; and so does whoever starts after it."""
    for _ in range(2):
        database = Database(str(directory / "exchange.sqlite"))
        database.open()
        with closing(database):
            connection = database.connection
            found = connection.execute(
                "SELECT position & 0xFFFFFFFF FROM log ORDER BY 1"
            ).fetchall()
            assert [seq for (seq,) in found] == list(numbers)
            for table in ("trades", "order_events"):
                count = f"SELECT count(*) FROM {table}"
                assert connection.execute(count).fetchone() == (len(numbers),), table
            live = connection.execute("SELECT time_ms FROM orders WHERE live = 1").fetchall()
            assert live == [(number,) for number in numbers[-1:]]
            assert connection.execute("SELECT count(*) FROM journal").fetchone() == (0,)


def test_a_stop_at_each_point_between_journal_and_tables_loses_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[int] = []
    points: list[tuple[Path, list[int]]] = []

    def stop() -> None:
        points.append((home.stopped(), list(expected)))

    write, sync = journals._write, journals._sync

    def writing(file: int, data: bytes, offset: int) -> None:
        stop()
        write(file, data[:100], offset)
        stop()  # a part of the record
        write(file, data, offset)

    def syncing(file: int) -> None:
        sync(file)
        # Whole, and not acknowledged: it may be there.
        points.append((home.stopped(), [*expected, expected[-1] + 1 if expected else 1]))

    monkeypatch.setattr(journals, "_write", writing)
    monkeypatch.setattr(journals, "_sync", syncing)
    watched = watching(stop)(home.path)
    monkeypatch.setattr(home.database, "_connection", watched)
    for number in range(1, 10):
        home.write(number)
        expected.append(number)
        if number in {2, 3, 7}:
            home.fold()
            stop()
    stop()
    assert len(points) > 50
    monkeypatch.undo()
    watched.close()
    for directory, numbers in points:
        holds(directory, numbers)


def test_a_stop_at_each_point_of_a_start_leaves_the_next_one_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write(1)
    home.fold()
    for number in (2, 3, 4):
        home.write(number)
    left = Home.__new__(Home)
    left.directory, left.stops = home.stopped(), 0
    points: list[Path] = []
    left.path = str(left.directory / "exchange.sqlite")
    database = Database(left.path)
    remove = os.remove

    def removing(path: str) -> None:
        points.append(left.stopped())
        remove(path)

    monkeypatch.setattr(database, "connect", lambda: connect(left.path))
    monkeypatch.setattr(os, "remove", removing)
    connect = watching(lambda: points.append(left.stopped()))
    database.open()
    database.begin_journal().close()
    points.append(left.stopped())
    database.end_journal()
    points.append(left.stopped())
    database.close()
    points.append(left.stopped())
    monkeypatch.undo()
    assert len(points) > 30
    for directory in points:
        holds(directory, (1, 2, 3, 4))


def test_the_ring_is_written_over_where_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "RING_BYTES", 4_000)
    monkeypatch.setattr(journals, "GROWS_BYTES", 100)
    path, rng = str(tmp_path / "exchange.journal"), random.Random(4)
    journal = Journal(path)
    kept: list[tuple[bytes, journals.Mark]] = []
    rounds = 0
    for number in range(1, 2_000):
        rows = [MetaRow("x" * rng.randrange(1, 400), number)]
        before = journal._newest.offset
        mark, _ = journal.append(rows)
        rounds += mark.offset < before
        kept.append((pack(rows), mark))
        while kept and (sum(len(data) for data, _ in kept) > 1_000 or rng.random() < 0.2):
            journal.folded = kept[rng.randrange(len(kept))][1]
            kept = [each for each in kept if each[1].number > journal.folded.number]
        folded = journal.folded if kept else mark
        assert list(journals.unfolded(path, folded)) == kept
    assert rounds > 100
    assert os.path.getsize(path) < 5_000
    journal.close()


def test_the_end_of_a_journal_that_is_torn_at_any_byte_is_not_read(tmp_path: Path) -> None:
    path = str(tmp_path / "exchange.journal")
    journal = Journal(path)
    begin = journal.folded
    first, _ = journal.append(batch(1))
    journal.append(batch(2))
    journal.close()
    whole = Path(path).read_bytes()
    (one, two) = journals.unfolded(path, begin)
    for torn in range(first.offset, two[1].offset):
        Path(path).write_bytes(whole[:torn])
        assert list(journals.unfolded(path, begin)) == [one]
        Path(path).write_bytes(whole[:torn] + bytes([whole[torn] ^ 1]) + whole[torn + 1 :])
        assert list(journals.unfolded(path, begin)) == [one]


@pytest.mark.parametrize("kind", get_args(Row))
def test_a_row_of_each_type_comes_back_as_it_was(kind: type) -> None:
    rows = [sample(kind, number) for number in range(3)]
    assert unpack(pack(rows)) == rows
    if hasattr(rows[0], "value"):
        large = [rows[0]._replace(value=2**63 - 1), *(r._replace(value=10**30) for r in rows[1:])]
        assert unpack(pack(large)) == large


def test_batches_joined_leave_behind_what_they_leave_one_by_one() -> None:
    rng = random.Random(7)
    for _ in range(40):
        batches = [list(some_rows(rng, number)) for number in range(1, 30)]
        one, joined = MemoryDatabase(), MemoryDatabase()
        for rows in batches:
            one.commit(rows)
        joined.fold(batches, None)
        assert contents(joined) == contents(one)


def some_rows(rng: random.Random, number: int) -> Iterator[Row]:
    yield from batch(number)
    for _ in range(rng.randrange(4)):
        name = str(rng.randrange(4))
        yield rng.choice((MetaRow(name, number), MetaGone(name)))
        return
    name = str(rng.randrange(3))
    yield from rng.choice((
        [sample(IntentRow, number, fill_id=name)],
        [IntentSettled(name)],
        [sample(RecordRow, number, order_id=name)],
        [sample(RecordRow, number, order_id=name), sample(RecordChanged, number, order_id=name)],
        [RecordGone(name)],
    ))  # fmt: skip


def contents(database: Database) -> dict[str, list[Any]]:
    tables = ("orders", "order_events", "trades", "accounts", "meta", "intents", "records", "log")
    shelf_and_number = {"shelf", "number"}
    found = {}
    for table in tables:
        rows = database.connection.execute(f"SELECT * FROM {table} ORDER BY 1")
        names = [column[0] for column in rows.description]
        found[table] = [
            {n: v for n, v in zip(names, row, strict=True) if n not in shelf_and_number}
            for row in rows
        ]
    return found


def test_a_store_whose_journal_is_missing_or_another_ones_is_refused_and_kept(home: Home) -> None:
    home.write(1)
    left = home.stopped()
    path, journal = str(left / "exchange.sqlite"), left / "exchange.journal"
    kept = journal.read_bytes()
    journal.write_bytes(kept[:8] + bytes(8) + kept[16:])
    with pytest.raises(StoreError, match="not the journal of the store beside it"):
        Database(path).open()
    journal.unlink()
    with pytest.raises(StoreError) as error:
        Database(path).open()
    assert "exchange.journal" in error.value.message
    journal.write_bytes(kept)
    holds(left, [1])


def test_a_new_epoch_may_begin_without_the_journal(home: Home) -> None:
    home.write(1)
    left = home.stopped()
    (left / "exchange.journal").unlink()
    database = Database(str(left / "exchange.sqlite"), accept_copy=True)
    database.open()
    database.close()
    holds(left, [])


def test_a_journal_of_an_older_program_is_refused_until_that_one_folds_it(home: Home) -> None:
    home.write(1)
    left = home.stopped()
    newer = [*Database(home.path)._steps, "CREATE TABLE more (a)"]
    with pytest.raises(StoreError, match="was not closed"):
        Database(str(left / "exchange.sqlite"), steps=newer).open()
    holds(left, [1])


def test_who_looks_at_the_file_of_a_killed_daemon_sees_what_was_acknowledged(home: Home) -> None:
    home.write(1)
    left = home.stopped()
    with read_only(str(left / "exchange.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)
    holds(left, [1])


def test_who_looks_at_a_file_in_use_waits_until_the_journal_is_folded(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = DirectoryLock(str(home.directory))
    lock.acquire()
    home.write(1)
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            home.fold()
            home.write(2)  # after somebody began to look

    monkeypatch.setattr("time.sleep", sleep)
    with read_only(home.path) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)
    assert looks == 3
    with pytest.raises(StoreError, match="does not fold its journal"), read_only(home.path):
        pass
    lock.release()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    from twisted.internet import reactor

    made = SQLiteStore(str(tmp_path), reactor)  # type: ignore[arg-type]
    pytest_twisted.blockon(made.open())
    yield made
    pytest_twisted.blockon(made.close())


def committed(tmp_path: Path) -> int:
    with closing(sqlite3.connect(tmp_path / "exchange.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM log").fetchone()[0])


@pytest_twisted.ensureDeferred
async def test_a_commit_is_in_the_journal_and_a_reader_sees_it(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await store.commit(batch(1))
    assert committed(tmp_path) == 0
    assert store.facts["journal"]["bytes"] > 100
    assert await store.order(order_row(1).order_id) == order_row(1)
    assert committed(tmp_path) == 1
    assert store.facts["journal"] == {"bytes": 0, "behind_s": 0.0}


@pytest_twisted.ensureDeferred
async def test_batches_larger_than_the_journal_has_room_for_are_written_in_order(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grenache_py.exchange.storage.sqlite_store.ROWS_AT_ONCE", 8)
    monkeypatch.setattr("grenache_py.exchange.storage.folding.ROOM_BYTES", 3_000)
    monkeypatch.setattr(journals, "RING_BYTES", 6_000)
    done: list[int] = []
    waiting = []
    for number in range(1, 40):
        rows = (
            batch(number)
            if number % 5
            else [*batch(number), *(MetaRow(f"{n}", n) for n in range(90))]
        )
        commit = store.commit(rows).addCallback(lambda _, number=number: done.append(number))
        waiting.append(commit)
    for commit in waiting:
        await commit
    assert done == list(range(1, 40))
    await store.close()
    assert committed(tmp_path) == 39
    assert not (tmp_path / "exchange.journal").exists()


@pytest_twisted.ensureDeferred
async def test_while_another_program_writes_commits_go_on_and_reads_are_told(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grenache_py.exchange.storage.folding.FOLD_AGAIN_S", 0.01)
    await store.commit(batch(1))
    await store._writer.run(  # type: ignore[union-attr]
        lambda: store._database.connection.execute("PRAGMA busy_timeout = 1")
    )
    with closing(sqlite3.connect(tmp_path / "exchange.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another program"):
            await store.order(order_row(1).order_id)
        await store.commit(batch(2))
    assert await store.order(order_row(2).order_id) == order_row(2)
    await store.commit(batch(3))


@pytest_twisted.ensureDeferred
async def test_a_backup_has_what_was_acknowledged_and_no_journal(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await store.commit(batch(1))
    (tmp_path / "copy").mkdir()
    target = tmp_path / "copy" / "exchange.sqlite"
    await store.backup(str(target))
    with pytest.raises(StoreError, match="backup copy"):
        Database(str(target)).open()
    with read_only(str(target)) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)


@pytest_twisted.ensureDeferred
async def test_a_batch_that_the_tables_refuse_stops_the_store_and_stays_in_the_journal(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await store.commit(batch(1))
    impossible = order_row(2)._replace(open=11)  # of 10 lots
    await store.commit([impossible])
    for asked in (lambda: store.order(impossible.order_id), lambda: store.commit(batch(3))):
        with pytest.raises(StoreError, match="refused a batch"):
            await asked()
    with pytest.raises(StoreError, match="refused a batch"):
        await store.open()
    await store.close()
    (tmp_path / "exchange.journal").rename(tmp_path / "kept")
    with pytest.raises(StoreError, match="is missing"):
        Database(store.path).open()
    accepted = Database(store.path, accept_copy=True)
    accepted.open()
    accepted.close()
    holds(tmp_path, [1])
