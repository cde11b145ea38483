"""
Whether a client_order_id may have been used by an order that memory no longer holds.

Pure. A Bloom filter (Bloom 1970): "no" is certain, "yes" is wrong for about one id in two
hundred, which costs a look into the store. Without it every order that names itself, which is every
order of a careful client, would wait for that look before it is placed.

Ids come in when their order closes and go, oldest first, when the store forgets closed orders.
A single filter cannot forget, so there are several, filled one after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b

import attrs

__all__ = ["ClientIdFilter", "UsedClientIds"]

#: Ids a filter takes before the next one is begun.
IDS_PER_FILTER = 1 << 19
BITS_PER_ID = 16
_three = struct.Struct("<III").unpack


def _digest(account: str, client_order_id: str) -> bytes:
    return blake2b(f"{account}\0{client_order_id}".encode(), digest_size=12).digest()


@attrs.define
class ClientIdFilter:
    """One filter of a fixed size."""

    mask: int
    bits: bytearray = attrs.field(repr=False)
    ids: int = 0

    @classmethod
    def sized(cls, ids: int) -> ClientIdFilter:
        """An empty filter with room for ``ids`` ids."""
        size = 1 << (max(ids, 64) * BITS_PER_ID - 1).bit_length()
        return cls(size - 1, bytearray(size >> 3))

    @classmethod
    def of(cls, known: Iterable[tuple[str, str]], ids: int) -> ClientIdFilter:
        """A filter of ``ids`` (account, client_order_id) pairs."""
        made = cls.sized(ids)
        for account, client_order_id in known:
            made.add(account, client_order_id)
        return made

    def add(self, account: str, client_order_id: str) -> None:
        """Remember one id."""
        self.ids += 1
        bits, mask = self.bits, self.mask
        for number in _three(_digest(account, client_order_id)):
            bits[(number & mask) >> 3] |= 1 << (number & 7)

    def __contains__(self, digest: bytes) -> bool:
        bits, mask = self.bits, self.mask
        return all(bits[(number & mask) >> 3] >> (number & 7) & 1 for number in _three(digest))


class UsedClientIds:
    """
    The client order ids of closed orders, by account.

    Every id may have been used until ``complete`` has told what the store held at the start.
    """

    def __init__(self) -> None:
        self._filters = [ClientIdFilter.sized(IDS_PER_FILTER)]
        self._complete = False

    def __len__(self) -> int:
        return sum(held.ids for held in self._filters)

    def complete(self, stored: ClientIdFilter) -> None:
        """Take the ids that were in the store before the first ``add``."""
        self._filters.insert(0, stored)
        self._complete = True

    def add(self, account: str, client_order_id: str) -> None:
        """An order of ``account`` closed."""
        if self._filters[-1].ids >= IDS_PER_FILTER:
            self._filters.append(ClientIdFilter.sized(IDS_PER_FILTER))
        self._filters[-1].add(account, client_order_id)

    def forget(self, closed_orders: int) -> None:
        """The store forgot all but the ``closed_orders`` that closed last."""
        held = len(self)
        while len(self._filters) > 1 and held - self._filters[0].ids >= closed_orders:
            held -= self._filters.pop(0).ids

    def may_hold(self, account: str, client_order_id: str) -> bool:
        """False: no closed order has this id. True: look into the store."""
        digest = _digest(account, client_order_id)
        return not self._complete or any(digest in held for held in self._filters)
