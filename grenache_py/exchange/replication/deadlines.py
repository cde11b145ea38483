"""
When each of many things is to be looked at next: a heap, so that nobody looks at all of them.

Pure.
"""

from __future__ import annotations

import heapq

import attrs

__all__ = ["Deadlines"]

#: The heap is made anew when fewer than half of its entries still count, and it has more than this.
_STALE_MIN = 64


@attrs.define
class Deadlines:
    """One moment for each key, in milliseconds of whatever clock the caller reads."""

    _at: dict[str, int] = attrs.Factory(dict)
    _heap: list[tuple[int, str]] = attrs.Factory(list)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, key: str, ms: int) -> None:
        """Have ``key`` looked at by ``ms``; nothing changes when that is due earlier anyway."""
        known = self._at.get(key)
        if known is not None and known <= ms:
            return
        self._at[key] = ms
        if len(self._heap) > _STALE_MIN + 2 * len(self._at):
            self._heap = [(due, each) for each, due in self._at.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (ms, key))

    def discard(self, key: str) -> None:
        """Do not look at ``key`` any more."""
        self._at.pop(key, None)

    def due(self, now_ms: int) -> list[str]:
        """Take out the keys whose moment has come, the earliest first."""
        heap, found = self._heap, []
        while heap and heap[0][0] <= now_ms:
            ms, key = heapq.heappop(heap)
            if self._at.get(key) == ms:
                del self._at[key]
                found.append(key)
        return found
