"""The real database, in memory, closed when nobody holds it any more."""

from __future__ import annotations

import sqlite3
import weakref
from contextlib import suppress

from grenache_py.exchange.storage.database import Connection, Database


class MemoryDatabase(Database):
    """
    A database in memory that is open from the start.

    Peers of a test are many, and nobody stops them. So each database closes its connection when
    it is collected itself: Python 3.13 reports a connection that is left to the collector.
    """

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.open()

    def connect(self) -> Connection:
        connection = super().connect()
        weakref.finalize(self, _close, connection)
        return connection


def _close(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.ProgrammingError):  # collected on another thread than it belongs to
        connection.close()
