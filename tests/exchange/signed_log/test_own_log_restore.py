"""The head and tail of a home's own log, as a start takes them up."""

from __future__ import annotations

import random

import pytest

from grenache_py.exchange.signed_log.entries import HeartbeatBody
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed
from grenache_py.exchange.signed_log.own_log import OwnLog

IDENTITY = Identity.from_seed(random.Random(1).randbytes(32))


def log_of(entries: int) -> tuple[OwnLog, list[tuple[int, Signed]]]:
    """A log, and what the store holds of it."""
    log = OwnLog(IDENTITY.key, Sealer(IDENTITY, "test"), HybridClock(0))
    drafts: list[Draft] = []
    for _ in range(entries):
        drafts.append(log.append(1_000.0, beat=HeartbeatBody(20_000, 0, "0" * 64)))
    return log, [
        (seq, Signed(draft.payload, b"", 0, 1, b"")) for seq, draft in enumerate(drafts, 1)
    ]


def restored(log: OwnLog, tail: list[tuple[int, Signed]]) -> OwnLog:
    again, _ = log_of(0)
    again.restore(log.epoch, log.seq, log.hash, tail)
    return again


def test_a_start_takes_up_the_whole_tail() -> None:
    log, rows = log_of(9)
    again = restored(log, rows)
    found = again.range(1, 9)
    assert found is not None
    assert [draft.payload for draft in found] == [signed.payload for _, signed in rows]


@pytest.mark.parametrize("kept", [{2}, {1, 2, 4}])
def test_what_is_kept_for_live_orders_among_pruned_entries_is_not_taken_for_others(
    kept: set[int],
) -> None:
    """A range would be counted from the wrong entry: wrong ones were served, or none at all."""
    log, rows = log_of(9)
    again = restored(log, [row for row in rows if row[0] > 5 or row[0] in kept])
    assert again.range(5, 9) is None
    found = again.range(6, 9)
    assert found is not None
    assert [draft.payload for draft in found] == [signed.payload for _, signed in rows[5:]]


def test_entries_of_an_older_epoch_are_not_taken_for_those_of_the_newest() -> None:
    _, older = log_of(20)
    log, rows = log_of(9)
    again = restored(log, [*older, *rows])
    found = again.range(1, 9)
    assert found is not None
    assert [draft.payload for draft in found] == [signed.payload for _, signed in rows]
