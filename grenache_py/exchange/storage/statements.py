"""
How rows become SQL: one statement per row type, and a batch of them executed.

Shell. Touches the SQLite connection it is given, nothing else: no file, no thread, no clock.

Python lets go of the interpreter lock for every step of a statement, and a store thread
that shares the lock with a busy reactor waits up to one switch interval to get it back. A
batch is therefore written by few statements of many rows (``INSERT ... VALUES (...), (...)``)
and not by ``executemany``, which steps once a row: measured with a reactor that is never idle,
128 orders a commit take 9 ms instead of 570 ms.

It also holds the lock while it looks for an adapter of each parameter that is not exactly an int,
a float, a str or a bytearray. So ``bytes`` become ``bytearray``, flags come as ints, and 0 stands
for the position of an order that is not this home's: a fifth of a commit's time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from sqlite3 import Connection
from typing import Any, NamedTuple

import attrs

from grenache_py.exchange.effects.rows import (
    AnswerGone,
    AnswerRow,
    AnswerSettled,
    EvidenceRow,
    ExecutionRow,
    FillForgotten,
    FillTraded,
    IntentRow,
    IntentSettled,
    LogRow,
    MetaGone,
    MetaRow,
    OrderEventRow,
    OrderRow,
    OriginGone,
    OriginRow,
    RecordChanged,
    RecordGone,
    RecordRow,
    Row,
    TradeRow,
)
from grenache_py.exchange.storage.positions import COUNTER_BITS, INTEGER_MAX, SEQ_BITS

__all__ = ["Shelf", "together", "write"]

# Rows a statement takes at most; less are whole dozens and a rest, so that two statements do. Every
# size is one prepared statement a type, kept by the connection.
ROWS_MAX, DOZEN = 132, 12
STATEMENTS_KEPT = 256
#: New orders before the next shelf is begun: few pages of an index, few shelves to look through.
ORDERS_PER_SHELF = 1_024


#: Positions of orders that another home may have: no position is 0.
_NULLABLE = ("maker_position", "taker_position")


class Statement(NamedTuple):
    """``before`` + n times ``each``, by commas, + ``after``; which of its parameters are bytes."""

    before: str
    each: str
    after: str
    bytes_at: tuple[int, ...] = ()


def _insert(table: str, names: Sequence[str], conflict: str = "") -> Statement:
    marks = ("nullif(?, 0)" if name in _NULLABLE else "?" for name in names)
    each = "(" + ", ".join(marks) + ")"
    bytes_at = tuple(at for at, name in enumerate(names) if name.endswith(("path", "signature")))
    return Statement(f"INSERT INTO {table} ({', '.join(names)}) VALUES ", each, conflict, bytes_at)


def _update(key: str, names: Sequence[str]) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f" ON CONFLICT ({key}) DO UPDATE SET {sets}"


_ORDER_STATE = OrderRow._fields[OrderRow._fields.index("open") : -1]
LOG_COLUMNS = LogRow._fields[2:]
ORDER_VALUE = OrderRow._fields.index("value")
EVENT_VALUE = OrderEventRow._fields.index("value")

_CHANGED = RecordChanged._fields
_UNCHANGED = tuple(name for name in RecordRow._fields if name not in _CHANGED)

# The parameters are the row's fields, after those that ``_parameters`` adds.
STATEMENTS: dict[type, Statement] = {
    MetaRow: _insert("meta", MetaRow._fields, _update("name", ["value"])),
    MetaGone: Statement("DELETE FROM meta WHERE name IN (", "?", ")"),  # after those written
    LogRow: _insert("log", ("position", *LOG_COLUMNS)),
    # What never changes is left out: SQLite would touch its indexes for nothing.
    OrderRow: _insert(
        "orders",
        ("position", "shelf", *OrderRow._fields),
        _update("position", ("quantity_lots", "key_ms", "key_counter", *_ORDER_STATE))
        # Two orders with one stamp would be a bug: NOT NULL refuses to write one over the other.
        + ", market = CASE WHEN order_id = excluded.order_id THEN market END",
    ),
    OrderEventRow: _insert("order_events", ("position", *OrderEventRow._fields)),
    ExecutionRow: _insert("executions", ExecutionRow._fields),
    # Told again, it may be known by now which orders of this home it is about.
    TradeRow: _insert(
        "trades",
        (*_NULLABLE, *TradeRow._fields),
        _update("time_ms, trade_id", _NULLABLE)
        + " WHERE coalesce(excluded.maker_position, excluded.taker_position) IS NOT NULL",
    ),
    IntentRow: _insert("intents", IntentRow._fields, _update("fill_id", IntentRow._fields[1:])),
    IntentSettled: Statement("UPDATE intents SET lots = 0, done = 1 WHERE fill_id IN (", "?", ")"),
    # The answer itself is final; only what is known about its taker changes.
    AnswerRow: _insert("answers", AnswerRow._fields, _update("fill_id", ["keep_ms", "unsettled"])),
    AnswerSettled: Statement("UPDATE answers SET unsettled = 0 WHERE fill_id IN (", "?", ")"),
    EvidenceRow: _insert("evidence", EvidenceRow._fields),
    AnswerGone: Statement("DELETE FROM answers WHERE fill_id IN (", "?", ")"),
    FillTraded: _insert("traded_fills", FillTraded._fields),
    FillForgotten: Statement("DELETE FROM traded_fills WHERE number IN (", "?", ")"),
    OriginRow: _insert("origins", OriginRow._fields, _update("origin", OriginRow._fields[1:])),
    OriginGone: Statement("DELETE FROM origins WHERE origin IN (", "?", ")"),
    RecordRow: _insert("records", RecordRow._fields, _update("order_id", RecordRow._fields[1:])),
    # The row is there. What is not known here is "", and is not written.
    RecordChanged: Statement(
        f"INSERT INTO records ({', '.join(_CHANGED + _UNCHANGED)}) VALUES ",
        "(" + ", ".join(["?"] * len(_CHANGED) + ["''"] * len(_UNCHANGED)) + ")",
        _update("order_id", _CHANGED[1:]),
    ),
    RecordGone: Statement("DELETE FROM records WHERE order_id IN (", "?", ")"),
}
_ACCOUNTS = _insert("accounts", ("account", "event_seq"), _update("account", ["event_seq"]))
# An execution comes with an event of its order, in the same batch: its account is there by then.
_EXECUTED = _insert(
    "accounts", ("event_seq", "account", "execution_seq"), _update("account", ["execution_seq"])
)


@attrs.define
class Shelf:
    """
    Where the next new orders go (see ``orders.shelf`` in the schema).

    Attributes:
        number: the newest shelf.
        orders: how many it has.
        newest: the greatest position of any order.
    """

    number: int
    orders: int
    newest: int

    @classmethod
    def of(cls, connection: Connection) -> Shelf:
        """The one to go on with."""
        newest, number = connection.execute(
            "SELECT (SELECT max(position) FROM orders), (SELECT max(shelf) FROM orders)"
        ).fetchone()
        if newest is None:
            return cls(0, 0, -1)
        (orders,) = connection.execute(
            "SELECT count(*) FROM orders WHERE shelf = ?", (number,)
        ).fetchone()
        return cls(number, orders, newest)

    def put(self, positions: Iterable[int]) -> None:
        """Orders were written; those with new positions are new."""
        new = [position for position in positions if position > self.newest]
        if new:
            self.newest = max(new)
            self.orders += len(new)
            if self.orders >= ORDERS_PER_SHELF:
                self.number, self.orders = self.number + 1, 0


#: What is done to rows of a table after those of its first type were written: by the field that
#: both begin with, the key.
_LATER = frozenset({
    MetaGone, IntentSettled, AnswerSettled, AnswerGone, FillForgotten, OriginGone, RecordChanged,
    RecordGone,
})  # fmt: skip
_FIRST = frozenset({MetaRow, IntentRow, AnswerRow, FillTraded, OriginRow, RecordRow})


def together(batches: Iterable[Sequence[Row]]) -> Iterator[list[Row]]:
    """
    Batches joined, as far as they leave the same behind as one after the other.

    ``write`` does what is in ``_LATER`` last, so a batch that has a row anew whose key was in an
    earlier one's is not joined with that. Of an order only its newest state is kept.
    """
    rows: list[Row] = []
    orders: dict[str, OrderRow] = {}
    changed: set[str | int] = set()
    for batch in batches:
        if changed and any(type(row) in _FIRST and row[0] in changed for row in batch):
            yield [*orders.values(), *rows]
            rows, orders, changed = [], {}, set()
        for row in batch:
            if type(row) is OrderRow:
                orders[row.order_id] = row
            else:
                rows.append(row)
                if type(row) in _LATER:
                    changed.add(row[0])
    if rows or orders:
        yield [*orders.values(), *rows]


def write(connection: Connection, rows: Sequence[Row], shelf: Shelf) -> None:
    """
    Execute ``rows``, grouped by type, in the caller's transaction.

    Events and trades come with the orders of this home that they are about, in the same batch,
    and are kept with those orders' positions: who has an order finds them without its id.
    """
    groups: defaultdict[type, list[Any]] = defaultdict(list)
    for row in rows:
        groups[type(row)].append(row)
    positions = {
        row.order_id: row.time_ms << COUNTER_BITS | row.counter for row in groups.get(OrderRow, ())
    }
    for kind, statement in STATEMENTS.items():
        if kind in groups:
            _execute(
                connection, statement, _parameters(kind, groups[kind], positions, shelf.number)
            )
    newest = {row.account: row.seq for row in groups.get(OrderEventRow, ())}
    if newest:
        _execute(connection, _ACCOUNTS, list(newest.items()))
    newest = {row.account: row.seq for row in groups.get(ExecutionRow, ())}
    if newest:
        _execute(connection, _EXECUTED, [(0, *each) for each in newest.items()])
    shelf.put(positions.values())


def _parameters(
    kind: type, rows: list[Any], positions: Mapping[str, int], shelf: int
) -> list[tuple[Any, ...]]:
    if kind is LogRow:
        return [(row.epoch << SEQ_BITS | row.seq, *row[2:]) for row in rows]
    if kind is OrderRow:
        return [
            (positions[row.order_id], shelf, *(row if row.value <= INTEGER_MAX else _as_text(row)))
            for row in rows
        ]
    if kind is OrderEventRow:
        return [
            (positions.get(row.order_id, 0), *(row if row.value <= INTEGER_MAX else _as_text(row)))
            for row in rows
        ]
    if kind is TradeRow:
        at = positions.get
        return [(at(row.maker_order, 0), at(row.taker_order, 0), *row) for row in rows]
    return rows


def _as_text(row: Any) -> Any:
    """``value``, ticks times lots, is kept as text because it may exceed SQLite's 64 bits."""
    return row._replace(value=str(row.value))


@cache
def _sql(statement: Statement, size: int) -> str:
    return statement.before + ",".join((statement.each,) * size) + statement.after


def _execute(
    connection: Connection, statement: Statement, parameters: Sequence[tuple[Any, ...]]
) -> None:
    start, left = 0, len(parameters)
    while left:
        size = min(left, ROWS_MAX) // DOZEN * DOZEN or left
        values = list(chain.from_iterable(parameters[start : start + size]))
        for at in statement.bytes_at:
            column = slice(at, None, len(values) // size)
            values[column] = list(map(bytearray, values[column]))
        connection.execute(_sql(statement, size), values)
        start, left = start + size, left - size
