"""
The SQL of the store: one statement per row type, and the reads, as plain functions.

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
from typing import Any, NamedTuple, TypeVar

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
    Snapshot,
    TradeRow,
)

__all__ = ["Candle", "load", "write"]

R = TypeVar("R", bound=NamedTuple)

# Rows a statement takes; every size is one prepared statement a type, kept by the connection.
CHUNKS = (64, 16, 4, 1)
SEQ_BITS = 40  # log.position = epoch << 40 | seq
COUNTER_BITS = 20  # orders.position = time_ms << 20 | counter
SEQ_MASK = (1 << SEQ_BITS) - 1

# What Snapshot promises to be bounded.
LOG_TAIL_MAX = 1_024
CLOSED_ORDERS_MAX = 10_000
TRADES_PER_MARKET_MAX = 1_000


def log_position(epoch: int, seq: int) -> int:
    """The number of a log entry in the ``log`` table; sorts as (epoch, seq)."""
    return epoch << SEQ_BITS | seq


def order_position(time_ms: int, counter: int) -> int:
    """The number of an own order in the ``orders`` table; sorts by time priority."""
    return time_ms << COUNTER_BITS | counter


# --------------------------------------------------------------------------------------- writing


class Statement(NamedTuple):
    """``before`` + n times ``each``, by commas, + ``after``; ``parameters`` of one row."""

    before: str
    each: str
    after: str
    parameters: Callable[[Any], Iterable[Any]]


def _columns(names: Sequence[str]) -> str:
    return ", ".join({"index": "leaf"}.get(name, name.replace("_index", "_leaf")) for name in names)


def _insert(
    table: str,
    names: Sequence[str],
    conflict: str = "",
    parameters: Callable[[Any], Iterable[Any]] = tuple,
) -> Statement:
    each = "(" + ", ".join("?" * len(names)) + ")"
    return Statement(f"INSERT INTO {table} ({_columns(names)}) VALUES ", each, conflict, parameters)


def _update(key: str, names: Sequence[str]) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in _columns(names).split(", "))
    return f" ON CONFLICT ({key}) DO UPDATE SET {sets}"


_ORDER_STATE = OrderRow._fields[OrderRow._fields.index("open") :]
_LOG = LogRow._fields[2:]
# Ticks times lots may exceed SQLite's 64 bits, so ``value`` is kept as text.
_ORDER_VALUE = OrderRow._fields.index("value")
_EVENT_VALUE = OrderEventRow._fields.index("value")

STATEMENTS: dict[type, Statement] = {
    MetaRow: _insert("meta", MetaRow._fields, _update("name", ["value"])),
    LogRow: _insert(
        "log", ("position", *_LOG), parameters=lambda row: (row[0] << SEQ_BITS | row[1], *row[2:])
    ),
    # A reduced order keeps its place, so its quantity may change too.
    OrderRow: _insert(
        "orders",
        ("position", *OrderRow._fields),
        _update("position", ["quantity_lots", *_ORDER_STATE]),
        parameters=lambda row: (
            row.time_ms << COUNTER_BITS | row.counter,
            *row[:_ORDER_VALUE],
            str(row.value),
            *row[_ORDER_VALUE + 1 :],
        ),
    ),
    OrderEventRow: _insert(
        "order_events",
        OrderEventRow._fields,
        parameters=lambda row: (*row[:_EVENT_VALUE], str(row.value), row.time_ms),
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


def write(connection: Connection, rows: Iterable[Row]) -> None:
    """Execute ``rows``, grouped by type, in the caller's transaction."""
    groups: dict[type, list[Row]] = {}
    for row in rows:
        groups.setdefault(type(row), []).append(row)
    for kind, statement in STATEMENTS.items():
        if kind in groups:
            _execute(connection, statement, groups[kind])
    if events := groups.get(OrderEventRow):
        newest = {row[0]: row[1] for row in events}
        _execute(connection, _ACCOUNTS, list(newest.items()))


def _execute(connection: Connection, statement: Statement, rows: Sequence[Any]) -> None:
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            part = rows[start : start + size]
            sql = statement.before + ",".join((statement.each,) * size) + statement.after
            connection.execute(sql, list(chain.from_iterable(map(statement.parameters, part))))
            start += size


# --------------------------------------------------------------------------------------- reading


def _select(kind: type[R], table: str) -> str:
    return f"SELECT {_columns(kind._fields)} FROM {table} "


