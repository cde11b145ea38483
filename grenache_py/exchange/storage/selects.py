"""
How rows are read from the store's tables: columns in, the row types of ``effects.rows`` out.

Shell. Touches the connection it is given, nothing else. What says `Connected` is SQL that SQLite
and PostgreSQL both understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from grenache_py.exchange.effects.rows import OrderRow, TradeRow
from grenache_py.exchange.storage.positions import SEQ_BITS, SEQ_MASK
from grenache_py.exchange.storage.statements import LOG_COLUMNS, ORDER_VALUE

__all__ = [
    "SELECT_LOG",
    "SELECT_ORDER",
    "SELECT_TRADE",
    "Connected",
    "order_of",
    "orders_where",
    "rows_of",
    "select",
]

R = TypeVar("R", bound=NamedTuple)


class Connected(Protocol):
    """A connection: of ``sqlite3``, or one of another database that takes the same marks."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any:
        """Execute one statement, with ``?`` or ``?1`` for its parameters, and return a cursor."""


def select(kind: type[R], table: str) -> str:
    """``SELECT`` the columns of ``kind`` ``FROM`` its table, ready for a ``WHERE``."""
    return f"SELECT {', '.join(kind._fields)} FROM {table} "


def rows_of(connection: Connected, kind: type[R], sql: str, *parameters: Any) -> list[R]:
    """The rows of a query, as values of ``kind``."""
    return [kind._make(row) for row in connection.execute(sql, parameters)]


def order_of(row: tuple[Any, ...]) -> OrderRow:
    """An own order; its value is stored as text, because it may exceed 64 bits."""
    return OrderRow._make((*row[:ORDER_VALUE], int(row[ORDER_VALUE]), *row[ORDER_VALUE + 1 :]))


def orders_where(connection: Connected, sql: str, *parameters: Any) -> list[OrderRow]:
    """Own orders; ``sql`` begins with ``WHERE``."""
    return list(map(order_of, connection.execute(SELECT_ORDER + sql, parameters)))


SELECT_LOG = (
    f"SELECT position >> {SEQ_BITS}, position & {SEQ_MASK}, "
    + ", ".join(LOG_COLUMNS)
    + " FROM log "
)
SELECT_ORDER = select(OrderRow, "orders")
SELECT_TRADE = select(TradeRow, "trades")
