"""The set of live orders: sums over any range are right, and every element names its order."""

from __future__ import annotations

import random
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.exchange.replication.live_set_index import LiveSet, LiveSetIndex
from grenache_py.exchange.replication.live_set_key import short_id
from tests.exchange.replication.test_reconciliation import Element, element, element_id, live_set


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=200), st.integers(0, 9))
def test_incremental_updates_equal_a_fresh_set(steps: list[tuple[bool, int]], bulk: int) -> None:
    """The blocked sums after any updates are those of a set built at once."""
    naive: set[Element] = set()
    updated = LiveSet()
    for i in range(bulk * 300):
        updated.add(*element(1000 + i))
        naive.add(element(1000 + i))
    for add, number in steps:
        e = element(number)
        assert (updated.add if add else updated.remove)(*e) is ((e not in naive) == add)
        (naive.add if add else naive.discard)(e)
    fresh = live_set(naive)
    assert len(updated) == len(naive) == len(fresh)
    rng = random.Random(bulk)
    for _ in range(20):
        low, high = sorted((rng.randint(0, len(naive)), rng.randint(0, len(naive))))
        assert updated.fingerprint(low, high) == fresh.fingerprint(low, high)
        assert list(updated.keys(low, high)) == list(fresh.keys(low, high))


def test_a_fingerprint_is_what_other_peers_compute() -> None:
    """It is part of the protocol: 16 bytes of a hash over the sum and the number."""
    elements = [element(number) for number in range(300)]
    made = live_set(elements)
    total = sum(hashed for _, hashed in elements[10:210]) % 2**256
    body = total.to_bytes(32, "little") + bytes([0x81, 0x48])  # 200, seven bits a byte
    assert made.fingerprint(10, 210) == sha256(body).digest()[:16]
    assert made.fingerprint(7, 7) == sha256(bytes(33)).digest()[:16]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_an_index_knows_the_order_of_every_element_that_is_live(
    steps: list[tuple[int, bool]],
) -> None:
    """Orders come, change their version and go; what is gone names no order."""
    index = LiveSetIndex()
    versions: dict[int, int] = {}
    newest: dict[int, int] = {}
    for number, goes in steps:
        before = versions.pop(number, None)
        if not goes:
            versions[number] = newest[number] = newest.get(number, 0) + 1
        gone = None if before is None else element_id(str(number), before)
        come = None if goes else element_id(str(number), newest[number])
        index.changed(f"{number:032x}", 1000 + number, gone, come)
    assert len(index.set) == len(versions)
    for number, last in newest.items():
        for version in range(1, last + 1):
            found = index.order_id(short_id(element_id(str(number), version)))
            assert found == (f"{number:032x}" if versions.get(number) == version else None)