def _rows(connection: Connection, kind: type[R], sql: str, *parameters: Any) -> list[R]:
    return [kind._make(row) for row in connection.execute(sql, parameters)]


def _orders(connection: Connection, sql: str, *parameters: Any) -> list[OrderRow]:
    at = _ORDER_VALUE
    return [
        OrderRow(*row[:at], int(row[at]), *row[at + 1 :])
        for row in connection.execute(_SELECT_ORDER + sql, parameters)
    ]


_SELECT_LOG = (
    f"SELECT log.position >> {SEQ_BITS}, log.position & {SEQ_MASK}, "
    + ", ".join(f"log.{name}" for name in _columns(_LOG).split(", "))
    + " FROM log "
)
_SELECT_ORDER = _select(OrderRow, "orders")
_SELECT_TRADE = _select(TradeRow, "trades")
_SELECT_EVENT = _select(OrderEventRow, "order_events")


def load(connection: Connection) -> Snapshot:
    """Read what a node needs to start where it stopped."""
    tail = _rows(connection, LogRow, _SELECT_LOG + "ORDER BY position DESC LIMIT ?", LOG_TAIL_MAX)[
        ::-1
    ]
    live = _orders(connection, "WHERE live = 1 ORDER BY position")
    closed = _orders(
        connection,
        "WHERE live = 0 ORDER BY updated_ms DESC LIMIT ?",
        CLOSED_ORDERS_MAX,
    )
    return Snapshot(
        meta=dict(connection.execute("SELECT name, value FROM meta")),
        head=tail[-1] if tail else None,
        log_tail=tail,
        orders=live + closed[::-1],
        order_logs=_order_logs(connection, tail[-1].epoch) if tail else {},
        event_seqs=dict(connection.execute("SELECT account, event_seq FROM accounts")),
        trades=[
            trade
            for market in markets(connection)
            for trade in trades(connection, market, TRADES_PER_MARKET_MAX)
        ],
        intents=_rows(
            connection,
            IntentRow,
            _select(IntentRow, "intents") + "WHERE done = 0 ORDER BY number",
        ),
        answers=_rows(connection, AnswerRow, _select(AnswerRow, "answers") + "ORDER BY number"),
        origins=_rows(connection, OriginRow, _select(OriginRow, "origins") + "ORDER BY origin"),
        records=_rows(connection, RecordRow, _select(RecordRow, "records") + "ORDER BY number"),
    )


def _order_logs(connection: Connection, epoch: int) -> dict[int, LogRow]:
    """The order entry and the newest state entry of every live order, by seq."""
    found: dict[int, LogRow] = {}
    for column in ("order_seq", "state_seq"):
        rows = connection.execute(
            _SELECT_LOG
            + f"JOIN orders ON log.position = (? | orders.{column}) "
            + f"WHERE orders.live = 1 AND orders.{column} > 0",
            (epoch << SEQ_BITS,),
        )
        found.update((row[1], LogRow._make(row)) for row in rows)
    return found


def markets(connection: Connection) -> list[str]:
    """The symbols of all stored trades (one index probe a market, not a scan)."""
    return [
        market
        for (market,) in connection.execute(
            "WITH RECURSIVE found (market) AS ("
            " SELECT min(market) FROM trades UNION ALL"
            " SELECT (SELECT min(market) FROM trades WHERE market > found.market)"
            " FROM found WHERE found.market IS NOT NULL"
            ") SELECT market FROM found WHERE market IS NOT NULL"
        )
    ]


def order(connection: Connection, order_id: str) -> OrderRow | None:
    """One own order by its id."""
    found = _orders(connection, "WHERE order_id = ?", order_id)
    return found[0] if found else None


def order_by_client_id(
    connection: Connection, account: str, client_order_id: str
) -> OrderRow | None:
    """The newest order that ``account`` placed under ``client_order_id``."""
    found = _orders(
        connection,
        "WHERE client_order_id = ? AND client_order_id <> '' AND account = ? "
        + "ORDER BY position DESC LIMIT 1",
        client_order_id,
        account,
    )
    return found[0] if found else None


def orders(
    connection: Connection,
    limit: int,
    *,
    market: str | None = None,
    account: str | None = None,
    status: str | None = None,
    after: str | None = None,
) -> list[OrderRow]:
    """
    One page of own orders, newest first.

    Args:
        status: "open" (live) or "closed"; None for both.
        after: the order id the previous page ended with; an unknown one gives no rows.
    """
    terms, parameters = ["1"], list[Any]()
    if market is not None:
        terms.append("market = ?")
        parameters.append(market)
    if account is not None:
        terms.append("account = ?")
        parameters.append(account)
    if status is not None:
        terms.append(f"live = {int(status == 'open')}")
    if after is not None:
        terms.append("position < (SELECT position FROM orders WHERE order_id = ?)")
        parameters.append(after)
    sql = f"WHERE {' AND '.join(terms)} ORDER BY position DESC LIMIT ?"
    return _orders(connection, sql, *parameters, limit)


