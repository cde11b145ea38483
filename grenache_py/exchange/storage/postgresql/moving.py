"""
A stopped home moved from one kind of store to the other.

Shell. Touches the file, its directory's lock, and the database. Before anything is copied the store
that is left is marked as a copy, so that at no moment two stores can be traded on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.copies import is_copy, mark_as_copy
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.directory_lock import DirectoryLock
from grenache_py.exchange.storage.postgresql.copying import (
    copy_from_file,
    copy_to_file,
    refuse_rows,
)
from grenache_py.exchange.storage.postgresql.database import PostgreSQLDatabase

__all__ = ["move_from_file", "move_to_file"]

MARK = "INSERT INTO meta VALUES ('backup', 1) ON CONFLICT (name) DO UPDATE SET value = 1"


def move_from_file(path: str, database: PostgreSQLDatabase, again: bool) -> None:
    """
    Move the store in the SQLite file ``path`` into an empty database.

    Args:
        again: it was tried before, and cut off.

    Raises:
        StoreError: a daemon uses one of them, ``path`` is a copy, or the database is not empty.
    """
    with _locked(path):
        if not os.path.exists(path):
            raise StoreError("io", f"{path}: there is no such file")
        if is_copy(path) and not again:
            raise StoreError(
                "refused",
                f"{path} is a backup copy, or was moved already; if exchange store copy was cut"
                " off, run it with --again",
            )
        file = Database(path, accept_copy=True)
        file.open()  # upgraded, and whole
        file.close()
        with closing(database):
            database.open()
            refuse_rows(database.connection)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                mark_as_copy(connection)
            copy_from_file(path, database)


def move_to_file(database: PostgreSQLDatabase, path: str) -> None:
    """
    Move the store in a database into the SQLite file ``path``, which it makes.

    Args:
        database: accepts a copy if this was tried before, and cut off.

    Raises:
        StoreError: a daemon uses one of them, the database is a copy, or ``path`` exists.
    """
    with _locked(path):
        if os.path.exists(path):
            raise StoreError("refused", f"{path} exists: move it away, or choose another place")
        with closing(database):
            database.open()
            with database.transaction() as session:
                session.execute(MARK)
            copy_to_file(database.connection, path, marked=False)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    lock = DirectoryLock(os.path.dirname(path) or ".")
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
