"""
What happened to one order, out of a store: its home's log, trades, and fills with other homes.

Shell. Reads one SQLite file, which a daemon may be using at the same time. What retention has
forgotten is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from sqlite3 import Connection

from grenache_py.exchange.audit.happenings import ID_CHARS_MIN, KINDS, Happening, Trace
from grenache_py.exchange.effects.rows import AnswerRow, IntentRow, RecordRow, TradeRow
from grenache_py.exchange.fills.messages import decode_answer, decode_fill, trade_id
from grenache_py.exchange.fills.taker import DEADLINE_MS
from grenache_py.exchange.market.stored_steps import markets_of
from grenache_py.exchange.signed_log.entries import Entry, OrderBody, StateBody, TradeBody
from grenache_py.exchange.storage import history, snapshot
from grenache_py.exchange.storage.reading import reading
from grenache_py.exchange.storage.selects import SELECT_LOG, SELECT_TRADE, rows_of, select

__all__ = ["trace"]


def trace(path: str, order: str) -> Trace | None:
    """
    Find out what happened to an order.

    Args:
        path: of the store's file.
        order: its id, the beginning of it, or the id that its client gave it.

    Returns:
        None when the store knows no such order.

    Raises:
        StoreError: the file cannot be read.
    """
    with reading(path) as connection:
        found = _find(connection, order)
        if found is None:
            return None
        id, home = found
        learned: dict[str, int] = {}
        happenings = [*_of_own(connection, id, learned), *_of_record(connection, id)]
        seen = {each.text for each in happenings}
        happenings += [each for each in _of_trades(connection, id) if each.text not in seen]
        happenings += _of_fills(connection, id, learned)
        return Trace(id, home, sorted(happenings, key=_when))


def _when(each: Happening) -> tuple[int, int]:
    """What is of one millisecond is told as one follows from the other."""
    return each.time, KINDS.index(each.what)


def _find(connection: Connection, order: str) -> tuple[str, str] | None:
    """The whole id of an order, and its home."""
    by_client = (
        "SELECT order_id FROM orders WHERE client_order_id = ? AND client_order_id <> ''"
        " ORDER BY position DESC LIMIT 1"
    )
    found = connection.execute(by_client, (order,)).fetchone()
    if found is not None:
        return str(found[0]), ""
    if len(order) < ID_CHARS_MIN:
        return None
    span = (order, f"{order}g")  # no digit comes after f
    for sql in (
        "SELECT order_id, '' FROM orders WHERE order_id BETWEEN ? AND ?",
        "SELECT order_id, origin FROM records WHERE order_id BETWEEN ? AND ?",
        "SELECT maker_order, maker_home FROM trades WHERE maker_order BETWEEN ? AND ?",
        "SELECT taker_order, taker_home FROM trades WHERE taker_order BETWEEN ? AND ?",
    ):
        found = connection.execute(sql, span).fetchone()
        if found is not None:
            return str(found[0]), str(found[1])
    return None


def _of_own(connection: Connection, id: str, learned: dict[str, int]) -> Iterator[Happening]:
    """
    What this home's log says, and before it the order itself, if it was placed here.

    Args:
        learned: gets when this home wrote each trade down, by the trade's id.
    """
    row = history.order(connection, id)
    if row is not None:
        market = markets_of(snapshot.meta(connection))[row.market]
        price = f" at {market.format_price(row.price_ticks)}" if row.price_ticks else ""
        client = f", client id {row.client_order_id}" if row.client_order_id else ""
        account = f", account {row.account}" if row.account else ""
        yield Happening(
            row.time_ms,
            "received",
            f"{row.side} {market.format_quantity(row.quantity_lots)} {row.market}{price},"
            f" {row.type} {row.time_in_force}{account}{client}",
        )
    for log in connection.execute(f"{SELECT_LOG} WHERE instr(payload, ?) ORDER BY position", (id,)):
        entry = Entry.decode(log[3])
        if entry.order is not None and entry.order.id == id:
            where = f"entry {entry.epoch}/{entry.seq} of the log"
            yield Happening(entry.time[0], "committed", f"as {where}, and sent to the neighbours")
        for trade in entry.trades:
            if id in (trade.maker, trade.taker):
                learned[trade.id] = entry.time[0]
                yield _traded(trade, id)
        for state in entry.states:
            if state.order_id == id:
                yield Happening(entry.time[0], "state", _state(state))


def _of_record(connection: Connection, id: str) -> Iterator[Happening]:
    """A live order of another home, as that signed it."""
    sql = f"{select(RecordRow, 'records')} WHERE order_id = ?"
    for row in rows_of(connection, RecordRow, sql, id):
        order = Entry.decode(row.order_payload).order
        assert order is not None
        text = f"{_body(order)}, published by peer {row.origin[:16]}"
        yield Happening(order.time[0], "received", text, row.origin)
        entry = Entry.decode(row.state_payload or row.order_payload)
        for state in entry.states:
            if state.order_id == id:
                yield Happening(entry.time[0], "state", _state(state), row.origin)


def _of_trades(connection: Connection, id: str) -> Iterator[Happening]:
    """The trades this home knows of."""
    markets = markets_of(snapshot.meta(connection))
    sql = f"{SELECT_TRADE} WHERE maker_order = ?1 OR taker_order = ?1 ORDER BY number"
    for row in map(TradeRow._make, connection.execute(sql, (id,))):
        market = markets[row.market]
        body = TradeBody(
            row.trade_id,
            row.market,
            market.format_price(row.price_ticks),
            market.format_quantity(row.quantity_lots),
            "buy" if row.side == "buy" else "sell",
            row.maker_order,
            row.taker_order,
            row.maker_home,
            row.taker_home,
            row.time_ms,
        )
        yield _traded(body, id)


def _of_fills(connection: Connection, id: str, learned: dict[str, int]) -> Iterator[Happening]:
    """What this home asked of others for it, and what it answered others."""
    sql = f"{select(IntentRow, 'intents')} WHERE instr(payload, ?) ORDER BY number"
    for intent in rows_of(connection, IntentRow, sql, id):
        fill = decode_fill(intent.payload)
        wanted = (f"{lots} at {price} of order {maker[:8]}" for maker, lots, price in fill.legs)
        asked, who = fill.deadline - DEADLINE_MS, f"peer {fill.maker_home[:16]}"
        text = f"{who} for {', '.join(wanted)}"
        yield Happening(asked, "asked", text, fill.maker_home, fill.id)
        trades = [trade_id(fill.id, maker) for maker, _, _ in fill.legs]
        times = [learned[trade] for trade in trades if trade in learned]
        if not intent.done:
            text = f"it is in doubt until {who} answers"
        elif times:
            text = f"{who} traded {len(times)} of {len(trades)}"
        else:
            text = f"{who} traded nothing"
        what = "settled" if intent.done else "in doubt"
        yield Happening(max(times, default=asked), what, text, fill.maker_home, fill.id)
    sql = f"{select(AnswerRow, 'answers')} WHERE instr(payload, ?) ORDER BY number"
    for answered in rows_of(connection, AnswerRow, sql, id):
        answer = decode_answer(answered.payload)
        for trade in answer.trades:
            if trade.maker == id:
                knows = "has not shown yet that it knows" if answered.unsettled else "knows"
                who = f"peer {answer.taker_home[:16]}"
                text = f"{who} with {trade.quantity} at {trade.price}; it {knows}"
                yield Happening(trade.time, "answered", text, answer.taker_home, answer.fill)


def _traded(trade: TradeBody, id: str) -> Happening:
    made = trade.maker == id
    other, home = (trade.taker, trade.taker_home) if made else (trade.maker, trade.maker_home)
    here = trade.maker_home == trade.taker_home
    text = (
        f"{trade.quantity} at {trade.price} with order {other[:8]} of"
        f" {'the same peer' if here else f'peer {home[:16]}'}, as {'maker' if made else 'taker'}"
    )
    return Happening(trade.time, "traded", text, "" if here else home)


def _state(state: StateBody) -> str:
    reason = f", closed: {state.reason}" if state.reason else ""
    return f"open {state.open}, in doubt {state.reserved}, filled {state.filled}{reason}"


def _body(order: OrderBody) -> str:
    price = f" at {order.price}" if order.price else ""
    return (
        f"{order.side} {order.quantity} {order.market}{price}, {order.type} {order.time_in_force}"
    )
