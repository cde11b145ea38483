"""
Looking at an SQLite file, also while a daemon uses it or after one was killed.

Shell. Touches the file and its journal. Nobody sees less than was acknowledged: what is in the
journal only is waited for while a daemon runs, and folded here when none does.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import (
    APPLICATION_ID,
    BUSY_TIMEOUT_S,
    Database,
    journal_mark,
    schema_steps,
)
from grenache_py.exchange.storage.directory_lock import DirectoryLock
from grenache_py.exchange.storage.journal import newest, path_beside
from grenache_py.exchange.storage.pages import pragma
from grenache_py.exchange.storage.sqlite_errors import translated

__all__ = ["read_only"]

#: For a daemon that has the store, and folds its journal every 0.2 s.
LOOKS, LOOK_AGAIN_S = 200, 0.05


@contextmanager
def read_only(path: str) -> Iterator[Connection]:
    """
    Look at a store, a backup or a file that a daemon is using: at one state of it throughout.

    What was acknowledged before is in it.

    Raises:
        StoreError: it cannot be opened or read, or is not a store this program understands.
    """
    with translated(path), closing(_opened(path)) as connection:
        _catch_up(connection, path)
        connection.execute("BEGIN")
        yield connection


def _opened(path: str) -> Connection:
    if not os.path.isfile(path):
        raise StoreError("io", f"{path}: there is no such file")
    uri = f"{Path(os.path.abspath(path)).as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        if pragma(connection, "application_id") != APPLICATION_ID:
            raise StoreError("refused", f"{path} is not the store of an exchange")
        version, known = pragma(connection, "user_version"), len(schema_steps())
        if version != known:
            raise StoreError(
                "refused", f"{path} has schema {version}, this program reads schema {known}"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _catch_up(connection: Connection, path: str) -> None:
    """Wait until the tables have what the journal has now."""
    wanted: tuple[int, int] | None = None
    for _ in range(LOOKS):
        mark = journal_mark(connection)
        if mark is None:
            return
        if wanted is None or mark.id != wanted[0]:
            number = newest(path_beside(path), mark)
            # The ring may be written over meanwhile: then it is looked through again.
            wanted = (mark.id, number) if journal_mark(connection) == mark else None
        if wanted is not None and mark.number >= wanted[1]:
            return
        if _folded_here(path):
            return
        time.sleep(LOOK_AGAIN_S)
    raise StoreError("locked", f"{path}: the daemon that has it does not fold its journal")


def _folded_here(path: str) -> bool:
    """Fold the journal, unless a daemon has the store."""
    lock = DirectoryLock(os.path.dirname(os.path.abspath(path)))
    try:
        lock.acquire()
    except StoreError as error:
        if error.fault != "locked":
            raise
        return False
    try:
        database = Database(path, accept_copy=True)
        database.open(verify=False)
        database.close()
    finally:
        lock.release()
    return True
