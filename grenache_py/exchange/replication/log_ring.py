"""
The newest entries of all other homes, kept in memory to be served: one ring, the oldest out first.

Pure. See docs/design/sync.rst#forgetting. The bound is for all homes together, so that an idle one
costs what it says, however many there are. What follows a home's newest heartbeat outlives the ring
for a while: whoever joins goes on from that heartbeat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import attrs

from grenache_py.exchange.replication.origin import TAIL_MAX, Origin
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["LogRing"]

#: Payloads in the ring.
RING_BYTES_MAX = 1 << 24
#: Payloads that outlive it because they follow a heartbeat: of one home, and of all.
SINCE_BEAT_BYTES_MAX, SINCE_BEATS_BYTES_MAX = 1 << 15, 1 << 25


@attrs.define
class LogRing:
    """
    Adds to the tails of origins, and takes away from them.

    Args:
        origins: those that are held, by key.

    Attributes:
        bytes: of the payloads in the ring.
        outlived: of those in tails that are not in the ring any more.
    """

    _origins: Mapping[str, Origin]
    bytes: int = 0
    outlived: int = 0
    _entries: deque[tuple[str, int, int, int]] = attrs.Factory(deque)  # home, jumps, seq, bytes

    def keep(self, origin: Origin, seq: int, digest: str, signed: Signed, beat: bool) -> None:
        """
        Keep the entry that was applied last.

        Args:
            beat: it is a heartbeat.
        """
        if len(origin.tail) == TAIL_MAX:
            self._drop_first(origin)
        origin.tail.append((seq, digest, signed))
        if beat:
            origin.beat_seq = seq
            while origin.tail[0][0] <= origin.out_of_ring and origin.tail[0][0] < seq:
                self._drop_first(origin)
        size = len(signed.payload)
        self._entries.append((origin.home, origin.jumps, seq, size))
        self.bytes += size
        while self.bytes > RING_BYTES_MAX:
            self._let_go()

    def clear(self, origin: Origin) -> None:
        """Keep nothing of a log: it goes on elsewhere, or is not held any more."""
        self.outlived -= origin.outlived_bytes
        origin.outlived_bytes = origin.out_of_ring = origin.beat_seq = 0
        origin.tail.clear()

    def _let_go(self) -> None:
        """The oldest entry leaves the ring, and its tail unless it follows a heartbeat there."""
        home, jumps, seq, size = self._entries.popleft()
        self.bytes -= size
        origin = self._origins.get(home)
        if origin is None or origin.jumps != jumps or not origin.tail or seq < origin.tail[0][0]:
            return  # that tail was cleared since, or was too long
        origin.out_of_ring = seq
        origin.outlived_bytes += size
        self.outlived += size
        if (
            seq < origin.beat_seq
            or origin.outlived_bytes > SINCE_BEAT_BYTES_MAX
            or self.outlived > SINCE_BEATS_BYTES_MAX
        ):
            while origin.tail and origin.tail[0][0] <= seq:
                self._drop_first(origin)

    def _drop_first(self, origin: Origin) -> None:
        seq, _, signed = origin.tail.popleft()
        if seq <= origin.out_of_ring:
            origin.outlived_bytes -= len(signed.payload)
            self.outlived -= len(signed.payload)
