"""
How rows become PostgreSQL's SQL: for a batch one statement a row type, its columns as arrays.

Pure. A column of all rows goes as one array, which takes less of the interpreter than a parameter a
value, and the server takes it apart in C, in a process of its own. Bytes, and texts that
have quotes, go as the server itself would send them, all else as a literal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple, get_type_hints

import attrs

from grenache_py.exchange.effects.rows import (
    AnswerRow,
    EvidenceRow,
    ExecutionRow,
    FillTraded,
    IntentRow,
    LogRow,
    MetaRow,
    OrderEventRow,
    OrderRow,
    OriginRow,
    RecordChanged,
    RecordRow,
    Row,
    TradeRow,
)
from grenache_py.exchange.storage.positions import log_position, order_position

__all__ = ["STATEMENTS", "Array", "TableWrite", "writes"]

_TYPES = {int: "bigint", str: "text", bytes: "bytea"}


class Array(NamedTuple):
    """A parameter: its bytes, and PostgreSQL's word for their format: 0 text, 1 binary."""

    data: bytes
    format: int


@attrs.frozen
class TableWrite:
    """One prepared statement (a key of `STATEMENTS`) and its parameters."""

    name: str
    parameters: list[Array]

    @property
    def prepared(self) -> tuple[str, list[bytes], list[int]]:
        """Its name, the bytes, and their formats."""
        return (
            self.name,
            [each.data for each in self.parameters],
            [each.format for each in self.parameters],
        )


def _given(columns: Sequence[tuple[str, type]]) -> str:
    """The rows that the parameters are the columns of, numbered by ``n``."""
    arrays = ", ".join(f"${n}::{_TYPES[kind]}[]" for n, (_, kind) in enumerate(columns, 1))
    return f"unnest({arrays}) WITH ORDINALITY AS given ({_names(columns)}, n)"


def _names(columns: Sequence[tuple[str, type]]) -> str:
    return ", ".join(name for name, _ in columns)


def _columns(kind: type[NamedTuple], *more: tuple[str, type]) -> list[tuple[str, type]]:
    columns = [*more, *get_type_hints(kind).items()]
    if kind in {OrderRow, OrderEventRow}:  # ticks times lots: text, because it may exceed 64 bits
        return [(name, str if name == "value" else type) for name, type in columns]
    return columns


