"""
Fills that traded here and whose answers are forgotten, so that no such trade is ever denied.

Pure. See docs/design/fills.rst#forgotten. An answer is forgotten once its taker has it; the id is
remembered much longer. Ids that are forgotten too leave a horizon behind: of a fill from before it
nobody here can say any more whether it traded.
"""

from __future__ import annotations

from itertools import islice

import attrs

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import FillForgotten, FillTraded, MetaRow, Snapshot

__all__ = ["TradedFills"]

#: Ids that are remembered at most; the oldest make room.
TRADED_FILLS_MAX = 100_000
#: How long an id is remembered after its fill's answer could be forgotten: 7 days, in ms.
TRADED_MS = 7 * 86_400_000
#: The stored name of the horizon.
HORIZON = "fills_horizon_ms"


@attrs.define
class TradedFills:
    """
    Ids of traded fills, oldest first; each change leaves its row in ``outbox``.

    Attributes:
        horizon_ms: whatever came later is still remembered; only ever rises.
    """

    outbox: Outbox
    ids_max: int = TRADED_FILLS_MAX
    horizon_ms: int = 0
    _late_ms: dict[bytes, int] = attrs.Factory(dict)
    _oldest: int = 1

    def __len__(self) -> int:
        return len(self._late_ms)

    def add(self, fill_id: str, late_ms: int) -> None:
        """
        The answer to a fill that traded is forgotten.

        Args:
            late_ms: a time after the fill's deadline.
        """
        key = bytes.fromhex(fill_id)
        if key not in self._late_ms:
            self._late_ms[key] = late_ms
            self.outbox.rows.append(FillTraded(self._oldest + len(self) - 1, key, late_ms))

    def forget(self, now_ms: int) -> None:
        """Forget ids that are too old, or too many, and move the horizon up to them."""
        gone = max(0, len(self) - self.ids_max)
        for late_ms in islice(self._late_ms.values(), gone, None):
            if late_ms + TRADED_MS >= now_ms:
                break
            gone += 1
        if not gone:
            return
        for key in list(islice(self._late_ms, gone)):
            self.horizon_ms = max(self.horizon_ms, self._late_ms.pop(key))
            self.outbox.rows.append(FillForgotten(self._oldest))
            self._oldest += 1
        self.outbox.rows.append(MetaRow(HORIZON, self.horizon_ms))

    def may_have_traded(self, fill_id: str, deadline_ms: int) -> bool:
        """Whether a fill without a stored answer traded, or nobody knows any more."""
        return deadline_ms <= self.horizon_ms or bytes.fromhex(fill_id) in self._late_ms

    def restore(self, snapshot: Snapshot) -> None:
        """Take back what an earlier life remembered."""
        self.horizon_ms = snapshot.meta.get(HORIZON, 0)
        rows = snapshot.traded_fills
        if rows:
            self._oldest = rows[0].number
        self._late_ms.update((row.fill_id, row.late_ms) for row in rows)
