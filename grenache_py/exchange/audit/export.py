"""
A store's history as CSV or JSON lines, and the proof that its log leads to its book.

Shell. Reads one SQLite file, which a daemon may be using at the same time, and writes to the stream
it is given. Prices and quantities are decimal strings, times milliseconds since 1970 or as ISO 8601
writes them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from sqlite3 import Connection
from typing import Any, TextIO

import msgspec

from grenache_py.exchange.audit.proof import Proof, compare
from grenache_py.exchange.audit.replay import LogReplay
from grenache_py.exchange.effects.rows import OrderRow, TradeRow
from grenache_py.exchange.home.order_rows import own_from_row
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.stored_steps import markets_of
from grenache_py.exchange.signed_log.merkle import Verifier
from grenache_py.exchange.storage import snapshot
from grenache_py.exchange.storage.reading import reading

__all__ = ["CHANGED_AT", "EXPORTS", "prove", "write_csv", "write_jsonl"]

Exported = Iterator[dict[str, Any]]


def _orders(connection: Connection, markets: Mapping[str, Market]) -> Exported:
    """Own orders, oldest first."""
    for row in snapshot.all_orders(connection):
        yield _order(row, markets[row.market])


def _order(row: OrderRow, market: Market) -> dict[str, Any]:
    live = own_from_row(row, "").live
    return {
        "order_id": row.order_id,
        "client_order_id": row.client_order_id,
        "account": row.account,
        "market": row.market,
        "side": row.side,
        "type": row.type,
        "time_in_force": row.time_in_force,
        "price": market.format_price(row.price_ticks) if row.price_ticks else None,
        "stop_price": market.format_price(row.stop_ticks) if row.stop_ticks else None,
        "quantity": market.format_quantity(row.total_lots),
        "filled": market.format_quantity(row.filled),
        "remaining": market.format_quantity(row.open),
        "in_doubt": market.format_quantity(row.reserved),
        "status": live.status,
        "average_price": market.format_average(row.value, row.filled) if row.filled else None,
        "time": row.time_ms,
        "updated": row.updated_ms,
    }


def _trades(connection: Connection, markets: Mapping[str, Market]) -> Exported:
    """All trades this home knows, in the order in which it learned of them."""
    for row in snapshot.all_trades(connection):
        market = markets[row.market]
        yield {
            "trade_id": row.trade_id,
            "market": row.market,
            "price": market.format_price(row.price_ticks),
            "quantity": market.format_quantity(row.quantity_lots),
            "side": row.side,
            "maker_order": row.maker_order,
            "taker_order": row.taker_order,
            "maker_home": row.maker_home,
            "taker_home": row.taker_home,
            "time": row.time_ms,
        }


def _log(connection: Connection, markets: Mapping[str, Market]) -> Exported:
    """The home's own signed log, oldest entry first."""
    for row in snapshot.all_log_entries(connection):
        yield {
            "epoch": row.epoch,
            "seq": row.seq,
            "hash": row.hash,
            "payload": row.payload,
            "path": row.path.hex(),
            "leaf": row.leaf,
            "size": row.size,
            "signature": row.signature.hex(),
        }


#: What can be exported, by name.
EXPORTS: dict[str, Callable[[Connection, Mapping[str, Market]], Exported]] = {
    "orders": _orders,
    "trades": _trades,
    "log": _log,
}
#: The member that says when a record was last changed.
CHANGED_AT = {"orders": "updated", "trades": "time"}
_TIMES = frozenset({"time", "updated"})


def _records(path: str, what: str, since_ms: int | None, iso: bool) -> Exported:
    with reading(path) as connection:
        for record in EXPORTS[what](connection, markets_of(snapshot.meta(connection))):
            if since_ms is not None and record[CHANGED_AT[what]] < since_ms:
                continue
            if iso:
                record |= {name: _iso(record[name]) for name in _TIMES & record.keys()}
            yield record


def _iso(time_ms: int) -> str:
    when = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def write_csv(
    path: str, what: str, to: TextIO, since_ms: int | None = None, iso: bool = False
) -> int:
    """
    Write ``what`` of the store at ``path`` as CSV (RFC 4180, with a header line).

    Args:
        since_ms: leave out what was last changed before; only for those of ``CHANGED_AT``.
        iso: write times as ISO 8601 does, in UTC.

    Returns:
        the number of records.

    Raises:
        StoreError: the file cannot be read.
    """
    count = 0
    writer: csv.DictWriter[str] | None = None
    for record in _records(path, what, since_ms, iso):
        if writer is None:
            writer = csv.DictWriter(to, record)
            writer.writeheader()
        writer.writerow(record)
        count += 1
    return count


def write_jsonl(
    path: str, what: str, to: TextIO, since_ms: int | None = None, iso: bool = False
) -> int:
    """Write ``what`` of the store at ``path``, one JSON object a line; see ``write_csv``."""
    count = 0
    for record in _records(path, what, since_ms, iso):
        to.write(msgspec.json.encode(record).decode() + "\n")
        count += 1
    return count


def prove(
    path: str, verifier: Verifier | None = None, told: Callable[[int], None] | None = None
) -> Proof:
    """
    Replay the log of the store at ``path`` and compare the outcome with the store.

    Args:
        verifier: checks every signature too; without one, none is checked.
        told: called with the number of entries done, after every thousand.

    Raises:
        StoreError: the file cannot be read.
    """
    with reading(path) as connection:
        replay = LogReplay(markets_of(snapshot.meta(connection)), verifier)
        for row in snapshot.all_log_entries(connection):
            replay.apply(row)
            if told is not None and not replay.entries % 1000:
                told(replay.entries)
        orders: Iterable[OrderRow] = snapshot.all_orders(connection, live_only=True)
        trades: Iterable[TradeRow] = snapshot.all_trades(connection)
        return compare(replay, orders, trades)
