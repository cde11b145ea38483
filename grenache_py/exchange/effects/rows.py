"""
What the core wants durable, as plain rows, and what the store gives back at start.

Pure. Each row type is one SQL statement of ``storage/statements.py`` and its fields are that
statement's parameters, in order; a batch of rows is one transaction. Rows of one batch may be
grouped by type before they are executed: within a batch the core emits at most one ``OrderRow``
per order, and rows of different types never depend on each other's order.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import attrs

__all__ = [
    "AnswerRow",
    "AnswerSettled",
    "EvidenceRow",
    "ExecutionRow",
    "FillForgotten",
    "FillTraded",
    "IntentRow",
    "IntentSettled",
    "LogRow",
    "MetaGone",
    "MetaRow",
    "OrderEventRow",
    "OrderRow",
    "OriginGone",
    "OriginRow",
    "RecordChanged",
    "RecordGone",
    "RecordRow",
    "Row",
    "Snapshot",
    "TradeRow",
    "TradedSum",
]


class MetaRow(NamedTuple):
    """Upsert one named integer: ``epoch``, ``clock_floor_ms``, ..."""

    name: str
    value: int


class MetaGone(NamedTuple):
    """Forget a named integer, also one of the same batch; it is not written again in it."""

    name: str


class LogRow(NamedTuple):
    """Append one entry of this home's own log. ``seq`` counts from 1 within ``epoch``."""

    epoch: int
    seq: int
    hash: str
    payload: str
    path: bytes
    leaf: int
    size: int
    signature: bytes


class OrderRow(NamedTuple):
    """Upsert one own order, spec and state. 0 stands for "none" in ticks and milliseconds."""

    order_id: str
    market: str
    side: str
    type: str
    time_in_force: str
    price_ticks: int
    stop_ticks: int
    quantity_lots: int
    post_only: int
    expires_ms: int
    time_ms: int
    counter: int
    key_ms: int  # place in time: time_ms and counter, but for stops when they triggered
    key_counter: int
    account: str
    client_order_id: str
    self_trade: str
    open: int
    reserved: int
    filled: int
    total_lots: int  # its whole quantity by now: a replace may have lowered ``quantity_lots``
    version: int
    reason: str
    value: int
    triggered: int
    fill_seq: int  # fills ever requested for it as taker
    order_seq: int  # log seq of its order entry, 0 while private (stop not triggered)
    state_seq: int  # log seq of its newest state
    live: int  # 0 once terminal
    updated_ms: int
    used_before: int  # lots that the orders it replaced had traded or in doubt


class OrderEventRow(NamedTuple):
    """Append one update of an account's own-orders stream; ``seq`` is gap-free per account."""

    account: str
    seq: int
    order_id: str
    open: int
    reserved: int
    filled: int
    version: int
    reason: str
    value: int
    time_ms: int


class ExecutionRow(NamedTuple):
    """Append what an own order traded in one trade; ``seq`` is gap-free per account."""

    account: str
    seq: int
    trade_id: str
    order_id: str
    client_order_id: str
    market: str
    side: str  # the own order's
    price_ticks: int
    quantity_lots: int
    role: str  # "maker" or "taker"
    counterparty: str  # the other side's home
    time_ms: int


class TradeRow(NamedTuple):
    """Insert one trade, ignored when its id is already there (both sides publish it)."""

    trade_id: str
    market: str
    price_ticks: int
    quantity_lots: int
    side: str
    maker_order: str
    taker_order: str
    maker_home: str
    taker_home: str
    time_ms: int


class IntentRow(NamedTuple):
    """Upsert one fill this home asked for as taker; ``done`` = 1 once its answer is settled."""

    fill_id: str
    taker_order: str
    maker_home: str
    lots: int
    deadline_ms: int
    settled: int  # bit i: leg i has its outcome
    done: int
    payload: str
    path: bytes
    leaf: int
    size: int
    signature: bytes


class IntentSettled(NamedTuple):
    """Each leg of a stored fill, which may be of the same batch, has its outcome."""

    fill_id: str


class AnswerRow(NamedTuple):
    """Upsert the one final answer this home gave to a fill as maker."""

    fill_id: str
    taker_home: str
    keep_ms: int  # may be forgotten after this, once it is not unsettled
    unsettled: int  # 1: it traded, and the taker has not shown yet that it knows
    payload: str
    path: bytes
    leaf: int
    size: int
    signature: bytes


