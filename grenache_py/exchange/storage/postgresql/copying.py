"""
A store copied between a PostgreSQL database and an SQLite file, row by row, both ways.

Shell. Touches the session and the file it is given. The tables are the same on both sides, but for
shelves, which only SQLite has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from sqlite3 import Connection
from typing import Any

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.copies import BACKUP_MARK, mark_as_copy, new_file
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.postgresql.database import PostgreSQLDatabase
from grenache_py.exchange.storage.postgresql.faults import translated
from grenache_py.exchange.storage.postgresql.sessions import DatabaseSession
from grenache_py.exchange.storage.read_only import read_only
from grenache_py.exchange.storage.statements import ORDERS_PER_SHELF

__all__ = ["TABLES", "copy_from_file", "copy_to_file", "refuse_rows"]

TABLES = (
    "meta",
    "log",
    "orders",
    "accounts",
    "order_events",
    "executions",
    "trades",
    "bars",
    "intents",
    "answers",
    "evidence",
    "traded_fills",
    "origins",
    "records",
)
ROWS_AT_A_TIME = 2_000


def copy_to_file(session: DatabaseSession, path: str, marked: bool = True) -> None:
    """
    Write a consistent copy to the SQLite file ``path``, complete or not at all.

    Args:
        marked: no daemon is to trade on it.

    Raises:
        StoreError: ``path`` exists, or something fails.
    """
    with new_file(path) as part:
        made = Database(part)
        made.open(verify=False)
        with closing(made):
            connection = made.connection
            (trigger,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = 'trades_into_bars'"
            ).fetchone()
            connection.execute("DROP TRIGGER trades_into_bars")  # the bars are copied too
            connection.execute("BEGIN")
            with translated(session.place), session.connection.transaction():
                session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                for table in TABLES:
                    _read_table(session, connection, table)
            connection.execute("DELETE FROM meta WHERE name = ?", (BACKUP_MARK,))
            if marked:
                mark_as_copy(connection)
            connection.execute("COMMIT")
            connection.execute(trigger)


def copy_from_file(path: str, database: PostgreSQLDatabase) -> None:
    """
    Write what the SQLite file ``path`` holds into empty tables, all or nothing.

    The mark of a copy is not copied.

    Raises:
        StoreError: nothing was written, or nobody knows whether all was.
    """
    with read_only(path) as connection, database.transaction() as session:
        for table in TABLES:
            names = ", ".join(_columns(connection, table))
            copying = f"COPY {table} ({names}) FROM STDIN"
            with session.connection.cursor() as cursor, cursor.copy(copying) as copy:
                for row in connection.execute(f"SELECT {names} FROM {table}"):
                    copy.write_row(row)
        session.execute("DELETE FROM meta WHERE name = ?", (BACKUP_MARK,))


def refuse_rows(session: DatabaseSession) -> None:
    """Raise StoreError if there is a home's store already."""
    for table in TABLES:
        if session.execute(f"SELECT EXISTS (SELECT FROM {table})").fetchone() != (False,):
            raise StoreError("refused", f"{session.place} holds a store already")


def _columns(connection: Connection, table: str) -> list[str]:
    found = connection.execute(f"PRAGMA table_info ({table})")
    return [name for _, name, *_ in found if name != "shelf"]


def _read_table(session: DatabaseSession, connection: Connection, table: str) -> None:
    columns = _columns(connection, table)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    if table == "orders":
        names_here, marks = f"{names}, shelf", f"{marks}, ?"
    else:
        names_here = names
    insert = f"INSERT INTO {table} ({names_here}) VALUES ({marks})"
    with session.connection.cursor(f"copy of {table}") as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        cursor.execute(f"SELECT {names} FROM {table} ORDER BY {columns[0]}")
        found: Iterator[Any] = cursor
        if table == "orders":
            found = ((*row, n // ORDERS_PER_SHELF) for n, row in enumerate(cursor))
        connection.executemany(insert, found)
