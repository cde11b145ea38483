"""
This home's own log: new entries are appended, and the newest are kept for neighbours that ask.

Pure. Entries are signed when their batch is sealed, not when they are appended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    HeartbeatBody,
    OrderBody,
    Stamp,
    StateBody,
    TradeBody,
)
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed, leaf_hash

__all__ = ["TAIL_ENTRIES_MAX", "OwnLog"]

#: Newest entries kept in memory to answer ``gossip.want``; older gaps are reconciled instead.
TAIL_ENTRIES_MAX = 1_024
#: Bytes of an entry above which it is read again, as others will, before it is appended. Most
#: entries are a tenth of that, and what they hold is far from every limit.
READ_AGAIN_BYTES = 4_000


@attrs.define
class OwnLog:
    """
    The head of this home's log, and its newest entries.

    Attributes:
        home: this peer's key.
        epoch, seq, hash: the head; seq 0 and ``GENESIS`` while empty.
        tail: the newest entries by seq, at most ``TAIL_ENTRIES_MAX``.
    """

    home: str
    _sealer: Sealer
    _clock: HybridClock
    epoch: int = 1
    seq: int = 0
    hash: str = GENESIS
    tail: deque[tuple[int, Draft]] = attrs.field(factory=lambda: deque(maxlen=TAIL_ENTRIES_MAX))

    def append(
        self,
        now: float,
        order: OrderBody | None = None,
        trades: tuple[TradeBody, ...] = (),
        states: tuple[StateBody, ...] = (),
        *,
        beat: HeartbeatBody | None = None,
        stamp: Stamp | None = None,
    ) -> Draft:
        """
        Add one entry; it is signed when its batch is sealed.

        Args:
            stamp: the entry's time, when the caller has taken it from ``stamp`` before.

        Raises:
            LocalProtocolError: others could not read it; nothing is appended.
        """
        entry = Entry(
            self.home,
            self.epoch,
            self.seq + 1,
            self.hash,
            stamp or self._clock.stamp(now),
            order,
            trades,
            states,
            beat,
        )
        payload = entry.encode()
        if len(payload) > READ_AGAIN_BYTES:
            try:
                Entry.decode(payload)
            except RemoteProtocolError as error:
                raise LocalProtocolError(f"an entry that nobody could read: {error}") from error
        draft = self._sealer.add(payload)
        self.seq += 1
        self.hash = draft.hash.hex()
        self.tail.append((self.seq, draft))
        return draft

    def stamp(self, now: float) -> Stamp:
        """The stamp of an entry that is appended later, before any entry with a later stamp."""
        return self._clock.stamp(now)

    def time_ms(self, now: float) -> int:
        """The time in ms by the clock that stamps entries; never before the newest entry."""
        return self._clock.read_ms(now)

    def range(self, first: int, last: int) -> list[Draft] | None:
        """Entries ``first`` to ``last``, or None when some are no longer in memory."""
        if not self.tail or first < self.tail[0][0]:
            return None
        start = self.tail[0][0]
        return [self.tail[seq - start][1] for seq in range(first, min(last, self.seq) + 1)]

    def restore(self, epoch: int, seq: int, hash: str, tail: Sequence[tuple[int, Signed]]) -> None:
        """
        Continue where the stored log ends.

        Args:
            tail: its newest stored entries. What was pruned, or is of an older epoch, leaves a
                gap in their numbers; only what follows the last gap is kept.
        """
        self.epoch, self.seq, self.hash = epoch, seq, hash
        self.tail.clear()
        for number, signed in reversed(tail):
            if number != seq - len(self.tail) or len(self.tail) == self.tail.maxlen:
                break
            draft = Draft(signed.payload, leaf_hash(signed.payload), signed)
            self.tail.appendleft((number, draft))
