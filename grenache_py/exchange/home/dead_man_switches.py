"""
Dead man's switches: orders that are cancelled unless their account says in time that it is there.

Pure. They know no connections, so a client that connects again loses nothing; and they are stored,
so a daemon that was down cancels late, but does cancel.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import MetaRow
from grenache_py.exchange.errors import BUSY, OrderError

__all__ = ["DeadManSwitches"]

#: Switches that are on at a time: each account has one for each market, and one for all.
SWITCHES_MAX = 1_000
#: Their stored names: a market (or none, for all) and an account follow.
META = "cancel_after:"


@attrs.define
class DeadManSwitches:
    """
    The switches that are on.

    Attributes:
        next_ms: when the earliest goes off, by the home's clock; None when none is on.
    """

    outbox: Outbox
    next_ms: int | None = None
    _deadlines_ms: dict[tuple[str, str], int] = attrs.Factory(dict)

    def set(self, account: str, market: str, deadline_ms: int) -> None:
        """
        Have an account's orders cancelled at ``deadline_ms``, and no sooner; 0: not at all.

        Args:
            market: only those of this market; "" for all.

        Raises:
            OrderError: too many switches are on.
        """
        key = (market, account)
        if deadline_ms and key not in self._deadlines_ms and len(self) >= SWITCHES_MAX:
            raise OrderError(BUSY, f"this peer keeps {SWITCHES_MAX} dead man's switches, its limit")
        if deadline_ms:
            self._deadlines_ms[key] = deadline_ms
        elif self._deadlines_ms.pop(key, None) is None:
            return
        self.outbox.rows.append(MetaRow(f"{META}{market}:{account}", deadline_ms))
        self._find_next()

    def __len__(self) -> int:
        return len(self._deadlines_ms)

    def due(self, now_ms: int) -> list[tuple[str, str]]:
        """Switch off those whose time has come; return their accounts and markets."""
        if self.next_ms is None or self.next_ms > now_ms:
            return []
        due = [(a, m) for (m, a), deadline in self._deadlines_ms.items() if deadline <= now_ms]
        for account, market in due:
            self.set(account, market, 0)
        return due

    def restore(self, meta: Mapping[str, int]) -> None:
        """Take back those that were on."""
        for name, deadline_ms in meta.items():
            if name.startswith(META) and deadline_ms:
                market, _, account = name.removeprefix(META).partition(":")
                self._deadlines_ms[market, account] = deadline_ms
        self._find_next()

    def _find_next(self) -> None:
        self.next_ms = min(self._deadlines_ms.values(), default=None)
