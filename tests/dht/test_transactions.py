"""Queries under way: matching, repeating, giving up, and waits that follow the round trips."""

from __future__ import annotations

import random

from grenache_py.dht.transactions import (
    LOST_MAX_S,
    SLOW_MAX_S,
    SLOW_MIN_S,
    SLOW_UNKNOWN_S,
    PendingQuery,
    RoundTrips,
    Transactions,
)
from grenache_py.wire.krpc import ErrorReply, Response

HALVES = (b"<", b">")
HERE, ELSEWHERE, OTHER_PORT = ("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.1", 2)
NOW = 500.0


class Asker:
    def answered(self, pending: PendingQuery, response: Response, now: float) -> None: ...
    def refused(self, pending: PendingQuery, error: ErrorReply, now: float) -> None: ...
    def slow(self, pending: PendingQuery, now: float) -> None: ...
    def lost(self, pending: PendingQuery, now: float) -> None: ...


def open_one(queries: Transactions, now: float = NOW, once: bool = False) -> bytes:
    datagram = queries.open(HALVES, HERE, None, Asker(), None, now, once=once)
    assert datagram[:1] + datagram[-1:] == b"<>"
    return datagram[1:-1]


def test_an_answer_needs_the_id_and_the_address_and_the_port() -> None:
    queries = Transactions(random.Random(1))
    txid = open_one(queries)
    assert len(txid) == 4
    assert queries.close(txid, ELSEWHERE, NOW) is None
    assert queries.close(txid, OTHER_PORT, NOW) is None
    assert queries.close(b"nope", HERE, NOW) is None
    closed = queries.close(txid, HERE, NOW + 0.02)
    assert closed is not None
    assert abs(closed[1] - 0.02) < 1e-9
    assert queries.close(txid, HERE, NOW) is None, "once"
    assert len(queries) == 0


def test_ids_are_unique_while_in_flight_and_do_not_repeat_soon() -> None:
    queries = Transactions(random.Random(1))
    assert len({open_one(queries) for _ in range(5000)}) == 5000


def test_a_query_is_repeated_then_slow_then_lost() -> None:
    queries = Transactions(random.Random(1))
    open_one(queries)
    seen = []
    now = NOW
    while (due := queries.next_deadline()) is not None:
        now = due
        pending = queries.overdue(now)
        assert pending is not None
        seen.append((pending.waits, round(now - NOW, 3)))
    assert seen == [(1, SLOW_UNKNOWN_S), (2, 2 * SLOW_UNKNOWN_S), (3, LOST_MAX_S)]
    assert len(queries) == 0


def test_what_must_not_be_repeated_is_not() -> None:
    queries = Transactions(random.Random(1))
    open_one(queries, once=True)
    pending = queries.overdue(NOW + SLOW_UNKNOWN_S)
    assert pending is not None
    assert pending.waits == 2
    assert queries.again(pending, NOW) is None


def test_the_round_trip_is_that_of_the_datagram_that_was_answered() -> None:
    for answered_again, expected in ((False, 0.5), (True, 0.1)):
        queries = Transactions(random.Random(1))
        first = open_one(queries)
        pending = queries.overdue(NOW + 0.4)
        assert pending is not None
        again = queries.again(pending, NOW + 0.4)
        assert again is not None
        assert again[1:-1] != first
        txid = again[1:-1] if answered_again else first
        closed = queries.close(txid, HERE, NOW + 0.5)
        assert closed is not None
        assert abs(closed[1] - expected) < 1e-9
        assert len(queries) == 0


def test_waits_follow_the_round_trips_within_bounds() -> None:
    trips = RoundTrips()
    assert trips.slow_after(None) == SLOW_UNKNOWN_S
    for _ in range(50):
        trips.saw(0.0003)
    assert trips.slow_after(None) == SLOW_MIN_S
    for _ in range(50):
        trips.saw(0.150)
    assert 0.150 < trips.slow_after(None) < 0.4
    for _ in range(50):
        trips.saw(30.0)
    assert trips.slow_after(None) == SLOW_MAX_S


def test_answered_queries_leave_nothing_behind() -> None:
    queries = Transactions(random.Random(1))
    for _ in range(1000):
        assert queries.close(open_one(queries), HERE, NOW) is not None
        queries.next_deadline()
    assert queries.next_deadline() is None
    assert not queries._deadlines


def test_a_clock_set_back_gives_no_negative_round_trip() -> None:
    queries = Transactions(random.Random(1))
    closed = queries.close(open_one(queries), HERE, NOW - 100)
    assert closed is not None
    assert closed[1] == 0.0
