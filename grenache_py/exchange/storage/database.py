"""
The SQLite file of a peer, used synchronously: open, check, upgrade and load it, write batches.

Shell. Touches one SQLite file; knows no thread, no reactor and no clock. ``store.py`` runs it
on its own thread; the simulator runs the same class on ``:memory:`` with a disk that fails.

WAL with ``synchronous=FULL``: when ``commit`` returns, the batch is on the disk. One process has
the file (``store.py`` holds a lock on its directory), so "database is locked" means that
somebody opened it with another program.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from itertools import islice
from sqlite3 import Connection

from grenache_py.exchange.effects.rows import LogRow, Row, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage import journal, retention, snapshot
from grenache_py.exchange.storage import statements as tables
from grenache_py.exchange.storage.copies import BACKUP_MARK, copy_before_upgrade, make_private
from grenache_py.exchange.storage.journal import Journal, Mark
from grenache_py.exchange.storage.pages import checkpoint, pragma, verify_pages
from grenache_py.exchange.storage.sqlite_errors import translated

__all__ = ["Database", "journal_mark", "schema_steps"]

APPLICATION_ID = 0x67725078  # "grPx", in the file's header: this is an exchange's store
SQLITE_MIN = (3, 32, 0)  # 32,766 parameters a statement; VACUUM INTO; upserts
BUSY_TIMEOUT_S = 5.0
PAGE_CACHE_KIB = 64 * 1024
#: Rows changed between two checkpoints, some 100 MiB of the write-ahead log: so rarely that far
#: less than one commit in a hundred meets the end of one.
CHECKPOINT_CHANGES = 80_000
#: Or by how much its file grew: of a commit with few rows each takes several pages.
CHECKPOINT_BYTES = 64 * 1024 * 1024
#: The log's file is cut to this length when it begins anew, or a reader held it longer.
WAL_KEPT_BYTES = 128 * 1024 * 1024
#: Beyond this the writer itself folds the log into the file, and fails when it cannot.
WAL_BYTES_MAX = 256 * 1024 * 1024
#: Of a journal, in one transaction of a start: a page that many of them change is written once.
BATCHES_AT_ONCE = 1_000
#: The first schema with a journal.
JOURNAL_SCHEMA = 7
READERS_WAIT_S = 0.05  # for a reader that needs the log; a backup may need it for minutes


def schema_steps() -> list[str]:
    """The numbered schema files, in order; step n (from 1) makes schema n out of n - 1."""
    folder = resources.files("grenache_py.exchange.storage") / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    return [file.read_text("utf-8") for file in files]


class Database:
    """
    One SQLite file and its only writing connection.

    After any method has raised ``StoreError`` the database is closed: what it holds in memory
    may not be what the disk holds. ``open`` and ``load`` again to know.

    Args:
        path: a file, or ``:memory:``.
        accept_copy: open a backup copy too; the first log entry, which the caller promises to
            be of a new epoch, makes it a home's own again.
        steps: schema steps, for tests of upgrades.
    """

    def __init__(
        self, path: str, accept_copy: bool = False, steps: Sequence[str] | None = None
    ) -> None:
        self.path = path
        self._accept_copy = accept_copy
        self._is_copy = False
        self._steps = schema_steps() if steps is None else steps
        self._connection: Connection | None = None
        self._shelf = tables.Shelf(0, 0, -1)
        self._changed = self._checkpoint_at = 0  # in numbers of changed rows
        self._grown_at = self._bound_at = 0  # in bytes of the log's file

    def connect(self) -> Connection:
        """Open the SQLite connection (a double may hand out another one)."""
        return sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            cached_statements=tables.STATEMENTS_KEPT,
        )

    @property
    def connection(self) -> Connection:
        """The open connection. Raises StoreError (``closed``) when there is none."""
        if self._connection is None:
            raise StoreError("closed", f"{self.path} is not open")
        return self._connection

    def open(self, verify: bool = True) -> bool:
        """
        Open the file, making or upgrading it where needed.

        Args:
            verify: look for damage, which reads the whole file (1 GB/s or so); a caller that
                says False runs ``verify_pages`` itself, beside ``load``.

        Returns:
            whether that was done; always when there was something to be written.

        Raises:
            StoreError: it cannot be opened, is damaged, newer than this program, or foreign.
        """
        if sqlite3.sqlite_version_info < SQLITE_MIN:
            wanted = ".".join(map(str, SQLITE_MIN))
            raise StoreError(
                "refused",
                f"Python has SQLite {sqlite3.sqlite_version}, the store needs {wanted} at least",
            )
        with self._closing_on_error():
            if self.path != ":memory:":
                make_private(self.path)
            self._connection = connection = self.connect()
            self._changed = self._bound_at = 0
            self.checkpoint_begins()
            self._check(connection)
            self._configure(connection)
            mark = journal_mark(connection)
            verify = (
                verify or mark is not None or pragma(connection, "user_version") < len(self._steps)
            )
            if verify:  # before anything is written
                verify_pages(connection, self.path)
            self._upgrade(connection)
            self._shelf = tables.Shelf.of(connection)
            if mark is not None:
                self._recover(connection, mark)
                self._check(connection)
        return verify

    def load(self) -> Snapshot:
        """Everything a node needs to start, damaged texts as they are. Raises StoreError."""
        with self._closing_on_error():
            return snapshot.load_as_it_is(self.connection)

    def commit(self, rows: Sequence[Row]) -> None:
        """
        Write ``rows`` in one transaction; on return they are on the disk.

        Raises:
            StoreError: nothing is known about these rows: none of them is there, or all are.
        """
        self.fold([rows], None)

    def fold(self, batches: Iterable[Sequence[Row]], mark: Mark | None) -> None:
        """
        Write batches of a journal, and ``mark``, the place behind them, in one transaction.

        Raises:
            StoreError: another program writes to the file (``locked``), and nothing was done; or
                nothing is known, and the database is closed.
        """
        connection = self.connection
        with self._closing_on_error(but="locked"):
            self._bound_log(connection)
            connection.execute("BEGIN IMMEDIATE")
        with self._closing_on_error():
            for rows in tables.together(batches):
                self._write(connection, rows)
            self._commit(connection, mark)

    def _write(self, connection: Connection, rows: Sequence[Row]) -> None:
        tables.write(connection, rows, self._shelf)
        if self._is_copy and any(type(row) is LogRow for row in rows):
            connection.execute("DELETE FROM meta WHERE name = ?", (BACKUP_MARK,))
            self._is_copy = False

    def _commit(self, connection: Connection, mark: Mark | None) -> None:
        if mark is not None:
            moved = (mark.number, mark.offset, mark.id)
            connection.execute("UPDATE journal SET number = ?, offset = ? WHERE id = ?", moved)
        connection.execute("COMMIT")
        self._changed = connection.total_changes

    def begin_journal(self) -> Journal:
        """
        Return a journal that is empty, and that the next ``open`` folds. Raises StoreError.

        Batches go into the file by its journal alone from now on.
        """
        with self._closing_on_error():
            made = Journal(journal.path_beside(self.path))
            self.connection.execute("INSERT INTO journal VALUES (?, ?, ?)", made.folded)
            return made

    def end_journal(self) -> None:
        """All of the journal is in the tables. Raises StoreError."""
        with self._closing_on_error():
            self.connection.execute("DELETE FROM journal")
            with suppress(FileNotFoundError):
                os.remove(journal.path_beside(self.path))

    def _recover(self, connection: Connection, mark: Mark) -> None:
        """Fold what a journal has that the tables have not."""
        path = journal.path_beside(self.path)
        if os.path.exists(path) or not self._accept_copy:
            batches = journal.unfolded(path, mark)
            while some := list(islice(batches, BATCHES_AT_ONCE)):
                self._bound_log(connection)
                self._fold_whole(connection, some)
        self.end_journal()

    def _fold_whole(self, connection: Connection, some: Sequence[tuple[bytes, Mark]]) -> None:
        """
        Write packed batches, each with the place behind it, in one transaction.

        Raises:
            Exception: one cannot be folded; those before it are.
        """
        mark, failed = None, None
        connection.execute("BEGIN IMMEDIATE")
        for data, behind in some:
            connection.execute("SAVEPOINT batch")
            try:
                self._write(connection, journal.unpack(data))
            except Exception as error:
                if not connection.in_transaction:  # it is lost as a whole, on a full disk
                    raise
                connection.execute("ROLLBACK TO batch")
                failed = error
                break
            connection.execute("RELEASE batch")
            mark = behind
        self._commit(connection, mark)
        if failed is not None:
            raise failed

    def _bound_log(self, connection: Connection) -> None:
        """Fold a log that grew too long: a disk that cannot take it must take no more orders."""
        if self.log_bytes > max(WAL_BYTES_MAX, self._bound_at):
            _fold(connection)  # not each time: readers are waited for
            self._bound_at = self.log_bytes + CHECKPOINT_BYTES

    @property
    def log_bytes(self) -> int:
        """The size of the write-ahead log's file; may be asked on any thread."""
        return _size(f"{self.path}-wal")

    def shrink_log(self) -> None:
        """Fold a log whose file is too long: by itself it stays as long as it ever was."""
        if self._connection is not None and self.log_bytes > WAL_KEPT_BYTES:
            with translated(self.path):
                _fold(self._connection)
        self._grown_at = self.log_bytes + CHECKPOINT_BYTES

    # Checkpoints beside the commits.

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough was committed since the last one; may be asked on any thread."""
        return self._changed >= self._checkpoint_at or self.log_bytes >= self._grown_at

    def checkpoint_begins(self) -> None:
        """One is being made, or tried; the next is due after as much again."""
        self._checkpoint_at = self._changed + CHECKPOINT_CHANGES
        self._grown_at = self.log_bytes + CHECKPOINT_BYTES

    def connect_for_checkpoints(self) -> Connection:
        """A connection for ``checkpoint`` on another thread. Raises StoreError."""
        with translated(self.path):
            connection = self.connect()
            try:
                # The file is synced before the log may begin anew.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log
            except BaseException:
                connection.close()
                raise
        return connection

    def finish_checkpoint(self) -> bool:
        """
        Copy what was committed during the last ``checkpoint``; the log can begin anew then.

        Returns whether all was copied: if not, somebody's transaction needs the older pages.

        Raises:
            StoreError: it could not be copied; the log has it, and the database stays open.
        """
        return self._connection is None or checkpoint(self._connection, self.path)

    def prune(self, plan: retention.Plan) -> Iterator[int]:
        """Forget what ``plan`` says, one short transaction a step. A step may raise StoreError."""
        connection = self.connection
        steps = retention.prune(connection, plan)
        while self._connection is connection:
            with self._closing_on_error():
                gone = next(steps, None)
                self._changed = connection.total_changes
            if gone is None:
                return
            yield gone

    def close(self) -> None:
        """Close the connection; the write-ahead log is folded into the file. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # everything acknowledged is on the disk already
                connection.close()

    @contextmanager
    def _closing_on_error(self, but: str = "") -> Iterator[None]:
        try:
            with translated(self.path):
                yield
        except BaseException as error:
            if not (isinstance(error, StoreError) and error.fault == but):
                self.close()
            raise

    def _check(self, connection: Connection) -> None:
        """Refuse a file that is not ours, or not for this version."""
        version = pragma(connection, "user_version")
        made = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if made and pragma(connection, "application_id") != APPLICATION_ID:
            raise StoreError("refused", f"{self.path} is the database of another program")
        if 0 < version < len(self._steps) and journal_mark(connection) is not None:
            raise StoreError(
                "refused",
                f"{self.path} was not closed, and its journal is of schema {version}: start and"
                " stop the grenache-py that wrote it once",
            )
        if version > len(self._steps):
            raise StoreError(
                "refused",
                f"{self.path} has schema {version}, this program knows {len(self._steps)}: "
                "run the newer grenache-py that wrote it, or use another --data directory",
            )
        marked = "SELECT count(*) FROM meta WHERE name = ?"
        self._is_copy = version > 0 and connection.execute(marked, (BACKUP_MARK,)).fetchone()[0] > 0
        if self._is_copy and not self._accept_copy and journal_mark(connection) is None:
            raise StoreError(
                "refused",
                f"{self.path} is a backup copy: running on it would promise again what was traded "
                "since; start with --new-epoch (see 'Backup and restore' in docs/store-schema.rst)",
            )

    def _configure(self, connection: Connection) -> None:
        connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        # Or each batch would open, write and unlink a file in /var/tmp for statement journals.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # wal_checkpoints.py does it
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode not in ("wal", "memory"):
            raise StoreError(
                "refused",
                f"{self.path}: its file system has no shared memory (a network disk?), which "
                "SQLite's write-ahead log needs: put --data on a local disk",
            )
        connection.execute("PRAGMA synchronous = FULL")
        # After a failed fsync the kernel may call pages clean that never reached the disk.
        # Copying the whole log into the file, which is synced, makes what we read durable.
        connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()

    def _upgrade(self, connection: Connection) -> None:
        version = pragma(connection, "user_version")
        if 0 < version < len(self._steps):
            copy_before_upgrade(connection, f"{self.path}.schema{version}")
        if version < len(self._steps):  # in one transaction: a new file is whole, or not there
            connection.executescript(
                f"BEGIN IMMEDIATE; {';'.join(self._steps[version:])};"
                f"PRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {len(self._steps)}; COMMIT;"
            )


def journal_mark(connection: Connection) -> Mark | None:
    """How far the journal is folded; None when there is none, or all of it is."""
    if pragma(connection, "user_version") < JOURNAL_SCHEMA:
        return None
    found = connection.execute("SELECT id, number, offset FROM journal").fetchone()
    return None if found is None else Mark(*found)


def _fold(connection: Connection) -> None:
    """Copy the log and empty its file, if no reader needs it."""
    connection.execute(f"PRAGMA busy_timeout = {READERS_WAIT_S * 1000:.0f}")
    connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:  # :memory: has no log
        return 0
