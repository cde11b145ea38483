"""
The BEP 44 items kept here, and what a ``put`` query must be to be kept.

Pure. An equal ``seq`` is refused with 302 even when the value is the same, as Node does.
"""

from __future__ import annotations

from grenache_py.dht.items import (
    KEY_BYTES,
    SALT_BYTES_MAX,
    SIGNATURE_BYTES,
    StoredItem,
    seq_fits,
    value_fits,
)
from grenache_py.errors import RemoteProtocolError
from grenache_py.wire import bencode, krpc
from grenache_py.wire.bencode import Value

__all__ = ["ItemStore", "PutRefused", "item_of"]


class PutRefused(Exception):
    """A value that may not be stored; carries the KRPC error to answer with."""

    def __init__(self, code: int, message: bytes) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def item_of(args: dict[bytes, Value], value: Value) -> StoredItem:
    """
    The item a ``put`` query describes, sizes, types and signature checked.

    Raises:
        PutRefused: 203, 205, 206 or 207.
    """
    try:
        encoded = bencode.encode_received(value)
    except RemoteProtocolError:
        raise PutRefused(krpc.PROTOCOL_ERROR, b"`put` with a `v` that cannot be encoded") from None
    if not value_fits(encoded):
        raise PutRefused(krpc.VALUE_TOO_BIG, b"data payload too large")
    k = args.get(b"k")
    sig = args.get(b"sig")
    if k is None and sig is None:
        return StoredItem(encoded)
    salt = args.get(b"salt", b"")
    seq = args.get(b"seq")
    if type(k) is not bytes or len(k) != KEY_BYTES:
        raise PutRefused(krpc.PROTOCOL_ERROR, b"`put` with a `k` that is not 32 bytes")
    if type(sig) is not bytes or len(sig) != SIGNATURE_BYTES:
        raise PutRefused(krpc.PROTOCOL_ERROR, b"`put` with a `sig` that is not 64 bytes")
    if type(salt) is not bytes:
        raise PutRefused(krpc.PROTOCOL_ERROR, b"`put` with a `salt` that is not a string")
    if len(salt) > SALT_BYTES_MAX:
        raise PutRefused(krpc.SALT_TOO_BIG, b"salt is longer than 64 bytes")
    if type(seq) is not int or not seq_fits(seq):
        raise PutRefused(krpc.PROTOCOL_ERROR, b"`put` with a `seq` that is not a 64-bit integer")
    item = StoredItem(encoded, k, seq, sig, salt)
    if not item.signature_holds():
        raise PutRefused(krpc.SIGNATURE_INVALID, b"invalid signature")
    return item


class ItemStore:
    """Items by target; the one used longest ago makes room."""

    def __init__(self, items_max: int) -> None:
        self._items_max = items_max
        self._items: dict[bytes, StoredItem] = {}

    def __len__(self) -> int:
        return len(self._items)

    def get(self, target: bytes) -> StoredItem | None:
        """The item kept under ``target``."""
        item = self._items.pop(target, None)
        if item is not None:
            self._items[target] = item
        return item

    def put(self, item: StoredItem, cas: int | None = None) -> bytes:
        """
        Keep an item that was checked; returns its target.

        Args:
            item: What to keep.
            cas: The ``seq`` the writer believes to replace (BEP 44), or None.

        Raises:
            PutRefused: 301 or 302.
        """
        target = item.target()
        stored = self.get(target)
        if stored is not None and stored.seq is not None and item.seq is not None:
            if cas is not None and cas != stored.seq:
                raise PutRefused(krpc.CAS_MISMATCH, b"CAS mismatch, re-read and try again")
            if item.seq <= stored.seq:
                raise PutRefused(krpc.SEQ_TOO_SMALL, b"sequence number less than current")
        self._items[target] = item
        if len(self._items) > self._items_max:
            del self._items[next(iter(self._items))]
        return target

    def renew(self, item: StoredItem) -> None:
        """Let ``item``, whose signature was checked, replace an older version kept here."""
        stored = self._items.get(item.target())
        if stored is None or stored.seq is None or item.seq is None or item.seq <= stored.seq:
            return
        if seq_fits(item.seq) and value_fits(item.v):
            self.put(item)

    def items(self) -> list[StoredItem]:
        """All of them, the one used longest ago first."""
        return list(self._items.values())