def _insert(table: str, columns: Sequence[tuple[str, type]], conflict: str = "") -> str:
    names = _names(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {_given(columns)}{conflict}"


def _append(table: str, columns: Sequence[tuple[str, type]], conflict: str = "") -> str:
    """Numbered on from the newest: this is the only writer, so no number is used twice."""
    names = _names(columns)
    return (
        f"INSERT INTO {table} (number, {names})"
        f" SELECT (SELECT coalesce(max(number), 0) FROM {table}) + n, {names}"
        f" FROM {_given(columns)}{conflict}"
    )


def _update(key: str, names: Iterable[str]) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f" ON CONFLICT ({key}) DO UPDATE SET {sets}"


def _given_values(names: Iterable[str]) -> str:
    return ", ".join(f"{name} = given.{name}" for name in names)


_ORDER_STATE = OrderRow._fields[OrderRow._fields.index("open") : -1]
_POSITION = ("position", int)
_LOG = [_POSITION, *_columns(LogRow)[2:]]
_ORDER = _columns(OrderRow, _POSITION)
_EVENT = _columns(OrderEventRow, _POSITION)
_TRADE = _columns(TradeRow, ("maker_position", int), ("taker_position", int))
_ACCOUNT = [("account", str), ("event_seq", int)]
_EXECUTED = [*_ACCOUNT, ("execution_seq", int)]

# Told again, it may be known by now which orders of this home a trade is about. A new one goes
# into the bar of its minute: first and last by its own time, then by when it was learned.
_TRADES = f"""
WITH given AS (SELECT * FROM {_given(_TRADE)}),
known AS (
    UPDATE trades SET maker_position = given.maker_position, taker_position = given.taker_position
    FROM given WHERE trades.time_ms = given.time_ms AND trades.trade_id = given.trade_id
        AND coalesce(given.maker_position, given.taker_position) IS NOT NULL
),
fresh AS (
    INSERT INTO trades (number, {_names(_TRADE)})
    SELECT (SELECT coalesce(max(number), 0) FROM trades) + row_number() OVER (ORDER BY n),
        {_names(_TRADE)}
    FROM given WHERE NOT EXISTS (
        SELECT FROM trades WHERE trades.time_ms = given.time_ms AND trades.trade_id = given.trade_id
    )
    RETURNING number, market, time_ms, price_ticks, quantity_lots
),
minutes AS (
    SELECT market, time_ms / 60000 * 60000 AS minute,
        min(time_ms) AS first_ms, max(time_ms) AS last_ms,
        (array_agg(price_ticks ORDER BY time_ms, number))[1] AS open,
        (array_agg(price_ticks ORDER BY time_ms DESC, number DESC))[1] AS close,
        max(price_ticks) AS high, min(price_ticks) AS low,
        sum(quantity_lots)::bigint AS volume, count(*) AS trades, min(number) AS learned
    FROM fresh GROUP BY market, minute
)
INSERT INTO bars AS b
    (number, market, time_ms, first_ms, last_ms, open, high, low, close, volume, trades)
SELECT (SELECT coalesce(max(number), 0) FROM bars) + row_number() OVER (ORDER BY learned),
    market, minute, first_ms, last_ms, open, high, low, close, volume, trades
FROM minutes
ON CONFLICT (market, time_ms) DO UPDATE SET
    open = CASE WHEN excluded.first_ms < b.first_ms THEN excluded.open ELSE b.open END,
    close = CASE WHEN excluded.last_ms >= b.last_ms THEN excluded.close ELSE b.close END,
    first_ms = least(b.first_ms, excluded.first_ms),
    last_ms = greatest(b.last_ms, excluded.last_ms),
    high = greatest(b.high, excluded.high),
    low = least(b.low, excluded.low),
    volume = b.volume + excluded.volume,
    trades = b.trades + excluded.trades
"""

#: What is prepared once a connection, in the order in which a batch is written.
STATEMENTS: dict[str, str] = {
    "MetaRow": _insert("meta", _columns(MetaRow), _update("name", ["value"])),
    "MetaGone": "DELETE FROM meta WHERE name = ANY ($1::text[])",
    "LogRow": _insert("log", _LOG),
    "OrderRow": _insert(
        "orders",
        _ORDER,
        _update("position", ("quantity_lots", "key_ms", "key_counter", *_ORDER_STATE))
        # Two orders with one stamp would be a bug: NOT NULL refuses to write one over the other.
        + ", market = CASE WHEN orders.order_id = excluded.order_id THEN orders.market END",
    ),
    "OrderEventRow": _append("order_events", _EVENT),
    "ExecutionRow": _append("executions", _columns(ExecutionRow)),
    "TradeRow": _TRADES,
    "IntentRow": _append("intents", _columns(IntentRow), _update("fill_id", IntentRow._fields[1:])),
    "IntentSettled": "UPDATE intents SET lots = 0, done = 1 WHERE fill_id = ANY ($1::text[])",
    # The answer itself is final; only what is known about its taker changes.
    "AnswerRow": _append(
        "answers", _columns(AnswerRow), _update("fill_id", ["keep_ms", "unsettled"])
    ),
    "AnswerSettled": "UPDATE answers SET unsettled = 0 WHERE fill_id = ANY ($1::text[])",
    "EvidenceRow": _append("evidence", _columns(EvidenceRow)),
    "AnswerGone": "DELETE FROM answers WHERE fill_id = ANY ($1::text[])",
    "FillTraded": _insert("traded_fills", _columns(FillTraded)),
    "FillForgotten": "DELETE FROM traded_fills WHERE number = ANY ($1::bigint[])",
    "OriginRow": _insert("origins", _columns(OriginRow), _update("origin", OriginRow._fields[1:])),
    "OriginGone": "DELETE FROM origins WHERE origin = ANY ($1::text[])",
    "RecordRow": _append(
        "records", _columns(RecordRow), _update("order_id", RecordRow._fields[1:])
    ),
    "RecordChanged": (
        f"UPDATE records SET {_given_values(RecordChanged._fields[1:])}"
        f" FROM {_given(_columns(RecordChanged))} WHERE records.order_id = given.order_id"
    ),
    "RecordGone": "DELETE FROM records WHERE order_id = ANY ($1::text[])",
    "accounts": _insert("accounts", _ACCOUNT, _update("account", ["event_seq"])),
    # An execution comes with an event of its order: its account is there by then.
    "executed": _insert("accounts", _EXECUTED, _update("account", ["execution_seq"])),
}
#: The fields that name a row, where one of the same batch may be written over another.
_KEYS: dict[type, tuple[str, ...]] = {
    MetaRow: ("name",),
    OrderRow: ("time_ms", "counter"),
    IntentRow: ("fill_id",),
    AnswerRow: ("fill_id",),
    OriginRow: ("origin",),
    RecordRow: ("order_id",),
    RecordChanged: ("order_id",),
}


def writes(rows: Sequence[Row]) -> list[TableWrite]:
    """
    The statements of one batch, in order.

    Events and trades are kept with the positions of the orders they are about, if these are in the
    same batch (see ``storage/statements.py``).
    """
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(type(row).__name__, []).append(row)
    positions = {
        row.order_id: order_position(row.time_ms, row.counter) for row in groups.get("OrderRow", ())
    }
    made = [
        TableWrite(name, _parameters(name, groups[name], positions))
        for name in STATEMENTS
        if name in groups
    ]
    newest = {row.account: row.seq for row in groups.get("OrderEventRow", ())}
    if newest:
        made.append(TableWrite("accounts", [_texts(newest), _numbers(newest.values())]))
    newest = {row.account: row.seq for row in groups.get("ExecutionRow", ())}
    if newest:
        zeros = _numbers([0] * len(newest))
        made.append(TableWrite("executed", [_texts(newest), zeros, _numbers(newest.values())]))
    return made


def _parameters(name: str, rows: list[Any], positions: Mapping[str, int]) -> list[Array]:
    rows = _once(rows)
    first: list[Array] = []
    kind = type(rows[0])
    if kind is LogRow:
        first = [_numbers(log_position(row.epoch, row.seq) for row in rows)]
    elif kind is OrderRow:
        first = [_numbers(order_position(row.time_ms, row.counter) for row in rows)]
    elif kind is OrderEventRow:
        first = [_numbers(positions.get(row.order_id, 0) for row in rows)]
    elif kind is TradeRow:
        first = [
            _numbers(positions.get(row.maker_order) for row in rows),
            _numbers(positions.get(row.taker_order) for row in rows),
        ]
    columns = list(zip(*rows, strict=True))[2 if kind is LogRow else 0 :]
    return first + [_array(column) for column in columns]


def _once(rows: list[Any]) -> list[Any]:
    """As if written one after the other: a statement may not change one row twice."""
    kind = type(rows[0])
    if kind is TradeRow:
        return list({(row.time_ms, row.trade_id): row for row in reversed(rows)}.values())[::-1]
    key = _KEYS.get(kind)
    if key is None or len(rows) == 1:
        return rows
    return list({tuple(getattr(row, name) for name in key): row for row in rows}.values())


def _array(column: tuple[Any, ...]) -> Array:
    kind = type(column[0])
    if kind is int:
        return _numbers(column)
    if kind is str:
        return _texts(column)
    return _binary(_BYTEA, column)


# An array as the server sends it: dimensions, whether there are nulls, the type of its elements,
# how many there are, and the number of the first; then each with its length before it.
_HEADER = Struct(">iiIii")
_LENGTH = Struct(">i")
_TEXT, _BYTEA = 25, 17  # PostgreSQL's numbers for these types


def _numbers(column: Iterable[int | None]) -> Array:
    """Of bigint, or of texts that are numbers."""
    literals = ["NULL" if each is None else str(each) for each in column]
    return Array(("{" + ",".join(literals) + "}").encode(), 0)


def _binary(kind: int, column: Sequence[bytes]) -> Array:
    count = len(column)
    parts = [b""] * (2 * count)
    parts[::2] = [_LENGTH.pack(len(each)) for each in column]
    parts[1::2] = column
    return Array(_HEADER.pack(1, 0, kind, count, 1) + b"".join(parts), 1)


def _texts(column: Iterable[str]) -> Array:
    texts = list(column)
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        return _binary(_TEXT, [each.encode() for each in texts])
    return Array(('{"' + joined + '"}').encode(), 0)
