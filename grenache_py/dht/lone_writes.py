"""
What was stored here only, because nobody else was heard, until there is company.

Pure. When other nodes turn up it is written to them as well: they would not find it
otherwise before the service announces itself again, and never an item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grenache_py.dht.writes import Write

__all__ = ["LoneWrites"]

#: Writes remembered; the one made longest ago makes room.
WRITES_MAX = 1000


class LoneWrites:
    """
    Writes to repeat, the one made longest ago first.

    Args:
        max_age_s: Seconds after which a write is not repeated any more.
    """

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._writes: dict[bytes, tuple[Write, float]] = {}

    def __len__(self) -> int:
        return len(self._writes)

    def keep(self, write: Write, now: float) -> None:
        """Remember ``write``; an equal one before it is forgotten."""
        what = b"".join(write.arguments())
        self._writes.pop(what, None)
        self._writes[what] = (write, now)
        if len(self._writes) > WRITES_MAX:
            del self._writes[next(iter(self._writes))]

    def take(self, now: float) -> list[Write]:
        """Forget all, and return those that are not too old."""
        writes = [write for write, made in self._writes.values() if now - made < self._max_age_s]
        self._writes.clear()
        return writes
