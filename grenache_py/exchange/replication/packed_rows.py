"""
Rows of one layout in one block of bytes, found by a key of 16 bytes.

Pure. A Python object for each of many orders costs ten times what it holds. Here a row costs its
bytes and some eight more for the index, and the garbage collector sees none of them.

The index is a hash table with open addressing and linear probing, in parts, so that it grows a part
at a time: no call takes longer than a millisecond or so. Keys are hashed as Python hashes bytes,
with a seed of this process: whoever makes keys cannot make them collide.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Any

__all__ = ["KEY_BYTES", "PackedRows"]

KEY_BYTES = 16
#: Parts of the index, and slots that a part has at first; both are powers of two.
_PARTS, _SLOTS = 64, 8
_PART_BITS = _PARTS.bit_length() - 1
#: A table that becomes empty is given back when it took more than this.
GIVEN_BACK_BYTES = 1 << 16


class PackedRows:
    """
    Rows, each with a number that stays the same while the row is there, and is used again after.

    Args:
        layout: of a row, for ``struct``, without padding.
        key_at: where its key begins.
    """

    def __init__(self, layout: str, key_at: int) -> None:
        self._layout = Struct(layout)
        self._key = Struct(f"{key_at}x{KEY_BYTES}s")
        self._key_at = slice(key_at, key_at + KEY_BYTES)
        self._clear()

    def _clear(self) -> None:
        self._bytes = bytearray()
        self._free = array("I")
        self._parts = [array("I", bytes(4 * _SLOTS)) for _ in range(_PARTS)]  # number + 1; 0: none
        self._used = [0] * _PARTS
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, number: int) -> tuple[Any, ...]:
        """The fields of a row."""
        return self._layout.unpack_from(self._bytes, number * self._layout.size)

    def put(self, number: int, *fields: Any) -> None:
        """Change the fields of a row; its key must stay the same."""
        self._layout.pack_into(self._bytes, number * self._layout.size, *fields)

    def put_field(self, number: int, at: int, field: Struct, value: Any) -> None:
        """Change one field of a row, which begins at byte ``at``."""
        field.pack_into(self._bytes, number * self._layout.size + at, value)

    def part(self, number: int, end: int) -> bytearray:
        """The first ``end`` bytes of a row."""
        begin = number * self._layout.size
        return self._bytes[begin : begin + end]

    def find(self, key: bytes) -> int | None:
        """The number of the row with this key."""
        hashed = hash(key)
        slots, place = self._parts[hashed % _PARTS], hashed >> _PART_BITS
        last = len(slots) - 1
        while entry := slots[place & last]:
            if self._key_of(entry - 1) == key:
                return entry - 1
            place += 1
        return None

    def add(self, *fields: Any) -> int:
        """A new row, whose key no other has; its number."""
        packed = self._layout.pack(*fields)
        if self._free:
            number = self._free.pop()
            begin = number * self._layout.size
            self._bytes[begin : begin + len(packed)] = packed
        else:
            number = len(self._bytes) // len(packed)
            self._bytes += packed
        hashed = hash(packed[self._key_at])
        part = hashed % _PARTS
        slots = self._parts[part]
        self._count += 1
        self._used[part] += 1
        if 3 * self._used[part] > 2 * len(slots):
            slots = self._parts[part] = self._grown(slots)
        self._enter(slots, hashed, number)
        return number

    def remove(self, number: int) -> None:
        """Forget a row."""
        hashed = hash(self._key_of(number))
        part = hashed % _PARTS
        self._count -= 1
        self._used[part] -= 1
        if not self._count and len(self._bytes) > GIVEN_BACK_BYTES:
            self._clear()
            return
        self._free.append(number)
        slots, place = self._parts[part], hashed >> _PART_BITS
        last = len(slots) - 1
        while slots[place & last] != number + 1:
            place += 1
        # Close the gap: what was put behind its own place because this one was taken moves here.
        gap = place = place & last
        while entry := slots[(place := (place + 1) & last)]:
            wanted = hash(self._key_of(entry - 1)) >> _PART_BITS
            if (place - wanted) & last >= (place - gap) & last:
                slots[gap] = entry
                gap = place
        slots[gap] = 0

    def _key_of(self, number: int) -> bytes:
        key: bytes = self._key.unpack_from(self._bytes, number * self._layout.size)[0]
        return key

    def _enter(self, slots: array[int], hashed: int, number: int) -> None:
        place, last = hashed >> _PART_BITS, len(slots) - 1
        while slots[place & last]:
            place += 1
        slots[place & last] = number + 1

    def _grown(self, slots: array[int]) -> array[int]:
        grown = array("I", bytes(8 * len(slots)))
        for entry in slots:
            if entry:
                self._enter(grown, hash(self._key_of(entry - 1)), entry - 1)
        return grown
