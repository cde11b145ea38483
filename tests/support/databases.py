"""The databases that every test of rows and queries is run on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs

from grenache_py.exchange.storage import history
from tests.support.memory_database import MemoryDatabase
from tests.support.postgresql import Server

__all__ = [
    "HOME",
    "Engine",
    "of_postgresql",
    "of_sqlite",
    "postgresql_database",
    "postgresql_store",
]

HOME = "e" * 64


@attrs.frozen
class Engine:
    """
    One kind of database.

    Attributes:
        fresh: returns an empty one that is open, and may end the one it gave before.
        history: its queries, see ``storage/history.py``.
        close: ends what ``fresh`` gave last.
    """

    fresh: Callable[[], Any]
    history: ModuleType
    close: Callable[[], None]
    shelves: bool


def of_sqlite() -> Engine:
    return Engine(MemoryDatabase, history, lambda: None, shelves=True)


def postgresql_database(url: str, boot: str = "1" * 32, alone: bool = True, **options: Any) -> Any:
    """The database at an address, for a home and a process."""
    import time

    from grenache_py.exchange.storage.postgresql.database import Claimant, PostgreSQLDatabase

    claimant = Claimant(HOME, boot, f"process {boot[0]}")
    return PostgreSQLDatabase(url, claimant, time.time, alone=alone, **options)


def postgresql_store(url: str, keep: Any = None, **options: Any) -> Any:
    """A store on the database at an address, which is closed by the test."""
    from twisted.internet import reactor

    from grenache_py.exchange.storage.postgresql.postgresql_store import PostgreSQLStore
    from grenache_py.exchange.storage.retention import Retention

    database = postgresql_database(url, **options)
    return PostgreSQLStore(database, reactor, keep or Retention())  # type: ignore[arg-type]


def of_postgresql(server: Server) -> Engine:
    from grenache_py.exchange.storage.postgresql import queries
    from grenache_py.exchange.storage.postgresql.copying import TABLES

    database = postgresql_database(server.database())

    def fresh() -> Any:
        database.open()
        database.connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        return database

    return Engine(fresh, queries, database.close, shelves=False)
