"""
How this home shows that it lives in a network of many homes: its statement, and a pulse each slot.

Pure. See docs/design/leases.rst. The chain is in memory only: a restarted home states anew.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from grenache_py.exchange.home.entry_writer import EntryWriter
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.exchange.signed_log.statement import LifeStatement, chain_of

__all__ = ["OwnLease"]

#: Seconds between two pulses, and how long each is good.
SLOT_S, LEASE_S = 10, 22
#: So many slots that were slept through make a new statement: a pulse is looked for six steps back.
SLEPT_MAX = 4
#: How long a statement is as good as another when the log has moved since.
STATED_MS = 300_000


@attrs.define
class OwnLease:
    """
    This home's chain.

    Attributes:
        shown: called with what others are to be shown now: the statement, the bytes that it
            travels as, and number and value of the pulse.
    """

    _sealer: Sealer
    _clock: HybridClock
    _writer: EntryWriter
    shown: Callable[[LifeStatement, bytes, int, bytes], None]
    _stated: tuple[LifeStatement, bytes] | None = None
    _values: list[bytes] = attrs.Factory(list)
    _number: int = 0

    def must_state(self, now: float) -> bool:
        """Whether a pulse would not do."""
        if self._stated is None:
            return True
        statement, log = self._stated[0], self._writer.log
        slots = self._slots(statement, now)
        return (
            slots > statement.pulses
            or slots > self._number + SLEPT_MAX
            or statement.epoch != log.epoch
            or (statement.seq != log.seq and self._clock.ms >= statement.ms + STATED_MS)
        )

    def leave(self, now: float) -> None:
        """Say goodbye: the orders of a home that stops are hidden at once."""
        if self._stated is not None:
            self.state(now, lease_s=0)

    def state(self, now: float, lease_s: int = LEASE_S) -> None:
        """Make a statement of what the log says by now."""
        self._writer.close()
        log, live = self._writer.log, self._writer.live_set
        ms, _ = self._clock.stamp(now)
        self._values = chain_of(self._sealer, ms)
        anchor = self._values[0]
        statement = LifeStatement(
            log.home, log.epoch, log.seq, ms, len(self._values) - 1, SLOT_S, lease_s, anchor,
            live.count, live.fingerprint,
        )  # fmt: skip
        self._stated = statement, statement.signed(self._sealer)
        self._number = 0
        self.shown(*self._stated, 0, anchor)

    def pulse(self, now: float) -> None:
        """Show the pulse of this slot, unless it is shown already."""
        assert self._stated is not None
        number = self._slots(self._stated[0], now)
        if number > self._number:
            self._number = number
            self.shown(*self._stated, number, self._values[number])

    def next_s(self, now: float) -> float:
        """Seconds until the next slot begins."""
        assert self._stated is not None
        passed = self._clock.read_ms(now) - self._stated[0].ms
        return SLOT_S - passed % (1000 * SLOT_S) / 1000

    def _slots(self, statement: LifeStatement, now: float) -> int:
        return (self._clock.read_ms(now) - statement.ms) // (1000 * SLOT_S)
