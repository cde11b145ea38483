"""
Pages of history in PostgreSQL's SQL: ``storage/history.py``, function by function.

Shell. Touches the connection it is given, nothing else. What both databases understand is taken
from there; the rest is simpler here, for want of shelves.
"""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.effects.rows import (
    ExecutionRow,
    OrderEventRow,
    OrderRow,
    TradedSum,
    TradeRow,
)
from grenache_py.exchange.storage.history import (
    Candle,
    ExecutionPage,
    evidence,
    execution_page,
    log_entries,
    newest_trades,
    records,
    trades_of,
    volume_lots,
)
from grenache_py.exchange.storage.selects import (
    SELECT_TRADE,
    Connected,
    order_of,
    orders_where,
    rows_of,
    select,
)
from grenache_py.exchange.storage.statements import EVENT_VALUE, ORDER_VALUE

__all__ = [
    "candles",
    "evidence",
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


def order(connection: Connected, order_id: str) -> OrderRow | None:
    """One own order by its id."""
    found = orders_where(connection, "WHERE order_id = ?", order_id)
    return found[0] if found else None


def order_by_client_id(
    connection: Connected, account: str, client_order_id: str
) -> OrderRow | None:
    """The newest order that ``account`` placed under ``client_order_id``."""
    sql = (
        "WHERE client_order_id <> '' AND account = ? AND client_order_id = ?"
        " ORDER BY position DESC LIMIT 1"
    )
    found = orders_where(connection, sql, account, client_order_id)
    return found[0] if found else None


def orders(
    connection: Connected,
    limit: int,
    *,
    market: str | None = None,
    account: str | None = None,
    status: str | None = None,
    after: str | None = None,
) -> list[OrderRow] | None:
    """One page of own orders, newest first; None when ``after`` is not known."""
    terms, parameters = ["true"], list[Any]()
    for column, wanted in (("market", market), ("account", account)):
        if wanted is not None:
            terms.append(f"{column} = ?")
            parameters.append(wanted)
    if status is not None:
        terms.append(f"live = {int(status == 'open')}")
    if after is not None:
        last = connection.execute(
            "SELECT position FROM orders WHERE order_id = ?", (after,)
        ).fetchone()
        if last is None:
            return None
        terms.append("position < ?")
        parameters.append(last[0])
    sql = f"WHERE {' AND '.join(terms)} ORDER BY position DESC LIMIT ?"
    return orders_where(connection, sql, *parameters, limit)


def trades(
    connection: Connected, market: str, limit: int, after: str | None = None
) -> list[TradeRow] | None:
    """Trades of one market, newest last; None when ``after`` is not known."""
    if after is None:
        return newest_trades(connection, market, limit)
    last = connection.execute(
        "SELECT number FROM trades WHERE trade_id = ? LIMIT 1", (after,)
    ).fetchone()
    if last is None:
        return None
    sql = "WHERE market = ? AND number > ? ORDER BY number LIMIT ?"
    return rows_of(connection, TradeRow, SELECT_TRADE + sql, market, last[0], limit)


def candles(
    connection: Connected, market: str, interval_ms: int, from_ms: int | None, limit: int
) -> list[Candle]:
    """The first ``limit`` intervals with trades at or after ``from_ms``, oldest first."""
    since, direction = ("", "DESC") if from_ms is None else ("AND time_ms >= ?4", "")
    found = rows_of(
        connection,
        Candle,
        "SELECT time_ms / ?2 * ?2 AS start, (array_agg(open ORDER BY time_ms))[1], max(high),"
        " min(low), (array_agg(close ORDER BY time_ms DESC))[1], sum(volume)::bigint,"
        f" sum(trades)::bigint FROM bars WHERE market = ?1 {since}"
        f" GROUP BY start ORDER BY start {direction} LIMIT ?3",
        market,
        interval_ms,
        limit,
        *([] if from_ms is None else [from_ms]),
    )
    return found[::-1] if from_ms is None else found


def order_events(
    connection: Connected, account: str, from_seq: int, limit: int
) -> list[tuple[OrderEventRow, OrderRow | None]]:
    """Events of one account from ``from_seq`` on, each with its order as it is now."""
    events = ", ".join(f"e.{name}" for name in OrderEventRow._fields)
    order = ", ".join(f"o.{name}" for name in OrderRow._fields)
    at, width = EVENT_VALUE, len(OrderEventRow._fields)
    found = connection.execute(
        f"SELECT {events}, {order} FROM order_events e LEFT JOIN orders o USING (position)"
        " WHERE e.account = ? AND e.seq >= ? ORDER BY e.seq LIMIT ?",
        (account, from_seq, limit),
    )
    return [
        (
            OrderEventRow._make((*row[:at], int(row[at]), *row[at + 1 : width])),
            None if row[width + ORDER_VALUE] is None else order_of(row[width:]),
        )
        for row in found
    ]


def executions(
    connection: Connected,
    account: str,
    limit: int,
    after: int | None = None,
    market: str | None = None,
) -> ExecutionPage | None:
    """One page of an account's executions; None when what follows ``after`` is not (all) kept."""
    sql = f"{select(ExecutionRow, 'executions')} WHERE account = ? AND seq BETWEEN ? AND ?"
    return execution_page(connection, sql, account, limit, after, market)


def traded(connection: Connected, account: str) -> list[TradedSum]:
    """What an account bought and sold, by market and side, as far as its executions are kept."""
    found = connection.execute(
        "SELECT market, side, sum(quantity_lots), count(*), min(seq), min(time_ms), max(seq)"
        " FROM executions WHERE account = ? GROUP BY market, side ORDER BY market, side",
        (account,),
    )
    return [TradedSum(market, side, int(lots), *rest) for market, side, lots, *rest in found]
