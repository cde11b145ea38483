"""
Pages of history read from the store: orders, trades, candles, events of orders, log entries.

Shell. Touches the SQLite connection it is given, nothing else. Plain functions, so that the
store can run them on its reading thread, and a test or a tool on any connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, NamedTuple

from grenache_py.exchange.effects.rows import (
    EvidenceRow,
    ExecutionRow,
    LogRow,
    OrderEventRow,
    OrderRow,
    RecordRow,
    TradedSum,
    TradeRow,
)
from grenache_py.exchange.storage.positions import log_position, order_position
from grenache_py.exchange.storage.selects import (
    SELECT_LOG,
    SELECT_TRADE,
    Connected,
    orders_where,
    rows_of,
    select,
)
from grenache_py.exchange.storage.statements import EVENT_VALUE

__all__ = [
    "Candle",
    "ExecutionPage",
    "candles",
    "evidence",
    "execution_page",
    "executions",
    "log_entries",
    "newest_trades",
    "order",
    "order_by_client_id",
    "order_events",
    "orders",
    "records",
    "traded",
    "trades",
    "trades_of",
    "volume_lots",
]

#: An account's executions among which one page looks for those of one market.
EXECUTIONS_LOOKED_AT = 10_000
#: Shelves where the orders of an account are looked for first.
SHELVES_AT_FIRST = 16

_SELECT_EVENT = (
    f"SELECT position, {', '.join(OrderEventRow._fields)} FROM shelves CROSS JOIN order_events"
    " ON number >> 10 = n AND account = ?1 "
)


# Ids are looked for shelf by shelf, the newest first: see orders in the schema. ``CROSS`` keeps
# SQLite from turning the loops round; ``+`` from putting the id itself into the ``substr``.
def _shelves(newest: str, oldest: str) -> str:
    return (
        f"WITH RECURSIVE shelves (n) AS (SELECT {newest} UNION ALL"
        f" SELECT n - 1 FROM shelves WHERE n > {oldest}) "
    )


_NEWEST_SHELF, _OLDEST_SHELF = "(SELECT max(shelf) FROM orders)", "(SELECT min(shelf) FROM orders)"
_ORDER_SHELVES = _shelves(_NEWEST_SHELF, _OLDEST_SHELF)
_TRADE_SHELVES = _shelves(
    "(SELECT max(number) FROM trades) >> 10", "((SELECT min(number) FROM trades) >> 10)"
)
_EVENT_SHELVES = _shelves(
    "(SELECT max(number) FROM order_events) >> 10",
    "((SELECT min(number) FROM order_events) >> 10)",
)
_EXECUTION_SHELVES = _shelves(
    "(SELECT max(number) FROM executions) >> 10",
    "((SELECT min(number) FROM executions) >> 10)",
)
_SELECT_EXECUTION = (
    f"{_EXECUTION_SHELVES} SELECT {', '.join(ExecutionRow._fields)} FROM shelves"
    " CROSS JOIN executions ON number >> 10 = n AND account = ? AND seq BETWEEN ? AND ?"
)
_ORDER_POSITION = (
    _ORDER_SHELVES + "SELECT position FROM shelves CROSS JOIN orders ON shelf = n"
    " AND substr(order_id, 1, 8) = substr(?1, 1, 8) AND +order_id = ?1 LIMIT 1"
)


def _position(connection: Connection, order_id: str) -> int | None:
    found = connection.execute(_ORDER_POSITION, (order_id,)).fetchone()
    return None if found is None else int(found[0])


def _order_at(connection: Connection, position: int) -> OrderRow | None:
    found = orders_where(connection, "WHERE position = ?", position)
    return found[0] if found else None


def order(connection: Connection, order_id: str) -> OrderRow | None:
    """One own order by its id."""
    position = _position(connection, order_id)
    return None if position is None else _order_at(connection, position)


def order_by_client_id(
    connection: Connection, account: str, client_order_id: str
) -> OrderRow | None:
    """The newest order that ``account`` placed under ``client_order_id``."""
    if not client_order_id:
        return None
    (position,) = connection.execute(
        _ORDER_SHELVES + "SELECT max(position) FROM shelves CROSS JOIN orders ON shelf = n"
        " AND client_order_id = ? AND account = ? AND client_order_id <> ''",
        (client_order_id, account),
    ).fetchone()
    return None if position is None else _order_at(connection, position)


def orders(
    connection: Connection,
    limit: int,
    *,
    market: str | None = None,
    account: str | None = None,
    status: str | None = None,
    after: str | None = None,
) -> list[OrderRow] | None:
    """
    One page of own orders, newest first; None when ``after`` is not known.

    Args:
        status: "open" (live) or "closed"; None for both.
        after: the order id the previous page ended with.
    """
    terms, parameters = ["1"], list[Any]()
    if market is not None:
        terms.append("market = ?")
        parameters.append(market)
    if status is not None:
        terms.append(f"live = {int(status == 'open')}")
    if after is not None:
        last = _position(connection, after)
        if last is None:
            return None
        terms.append("position < ?")
        parameters.append(last)
    sql = f"WHERE {' AND '.join(terms)} "
    newest_first = "ORDER BY position DESC LIMIT ?"
    if account is None:
        return orders_where(connection, sql + newest_first, *parameters, limit)
    found: list[OrderRow] = []
    shelf, oldest = connection.execute(f"SELECT {_NEWEST_SHELF}, {_OLDEST_SHELF}").fetchone()
    some = SHELVES_AT_FIRST
    # Who trades much is on the newest shelves; the others have few orders to be sorted.
    while shelf is not None and shelf >= oldest and len(found) < limit:
        last = max(shelf - some + 1, oldest)
        among = (
            _shelves("?", "?") + "SELECT position FROM shelves CROSS JOIN orders"
            " ON shelf = n AND account = ? " + sql + newest_first
        )
        positions = connection.execute(
            among, (shelf, last, account, *parameters, limit - len(found))
        ).fetchall()
        found += filter(None, (_order_at(connection, position) for (position,) in positions))
        shelf, some = last - 1, some * 8
    return found


def trades(
    connection: Connection, market: str, limit: int, after: str | None = None
) -> list[TradeRow] | None:
    """
    Trades of one market, newest last; None when ``after`` is not known.

    Args:
        after: a trade id: what this home learned next after it.
            Without it: the newest ``limit``.
    """
    if after is None:
        return newest_trades(connection, market, limit)
    last = connection.execute(
        _TRADE_SHELVES + "SELECT number FROM shelves CROSS JOIN trades ON number >> 10 = n"
        " AND substr(trade_id, 1, 8) = substr(?1, 1, 8) AND +trade_id = ?1 LIMIT 1",
        (after,),
    ).fetchone()
    if last is None:
        return None
    sql = "WHERE market = ? AND number > ? ORDER BY number LIMIT ?"
    return rows_of(connection, TradeRow, SELECT_TRADE + sql, market, last[0], limit)


def newest_trades(connection: Connected, market: str, limit: int) -> list[TradeRow]:
    """The newest trades of one market, newest last."""
    sql = "WHERE market = ? ORDER BY number DESC LIMIT ?"
    return rows_of(connection, TradeRow, SELECT_TRADE + sql, market, limit)[::-1]


def trades_of(connection: Connected, row: OrderRow, limit: int) -> list[TradeRow]:
    """The newest trades of an own order, newest last."""
    sql = "WHERE maker_position = ?1 OR taker_position = ?1 ORDER BY number DESC LIMIT ?2"
    position = order_position(row.time_ms, row.counter)
    return rows_of(connection, TradeRow, SELECT_TRADE + sql, position, limit)[::-1]


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
    connection: Connection, market: str, interval_ms: int, from_ms: int | None, limit: int
) -> list[Candle]:
    """
    The first ``limit`` intervals with trades at or after ``from_ms``, oldest first.

    With None, the newest ``limit``. ``interval_ms`` and ``from_ms`` are whole minutes: that is
    what bars are kept of.
    """
    if from_ms is None:
        sql = (
            "SELECT min(start) FROM (SELECT DISTINCT time_ms / ?2 * ?2 AS start FROM bars"
            " WHERE market = ?1 ORDER BY start DESC LIMIT ?3)"
        )
        (oldest,) = connection.execute(sql, (market, interval_ms, limit)).fetchone()
        from_ms = oldest or 0
    return rows_of(
        connection,
        Candle,
        "SELECT start, "
        "(SELECT open FROM bars WHERE market = ?1 AND time_ms >= start"
        " ORDER BY time_ms LIMIT 1), "
        "high, low, "
        "(SELECT close FROM bars WHERE market = ?1 AND time_ms < start + ?2"
        " ORDER BY time_ms DESC LIMIT 1), "
        "volume, trades FROM ("
        " SELECT time_ms / ?2 * ?2 AS start, max(high) AS high, min(low) AS low,"
        " sum(volume) AS volume, sum(trades) AS trades FROM bars"
        " WHERE market = ?1 AND time_ms >= ?3 GROUP BY start ORDER BY start LIMIT ?4)",
        market,
        interval_ms,
        from_ms,
        limit,
    )


def volume_lots(connection: Connected, market: str, from_ms: int) -> int:
    """Lots traded in ``market`` since the minute that holds ``from_ms``."""
    sql = (
        "SELECT coalesce(sum(volume), 0) FROM bars"
        " WHERE market = ?1 AND time_ms >= ?2 / 60000 * 60000"
    )
    (lots,) = connection.execute(sql, (market, from_ms)).fetchone()
    return int(lots)


def order_events(
    connection: Connection, account: str, from_seq: int, limit: int
) -> list[tuple[OrderEventRow, OrderRow | None]]:
    """Events of one account from ``from_seq`` on, each with its order as it is now."""
    (newest,) = connection.execute(
        "SELECT max(event_seq) FROM accounts WHERE account = ?", (account,)
    ).fetchone()
    if newest is None or newest < from_seq:
        return []
    seq = 1 + OrderEventRow._fields.index("seq")
    # Numbers have no gaps: only when the first one is forgotten, all others are looked through.
    for among in ("BETWEEN ?2 AND ?2 + ?3 - 1", ">= ?2"):
        found = connection.execute(
            _EVENT_SHELVES + _SELECT_EVENT + f"AND seq {among} ORDER BY seq LIMIT ?3",
            (account, from_seq, limit),
        ).fetchall()
        if found and found[0][seq] == from_seq:
            break
    at = EVENT_VALUE + 1
    orders = {position: _order_at(connection, position) for (position, *_) in found}
    return [
        (OrderEventRow._make((*row[1:at], int(row[at]), *row[at + 1 :])), orders[row[0]])
        for row in found
    ]


class ExecutionPage(NamedTuple):
    """
    What an account's orders traded, oldest first.

    Attributes:
        last: the number up to which was looked, which is where the next page begins.
        newest: the account's newest number.
    """

    rows: list[ExecutionRow]
    last: int
    newest: int


def executions(
    connection: Connection,
    account: str,
    limit: int,
    after: int | None = None,
    market: str | None = None,
) -> ExecutionPage | None:
    """
    One page of an account's executions; None when what follows ``after`` is not (all) kept.

    Args:
        after: the number before the first; None: the newest ``limit``.
        market: only those of this market, among `EXECUTIONS_LOOKED_AT`.
    """
    return execution_page(connection, _SELECT_EXECUTION, account, limit, after, market)


def execution_page(
    connection: Connected,
    numbered: str,
    account: str,
    limit: int,
    after: int | None,
    market: str | None,
) -> ExecutionPage | None:
    """As ``executions``; ``numbered`` finds those of an account from one number to another."""
    found = connection.execute(
        "SELECT execution_seq FROM accounts WHERE account = ?", (account,)
    ).fetchone()
    newest = 0 if found is None else int(found[0])
    looked_at = limit if market is None else EXECUTIONS_LOOKED_AT
    first = max(newest - looked_at if after is None else after, 0) + 1
    last = min(first + looked_at - 1, newest)
    if first > newest:
        return ExecutionPage([], newest, newest) if first == newest + 1 else None
    if after is not None and not rows_of(connection, ExecutionRow, numbered, account, first, first):
        return None
    order = "ORDER BY seq" + (" DESC LIMIT ?" if after is None else " LIMIT ?")
    sql = f"{numbered} AND market = coalesce(?, market) {order}"
    rows = rows_of(connection, ExecutionRow, sql, account, first, last, market, limit)
    if after is None:
        return ExecutionPage(rows[::-1], newest, newest)
    return ExecutionPage(rows, rows[-1].seq if len(rows) == limit else last, newest)


def evidence(connection: Connected, time_ms: int) -> list[EvidenceRow]:
    """What homes signed about trades with another of one millisecond, as it was learned."""
    sql = f"{select(EvidenceRow, 'evidence')} WHERE time_ms = ? ORDER BY number"
    return rows_of(connection, EvidenceRow, sql, time_ms)


def traded(connection: Connection, account: str) -> list[TradedSum]:
    """What an account bought and sold, by market and side, as far as its executions are kept."""
    found = connection.execute(
        # In two parts, so that no sum outgrows 64 bits.
        f"{_EXECUTION_SHELVES} SELECT market, side, sum(quantity_lots >> 20),"
        " sum(quantity_lots & 1048575), count(*), min(seq), min(time_ms), max(seq)"
        " FROM shelves CROSS JOIN executions ON number >> 10 = n AND account = ?"
        " GROUP BY market, side ORDER BY market, side",
        (account,),
    )
    return [
        TradedSum(market, side, (high << 20) + low, *rest)
        for market, side, high, low, *rest in found
    ]


def log_entries(connection: Connected, epoch: int, first: int, last: int) -> list[LogRow]:
    """Own log entries ``first`` to ``last`` of ``epoch``; old ones may be gone."""
    sql = "WHERE position BETWEEN ? AND ? ORDER BY position"
    return rows_of(
        connection,
        LogRow,
        SELECT_LOG + sql,
        log_position(epoch, first),
        log_position(epoch, last),
    )


def records(connection: Connected, order_ids: Sequence[str]) -> list[RecordRow]:
    """Live orders of other homes by their ids; those that are not live are left out."""
    marks = ", ".join("?" * len(order_ids))
    sql = select(RecordRow, "records") + f"WHERE order_id IN ({marks})"
    return rows_of(connection, RecordRow, sql, *order_ids)
