"""
Where keys were stored last: the nodes, and the tokens they gave.

Pure. With them an announce or a put costs one round instead of two. They are kept per
key, and, when a lookup met every contact of a table that is not full, for any key: a
grape's token holds for all of them. They count while the routing table stays as it was,
so that a node that joined since is not passed over.
"""

from __future__ import annotations

import attrs

from grenache_py.dht.buckets import Contact
from grenache_py.dht.config import DHTConfig
from grenache_py.dht.routing_table import RoutingTable
from grenache_py.wire.krpc import Address

__all__ = ["RememberedTargets", "Target"]

#: How long tokens serve for no other key after one was refused.
RING_PAUSE_S = 60.0


class Target:
    """A node to store at, with the token it gave."""

    __slots__ = ("address", "contact", "token")

    def __init__(self, address: Address, contact: Contact | None, token: bytes) -> None:
        self.address = address
        self.contact = contact
        self.token = token


@attrs.frozen
class _Remembered:
    targets: list[Target]
    table_version: int
    found_at: float


class RememberedTargets:
    """The targets of the keys stored last; the one found longest ago makes room."""

    def __init__(self, config: DHTConfig, table: RoutingTable) -> None:
        self._config = config
        self._table = table
        self._by_key: dict[bytes, _Remembered] = {}
        self._ring: _Remembered | None = None
        self._ring_from = 0.0

    def __len__(self) -> int:
        """Keys remembered."""
        return len(self._by_key)

    def get(self, key: bytes, now: float) -> list[Target] | None:
        """Where ``key`` can be stored without a lookup, or None."""
        remembered = self._by_key.get(key)
        if remembered is not None:
            if self._holds(remembered, now):
                return remembered.targets
            del self._by_key[key]
        elif self._ring is not None:
            if self._holds(self._ring, now):
                return self._ring.targets
            self._ring = None
        return None

    def keep(self, key: bytes, targets: list[Target], now: float) -> None:
        """Remember what a lookup for ``key`` found."""
        self._by_key.pop(key, None)
        remembered = self._by_key[key] = _Remembered(targets, self._table.version, now)
        if len(self._by_key) > self._config.tables_max:
            del self._by_key[next(iter(self._by_key))]
        known = self._table.by_address
        if (
            now >= self._ring_from
            and len(targets) == len(known) < self._config.bucket_size
            and all(target.address in known for target in targets)
        ):
            self._ring = remembered

    def forget(self, key: bytes, now: float) -> None:
        """One of them did not accept: it is gone, was restarted, or gives a token per key."""
        self._by_key.pop(key, None)
        self._ring = None
        self._ring_from = now + RING_PAUSE_S

    def _holds(self, remembered: _Remembered, now: float) -> bool:
        return (
            remembered.table_version == self._table.version
            and now - remembered.found_at <= self._config.table_max_age_s
        )
