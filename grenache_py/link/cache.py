"""
The lookup cache: who was found under a name a moment ago.

Pure. Differences from Node's link, which are its two best-known traps: an empty
answer is never kept (a client that starts before its service would stay blind for
10 s), and a caller that finds an address dead can take it out of the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import attrs

__all__ = ["LookupCache"]


@attrs.define
class LookupCache:
    """
    Least-recently-used answers to lookups, each kept at most ``ttl_s``.

    Attributes:
        ttl_s: seconds an answer is believed; 0 keeps nothing. Node's link uses 10.
        entries_max: names kept; the least recently used goes first.
    """

    ttl_s: float = 10.0
    entries_max: int = 2500
    _entries: OrderedDict[str, tuple[float, tuple[str, ...]]] = attrs.field(
        factory=OrderedDict, init=False
    )

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now: float) -> list[str] | None:
        """Return the addresses kept for ``name``, or None where a grape must be asked."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        expires, addresses = entry
        if now >= expires:
            del self._entries[name]
            return None
        self._entries.move_to_end(name)
        return list(addresses)

    def keep(self, name: str, addresses: Sequence[str], now: float) -> None:
        """Remember a grape's answer. An empty one replaces what was known and is not kept."""
        self._entries.pop(name, None)
        if not addresses or self.ttl_s <= 0:
            return
        self._entries[name] = (now + self.ttl_s, tuple(addresses))
        while len(self._entries) > self.entries_max:
            self._entries.popitem(last=False)

    def forget(self, name: str, address: str | None = None) -> None:
        """Take ``address`` out of what is kept for ``name``, or everything with None."""
        entry = self._entries.get(name)
        if entry is None:
            return
        expires, addresses = entry
        left = () if address is None else tuple(one for one in addresses if one != address)
        if left:
            self._entries[name] = (expires, left)
        else:
            del self._entries[name]
