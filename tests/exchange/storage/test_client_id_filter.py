"""The filter that spares orders the look into the store."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.exchange.storage import client_id_filter as client_ids
from grenache_py.exchange.storage.client_id_filter import ClientIdFilter, UsedClientIds


@given(ids=st.sets(st.tuples(st.text(max_size=3), st.text(min_size=1, max_size=5)), max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_used_id_is_ever_denied(ids: set[tuple[str, str]]) -> None:
    used = UsedClientIds()
    used.complete(ClientIdFilter.of(sorted(ids)[::2], len(ids)))
    for account, client_order_id in sorted(ids)[1::2]:
        used.add(account, client_order_id)
    assert all(used.may_hold(*each) for each in ids)


def test_few_unused_ids_are_taken_for_used_ones() -> None:
    used = UsedClientIds()
    used.complete(ClientIdFilter.of((("alice", f"order-{n}") for n in range(10_000)), 10_000))
    wrong = sum(used.may_hold("alice", f"other-{n}") for n in range(10_000))
    assert wrong < 100


def test_everything_may_have_been_used_until_the_store_was_read() -> None:
    used = UsedClientIds()
    assert used.may_hold("alice", "x")
    used.complete(ClientIdFilter.of([], 0))
    assert not used.may_hold("alice", "x")


def test_what_the_store_forgot_is_forgotten_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_ids, "IDS_PER_FILTER", 100)
    used = UsedClientIds()
    used.complete(ClientIdFilter.of((("a", f"stored-{n}") for n in range(50)), 50))
    for n in range(1000):
        used.add("a", f"new-{n}")
    used.forget(closed_orders=250)
    assert all(used.may_hold("a", f"new-{n}") for n in range(750, 1000))
    assert len(used) < 250 + 100
    assert sum(used.may_hold("a", f"stored-{n}") for n in range(50)) < 10
