"""Rows for tests of the store: any row of a type, and orders that make sense."""

from __future__ import annotations

import random
import typing
from typing import Any

from grenache_py.exchange.effects import rows
from grenache_py.exchange.effects.rows import LogRow, OrderEventRow, OrderRow, Row, TradeRow


def sample(kind: type, number: int = 0, **fields: object) -> Any:
    """A row of ``kind`` whose fields all differ, told apart by ``number``."""
    values: dict[str, object] = {}
    for place, (name, hint) in enumerate(typing.get_type_hints(kind).items()):
        made = {int: number * 100 + place, str: f"{name} {number}", bytes: b"%d" % (number + place)}
        values[name] = made[hint]
    if kind is rows.OrderRow:
        values |= {"quantity_lots": 10**6, "live": 1, "order_seq": 0, "state_seq": 0}
    if kind is rows.IntentRow:
        values["done"] = 0
    return kind(**(values | fields))


def log_row(seq: int, epoch: int = 1) -> LogRow:
    """The entry ``seq`` of an own log."""
    return sample(LogRow, seq, epoch=epoch, seq=seq)


def order_row(number: int, live: bool = True, **fields: object) -> OrderRow:
    """The ``number``th order, placed at that many milliseconds; live, or filled."""
    state: dict[str, object] = {
        "order_id": f"{number:032x}",
        "market": "BTC-USD",
        "account": "alice",
        "client_order_id": "",
        "time_ms": number,
        "counter": 0,
        "quantity_lots": 10,
        "open": 10 if live else 0,
        "reserved": 0,
        "filled": 0 if live else 10,
        "total_lots": 10,
        "reason": "",
        "live": int(live),
        "updated_ms": number,
    }
    return sample(OrderRow, number, **(state | fields))


def event_row(account: str, seq: int, order: OrderRow) -> OrderEventRow:
    """Event ``seq`` of ``account``: ``order`` as it is."""
    return OrderEventRow(
        account,
        seq,
        order.order_id,
        order.open,
        order.reserved,
        order.filled,
        order.version,
        order.reason,
        order.value,
        order.updated_ms,
    )


def trade_row(number: int, rng: random.Random | None = None, **fields: object) -> TradeRow:
    """The ``number``th trade, at that many milliseconds; price and quantity by ``rng``."""
    drawn = rng or random.Random(number)
    made: dict[str, object] = {
        "trade_id": f"{number:032x}",
        "market": "BTC-USD",
        "price_ticks": drawn.randrange(90, 110),
        "quantity_lots": drawn.randrange(1, 10),
        "time_ms": number,
    }
    return sample(TradeRow, number, **(made | fields))


def batch(number: int) -> list[Row]:
    """An order that trades with the one before it, which it closes."""
    new, old = order_row(number), order_row(number - 1, live=False)
    return [log_row(number), new, old, trade_row(number), event_row("alice", number, new)]
