"""
The write-ahead log copied into the file, beside the commits.

Shell. Touches the worker thread it is given and one SQLite connection of its own on it.

SQLite would do this inside whatever commit makes the log too long, and every order of that
commit would wait. Here it runs on a thread of its own. Commits go on meanwhile, so it never
quite catches the end of the log, and only a log that was copied to its end is written from its
beginning again: the last few pages, those of the commits that came during the copy, are therefore
copied by the writer, between two commits.

A transaction that somebody holds open on the file (another program, a backup) needs the pages as
they were, so the log cannot begin anew and grows. That is said, looked at again every half minute,
and when it is over the log's file is made short.
"""

from __future__ import annotations

from sqlite3 import Connection

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from grenache_py.deferreds import spawn
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.pages import checkpoint
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["Checkpoints"]

#: How often a log that a reader holds is looked at again.
AGAIN_S = 30.0
#: A reader may hold the log so long before the operator is told; and how often that is repeated.
TELL_AFTER_S = 60.0
TELL_EVERY_S = 3_600.0
#: Copies beside the commits before the writer does the rest: each leaves less than the last.
COPIES = 2


class Checkpoints:
    """
    Keeps the write-ahead log of an open ``Database`` short.

    A copy that fails is reported, and tried again after as many changes as lie between two of
    them; commits do not depend on it before the log has its greatest size (``Database.commit``).
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        writer: WorkerThread,
        worker: WorkerThread,
        clock: IReactorTime,
    ) -> None:
        """
        Args:
            writer: where ``database`` lives.
            worker: where the copies are made.
        """
        self._database = database
        self._writer = writer
        self._worker = worker
        self._connection: Connection | None = None
        self._clock = clock
        self._running = False
        self._closed = False
        self._held_since: float | None = None
        self._tell_at = 0.0
        self._again: IDelayedCall | None = None

    @property
    def held_s(self) -> float | None:
        """Since how many seconds a reader has kept the log from beginning anew; None: none does."""
        return None if self._held_since is None else self._clock.seconds() - self._held_since

    def after_commit(self) -> None:
        """Begin to copy when enough was committed."""
        if self._database.checkpoint_due and not self._running and not self._closed:
            spawn(self.log, "a checkpoint", self._run())

    async def _run(self) -> None:
        self._running = True
        self._database.checkpoint_begins()
        try:
            copies = 0
            while copies < COPIES and not self._closed:
                await self._worker.run(self._copy)
                copies += 1
            if not self._closed:
                self._saw(await self._writer.run(self._database.finish_checkpoint))
            if not self._closed and self._held_since is None:
                await self._writer.run(self._database.shrink_log)
        except StoreError as error:
            if not self._closed:
                self.log.warn(
                    "the write-ahead log could not be copied into the file: {reason}", reason=error
                )
        finally:
            self._running = False
            if self._held_since is not None and self._again is None and not self._closed:
                self._again = self._clock.callLater(AGAIN_S, self._look_again)

    def _saw(self, copied: bool) -> None:
        """Whether all of the log is in the file, or somebody needs pages that are older."""
        now = self._clock.seconds()
        if copied:
            if self._held_since is not None and self._tell_at > self._held_since + TELL_AFTER_S:
                self.log.info("the write-ahead log is copied into the file again")
            self._held_since = None
            return
        if self._held_since is None:
            self._held_since, self._tell_at = now, now + TELL_AFTER_S
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY_S
            self.log.warn(
                "for {seconds} s a program has held a transaction open on {path}, so its"
                " write-ahead log grows, {mebibytes} MiB by now: end that program",
                seconds=round(now - self._held_since),
                path=self._database.path,
                mebibytes=self._database.log_bytes // 1_048_576,
            )

    def _look_again(self) -> None:
        self._again = None
        if not self._running and not self._closed:
            spawn(self.log, "a checkpoint", self._run())

    async def close(self) -> None:
        """Finish the copy under way and begin no other one."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        await self._worker.run(self._disconnect)

    def _copy(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._database.connect_for_checkpoints()
            checkpoint(self._connection, self._database.path)
        except StoreError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
