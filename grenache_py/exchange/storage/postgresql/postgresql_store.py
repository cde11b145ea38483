"""
The store of a home in a PostgreSQL database, as Deferreds.

Shell. Touches one database and two threads: one that writes, one that reads what memory does not
hold. The SQL is in ``statements.py`` and ``queries.py``, the term in ``database.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from grenache_py.exchange.effects.rows import LogRow, OrderRow, Row, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.standby.role import STEP_S
from grenache_py.exchange.storage import retention, snapshot
from grenache_py.exchange.storage.client_id_filter import UsedClientIds
from grenache_py.exchange.storage.postgresql import queries
from grenache_py.exchange.storage.postgresql.copying import copy_to_file
from grenache_py.exchange.storage.postgresql.database import PostgreSQLDatabase
from grenache_py.exchange.storage.postgresql.faults import translated
from grenache_py.exchange.storage.postgresql.sessions import DatabaseSession, size_and_standbys
from grenache_py.exchange.storage.postgresql.term_watcher import TermWatcher
from grenache_py.exchange.storage.retention import Retention
from grenache_py.exchange.storage.snapshot import Counts
from grenache_py.exchange.storage.store import HistoryReads
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["PostgreSQLStore"]

#: How long a read, or a step of forgetting, may take; and an opening, which loads 100,000 orders.
READ_S, OPEN_S = 30.0, 300.0

T = TypeVar("T")


class PostgreSQLStore(HistoryReads):
    """
    A `Store` that is a database, which other daemons may take over.

    Args:
        database: the writing side.
        reactor: brings results from the threads back to its own thread.
        keep: how much history ``prune`` leaves.

    Attributes:
        watcher: looks at the term, and says that this process lives.
        head: epoch and number of the newest own log entry that is known to be replicated.
        follows: another process holds the term, and what it has committed is read.
    """

    queries = queries

    def __init__(
        self,
        database: PostgreSQLDatabase,
        reactor: IReactorFromThreads,
        keep: Retention = Retention(),  # noqa: B008  # frozen
    ) -> None:
        self.watcher = TermWatcher(database, reactor)
        self.head = (0, 0)
        self.follows = False
        self._database = database
        self._reactor = reactor
        self._clock: IReactorTime = cast("IReactorTime", reactor)  # which every reactor is too
        self._writer: WorkerThread | None = None
        self._reader: WorkerThread | None = None
        self._reading: DatabaseSession | None = None
        self._keep = keep
        self._used_ids = UsedClientIds()
        self._size_bytes = 0
        self._standbys: list[dict[str, Any]] | None = None

    def open(self) -> Deferred[Snapshot]:
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Snapshot:
        await self._at_work(OPEN_S, self._database.open)
        return await self._load()

    # The term, in the steps of a daemon's role (docs/design/standby.rst#takeover).

    def end_sessions(self, silent_s: float) -> Deferred[None]:
        """See ``PostgreSQLDatabase.end_sessions``, which says how it fails."""
        return self._at_work(STEP_S, self._database.end_sessions, silent_s)

    def raise_term(
        self, expected: int, number: int, holder: str, silent_s: float
    ) -> Deferred[None]:
        """See ``PostgreSQLDatabase.raise_term``, which says how it fails."""
        return self._at_work(STEP_S, self._database.raise_term, expected, number, holder, silent_s)

    def load(self) -> Deferred[Snapshot]:
        """
        Read what the terms before have written.

        Fires with: everything a node needs to start where the last one stopped.
        Fails with:
            StoreError: the store cannot be read.
        """
        return Deferred.fromCoroutine(self._load())

    async def _load(self) -> Snapshot:
        self.follows = False
        used_ids = self._used_ids = UsedClientIds()
        await self._forget_reading()
        found = await self._at_work(OPEN_S, self._database.load)
        # Nobody waits for these: a home that was taken over is to serve at once.
        self._read(snapshot.client_ids).addCallbacks(used_ids.complete, lambda _: None)
        self._measure()
        return found

    def give_up(self) -> Deferred[None]:
        """See ``PostgreSQLDatabase.give_up``, which says how it fails."""
        return self._at_work(STEP_S, self._database.give_up)

    def drop(self) -> None:
        """Write nothing more, and end what is being written: its outcome is unknown."""
        self._database.cut()
        self._used_ids = UsedClientIds()
        if self._writer is not None:
            self._writer.run(self._database.close)
            self._forget_reading()

    def meta(self) -> Deferred[dict[str, int]]:
        """All named integers."""
        return Deferred.fromCoroutine(self._meta())

    async def _meta(self) -> dict[str, int]:
        found = await self._read(snapshot.meta)
        await self._measure()
        return found

    def books(self, make: Callable[[Snapshot], T]) -> Deferred[T]:
        """
        Read what stands in the books, as of one moment.

        Args:
            make: what is made of that, on the thread that reads.

        Fires with: what ``make`` returned.
        Fails with:
            StoreError: the store cannot be read.
        """

        def read(session: DatabaseSession) -> T:
            with session.transaction():
                session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                found = snapshot.books(session)
            return make(found)

        return self._read(read)

    def _at_work(self, seconds: float, call: Callable[..., T], *args: object) -> Deferred[T]:
        """Have the thread that writes do something, for which nobody waits longer."""
        writer, _ = self._threads()
        return self._watched(seconds, writer.run(call, *args))

    def _threads(self) -> tuple[WorkerThread, WorkerThread]:
        """The thread that writes and the one that reads."""
        if self._writer is None or self._reader is None:
            self._writer = WorkerThread(self._reactor, "store writer")
            self._reader = WorkerThread(self._reactor, "store reader")
        return self._writer, self._reader

    def _forget_reading(self) -> Deferred[None]:
        _, reader = self._threads()
        return reader.run(self._close_reading)

    def _watched(
        self, seconds: float, done: Deferred[T], cut: Callable[[], None] | None = None
    ) -> Deferred[T]:
        """``done``, for which nobody waits longer than ``seconds``."""
        timer = self._clock.callLater(seconds, cut or self._database.cut)

        def over(result: T) -> T:
            if timer.active():
                timer.cancel()
            return result

        return done.addBoth(over)

    def commit(self, rows: Sequence[Row]) -> Deferred[None]:
        if self._writer is None:
            return fail(self._closed())
        head = self.head
        for row in rows:
            if type(row) is OrderRow:
                if not row.live and row.client_order_id:
                    self._used_ids.add(row.account, row.client_order_id)
            elif type(row) is LogRow:
                head = row.epoch, row.seq
        return self._writer.run(self._database.commit, rows).addCallback(self._written, head)

    def _written(self, _: None, head: tuple[int, int]) -> None:
        self.head = max(self.head, head)

    def _closed(self) -> StoreError:
        return StoreError("closed", f"{self._database.place} is not open")

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        self.follows = False
        if reader is not None:
            await reader.run(self._close_reading)
            reader.stop()
        if writer is not None:
            await writer.run(self._database.close)
            writer.stop()

    def prune(self, now_ms: int) -> Deferred[int]:
        return Deferred.fromCoroutine(self._prune(now_ms))

    async def _prune(self, now_ms: int) -> int:
        if self.follows:  # it is the other's task
            await self._measure()
            return 0
        used_ids = self._used_ids  # of this opening: another one begins with new ones
        already = len(used_ids)
        plan = await self._read(retention.plan, self._keep, now_ms)
        steps, total = self._database.prune(plan), 0
        while self._writer is not None:
            gone = await self._watched(READ_S, self._writer.run(next, steps, None))
            if gone is None:
                break
            total += gone
        used_ids.forget(plan.closed_orders + len(used_ids) - already)
        await self._measure()
        return total

    def backup(self, path: str) -> Deferred[None]:
        worker = WorkerThread(self._reactor, "store backup")

        def run() -> None:
            session = self._database.connect()
            try:
                copy_to_file(session, path)
            finally:
                session.close()

        return worker.run(run).addBoth(worker.stopped_with)

    # ------------------------------------------------------------------------------------ reads

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        return self._used_ids.may_hold(account, client_order_id)

    @property
    def size_bytes(self) -> int:
        """Bytes that the database took when it was looked at last, a minute ago or so."""
        return self._size_bytes

    @property
    def free_bytes(self) -> int | None:
        return None

    @property
    def wal(self) -> dict[str, float | None]:
        return {}

    @property
    def facts(self) -> dict[str, Any]:
        """
        ``database``: where it is, its term if this process holds it, and the ``standbys``.

        Those as they were a minute ago or so; None: the role may not know.
        """
        database = self._database
        return {
            "database": {
                "place": database.place,
                "term": database.number,
                "standbys": self._standbys,
            }
        }

    def _measure(self) -> Deferred[None]:
        def measured(found: tuple[int, list[dict[str, Any]] | None]) -> None:
            self._size_bytes, self._standbys = found

        return self._read(size_and_standbys).addCallbacks(measured, lambda _: None)

    def counts(self) -> Deferred[Counts]:
        """How many rows of each kind there are."""
        return self._read(snapshot.counts)

    def _read(self, query: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        return Deferred.fromCoroutine(self._reading_with(query, *args, **kwargs))

    async def _reading_with(self, query: Callable[..., T], *args: object, **kwargs: object) -> T:
        if self.follows:
            self._threads()
        if self._reader is None or self._writer is None:
            raise self._closed()
        if self._reading is None and not self.follows:
            # The server may have been started again since, with commits that no standby has yet.
            await self._watched(READ_S, self._writer.run(self._database.barrier))

        def run() -> T:
            session = self._reading
            with translated(self._database.place):
                if session is None:
                    session = self._reading = self._database.connect()
                try:
                    return query(session, *args, **kwargs)
                except BaseException:
                    self._close_reading()
                    raise

        if self._reader is None:
            raise self._closed()
        return await self._watched(READ_S, self._reader.run(run), self._cut_reading)

    def _cut_reading(self) -> None:
        session = self._reading
        if session is not None:
            session.cut()

    def _close_reading(self) -> None:
        session, self._reading = self._reading, None
        if session is not None:
            session.close()
