"""
The store of a peer: SQLite on threads of its own, as Deferreds.

Shell. Touches one data directory and three threads: one that writes; one that reads what memory
does not hold, so that a slow page of history never delays a commit; and one that copies the
write-ahead log into the file (``wal_checkpoints.py``). The rows are in ``effects/rows.py``, the SQL
in ``statements.py``, ``snapshot.py`` and ``history.py``, the file in ``database.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from sqlite3 import Connection
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from grenache_py.exchange.effects.rows import OrderRow, Row, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage import history, retention, snapshot
from grenache_py.exchange.storage.client_id_filter import UsedClientIds
from grenache_py.exchange.storage.copies import copy
from grenache_py.exchange.storage.database import Database, verify_pages
from grenache_py.exchange.storage.directory_lock import DirectoryLock
from grenache_py.exchange.storage.retention import Retention
from grenache_py.exchange.storage.snapshot import Counts
from grenache_py.exchange.storage.sqlite_errors import translated
from grenache_py.exchange.storage.store import HistoryReads
from grenache_py.exchange.storage.wal_checkpoints import Checkpoints
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["FILE_NAME", "SQLiteStore"]

FILE_NAME = "exchange.sqlite"

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
        self._writer: WorkerThread | None = None
        self._reader: WorkerThread | None = None
        self._copier: WorkerThread | None = None
        self._checkpoints: Checkpoints | None = None
        self._reading: Connection | None = None
        self._keep = keep
        self._used_ids = UsedClientIds()

    def open(self) -> Deferred[Snapshot]:
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Snapshot:
        self._lock.acquire()
        if self._writer is None or self._reader is None or self._copier is None:
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
        await self._reader.run(self._close_reading)

        def reopen() -> None:
            self._database.close()
            self._database.open(verify=False)

        await writer.run(reopen)
        # Beside each other: SQLite lets go of the interpreter while it reads pages.
        verified = self._read(verify_pages, self.path)
        loaded = writer.run(self._database.load)
        try:
            await verified
        except BaseException:
            loaded.addErrback(lambda _: None)  # what it says matters less than the damage
            writer.run(self._database.close)  # after it, on the same thread
            raise
        found = await loaded
        self._read(snapshot.client_ids).addCallbacks(used_ids.complete, lambda _: None)
        return found

    def commit(self, rows: Sequence[Row]) -> Deferred[None]:
        if self._writer is None:
            return fail(StoreError("closed", f"{self.path} is not open"))
        for row in rows:
            if type(row) is OrderRow and not row.live and row.client_order_id:
                self._used_ids.add(row.account, row.client_order_id)
        return self._writer.run(self._database.commit, rows).addCallback(self._after_commit)

    def _after_commit(self, result: T) -> T:
        if self._checkpoints is not None:
            self._checkpoints.after_commit()
        return result

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        writer, reader, copier = self._writer, self._reader, self._copier
        checkpoints, self._checkpoints = self._checkpoints, None
        self._writer = self._reader = self._copier = None
        if checkpoints is not None:
            await checkpoints.close()
        if copier is not None:
            copier.stop()
        if reader is not None:
            await reader.run(self._close_reading)
            reader.stop()
        if writer is not None:
            await writer.run(self._database.close)
            writer.stop()
        self._lock.release()

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
            total += self._after_commit(gone)
        used_ids.forget(plan.closed_orders + len(used_ids) - already)
        return total

    def backup(self, path: str) -> Deferred[None]:
        worker = WorkerThread(self._reactor, "store backup")

        def run() -> None:
            with translated(path), closing(self._database.connect()) as connection:
                copy(connection, path)

        return worker.run(run).addBoth(worker.stopped_with)

    # ------------------------------------------------------------------------------------ reads

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        return self._used_ids.may_hold(account, client_order_id)

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk: the file and its write-ahead log."""
        total = 0
        for suffix in ("", "-wal"):
            with suppress(OSError):
                total += os.stat(self.path + suffix).st_size
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
        return {}

    def counts(self) -> Deferred[Counts]:
        """How many rows of each kind there are."""
        return self._read(snapshot.counts)

    def _read(self, query: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
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
