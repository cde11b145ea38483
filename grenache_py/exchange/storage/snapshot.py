"""
What is read of the whole store: the snapshot a node starts from, counts, and every row.

Shell. Touches the connection it is given, nothing else. Plain functions, so that the
store can run them on its reading thread, and a test or a tool on any connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from grenache_py.exchange.effects.rows import (
    AnswerRow,
    FillTraded,
    IntentRow,
    LogRow,
    OrderRow,
    OriginRow,
    RecordRow,
    Snapshot,
    TradeRow,
)
from grenache_py.exchange.storage.client_id_filter import ClientIdFilter
from grenache_py.exchange.storage.history import newest_trades
from grenache_py.exchange.storage.positions import log_position
from grenache_py.exchange.storage.selects import (
    SELECT_LOG,
    SELECT_ORDER,
    SELECT_TRADE,
    Connected,
    order_of,
    orders_where,
    rows_of,
    select,
)

__all__ = [
    "Counts",
    "all_log_entries",
    "all_orders",
    "all_trades",
    "books",
    "client_ids",
    "counts",
    "load",
    "load_as_it_is",
    "meta",
]

#: What `Snapshot` promises to be bounded by.
LOG_TAIL_MAX = 1_024
#: Those that clients ask about again; a home with 10,000 would serve 0.2 s later.
CLOSED_ORDERS_MAX = 1_000
TRADES_PER_MARKET_MAX = 1_000
#: Among which the last one is: others tell of theirs a little late.
TRADES_BESIDE_A_BOOK_MAX = 100


def load_as_it_is(connection: sqlite3.Connection) -> Snapshot:
    """Like `load`, though texts may be damaged: whoever needs one finds out."""
    try:
        return load(connection)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    try:
        return load(connection)
    finally:
        connection.text_factory = str


def load(connection: Connected) -> Snapshot:
    """Read what a node needs to start where it stopped."""
    tail = rows_of(connection, LogRow, SELECT_LOG + "ORDER BY position DESC LIMIT ?", LOG_TAIL_MAX)[
        ::-1
    ]
    live = orders_where(connection, "WHERE live = 1 ORDER BY position")
    closed = orders_where(
        connection,
        "WHERE live = 0 ORDER BY updated_ms DESC LIMIT ?",
        CLOSED_ORDERS_MAX,
    )
    return Snapshot(
        meta=meta(connection),
        head=tail[-1] if tail else None,
        log_tail=tail,
        orders=live + closed[::-1],
        order_logs=_order_logs(connection, tail[-1].epoch) if tail else {},
        event_seqs=dict(connection.execute("SELECT account, event_seq FROM accounts")),
        execution_seqs=dict(
            connection.execute(
                "SELECT account, execution_seq FROM accounts WHERE execution_seq > 0"
            )
        ),
        trades=_newest(connection, TRADES_PER_MARKET_MAX),
        intents=rows_of(
            connection,
            IntentRow,
            select(IntentRow, "intents") + "WHERE done = 0 ORDER BY number",
        ),
        answers=rows_of(connection, AnswerRow, select(AnswerRow, "answers") + "ORDER BY number"),
        traded_fills=rows_of(
            connection, FillTraded, select(FillTraded, "traded_fills") + "ORDER BY number"
        ),
        origins=_origins(connection),
        records=_records(connection),
    )


def books(connection: Connected) -> Snapshot:
    """As much of it as the books and the last trades are made of."""
    return Snapshot(
        meta=meta(connection),
        orders=orders_where(connection, "WHERE live = 1 ORDER BY position"),
        trades=_newest(connection, TRADES_BESIDE_A_BOOK_MAX),
        origins=_origins(connection),
        records=_records(connection),
    )


def _newest(connection: Connected, per_market: int) -> list[TradeRow]:
    return [
        trade
        for market in markets(connection)
        for trade in newest_trades(connection, market, per_market)
    ]


def _origins(connection: Connected) -> list[OriginRow]:
    return rows_of(connection, OriginRow, select(OriginRow, "origins") + "ORDER BY origin")


def _records(connection: Connected) -> list[RecordRow]:
    return rows_of(connection, RecordRow, select(RecordRow, "records") + "ORDER BY number")


def _order_logs(connection: Connected, epoch: int) -> dict[int, LogRow]:
    """The order entry and the newest state entry of every live order, by seq."""
    positions = (
        f"SELECT ?1 | {column} FROM orders WHERE live = 1 AND {column} > 0"
        for column in ("order_seq", "state_seq")
    )
    sql = f"WHERE position IN ({' UNION '.join(positions)})"
    found = rows_of(connection, LogRow, SELECT_LOG + sql, log_position(epoch, 0))
    return {row.seq: row for row in found}


def markets(connection: Connected) -> list[str]:
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


def meta(connection: Connected) -> dict[str, int]:
    """All named integers."""
    return dict(connection.execute("SELECT name, value FROM meta"))


def all_orders(connection: Connected, live_only: bool = False) -> Iterator[OrderRow]:
    """Every own order, oldest first, one at a time."""
    sql = SELECT_ORDER + ("WHERE live = 1 " if live_only else "") + "ORDER BY position"
    return map(order_of, connection.execute(sql))


def all_trades(connection: Connected) -> Iterator[TradeRow]:
    """Every trade, in the order they were learned, one at a time."""
    return map(TradeRow._make, connection.execute(SELECT_TRADE + "ORDER BY number"))


def all_log_entries(connection: Connected) -> Iterator[LogRow]:
    """Every entry of the own log, oldest first, one at a time."""
    return map(LogRow._make, connection.execute(SELECT_LOG + "ORDER BY position"))


def client_ids(connection: Connected) -> ClientIdFilter:
    """All stored client order ids."""
    where = "FROM orders WHERE client_order_id <> ''"
    (count,) = connection.execute(f"SELECT count(*) {where}").fetchone()
    return ClientIdFilter.of(connection.execute(f"SELECT account, client_order_id {where}"), count)


class Counts(NamedTuple):
    """How many rows of each kind the store holds."""

    orders: int
    live_orders: int
    trades: int
    order_events: int
    open_fills: int
    records: int


def counts(connection: Connected) -> Counts:
    """Count rows; those of numbered tables without gaps by their first and last number."""

    def one(sql: str) -> int:
        return int(connection.execute(sql).fetchone()[0] or 0)

    def numbered(table: str) -> int:
        return one(f"SELECT max(number) - (SELECT min(number) FROM {table}) + 1 FROM {table}")

    return Counts(
        orders=one("SELECT count(*) FROM orders"),
        live_orders=one("SELECT count(*) FROM orders WHERE live = 1"),
        trades=numbered("trades"),
        order_events=numbered("order_events"),
        open_fills=one("SELECT count(*) FROM intents WHERE done = 0"),
        records=one("SELECT count(*) FROM records"),
    )
