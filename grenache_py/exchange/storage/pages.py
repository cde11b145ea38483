"""
The pages of an SQLite file: looked through for damage, and copied from its write-ahead log.

Shell. Touches the connection it is given.
"""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.sqlite_errors import translated

__all__ = ["checkpoint", "pragma", "verify_pages"]


def pragma(connection: Connection, name: str) -> Any:
    """What SQLite says to a ``PRAGMA``."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def verify_pages(connection: Connection, path: str) -> None:
    """Read every page. Raises StoreError (``corrupt``) when the file is damaged."""
    with translated(path):
        damage = connection.execute("PRAGMA quick_check (1)").fetchone()[0]
    if damage != "ok":
        raise StoreError(
            "corrupt",
            f"{path} is damaged ({' '.join(str(damage).split())}): keep it, and see "
            "'A damaged file' in docs/store-schema.rst",
        )


def checkpoint(connection: Connection, path: str) -> bool:
    """
    Copy the write-ahead log into the file, as far as no reader needs the older pages.

    Commits and reads go on meanwhile. Returns whether all of the log was copied.

    Raises:
        StoreError: the file cannot be written; the log still has everything.
    """
    with translated(path):
        _, pages, copied = connection.execute("PRAGMA wal_checkpoint (PASSIVE)").fetchone()
    return bool(copied >= pages)
