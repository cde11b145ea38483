"""
Copies of a peer's SQLite file: the one a backup makes, and the one beside an upgrade.

Shell. Reads a connection that is open already, and writes one new file.
"""

from __future__ import annotations

import filecmp
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from sqlite3 import Connection

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.sqlite_errors import translated

__all__ = [
    "BACKUP_MARK",
    "copy",
    "copy_before_upgrade",
    "is_copy",
    "make_private",
    "mark_as_copy",
    "new_file",
]

BACKUP_MARK = "backup"  # in meta: this file is a copy


@contextmanager
def new_file(path: str) -> Iterator[str]:
    """
    A file to write a copy into, which appears at ``path`` complete or not at all.

    Raises:
        StoreError: ``path`` exists.
    """
    if "\0" in path:
        raise StoreError("refused", f"{path!r} is no path: it has a NUL in it")
    if os.path.exists(path):
        raise StoreError("refused", f"{path} exists: move it away, or choose another name")
    part = f"{path}.part"
    with suppress(FileNotFoundError):
        os.remove(part)
    try:
        with translated(part):
            make_private(part)
            yield part
            _sync(part)
            os.rename(part, path)
            _sync(os.path.dirname(path) or ".")
    except StoreError:
        with suppress(OSError):
            os.remove(part)
        raise


def copy(connection: Connection, path: str) -> None:
    """
    Write a consistent copy of the database to ``path``, complete or not at all.

    Reads one snapshot, so it may run on a connection of its own while another one commits. The
    copy is marked, so that no daemon trades on it by mistake.

    Raises:
        StoreError: ``path`` exists.
    """
    with new_file(path) as part:
        connection.execute("VACUUM INTO ?", (part,))
        with closing(sqlite3.connect(part, isolation_level=None)) as made:
            mark_as_copy(made)


def mark_as_copy(connection: Connection) -> None:
    """Let no daemon trade on it by mistake. The journal of the original is not its journal."""
    journal = "SELECT count(*) FROM sqlite_master WHERE name = 'journal'"
    if connection.execute(journal).fetchone()[0]:
        connection.execute("DELETE FROM journal")
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", (BACKUP_MARK,))


def is_copy(path: str) -> bool:
    """Whether the file at ``path`` is marked as a copy. Raises StoreError."""
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        marked = "SELECT count(*) FROM meta WHERE name = ?"
        return bool(connection.execute(marked, (BACKUP_MARK,)).fetchone()[0])


def copy_before_upgrade(connection: Connection, path: str) -> None:
    """
    ``copy``, unless an upgrade that was cut off has left the very same at ``path``.

    Raises:
        StoreError: ``path`` is a copy of another state.
    """
    if not os.path.exists(path):
        copy(connection, path)
        return
    again = f"{path}.again"
    with suppress(FileNotFoundError):
        os.remove(again)
    copy(connection, again)
    same = filecmp.cmp(again, path, shallow=False)
    os.remove(again)
    if not same:
        raise StoreError("refused", f"{path} exists and holds something else: move it away")


def make_private(path: str) -> None:
    """Let nobody but the owner read what is about to be written to ``path``."""
    # Only a file that is not there yet: closing a second descriptor of an SQLite file would
    # drop the locks this process has on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
