"""The store's shell: threads, the directory's lock, what survives."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.retention import Retention
from grenache_py.exchange.storage.sqlite_store import SQLiteStore
from tests.support.store_rows import order_row

ROOT = Path(__file__).parents[3]


def make_store(directory: Path, **options: object) -> SQLiteStore:
    from twisted.internet import reactor

    return SQLiteStore(str(directory), reactor, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    made = make_store(tmp_path, keep=Retention(closed_orders_max=10, trades_max=5))
    yield made
    pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_a_second_daemon_on_one_directory_is_told_who_has_it(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await store.open()
    second = make_store(tmp_path)
    with pytest.raises(StoreError, match=r"in use by another exchange \(process \d+\)") as error:
        await second.open()
    assert error.value.fault == "locked"
    await store.close()
    await second.open()
    await second.close()


@pytest_twisted.ensureDeferred
async def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    store = make_store(tmp_path / "new" / "data")
    await store.open()
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"data directory .*file/data cannot be used"):
        await make_store(tmp_path / "file" / "data").open()


class SmallDisk(Database):
    """Full as soon as ``full`` is set."""

    full = False

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        if self.full:
            connection.execute("PRAGMA max_page_count = 1")
        return connection

    def fill(self) -> None:
        self.full = True
        self.connection.execute("PRAGMA max_page_count = 1")


@pytest_twisted.ensureDeferred
async def test_a_full_disk_fails_commits_until_there_is_room_and_loses_nothing(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(str(tmp_path / "exchange.sqlite"))
    store = make_store(tmp_path, database=disk)
    await store.open()
    await store.commit([order_row(1)])
    await store.order(order_row(1).order_id)  # it is in the tables
    await store._writer.run(disk.fill)  # type: ignore[union-attr]
    await store.commit([order_row(2, client_order_id="x" * 5000)])  # the journal has room
    faults = []
    for asked in (
        lambda: store.order(order_row(2).order_id),
        lambda: store.commit([order_row(3)]),
        store.open,  # it cannot be brought into the tables yet
    ):
        with pytest.raises(StoreError) as error:
            await asked()  # type: ignore[operator]
        faults.append(error.value.fault)
    assert faults == ["full"] * 3
    disk.full = False
    found = await store.open()
    assert {row.order_id for row in found.orders} == {order_row(n).order_id for n in (1, 2)}
    await store.commit([order_row(3)])
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_journal_that_cannot_be_written_fails_commits_and_what_was_built_upon_them(
    store: SQLiteStore,
) -> None:
    await store.open()
    await store.commit([order_row(1)])
    journal = store._journal
    assert journal is not None and journal._file is not None
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, journal._file)
    os.close(full)
    waiting = [store.commit([order_row(n)]) for n in range(2, 9)]
    faults = []
    for commit in waiting:
        with pytest.raises(StoreError) as error:
            await commit
        faults.append(error.value.fault)
    # The first says why; what was built upon it must not be written either.
    assert faults[1:] == ["closed"] * 6
    assert (await store.open()).orders == [order_row(1)]
    await store.commit([order_row(2)])
    assert await store.order(order_row(2).order_id) == order_row(2)


@pytest_twisted.ensureDeferred
async def test_damage_found_while_loading_refuses_the_file(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await store.open()
    await store.commit([order_row(n) for n in range(2000)])
    await store.close()
    with (tmp_path / "exchange.sqlite").open("r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError, match="damaged") as error:
        await store.open()
    assert error.value.fault == "corrupt"


def test_a_program_that_dies_without_closing_ends(tmp_path: Path) -> None:
    program = (
        "from twisted.internet import reactor, task\n"
        "from grenache_py.exchange.storage.sqlite_store import SQLiteStore\n"
        f"store = SQLiteStore({str(tmp_path)!r}, reactor)\n"
        "task.react(lambda reactor: store.open().addCallback(lambda _: 1 / 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, check=False, cwd=ROOT
    )
    assert b"ZeroDivisionError" in done.stderr