class AnswerSettled(NamedTuple):
    """The taker of a stored answer, which may be of the same batch, has shown that it knows."""

    fill_id: str


class EvidenceRow(NamedTuple):
    """Append what this home or another signed about a trade of both; kept for receipts."""

    time_ms: int  # the trade's
    payload: str
    path: bytes
    leaf: int
    size: int
    signature: bytes


class AnswerGone(NamedTuple):
    """Forget a rejection or tombstone whose fill can no longer arrive."""

    fill_id: str


class FillTraded(NamedTuple):
    """Remember a fill that traded here, as its answer is forgotten; ``number`` counts up."""

    number: int
    fill_id: bytes  # 16
    late_ms: int  # a time after the fill's deadline


class FillForgotten(NamedTuple):
    """Forget even that; the horizon is a ``MetaRow``."""

    number: int


class OriginRow(NamedTuple):
    """Upsert how far another home's log is held here."""

    origin: str
    epoch: int
    seq: int
    hash: str
    time_ms: int  # stamp of the last entry applied
    time_counter: int
    lease_ms: int
    frozen: str  # "" or why nothing of this origin is believed any more


class OriginGone(NamedTuple):
    """Forget another home; its records are forgotten one by one."""

    origin: str


class RecordRow(NamedTuple):
    """Upsert one live order of another home: its signed order and its newest signed state."""

    order_id: str
    origin: str
    version: int
    order_payload: str
    order_path: bytes
    order_leaf: int
    order_size: int
    order_signature: bytes
    state_payload: str
    state_path: bytes
    state_leaf: int
    state_size: int
    state_signature: bytes


class RecordChanged(NamedTuple):
    """A newer signed state of a live order of another home, whose row is stored already."""

    order_id: str
    version: int
    state_payload: str
    state_path: bytes
    state_leaf: int
    state_size: int
    state_signature: bytes


class RecordGone(NamedTuple):
    """Forget a remote order that reached a terminal state."""

    order_id: str


class TradedSum(NamedTuple):
    """
    What an account bought or sold in one market.

    Attributes:
        lots: all together.
        executions: how many that were.
        first_seq, last_seq: the numbers of the first and the last.
        first_ms: when the earliest was.
    """

    market: str
    side: str
    lots: int
    executions: int
    first_seq: int
    first_ms: int
    last_seq: int


Row: TypeAlias = (
    MetaRow
    | MetaGone
    | LogRow
    | OrderRow
    | OrderEventRow
    | ExecutionRow
    | TradeRow
    | IntentRow
    | IntentSettled
    | AnswerRow
    | AnswerSettled
    | EvidenceRow
    | AnswerGone
    | FillTraded
    | FillForgotten
    | OriginRow
    | OriginGone
    | RecordRow
    | RecordChanged
    | RecordGone
)


@attrs.define
class Snapshot:
    """
    Everything a node needs to start where it stopped.

    Attributes:
        meta: all ``MetaRow`` values by name.
        head: newest log row, or None for a new home.
        log_tail: the newest log rows (at most 1,024), oldest first, ``head`` last.
        orders: own orders with ``live`` = 1 and those closed most recently (bounded).
        order_logs: for each live own order with ``order_seq`` > 0: its order entry and its
            newest state entry, as log rows by seq.
        event_seqs: newest order-event seq by account.
        execution_seqs: newest execution seq by account, of those that have any.
        trades: newest trades per market (bounded), oldest first.
        intents: fills without a settled answer.
        answers: stored answers not yet forgotten.
        traded_fills: of forgotten answers, the fills that traded, oldest first.
        origins, records: the replica.
    """

    meta: dict[str, int] = attrs.Factory(dict)
    head: LogRow | None = None
    log_tail: list[LogRow] = attrs.Factory(list)
    orders: list[OrderRow] = attrs.Factory(list)
    order_logs: dict[int, LogRow] = attrs.Factory(dict)
    event_seqs: dict[str, int] = attrs.Factory(dict)
    execution_seqs: dict[str, int] = attrs.Factory(dict)
    trades: list[TradeRow] = attrs.Factory(list)
    intents: list[IntentRow] = attrs.Factory(list)
    answers: list[AnswerRow] = attrs.Factory(list)
    traded_fills: list[FillTraded] = attrs.Factory(list)
    origins: list[OriginRow] = attrs.Factory(list)
    records: list[RecordRow] = attrs.Factory(list)
