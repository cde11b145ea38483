"""
The order that reconciliation sorts live orders in: by time, then by hash, as one integer.

Pure. Time and hash in one integer make comparing, summing and bisecting run in C.
"""

from __future__ import annotations

__all__ = [
    "HASH_BITS",
    "HASH_MASK",
    "ID_BYTES",
    "INFINITY",
    "key_of",
    "separator",
    "short_id",
    "time_and_hash",
]

#: Bytes of a hash that stand for it in lists.
ID_BYTES = 16
#: A key is the time shifted left by this, and the hash.
HASH_BITS = 256
#: The bits of a key that are the hash.
HASH_MASK = (1 << HASH_BITS) - 1
#: Above every key.
INFINITY = 1 << (HASH_BITS + 64)

_ID_SHIFT = HASH_BITS - 8 * ID_BYTES


def key_of(time_ms: int, element: int) -> int:
    """The key of an element: time above hash."""
    return time_ms << HASH_BITS | element


def time_and_hash(key: int) -> tuple[int, int]:
    """The two parts of a key."""
    return key >> HASH_BITS, key & HASH_MASK


def short_id(element: int) -> bytes:
    """The 16 bytes that stand in lists for the hash of an element, or of a key."""
    return ((element & HASH_MASK) >> _ID_SHIFT).to_bytes(ID_BYTES, "big")


def separator(below: int, above: int) -> int:
    """The shortest bound that is greater than ``below`` and not greater than ``above``."""
    if below >> HASH_BITS != above >> HASH_BITS:
        return above >> HASH_BITS << HASH_BITS
    same_bits = HASH_BITS - (below ^ above).bit_length()
    keep = same_bits // 8 * 8 + 8
    return above >> (HASH_BITS - keep) << (HASH_BITS - keep)
