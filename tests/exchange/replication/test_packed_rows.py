"""Rows in one block of bytes: what a dict would hold, whatever came and went."""

from __future__ import annotations

import random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.exchange.replication import packed_rows
from grenache_py.exchange.replication.packed_rows import PackedRows


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 2, 6]))
def test_rows_are_found_as_in_a_dict(seed: int, bits: int) -> None:
    with patch.multiple(packed_rows, _PARTS=1 << bits, _PART_BITS=bits):
        come_and_go(random.Random(seed))


def come_and_go(rng: random.Random) -> None:
    rows = PackedRows(">H16sQ", 2)
    naive: dict[bytes, tuple[int, bytes, int]] = {}
    for _ in range(rng.randrange(600)):
        id = key(rng.randrange(200))
        number = rows.find(id)
        assert (None if number is None else rows.get(number)) == naive.get(id)
        if number is None:
            naive[id] = rng.randrange(1 << 16), id, rng.randrange(1 << 64)
            rows.add(*naive[id])
        elif rng.random() < 0.5:
            naive[id] = naive[id][0], id, rng.randrange(1 << 64)
            rows.put(number, *naive[id])
        else:
            del naive[id]
            rows.remove(number)
        assert len(rows) == len(naive)
    for id, row in naive.items():
        number = rows.find(id)
        assert number is not None and rows.get(number) == row
        assert rows.part(number, 2) == row[0].to_bytes(2, "big")


def test_keys_that_want_one_slot_are_all_found_when_some_of_them_go() -> None:
    rows = PackedRows(">16s", 0)
    slots = len(rows._parts[0])
    mask = packed_rows._PARTS * slots - 1
    alike = [key(n) for n in range(100_000) if hash(key(n)) & mask == mask][:4]
    assert len(alike) == 4, "they want the last slot of one part, and the first ones after it"
    for first in range(4):
        numbers = {id: rows.add(id) for id in alike}
        gone = alike[first]
        rows.remove(numbers[gone])
        assert [rows.find(id) is None for id in alike] == [id == gone for id in alike]
        for id in alike:
            if id != gone:
                rows.remove(numbers[id])


def test_a_number_is_used_again_and_what_was_taken_for_many_is_given_back() -> None:
    rows = PackedRows(">16sQ", 0)
    numbers = [rows.add(key(n), n) for n in range(5_000)]
    assert numbers == list(range(5_000))
    rows.remove(17)
    assert rows.add(key(9_999), 1) == 17
    for number in numbers:
        rows.remove(number)
    assert len(rows) == 0
    assert len(rows._bytes) == 0
    assert rows.add(key(1), 1) == 0
