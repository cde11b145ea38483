"""The table of requests in flight, against a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.rpc.errors import TooManyRequests
from grenache_py.rpc.in_flight import RequestTable

table_steps = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 9), st.integers(0, 20)),
    st.tuples(st.just("take"), st.integers(0, 9), st.none()),
    st.tuples(st.just("wait"), st.none(), st.integers(0, 5)),
)


@given(st.lists(table_steps, max_size=120))
def test_the_table_agrees_with_a_dictionary(script) -> None:
    table: RequestTable[str] = RequestTable(entries_max=6)
    naive: dict[int, tuple[int, str]] = {}
    now = 0
    for n, (action, rid, number) in enumerate(script):
        if action == "wait":
            now += number
            late = {who for deadline, who in naive.values() if deadline <= now}
            naive = {rid: entry for rid, entry in naive.items() if entry[0] > now}
            assert set(table.expired(now)) == late
        elif action == "add":
            if len(naive) >= 6:
                with pytest.raises(TooManyRequests):
                    table.add(rid, "x", now + number)
            else:
                naive[rid] = (now + number, f"waiter {n}")
                table.add(rid, f"waiter {n}", now + number)
        else:
            expected = naive.pop(rid, (0, None))[1]
            assert table.take(rid) == expected
        assert len(table) == len(naive)
        expected_next = min((deadline for deadline, _ in naive.values()), default=None)
        assert table.next_deadline() == expected_next


def test_answered_requests_do_not_pile_up_until_their_deadlines() -> None:
    table: RequestTable[int] = RequestTable(entries_max=10)
    for n in range(10_000):
        table.add(n, n, 60.0)
        table.take(n)
    assert len(table._deadlines) < 100


def test_an_id_that_cannot_be_a_key_was_never_ours() -> None:
    table: RequestTable[int] = RequestTable(entries_max=1)
    assert table.take({"a": 1}) is None
