"""
Writes that only this node holds, because no other node answered.

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
#: Writes repeated in one round of the upkeep, so that new neighbours are not flooded.
WRITES_A_ROUND_MAX = 50


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

    def keep(self, write: Write, made: float) -> None:
        """Remember ``write``, stored here at ``made``; an equal one before it is forgotten."""
        what = b"".join(write.arguments())
        self._writes.pop(what, None)
        self._writes[what] = (write, made)
        if len(self._writes) > WRITES_MAX:
            del self._writes[next(iter(self._writes))]

    def take(self, now: float) -> list[tuple[Write, float]]:
        """Forget some, and return those of them that are not too old, with their times."""
        some = list(self._writes)[:WRITES_A_ROUND_MAX]
        taken = [self._writes.pop(what) for what in some]
        return [(write, made) for write, made in taken if now - made < self._max_age_s]
