"""The store's shell: threads, the directory's lock, what survives."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from grenache_py.exchange.effects.rows import MetaRow
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.retention import Retention
from grenache_py.exchange.storage.store import Store
from tests.support.store_rows import event_row, log_row, order_row, trade_row

ROOT = Path(__file__).parents[3]


def make_store(directory: Path, **options: object) -> Store:
    from twisted.internet import reactor

    return Store(str(directory), reactor, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = make_store(tmp_path, keep=Retention(closed_orders_max=10, trades_max=5))
    yield made
    pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_what_was_committed_is_there_after_opening_again(store: Store) -> None:
    assert (await store.open()).meta == {}
    await store.commit([MetaRow("epoch", 1), MetaRow("clock_floor_ms", 5)])
    await store.commit([MetaRow("clock_floor_ms", 9)])
    await store.close()
    assert (await store.open()).meta == {"epoch": 1, "clock_floor_ms": 9}


@pytest_twisted.ensureDeferred
async def test_commits_that_wait_for_each_other_keep_their_order(store: Store) -> None:
    await store.open()
    waiting = [store.commit([MetaRow("epoch", n)]) for n in range(20)]
    for commit in waiting:
        await commit
    assert (await store.open()).meta == {"epoch": 19}


@pytest_twisted.ensureDeferred
async def test_a_second_daemon_on_one_directory_is_told_who_has_it(
    store: Store, tmp_path: Path
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


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_not_open_says_so(store: Store) -> None:
    for call in (store.commit([MetaRow("epoch", 1)]), store.order("x"), store.counts()):
        with pytest.raises(StoreError, match="not open") as error:
            await call
        assert error.value.fault == "closed"
    await store.close()


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
    await store._writer.run(disk.fill)  # type: ignore[union-attr]
    waiting = [store.commit([order_row(n, client_order_id="x" * 5000)]) for n in range(2, 9)]
    faults = []
    for commit in waiting:
        with pytest.raises(StoreError) as error:
            await commit
        faults.append(error.value.fault)
    # The first says why; what was built upon it must not be written either.
    assert faults == ["full"] + ["closed"] * 6
    assert await store.order(order_row(1).order_id) == order_row(1)
    disk.full = False
    assert (await store.open()).orders == [order_row(1)]
    await store.commit([order_row(2)])
    await store.close()


@pytest_twisted.ensureDeferred
async def test_damage_found_while_loading_refuses_the_file(store: Store, tmp_path: Path) -> None:
    await store.open()
    await store.commit([order_row(n) for n in range(2000)])
    await store.close()
    with (tmp_path / "exchange.sqlite").open("r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError, match="damaged") as error:
        await store.open()
    assert error.value.fault == "corrupt"


@pytest_twisted.ensureDeferred
async def test_reads_see_every_batch_that_was_acknowledged(store: Store) -> None:
    await store.open()
    for n in range(1, 30):
        order = order_row(n, live=False, client_order_id=f"c{n}")
        await store.commit([order, event_row("alice", n, order), trade_row(n), log_row(n)])
        assert await store.order(order.order_id) == order
        assert await store.order_by_client_id("alice", f"c{n}") == order
        assert store.may_have_used("alice", f"c{n}")
        assert await store.order_events("alice", n, 9) == [(event_row("alice", n, order), order)]
        assert (await store.trades("BTC-USD", 1)) == [trade_row(n)]
        assert await store.log_entries(1, n, 99) == [log_row(n)]
    assert (await store.counts()).orders == 29
    assert len(await store.orders(9, account="alice", status="closed")) == 9
    assert [c.trades for c in await store.candles("BTC-USD", 60_000, 0, 99)] == [29]
    volume = sum(trade_row(n).quantity_lots for n in range(1, 30))
    assert await store.volume_lots("BTC-USD", 0) == volume
    assert store.size_bytes > 50_000


@pytest_twisted.ensureDeferred
async def test_client_ids_of_an_earlier_life_are_known(store: Store) -> None:
    await store.open()
    await store.commit([order_row(1, live=False, client_order_id="once")])
    await store.close()
    await store.open()
    assert await store.order("after the filter was built") is None
    assert store.may_have_used("alice", "once")
    assert not store.may_have_used("alice", "never")
    assert not store.may_have_used("bob", "once")


@pytest_twisted.ensureDeferred
async def test_history_is_forgotten_while_commits_go_on(store: Store) -> None:
    await store.open()
    rows = [order_row(n, live=False, client_order_id=f"c{n}") for n in range(3000)]
    await store.commit([*rows, *map(trade_row, range(3000))])
    pruning = store.prune(now_ms=3000)
    for n in range(3000, 3010):
        await store.commit([order_row(n)])
    # All but 10 closed orders and 5 trades.
    assert await pruning == 2990 + 2995
    counts = await store.counts()
    assert (counts.orders, counts.live_orders, counts.trades) == (20, 10, 5)
    assert all(store.may_have_used("alice", f"c{n}") for n in range(2990, 3000))


@pytest_twisted.ensureDeferred
async def test_opening_again_ends_the_forgetting_under_way(store: Store) -> None:
    await store.open()
    await store.commit([order_row(n, live=False, client_order_id=f"c{n}") for n in range(3000)])
    pruning = store.prune(now_ms=3000)
    await store.open()
    await pruning
    assert await store.order("after the filter was built") is None
    left = await store.orders(5000)
    assert len(left) >= 10
    assert all(store.may_have_used(row.account, row.client_order_id) for row in left)


@pytest_twisted.ensureDeferred
async def test_a_backup_is_one_moment_while_trading_goes_on(store: Store, tmp_path: Path) -> None:
    await store.open()
    await store.commit([order_row(n) for n in range(3000)])
    target = str(tmp_path / "backup.sqlite")
    copying = store.backup(target)
    for n in range(3000, 3050):
        await store.commit([order_row(n), log_row(n)])
    await copying
    copy = Database(target, accept_copy=True)
    copy.open()
    snapshot = copy.load()
    assert [row.time_ms for row in snapshot.orders] == list(range(len(snapshot.orders)))
    assert len(snapshot.log_tail) == len(snapshot.orders) - 3000
    copy.close()
    with pytest.raises(StoreError, match="exists"):
        await store.backup(target)
    with pytest.raises(StoreError, match="backup"):
        await store.backup(str(tmp_path / "nowhere" / "backup.sqlite"))
    with pytest.raises(StoreError, match="NUL"):
        await store.backup(str(tmp_path / "a\0b"))
    await store.commit([order_row(9999)])


def test_a_program_that_dies_without_closing_ends(tmp_path: Path) -> None:
    program = (
        "from twisted.internet import reactor, task\n"
        "from grenache_py.exchange.storage.store import Store\n"
        f"store = Store({str(tmp_path)!r}, reactor)\n"
        "task.react(lambda reactor: store.open().addCallback(lambda _: 1 / 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, check=False, cwd=ROOT
    )
    assert b"ZeroDivisionError" in done.stderr
