"""
How rows become SQL: one statement per row type, and a batch of them executed.

Shell. Touches the SQLite connection it is given, nothing else: no file, no thread, no clock.

Python lets go of the interpreter lock for every step of a statement, and a store thread
that shares the lock with a busy reactor waits up to one switch interval to get it back. A
batch is therefore written by few statements of many rows (``INSERT ... VALUES (...), (...)``)
and not by ``executemany``, which steps once a row: measured with a reactor that is never idle,
128 orders a commit take 9 ms instead of 570 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from sqlite3 import Connection
from typing import Any, NamedTuple

from grenache_py.exchange.rows import (
    AnswerGone,
    AnswerRow,
    IntentRow,
    LogRow,
    MetaRow,
    OrderEventRow,
    OrderRow,
    OriginRow,
    RecordGone,
    RecordRow,
    Row,
    TradeRow,
)

__all__ = ["write"]

# Rows a statement takes; every size is one prepared statement a type, kept by the connection.
CHUNKS = (64, 16, 4, 1)
SEQ_BITS = 40  # log.position = epoch << 40 | seq
COUNTER_BITS = 20  # orders.position = time_ms << 20 | counter
SEQ_MASK = (1 << SEQ_BITS) - 1


def log_position(epoch: int, seq: int) -> int:
    """The number of a log entry in the ``log`` table; sorts as (epoch, seq)."""
    return epoch << SEQ_BITS | seq


def order_position(time_ms: int, counter: int) -> int:
    """The number of an own order in the ``orders`` table; sorts by time priority."""
    return time_ms << COUNTER_BITS | counter


class Statement(NamedTuple):
    """``before`` + n times ``each``, by commas, + ``after``; ``parameters`` of one row."""

    before: str
    each: str
    after: str
    parameters: Callable[[Any], Iterable[Any]]


def _insert(
    table: str,
    names: Sequence[str],
    conflict: str = "",
    parameters: Callable[[Any], Iterable[Any]] = tuple,
) -> Statement:
    each = "(" + ", ".join("?" * len(names)) + ")"
    return Statement(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ", each, conflict, parameters
    )


def _update(key: str, names: Sequence[str]) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f" ON CONFLICT ({key}) DO UPDATE SET {sets}"


_ORDER_STATE = OrderRow._fields[OrderRow._fields.index("open") :]
LOG_COLUMNS = LogRow._fields[2:]
# Ticks times lots may exceed SQLite's 64 bits, so ``value`` is kept as text.
ORDER_VALUE = OrderRow._fields.index("value")
EVENT_VALUE = OrderEventRow._fields.index("value")

STATEMENTS: dict[type, Statement] = {
    MetaRow: _insert("meta", MetaRow._fields, _update("name", ["value"])),
    LogRow: _insert(
        "log",
        ("position", *LOG_COLUMNS),
        parameters=lambda row: (row[0] << SEQ_BITS | row[1], *row[2:]),
    ),
    # What never changes is left out: SQLite would touch its indexes for nothing.
    OrderRow: _insert(
        "orders",
        ("position", *OrderRow._fields),
        _update("position", ("quantity_lots", "key_ms", "key_counter", *_ORDER_STATE))
        # Two orders with one stamp would be a bug: NOT NULL refuses to write one over the other.
        + ", market = CASE WHEN order_id = excluded.order_id THEN market END",
        parameters=lambda row: (
            row.time_ms << COUNTER_BITS | row.counter,
            *row[:ORDER_VALUE],
            str(row.value),
            *row[ORDER_VALUE + 1 :],
        ),
    ),
    OrderEventRow: _insert(
        "order_events",
        OrderEventRow._fields,
        parameters=lambda row: (*row[:EVENT_VALUE], str(row.value), *row[EVENT_VALUE + 1 :]),
    ),
    TradeRow: _insert("trades", TradeRow._fields, " ON CONFLICT (trade_id) DO NOTHING"),
    IntentRow: _insert("intents", IntentRow._fields, _update("fill_id", IntentRow._fields[1:])),
    # The answer itself is final; only what is known about its taker changes.
    AnswerRow: _insert("answers", AnswerRow._fields, _update("fill_id", ["keep_ms", "unsettled"])),
    AnswerGone: Statement("DELETE FROM answers WHERE fill_id IN (", "?", ")", tuple),
    OriginRow: _insert("origins", OriginRow._fields, _update("origin", OriginRow._fields[1:])),
    RecordRow: _insert("records", RecordRow._fields, _update("order_id", RecordRow._fields[1:])),
    RecordGone: Statement("DELETE FROM records WHERE order_id IN (", "?", ")", tuple),
}
_ACCOUNTS = _insert("accounts", ("account", "event_seq"), _update("account", ["event_seq"]))


def write(connection: Connection, rows: Sequence[Row]) -> None:
    """Execute ``rows``, grouped by type, in the caller's transaction."""
    groups: dict[type, list[Row]] = {}
    for row in rows:
        groups.setdefault(type(row), []).append(row)
    for kind, statement in STATEMENTS.items():
        if kind in groups:
            _execute(connection, statement, groups[kind])
    newest = {row.account: row.seq for row in rows if isinstance(row, OrderEventRow)}
    if newest:
        _execute(connection, _ACCOUNTS, list(newest.items()))


def _execute(connection: Connection, statement: Statement, rows: Sequence[Any]) -> None:
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            part = rows[start : start + size]
            sql = statement.before + ",".join((statement.each,) * size) + statement.after
            connection.execute(sql, list(chain.from_iterable(map(statement.parameters, part))))
            start += size
