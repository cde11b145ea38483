"""
Node ids and the distance between an id and a key.

Pure. A key is any byte string, an id has 20 bytes. Distance is XOR over the first
min(20, len(key)) bytes. A key shorter than an id is filled with zero bytes: that
orders the ids that are equally far, the same way on every node, which Node grapes
leave to the shape of their trees. Exact integers, where Node grapes compare doubles;
both differences only choose among nodes that are almost equally far.
"""

from __future__ import annotations

import hmac
import random

from grenache_py.wire.krpc import ID_BYTES

__all__ = ["derive_id", "derive_token_key", "key_number", "prefix_length", "random_id_in_bucket"]

ID_BITS = ID_BYTES * 8


def key_number(key: bytes) -> int:
    """The key as a number of 160 bits; XOR of two such numbers is their distance."""
    if len(key) == ID_BYTES:
        return int.from_bytes(key, "big")
    return int.from_bytes(key[:ID_BYTES].ljust(ID_BYTES, b"\0"), "big")


def prefix_length(distance: int) -> int:
    """How many leading bits two ids at this distance share: 0 to 160."""
    return ID_BITS - distance.bit_length()


def random_id_in_bucket(own: int, shared_bits: int, rng: random.Random) -> bytes:
    """An id that shares exactly ``shared_bits`` (0 to 159) leading bits with ``own``."""
    rest = ID_BITS - shared_bits - 1
    flipped = (own >> rest) ^ 1
    return ((flipped << rest) | rng.getrandbits(rest or 1) & ((1 << rest) - 1)).to_bytes(
        ID_BYTES, "big"
    )


def derive_id(key: bytes, place: str) -> bytes:
    """
    The id of the node at ``place``, always the same for the same secret key.

    A grape restarted at its address is then the contact its neighbours already know.
    ``place`` names machine, interface and port, so that grapes sharing a key differ.
    """
    return hmac.digest(key, b"grenache-py node id\0" + place.encode(), "sha256")[:ID_BYTES]


def derive_token_key(key: bytes, place: str) -> bytes:
    """The secret behind that node's tokens; knowing the public id does not give it away."""
    return hmac.digest(key, b"grenache-py token key\0" + place.encode(), "sha256")
