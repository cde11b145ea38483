"""
The store of a peer: SQLite on threads of its own, as Deferreds.

Shell. Touches one data directory and four threads: one that makes batches durable (``journal.py``);
one that writes them into the tables (``folding.py``); one that reads what memory does not hold, so
that a slow page of history never delays a commit; and one that copies the write-ahead log into the
file (``wal_checkpoints.py``). The rows are in ``effects/rows.py``, the SQL in ``statements.py``,
``snapshot.py`` and ``history.py``, the file in ``database.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from sqlite3 import Connection
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from grenache_py.exchange.effects.rows import OrderRow, Row, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage import history, retention, snapshot
from grenache_py.exchange.storage.client_id_filter import UsedClientIds
from grenache_py.exchange.storage.copies import copy
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.directory_lock import DirectoryLock
from grenache_py.exchange.storage.folding import Folding
from grenache_py.exchange.storage.journal import Journal, Mark, path_beside
from grenache_py.exchange.storage.pages import verify_pages
from grenache_py.exchange.storage.retention import Retention
from grenache_py.exchange.storage.snapshot import Counts
from grenache_py.exchange.storage.sqlite_errors import translated
from grenache_py.exchange.storage.store import HistoryReads
from grenache_py.exchange.storage.wal_checkpoints import Checkpoints
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["FILE_NAME", "SQLiteStore"]

FILE_NAME = "exchange.sqlite"
#: A larger batch finds an empty journal: any has room there.
ROWS_AT_ONCE = 1_024

T = TypeVar("T")


class SQLiteStore(HistoryReads):
    """
    A `Store` that is one file of its daemon.

    Args:
        directory: the data directory; the lock is taken by the first ``open`` and kept.
        reactor: brings results from the threads back to its own thread.
        database: the writing side; by default the file in ``directory``.
        accept_copy: open a backup copy too: the caller begins a new epoch on it.
        keep: how much history ``prune`` leaves.
    """

    queries = history

    def __init__(
        self,
        directory: str,
        reactor: IReactorFromThreads,
        database: Database | None = None,
        accept_copy: bool = False,
        keep: Retention = Retention(),  # noqa: B008  # frozen
    ) -> None:
        self.path = os.path.join(directory, FILE_NAME)
        self._reactor = reactor
        self._lock = DirectoryLock(directory)
        self._database = Database(self.path, accept_copy) if database is None else database
        self._journaler: WorkerThread | None = None
        self._writer: WorkerThread | None = None
        self._reader: WorkerThread | None = None
        self._copier: WorkerThread | None = None
        self._checkpoints: Checkpoints | None = None
        self._journal: Journal | None = None
        self._folding: Folding | None = None
        self._behind = 0  # commits that wait until the journal is shorter
        self._reading: Connection | None = None
        self._keep = keep
        self._used_ids = UsedClientIds()

    def open(self) -> Deferred[Snapshot]:
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Snapshot:
        self._lock.acquire()
        if self._writer is None or self._reader is None or self._copier is None:
            self._journaler = WorkerThread(self._reactor, "store journal")
            self._writer = WorkerThread(self._reactor, "store writer")
            self._reader = WorkerThread(self._reactor, "store reader")
            self._copier = WorkerThread(self._reactor, "store checkpoints")
        writer, used_ids = self._writer, UsedClientIds()
        self._used_ids = used_ids
        # Nobody else may be at the file when the whole log is copied into it.
        if self._checkpoints is not None:
            await self._checkpoints.close()
        clock: IReactorTime = cast("IReactorTime", self._reactor)  # which every reactor is too
        self._checkpoints = Checkpoints(self._database, writer, self._copier, clock)
        await self._close_journal()
        await self._reader.run(self._close_reading)

        def reopen() -> bool:
            self._database.close()
            return self._database.open(verify=False)

        already = await writer.run(reopen)
        # Beside each other: SQLite lets go of the interpreter while it reads pages.
        verified = succeed(None) if already else self._read(verify_pages, self.path)
        loaded = writer.run(self._database.load)
        try:
            await verified
        except BaseException:
            loaded.addErrback(lambda _: None)  # what it says matters less than the damage
            writer.run(self._database.close)  # after it, on the same thread
            raise
        found = await loaded
        self._journal = await writer.run(self._database.begin_journal)
        self._folding = Folding(self._database, self._journal, writer, clock, self._after_write)
        self._read(snapshot.client_ids).addCallbacks(used_ids.complete, lambda _: None)
        return found

    def commit(self, rows: Sequence[Row]) -> Deferred[None]:
        folding = self._folding
        if folding is None:
            return fail(StoreError("closed", f"{self.path} is not open"))
        for row in rows:
            if type(row) is OrderRow and not row.live and row.client_order_id:
                self._used_ids.add(row.account, row.client_order_id)
        if folding.failure is not None or folding.full or len(rows) > ROWS_AT_ONCE or self._behind:
            return self._append_later(folding, rows)
        return self._append(folding, rows)

    def _append_later(self, folding: Folding, rows: Sequence[Row]) -> Deferred[None]:
        """The journal has to become shorter first, also for those that come after this one."""
        self._behind += 1

        def append(result: Any) -> Any:
            self._behind -= 1
            return result if isinstance(result, Failure) else self._append(folding, rows)

        return folding.caught_up().addBoth(append)

    def _append(self, folding: Folding, rows: Sequence[Row]) -> Deferred[None]:
        if self._journaler is None or self._journal is None:
            return fail(StoreError("closed", f"{self.path} is not open"))

        def appended(result: tuple[Mark, int]) -> None:
            folding.add(rows, *result)

        return self._journaler.run(self._journal.append, rows).addCallback(appended)

    def _after_write(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.after_commit()

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        writer, reader, copier = self._writer, self._reader, self._copier
        checkpoints, self._checkpoints = self._checkpoints, None
        folded = await self._close_journal()
        journaler, self._journaler = self._journaler, None
        self._writer = self._reader = self._copier = None
        if checkpoints is not None:
            await checkpoints.close()
        if copier is not None:
            copier.stop()
        if reader is not None:
            await reader.run(self._close_reading)
            reader.stop()
        if writer is not None:
            if folded:
                await writer.run(self._database.end_journal)
            await writer.run(self._database.close)
            writer.stop()
        if journaler is not None:
            journaler.stop()
        self._lock.release()

    async def _close_journal(self) -> bool:
        """Take no more batches; whether all that were taken are in the tables now."""
        folding, journal = self._folding, self._journal
        self._folding = self._journal = None
        if folding is None or journal is None or self._journaler is None:
            return False
        await self._journaler.run(journal.close)
        try:
            await folding.caught_up()
        except StoreError:
            return False  # the next start folds the rest
        finally:
            await folding.close()
        return True

    def prune(self, now_ms: int) -> Deferred[int]:
        return Deferred.fromCoroutine(self._prune(now_ms))

    async def _prune(self, now_ms: int) -> int:
        used_ids = self._used_ids  # of this opening: another one begins with new ones
        already = len(used_ids)
        plan = await self._read(retention.plan, self._keep, now_ms)
        steps, total = self._database.prune(plan), 0
        while self._writer is not None:
            gone = await self._writer.run(next, steps, None)
            if gone is None:
                break
            total += gone
            self._after_write()
        used_ids.forget(plan.closed_orders + len(used_ids) - already)
        return total

    def backup(self, path: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._backup(path))

    async def _backup(self, path: str) -> None:
        if self._folding is not None:
            await self._folding.caught_up()
        worker = WorkerThread(self._reactor, "store backup")

        def run() -> None:
            with translated(path), closing(self._database.connect()) as connection:
                copy(connection, path)

        await worker.run(run).addBoth(worker.stopped_with)

    # ------------------------------------------------------------------------------------ reads

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        return self._used_ids.may_hold(account, client_order_id)

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk: the file, its write-ahead log and its journal."""
        total = 0
        for path in (self.path, f"{self.path}-wal", path_beside(self.path)):
            with suppress(OSError):
                total += os.stat(path).st_size
        return total

    @property
    def free_bytes(self) -> int | None:
        try:
            disk = os.statvfs(os.path.dirname(self.path) or ".")
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize

    @property
    def wal(self) -> dict[str, float | None]:
        checkpoints = self._checkpoints
        held_s = None if checkpoints is None else checkpoints.held_s
        return {"bytes": self._database.log_bytes, "held_s": held_s and round(held_s, 1)}

    @property
    def facts(self) -> dict[str, Any]:
        folding = self._folding
        if folding is None:
            return {}
        return {"journal": {"bytes": folding.bytes, "behind_s": round(folding.behind_s, 1)}}

    def counts(self) -> Deferred[Counts]:
        """How many rows of each kind there are."""
        return self._read(snapshot.counts)

    def _read(self, query: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        if self._folding is None:
            return self._read_tables(query, *args, **kwargs)
        caught_up = self._folding.caught_up()
        return caught_up.addCallback(lambda _: self._read_tables(query, *args, **kwargs))

    def _read_tables(self, query: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        if self._reader is None:
            return fail(StoreError("closed", f"{self.path} is not open"))

        def run() -> T:
            with translated(self.path):
                if self._reading is None:
                    self._reading = self._database.connect()
                    self._reading.execute("PRAGMA query_only = 1")
                return query(self._reading, *args, **kwargs)

        return self._reader.run(run)

    def _close_reading(self) -> None:
        connection, self._reading = self._reading, None
        if connection is not None:
            connection.close()
