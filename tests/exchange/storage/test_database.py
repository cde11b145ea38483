"""The file: making, refusing, upgrading and copying it, and disks that fail."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from grenache_py.exchange.effects.rows import MetaRow, Snapshot
from grenache_py.exchange.errors import StoreError, StoreFault
from grenache_py.exchange.signed_log.entries import EPOCH_MAX, SEQ_MAX
from grenache_py.exchange.storage import history, retention, snapshot
from grenache_py.exchange.storage.copies import copy
from grenache_py.exchange.storage.database import APPLICATION_ID, Database, schema_steps
from grenache_py.exchange.storage.positions import INTEGER_MAX, log_position
from grenache_py.exchange.storage.read_only import read_only
from tests.support.store_rows import event_row, log_row, order_row, trade_row


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "exchange.sqlite")


@pytest.fixture
def database(path: str) -> Iterator[Database]:
    made = Database(path)
    made.open()
    yield made
    made.close()


@contextmanager
def raises(fault: StoreFault, match: str) -> Iterator[None]:
    """Expect a StoreError of this kind whose sentence says so."""
    with pytest.raises(StoreError, match=match) as error:
        yield
    assert error.value.fault == fault


def loaded(path: str) -> Snapshot:
    """What a daemon would start from."""
    database = Database(path)
    database.open()
    with closing(database):
        return database.load()


def test_who_looks_sees_one_state_whatever_is_committed_meanwhile(
    database: Database, path: str
) -> None:
    def orders(connection: sqlite3.Connection) -> int:
        found: int = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
        return found

    database.commit([order_row(1)])
    with read_only(path) as looking:
        assert orders(looking) == 1
        database.commit([order_row(2)])
        assert orders(looking) == 1
    with read_only(path) as looking:
        assert orders(looking) == 2
    with raises("refused", "is not the store of an exchange"), closing(sqlite3.connect(path)) as it:
        it.execute("PRAGMA application_id = 7")
        with read_only(path):
            pass


def test_a_commit_is_on_the_disk_when_it_returns(database: Database, path: str) -> None:
    assert database.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert database.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    database.commit([order_row(1)])
    with sqlite3.connect(path) as other:  # what a process would find after we were killed
        assert other.execute("SELECT count(*) FROM orders").fetchone()[0] == 1
    other.close()


def test_the_file_of_another_program_is_refused(path: str) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE things (a)")
    other.close()
    with raises("refused", "another program"):
        Database(path).open()


def test_a_file_that_is_no_database_is_refused(path: str) -> None:
    Path(path).write_bytes(b"my shopping list\n" * 1000)
    with raises("corrupt", "not an SQLite database"):
        Database(path).open()


def test_a_newer_file_is_refused_with_what_to_do(database: Database, path: str) -> None:
    database.connection.execute(f"PRAGMA user_version = {len(schema_steps()) + 1}")
    database.close()
    with raises("refused", "run the newer grenache-py that wrote it"):
        Database(path).open()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with raises("io", "cannot be opened"):
        Database(str(tmp_path / "nowhere" / "exchange.sqlite")).open()


def test_a_damaged_page_is_found_at_the_start(database: Database, path: str) -> None:
    database.commit([order_row(n) for n in range(2000)])
    database.close()
    with open(path, "r+b") as file:
        file.seek(20 * 4096)
        file.write(os.urandom(4096))
    with raises("corrupt", "A damaged file"):
        Database(path).open()


def test_a_torn_end_of_the_log_loses_only_what_was_not_acknowledged(
    database: Database, path: str, tmp_path: Path
) -> None:
    database.commit([order_row(1)])
    database.commit([order_row(2)])
    wal = Path(path + "-wal").read_bytes()
    (tmp_path / "torn.sqlite").write_bytes(Path(path).read_bytes())
    for end in range(len(wal), 0, -1000):
        (tmp_path / "torn.sqlite-wal").write_bytes(wal[:end])
        found = loaded(str(tmp_path / "torn.sqlite"))
        assert [row.time_ms for row in found.orders] in ([1, 2], [1], [])
        (tmp_path / "torn.sqlite").write_bytes(Path(path).read_bytes())


# Upgrades.

NEXT = "CREATE TABLE extra (a INTEGER PRIMARY KEY); INSERT INTO meta VALUES ('upgraded', 1)"


def test_an_upgrade_keeps_everything_and_a_copy_of_before(database: Database, path: str) -> None:
    database.commit([order_row(1), MetaRow("epoch", 4)])
    database.close()
    newer = Database(path, steps=[*schema_steps(), NEXT])
    newer.open()
    assert newer.load().meta == {"epoch": 4, "upgraded": 1}
    assert newer.load().orders == [order_row(1)]
    newer.close()
    newer.open()  # once is enough
    newer.close()
    before = sqlite3.connect(f"{path}.schema{len(schema_steps())}")
    assert before.execute("PRAGMA user_version").fetchone()[0] == len(schema_steps())
    assert before.execute("SELECT count(*) FROM orders").fetchone()[0] == 1
    before.close()
    with raises("refused", "run the newer grenache-py"):
        Database(path).open()


def test_a_file_of_schema_1_is_upgraded(tmp_path: Path) -> None:
    path = str(tmp_path / "old.sqlite")
    old = Database(path, steps=schema_steps()[:1])
    old.open()
    old.connection.execute("INSERT INTO meta VALUES ('epoch', 4)")
    old.close()
    found = loaded(path)
    assert (found.meta, found.traded_fills) == ({"epoch": 4}, [])


def test_an_upgrade_that_fails_changes_nothing(database: Database, path: str) -> None:
    database.commit([order_row(1)])
    database.close()
    broken = Database(path, steps=[*schema_steps(), NEXT + "; INSERT INTO nothing VALUES (1)"])
    with raises("bug", "nothing"):
        broken.open()
    assert loaded(path).orders == [order_row(1)]


def test_an_upgrade_refuses_to_overwrite_an_older_copy(database: Database, path: str) -> None:
    database.close()
    copy = Path(f"{path}.schema{len(schema_steps())}")
    copy.write_text("precious")
    with raises("refused", "move it away"):
        Database(path, steps=[*schema_steps(), NEXT]).open()
    assert copy.read_text() == "precious"


# Copies.


def test_a_copy_is_complete_and_cannot_be_traded_on_by_mistake(
    database: Database, path: str, tmp_path: Path
) -> None:
    database.commit([order_row(1), log_row(1)])
    target = str(tmp_path / "copy.sqlite")
    copy(database.connection, target)
    database.commit([order_row(2)])
    with raises("refused", "--new-epoch"):
        Database(target).open()
    accepted = Database(target, accept_copy=True)
    accepted.open()
    assert accepted.load().orders == [order_row(1)]
    accepted.close()
    with raises("refused", "backup copy"):  # nothing was written yet: still a copy
        Database(target).open()
    accepted.open()
    accepted.commit([MetaRow("epoch", 2)])
    accepted.close()
    with raises("refused", "backup copy"):  # nor was it a new beginning
        Database(target).open()
    accepted.open()
    accepted.commit([log_row(1, epoch=2)])
    accepted.close()
    assert loaded(target).head == log_row(1, epoch=2)
    with raises("refused", "exists"):
        copy(database.connection, target)


def test_nobody_else_may_read_the_file_or_a_copy(database: Database, path: str) -> None:
    database.commit([order_row(1)])
    copy(database.connection, f"{path}.copy")
    for suffix in ("", "-wal", ".copy"):
        assert os.stat(path + suffix).st_mode & 0o077 == 0


def test_a_copy_that_fails_leaves_nothing_behind(path: str) -> None:
    printed = run_child(
        """
        import os
        from grenache_py.exchange.storage.copies import copy
        database = Database(path)
        database.open()
        database.commit([order_row(n) for n in range(5000)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        refused(copy, database.connection, path + ".copy")
        print(sorted(os.listdir(os.path.dirname(path))))
        """,
        path,
    )
    assert printed.split("\n")[0] == "io"
    assert "copy" not in printed


# Disks that fail.


def test_a_full_database_says_so_and_works_again_when_there_is_room(
    database: Database, path: str
) -> None:
    database.commit([order_row(1)])
    pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count = {pages}")
    with raises("full", "no space is left"):
        database.commit([order_row(n) for n in range(2, 2000)])
    with raises("closed", "not open"):
        database.commit([order_row(3)])
    database.open()
    assert database.load().orders == [order_row(1)]
    database.commit([order_row(2)])
    assert loaded(path).orders == [order_row(1), order_row(2)]


def run_child(program: str, *arguments: str, wrap: tuple[str, ...] = ()) -> str:
    """What a Python program, with the imports it needs, prints."""
    head = """
        import sys, resource, signal
        from grenache_py.exchange.storage.database import Database
        from grenache_py.exchange.errors import StoreError
        from tests.support.store_rows import order_row
        path = sys.argv[1]
        def refused(call, *arguments):
            try:
                call(*arguments)
            except StoreError as error:
                print(error.fault)
    """
    code = textwrap.dedent(head) + textwrap.dedent(program)
    done = subprocess.run(
        [*wrap, sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_failing_write_is_an_io_fault_and_the_batch_is_whole_or_not_there(path: str) -> None:
    # The kernel refuses to let the file grow (EFBIG), as a failing disk would refuse to write.
    printed = run_child(
        """
        database = Database(path)
        database.open()
        database.commit([order_row(1)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        refused(database.commit, [order_row(n) for n in range(2, 5000)])
        refused(database.open)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        database.open()
        print(len(database.load().orders))
        database.commit([order_row(n) for n in range(2, 5000)])
        """,
        path,
    )
    assert printed.split() == ["io", "1"]
    assert len(loaded(path).orders) == 4999


def can_mount() -> bool:
    """Whether this user may mount in a namespace of its own."""
    try:
        tried = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True,
            check=False,
            timeout=10,
        )
    except OSError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs unprivileged mount namespaces")
def test_a_disk_that_fills_up_and_is_made_read_only(tmp_path: Path) -> None:
    printed = run_child(
        """
        import subprocess, os
        mount = lambda *options: subprocess.run(["mount", *options, "none", path], check=True)
        mount("-t", "tmpfs", "-o", "size=1m")
        database = Database(path + "/exchange.sqlite")
        database.open()
        database.commit([order_row(1)])
        with open(path + "/ballast", "wb") as ballast:
            try:
                ballast.write(b"x" * 2**20)
            except OSError:
                pass
        refused(database.commit, [order_row(n) for n in range(2, 5000)])
        os.truncate(path + "/ballast", 0)
        database.open()
        database.commit([order_row(2)])
        print(len(database.load().orders))
        database.close()
        mount("-o", "remount,ro")
        refused(database.open)
        mount("-o", "remount,rw")
        database.open()
        print(len(database.load().orders))
        """,
        str(tmp_path),
        wrap=("unshare", "-rm"),
    )
    assert printed.split() == ["full", "2", "readonly", "2"]


def test_a_lock_held_by_another_program_is_named(
    database: Database, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grenache_py.exchange.storage.database.BUSY_TIMEOUT_S", 0.05)
    database.close()
    database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with raises("locked", "close that one first"):
        database.commit([order_row(1)])
    other.close()
    database.open()
    database.commit([order_row(1)])


class FlakyConnection(sqlite3.Connection):
    """Fails the nth statement with what SQLite would say, before or after doing it."""

    fail_at = -1
    after = False
    message = "disk I/O error"
    count = 0

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:  # type: ignore[override]
        type(self).count += 1
        failing = type(self).count == self.fail_at
        if failing and not self.after:
            raise sqlite3.OperationalError(self.message)
        cursor = super().execute(sql, parameters)  # type: ignore[arg-type]
        if failing:
            raise sqlite3.OperationalError(self.message)
        return cursor


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("disk I/O error", "io"),
        ("database or disk is full", "full"),
        ("database is locked", "locked"),
    ],
)
def test_whatever_statement_fails_a_batch_is_whole_or_not_there(
    path: str, after: bool, message: str, fault: str
) -> None:
    class Flaky(FlakyConnection):
        pass

    class FlakyDatabase(Database):
        def connect(self) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, factory=Flaky)

    Flaky.message, Flaky.after = message, after
    batch = 0
    while True:
        database = FlakyDatabase(path)
        database.open()
        Flaky.count, Flaky.fail_at = 0, batch + 1
        rows = [order_row(1 + batch * 2), order_row(2 + batch * 2), log_row(batch + 1)]
        try:
            database.commit(rows)
        except StoreError as error:
            assert error.fault == fault
        finished = Flaky.count < Flaky.fail_at
        Flaky.fail_at = -1
        database.close()
        found = loaded(path)
        here = {row.time_ms for row in found.orders} & {1 + batch * 2, 2 + batch * 2}
        assert len(here) in (0, 2)
        assert any(row.seq == batch + 1 for row in found.log_tail) == (len(here) == 2)
        if finished:
            break
        batch += 1
    assert batch >= 4  # BEGIN, two inserts, COMMIT


def test_the_file_says_whose_it_is(database: Database, path: str) -> None:
    database.commit([order_row(1)])
    database.close()
    header = Path(path).read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID


def test_schema_3_numbers_the_log_anew_and_keeps_every_entry(path: str) -> None:
    """Epochs are minutes since 2026: 22 bits of them ended in December 2033."""
    first, second, third = schema_steps()[:3]
    old = Database(path, steps=[first, second])
    old.open()
    rows = [(epoch, seq) for epoch in (1, 16, 4_000_000) for seq in (1, 2, 900)]
    old.connection.executemany(
        "INSERT INTO log VALUES (?, ?, 'payload', x'00', 0, 1, x'01')",
        [(epoch << 40 | seq, f"{epoch}/{seq}") for epoch, seq in rows],
    )
    old.close()
    upgraded = Database(path, steps=[first, second, third])
    upgraded.open()
    found = [
        (row.epoch, row.seq, row.hash) for row in snapshot.all_log_entries(upgraded.connection)
    ]
    assert found == [(epoch, seq, f"{epoch}/{seq}") for epoch, seq in rows]
    upgraded.close()


def test_schema_4_finds_the_executions_of_the_trades_that_are_kept(path: str) -> None:
    old = Database(path, steps=schema_steps()[:3])
    old.open()
    alice = [order_row(number, account="alice") for number in (1, 2)]
    bob = order_row(3, account="bob", client_order_id="mine")
    orders = [*alice, bob]
    old.commit(
        [*orders, *(event_row(order.account, seq, order) for seq, order in enumerate(orders))]
    )
    ids = [order.order_id for order in orders]
    trades = [
        trade_row(1, maker_order=ids[0], taker_order=ids[1], maker_home="us", taker_home="us"),
        trade_row(2, maker_order=ids[2], taker_order="theirs", maker_home="us", taker_home="they"),
        trade_row(3, maker_order="theirs", taker_order="theirs"),
        trade_row(4, maker_order="theirs", taker_order=ids[0], maker_home="they", taker_home="us"),
    ]
    for trade in trades:
        old.commit([*orders, trade])
    old.close()
    upgraded = Database(path)
    upgraded.open()
    assert upgraded.load().execution_seqs == {"alice": 3, "bob": 1}
    page = history.executions(upgraded.connection, "alice", 9, 0)
    assert page is not None and (page.last, page.newest) == (3, 3)
    assert [(row.seq, row.order_id, row.role, row.counterparty) for row in page.rows] == [
        (1, ids[0], "maker", "us"),
        (2, ids[1], "taker", "us"),
        (3, ids[0], "taker", "they"),
    ]
    (row,) = history.executions(upgraded.connection, "bob", 9, 0).rows  # type: ignore[union-attr]
    assert (row.client_order_id, row.price_ticks, row.time_ms) == (
        "mine", trades[1].price_ticks, trades[1].time_ms,
    )  # fmt: skip
    upgraded.close()


def test_an_entry_of_the_highest_epoch_can_be_stored_and_pruned(path: str) -> None:
    assert EPOCH_MAX > (2281 - 2026) * 365 * 24 * 60
    assert log_position(EPOCH_MAX, SEQ_MAX) <= INTEGER_MAX
    database = Database(path)
    database.open()
    for seq in range(1, 6):
        database.connection.execute(
            "INSERT INTO log VALUES (?, '', '', x'00', 0, 1, x'01')",
            (log_position(EPOCH_MAX, seq),),
        )
    plan = retention.plan(database.connection, retention.Retention(log_entries_max=2), 0)
    assert plan.log_below == log_position(EPOCH_MAX, 4)
    database.close()
