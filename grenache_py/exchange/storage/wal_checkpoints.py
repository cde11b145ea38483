"""
The write-ahead log copied into the file, beside the commits.

Shell. Touches the worker thread it is given and one SQLite connection of its own on it.

SQLite would do this inside whatever commit makes the log too long, and every order of that
commit would wait. Here it runs on a thread of its own. Commits go on meanwhile, so it never
quite catches the end of the log, and only a log that was copied to its end is written from its
beginning again: the last few pages, those of the commits that came during the copy, are therefore
copied by the writer, between two commits.
"""

from __future__ import annotations

from sqlite3 import Connection

from twisted.logger import Logger

from grenache_py.deferreds import spawn
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import Database, checkpoint
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["Checkpoints"]

#: Copies beside the commits before the writer does the rest: each leaves less than the last.
COPIES = 2


class Checkpoints:
    """
    Keeps the write-ahead log of an open ``Database`` short.

    A copy that fails is reported, and tried again after as many changes as lie between two of
    them; commits do not depend on it before the log has its greatest size (``Database.commit``).
    """

    log = Logger()

    def __init__(self, database: Database, writer: WorkerThread, worker: WorkerThread) -> None:
        """
        Args:
            writer: where ``database`` lives.
            worker: where the copies are made.
        """
        self._database = database
        self._writer = writer
        self._worker = worker
        self._connection: Connection | None = None
        self._running = False
        self._closed = False

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
                await self._writer.run(self._database.finish_checkpoint)
        except StoreError as error:
            if not self._closed:
                self.log.warn(
                    "the write-ahead log could not be copied into the file: {reason}", reason=error
                )
        finally:
            self._running = False

    async def close(self) -> None:
        """Finish the copy under way and begin no other one."""
        self._closed = True
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