def trades(
    connection: Connection, market: str, limit: int, after: str | None = None
) -> list[TradeRow]:
    """
    Trades of one market, newest last.

    Args:
        after: a trade id: what this home learned next after it (an unknown one gives no rows).
            Without it: the newest ``limit``.
    """
    if after is None:
        sql = "WHERE market = ? ORDER BY number DESC LIMIT ?"
        return _rows(connection, TradeRow, _SELECT_TRADE + sql, market, limit)[::-1]
    sql = (
        "WHERE market = ? AND number > (SELECT number FROM trades WHERE trade_id = ?) "
        "ORDER BY number LIMIT ?"
    )
    return _rows(connection, TradeRow, _SELECT_TRADE + sql, market, after, limit)


def trades_of(connection: Connection, order_id: str, limit: int) -> list[TradeRow]:
    """The newest trades of one order, newest last."""
    sql = "WHERE maker_order = ? OR taker_order = ? ORDER BY number DESC LIMIT ?"
    return _rows(connection, TradeRow, _SELECT_TRADE + sql, order_id, order_id, limit)[::-1]


class Candle(NamedTuple):
    """Trades of one interval that begins at ``time_ms``; prices in ticks, volume in lots."""

    time_ms: int
    open: int
    high: int
    low: int
    close: int
    volume_lots: int
    trades: int


def candles(
    connection: Connection, market: str, interval_ms: int, from_ms: int, limit: int
) -> list[Candle]:
    """The first ``limit`` intervals with trades at or after ``from_ms``, oldest first."""
    # The bare columns of a min() or max() query come from the row that has it; two numbers in
    # one query would leave that open, so open and close are looked up by time and number.
    return _rows(
        connection,
        Candle,
        "SELECT start, "
        "(SELECT price_ticks FROM trades WHERE market = ?1 AND time_ms >= start"
        " ORDER BY time_ms, number LIMIT 1), "
        "high, low, "
        "(SELECT price_ticks FROM trades WHERE market = ?1 AND time_ms < start + ?2"
        " ORDER BY time_ms DESC, number DESC LIMIT 1), "
        "volume, trades FROM ("
        " SELECT time_ms / ?2 * ?2 AS start, max(price_ticks) AS high, min(price_ticks) AS low,"
        " sum(quantity_lots) AS volume, count(*) AS trades FROM trades"
        " WHERE market = ?1 AND time_ms >= ?3 GROUP BY start ORDER BY start LIMIT ?4)",
        market,
        interval_ms,
        from_ms,
        limit,
    )


def volume_lots(connection: Connection, market: str, from_ms: int) -> int:
    """Lots traded in ``market`` since ``from_ms``."""
    sql = "SELECT coalesce(sum(quantity_lots), 0) FROM trades WHERE market = ? AND time_ms >= ?"
    (lots,) = connection.execute(sql, (market, from_ms)).fetchone()
    return int(lots)


def order_events(
    connection: Connection, account: str, from_seq: int, limit: int
) -> list[tuple[OrderEventRow, OrderRow | None]]:
    """Events of one account from ``from_seq`` on, each with its order as it is now."""
    sql = "WHERE account = ? AND seq >= ? ORDER BY seq LIMIT ?"
    events = [
        OrderEventRow(*row[:_EVENT_VALUE], int(row[_EVENT_VALUE]), *row[_EVENT_VALUE + 1 :])
        for row in connection.execute(_SELECT_EVENT + sql, (account, from_seq, limit))
    ]
    found = {order_id: order(connection, order_id) for order_id in {e.order_id for e in events}}
    return [(event, found[event.order_id]) for event in events]


def log_entries(connection: Connection, epoch: int, first: int, last: int) -> list[LogRow]:
    """Own log entries ``first`` to ``last`` of ``epoch``; old ones may be gone."""
    sql = "WHERE position BETWEEN ? AND ? ORDER BY position"
    return _rows(
        connection,
        LogRow,
        _SELECT_LOG + sql,
        log_position(epoch, first),
        log_position(epoch, last),
    )
