"""
All live orders known here, sorted so that a fingerprint over any range is cheap.

Pure. ``LiveSet`` is the data structure under ``reconciliation.py``; ``LiveSetIndex`` also knows
which order each element stands for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import accumulate

from grenache_py.exchange.replication.frame import varint
from grenache_py.exchange.replication.live_set_key import HASH_MASK, ID_BYTES, key_of, short_id
from grenache_py.exchange.replication.packed_rows import PackedRows

__all__ = ["LiveSet", "LiveSetIndex"]

#: Keys of one block; a longer one is cut in two.
_BLOCK_MAX = 1024
#: Changes that are noted before they are made.
NOTED_MAX = 1024


class LiveSet:
    """
    A sorted list of keys (see ``live_set_key``) that gives the sum over any range fast.

    The list is cut into blocks of at most 1,024 keys, each with its own sum: adding, removing and
    summing a range touch one or two blocks and the row of sums. Hashes are 256-bit integers.

    Attributes:
        settle: called before it is read, to add and remove what has not been so far.
    """

    def __init__(self) -> None:
        self.settle: Callable[[], None] = lambda: None
        self._blocks: list[list[int]] = []
        self._lasts: list[int] = []  # greatest key of each block
        self._sums: list[int] = []
        self._starts: list[int] | None = None  # rank of each block's first key; None: recount
        self._count = 0

    def __len__(self) -> int:
        self.settle()
        return self._count

    def add(self, time_ms: int, element: int) -> bool:
        """Put one element in; False when it was there already."""
        key = key_of(time_ms, element)
        if not self._blocks:
            self._blocks, self._lasts, self._sums = [[key]], [key], [key]
        else:
            at = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
            block = self._blocks[at]
            place = bisect_left(block, key)
            if place < len(block) and block[place] == key:
                return False
            block.insert(place, key)
            self._lasts[at] = block[-1]
            self._sums[at] += key
            if len(block) > _BLOCK_MAX:
                self._split(at)
        self._starts = None
        self._count += 1
        return True

    def remove(self, time_ms: int, element: int) -> bool:
        """Take one element out; False when it was not there."""
        key = key_of(time_ms, element)
        at = bisect_left(self._lasts, key)
        if at == len(self._blocks):
            return False
        block = self._blocks[at]
        place = bisect_left(block, key)
        if block[place] != key:
            return False
        del block[place]
        if block:
            self._lasts[at] = block[-1]
            self._sums[at] -= key
        else:
            del self._blocks[at], self._lasts[at], self._sums[at]
        self._starts = None
        self._count -= 1
        return True

    def _split(self, at: int) -> None:
        block = self._blocks[at]
        half = len(block) // 2
        left, right = block[:half], block[half:]
        self._blocks[at : at + 1] = [left, right]
        self._lasts[at : at + 1] = [left[-1], right[-1]]
        self._sums[at : at + 1] = [sum(left), sum(right)]

    # Positions are ranks, 0 .. len(self): reconciliation splits by rank.

    def _rank_starts(self) -> list[int]:
        self.settle()
        if self._starts is None:
            self._starts = [0, *accumulate(map(len, self._blocks))]
        return self._starts

    def rank(self, key: int) -> int:
        """How many elements are below ``key``."""
        self.settle()
        at = bisect_left(self._lasts, key)
        if at == len(self._blocks):
            return self._count
        return self._rank_starts()[at] + bisect_left(self._blocks[at], key)

    def at(self, rank: int) -> int:
        """The key of the element with that rank."""
        starts = self._rank_starts()
        block = bisect_left(starts, rank + 1) - 1
        return self._blocks[block][rank - starts[block]]

    def keys(self, begin: int, end: int) -> Iterator[int]:
        """Keys of ranks ``begin`` up to but without ``end``."""
        starts = self._rank_starts()
        block = bisect_left(starts, begin + 1) - 1
        while begin < end:
            inside = self._blocks[block][begin - starts[block] : end - starts[block]]
            yield from inside
            begin += len(inside)
            block += 1

    def fingerprint(self, begin: int, end: int) -> bytes:
        """16 bytes that stand for the elements of ranks ``begin`` up to but without ``end``."""
        total = 0
        if begin < end:
            starts = self._rank_starts()
            first = bisect_left(starts, begin + 1) - 1
            last = bisect_left(starts, end) - 1
            if first == last:
                total = sum(self._blocks[first][begin - starts[first] : end - starts[first]])
            else:
                total = sum(self._blocks[first][begin - starts[first] :])
                total += sum(self._sums[first + 1 : last])
                total += sum(self._blocks[last][: end - starts[last]])
        body = (total & HASH_MASK).to_bytes(32, "little") + varint(end - begin)
        return sha256(body).digest()[:ID_BYTES]


class LiveSetIndex:
    """
    All live published orders: the set to reconcile, and which order each element stands for.

    Changes are noted, and made when the set is read, or many are noted: of an order that comes,
    changes and goes in between, as most do, the set sees nothing.

    Attributes:
        set: their elements, one for each order at its newest version.
        settle_own: called before, to note what has changed among own orders.
    """

    def __init__(self) -> None:
        self.set = LiveSet()
        self.set.settle = self._settle
        self.settle_own: Callable[[], None] = lambda: None
        self._ids = PackedRows(f"{ID_BYTES}s16s", 0)  # short id and order id
        self._noted: dict[str, tuple[int, int | None, int | None]] = {}

    def changed(self, order_id: str, time_ms: int, gone: int | None, come: int | None) -> None:
        """
        An order's element changed.

        Args:
            time_ms: of the order's key.
            gone: the element before, None for an order that was not live.
            come: the element now, None for an order that is not live any more.
        """
        noted = self._noted.get(order_id)
        self._noted[order_id] = time_ms, gone if noted is None else noted[1], come
        if len(self._noted) >= NOTED_MAX:
            self._make_changes()

    def _settle(self) -> None:
        self.settle_own()
        if self._noted:
            self._make_changes()

    def _make_changes(self) -> None:
        noted, self._noted = self._noted, {}
        for order_id, (time_ms, gone, come) in noted.items():
            if gone == come:
                continue  # it came and went
            if gone is not None and self.set.remove(time_ms, gone):
                number = self._ids.find(short_id(gone))
                if number is not None:
                    self._ids.remove(number)
            if come is not None and self.set.add(time_ms, come):
                self._ids.add(short_id(come), bytes.fromhex(order_id))

    def order_id(self, short: bytes) -> str | None:
        """The order an element's short id stands for, if it is live here."""
        self._settle()
        number = self._ids.find(short)
        if number is None:
            return None
        id: bytes = self._ids.get(number)[1]
        return id.hex()
