"""
What the store may forget, and how: in short transactions between commits.

Shell. Touches the connections it is given, nothing else. ``plan`` only reads and may
take its time on a connection of its own; ``prune`` deletes by key, a few rows a step. Nothing
that is live, in doubt or owed to a peer is ever deleted: live orders and the log entries that
prove them, fills without an answer, answers and replicas are not touched here.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from grenache_py.exchange.storage.positions import INTEGER_MAX, SEQ_BITS, SEQ_MASK, log_position
from grenache_py.exchange.storage.selects import Connected

__all__ = ["Plan", "Retention", "plan", "prune"]

DAY_MS = 24 * 3600 * 1000
#: Rows deleted in one transaction: a few milliseconds that a commit may have to wait.
ROWS_PER_STEP = 500


@attrs.frozen
class Retention:
    """
    How much history a home keeps; whatever limit is met first counts.

    Attributes:
        closed_orders_max: also the horizon of client_order_id idempotence.
        bars_max: minutes of candles, of all markets; they outlive the trades they sum up.
        log_entries_max: besides the entries that prove live orders. A peer that is further
            behind reconciles the live set instead of following the log.
    """

    closed_orders_max: int = 1_000_000
    closed_orders_age_ms: int = 90 * DAY_MS
    trades_max: int = 2_000_000
    trades_age_ms: int = 90 * DAY_MS
    bars_max: int = 1_000_000
    bars_age_ms: int = 400 * DAY_MS
    executions_max: int = 2_000_000
    executions_age_ms: int = 400 * DAY_MS
    evidence_max: int = 1_000_000
    evidence_age_ms: int = 90 * DAY_MS
    order_events_max: int = 2_000_000
    order_events_age_ms: int = 30 * DAY_MS
    log_entries_max: int = 500_000
    settled_fills_age_ms: int = 7 * DAY_MS


@attrs.frozen
class Plan:
    """Limits of one pass: what lies below them goes."""

    closed_before_ms: int
    trades_below: int
    bars_below: int
    executions_below: int
    evidence_below: int
    events_below: int
    log_below: int
    log_kept: frozenset[int] = attrs.field(repr=False)
    settled_before_ms: int
    closed_orders: int


def plan(connection: Connected, keep: Retention, now_ms: int) -> Plan:
    """Find what is too much or too old."""
    newest_gone = connection.execute(
        "SELECT updated_ms FROM orders WHERE live = 0 ORDER BY updated_ms DESC LIMIT 1 OFFSET ?",
        (keep.closed_orders_max,),
    ).fetchone()
    closed_before_ms = now_ms - keep.closed_orders_age_ms
    if newest_gone is not None:
        closed_before_ms = max(closed_before_ms, newest_gone[0] + 1)
    (closed_orders,) = connection.execute(
        "SELECT count(*) FROM orders WHERE live = 0 AND updated_ms >= ?", (closed_before_ms,)
    ).fetchone()
    log_below = _log_below(connection, keep.log_entries_max)
    return Plan(
        closed_before_ms=closed_before_ms,
        trades_below=_below(connection, "trades", keep.trades_max, now_ms - keep.trades_age_ms),
        bars_below=_below(connection, "bars", keep.bars_max, now_ms - keep.bars_age_ms),
        executions_below=_below(
            connection, "executions", keep.executions_max, now_ms - keep.executions_age_ms
        ),
        evidence_below=_below(
            connection, "evidence", keep.evidence_max, now_ms - keep.evidence_age_ms
        ),
        events_below=_below(
            connection, "order_events", keep.order_events_max, now_ms - keep.order_events_age_ms
        ),
        log_below=log_below,
        log_kept=_log_kept(connection, log_below),
        settled_before_ms=now_ms - keep.settled_fills_age_ms,
        closed_orders=closed_orders,
    )


def _below(connection: Connected, table: str, rows_max: int, before_ms: int) -> int:
    """The number below which the rows of ``table``, numbered without gaps, are to go."""
    # Walks over what is too old, and over nothing else.
    young = connection.execute(
        f"SELECT number FROM {table} WHERE time_ms >= ? ORDER BY number LIMIT 1", (before_ms,)
    ).fetchone()
    newest = connection.execute(f"SELECT max(number) FROM {table}").fetchone()[0] or 0
    return max(newest - rows_max + 1, newest + 1 if young is None else young[0])


def _log_below(connection: Connected, entries_max: int) -> int:
    """The position of the oldest of the newest ``entries_max`` entries, over all epochs."""
    end = INTEGER_MAX
    while True:
        (newest,) = connection.execute(
            "SELECT max(position) FROM log WHERE position < ?", (end,)
        ).fetchone()
        if newest is None:
            return 0
        epoch, seq = newest >> SEQ_BITS, newest & SEQ_MASK
        if seq > entries_max:
            return log_position(epoch, seq - entries_max + 1)
        entries_max -= seq
        end = log_position(epoch, 0)


def _log_kept(connection: Connected, below: int) -> frozenset[int]:
    """
    Entries below ``below`` that prove live orders.

    A live order may only move on to newer entries, so this stays right while commits go on.
    """
    (newest,) = connection.execute("SELECT max(position) FROM log").fetchone()
    epoch = (newest or 0) >> SEQ_BITS  # seqs of orders are of the newest epoch
    seqs = connection.execute("SELECT order_seq, state_seq FROM orders WHERE live = 1")
    positions = (log_position(epoch, seq) for pair in seqs for seq in pair)
    return frozenset(position for position in positions if position < below)


def prune(connection: Connected, plan: Plan) -> Iterator[int]:
    """Delete what ``plan`` says; every step is one short transaction and yields its row count."""
    for sql, limit in (
        (
            "DELETE FROM orders WHERE position IN (SELECT position FROM orders"
            " WHERE live = 0 AND updated_ms < ? ORDER BY updated_ms LIMIT ?)",
            plan.closed_before_ms,
        ),
        (
            "DELETE FROM trades WHERE number IN"
            " (SELECT number FROM trades WHERE number < ? ORDER BY number LIMIT ?)",
            plan.trades_below,
        ),
        (
            "DELETE FROM bars WHERE number IN"
            " (SELECT number FROM bars WHERE number < ? ORDER BY number LIMIT ?)",
            plan.bars_below,
        ),
        (
            "DELETE FROM executions WHERE number IN"
            " (SELECT number FROM executions WHERE number < ? ORDER BY number LIMIT ?)",
            plan.executions_below,
        ),
        (
            "DELETE FROM evidence WHERE number IN"
            " (SELECT number FROM evidence WHERE number < ? ORDER BY number LIMIT ?)",
            plan.evidence_below,
        ),
        (
            "DELETE FROM order_events WHERE number IN"
            " (SELECT number FROM order_events WHERE number < ? ORDER BY number LIMIT ?)",
            plan.events_below,
        ),
        (
            "DELETE FROM intents WHERE number IN (SELECT number FROM intents"
            " WHERE done = 1 AND deadline_ms < ? ORDER BY deadline_ms LIMIT ?)",
            plan.settled_before_ms,
        ),
    ):
        gone = ROWS_PER_STEP
        while gone == ROWS_PER_STEP:
            gone = connection.execute(sql, (limit, ROWS_PER_STEP)).rowcount
            yield gone
    yield from _prune_log(connection, plan)


def _prune_log(connection: Connected, plan: Plan) -> Iterator[int]:
    after = -1
    while True:
        found = [
            position
            for (position,) in connection.execute(
                "SELECT position FROM log WHERE position > ? AND position < ?"
                " ORDER BY position LIMIT ?",
                (after, plan.log_below, ROWS_PER_STEP),
            )
        ]
        if not found:
            return
        gone = [position for position in found if position not in plan.log_kept]
        after = found[-1]
        if gone:
            marks = ",".join("?" * len(gone))
            connection.execute(f"DELETE FROM log WHERE position IN ({marks})", gone)
        yield len(gone)
