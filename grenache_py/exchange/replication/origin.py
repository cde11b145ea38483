"""
What is held of another home: where its log stands here, and its live orders.

Pure. ``replica.py`` and ``adoption.py`` move the head, ``remote_orders.py`` changes the orders, and
``origin_state.py`` says which state may follow which.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from grenache_py.exchange.effects.rows import OriginRow
from grenache_py.exchange.replication.origin_state import (
    ORIGIN_TRANSITIONS,
    OriginEvent,
    OriginState,
)
from grenache_py.exchange.replication.remote_rows import HomeOrders
from grenache_py.exchange.signed_log.entries import GENESIS, Entry, HeartbeatBody, StateBody
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from grenache_py.exchange.signed_log.merkle import Signed, leaf_hash

__all__ = ["LEASE_MS_DEFAULT", "Origin"]

#: Applied entries of one origin kept to be served (``log_ring.py``). More than a home writes
#: between two heartbeats, so that there is always one to start from.
TAIL_MAX = 1_024
#: The lease of an origin whose heartbeat has not been seen yet.
LEASE_MS_DEFAULT = 20_000


@attrs.define(eq=False)
class Origin:
    """
    Another home's log, as far as it is held here.

    Attributes:
        epoch, seq, hash: the last entry applied; seq 0 while none was.
        time: its stamp; the next must be later.
        lease_ms: how long after ``time`` its orders may be matched ...
        pulse_ms: ... or until when, as its newest pulse says; 0 when none is known.
        left_ms: when it said goodbye, if it has shown no pulse since; else 0.
        twofold: two machines showed that they live as this home: held back until a higher epoch.
        stated: epoch, seq and ms of its newest statement: no entry above is stamped earlier.
        resting: its newest entry is a heartbeat and nothing more, while pulses show that it lives:
            whoever misses that misses nothing.
        waiting: early entries by seq, each with its payload and hash.
        tail: the newest applied entries: seq, hash, payload.
        waiting_bytes, record_bytes: of the payloads in ``waiting`` and ``records``.
        beat_seq, out_of_ring, outlived_bytes: the newest heartbeat in ``tail``; up to where the
            ring has let go of it, and how much of it that is. For ``LogRing`` only.
        heard_ms: the newest stamp of any entry of it that was believed.
        records: its live orders, by id.
        fingerprint: over ``records``, comparable with the origin's heartbeats.
        state: how far ``records`` are believed to be its live set.
        published: the newest entry that published an order whose first state is to come: a
            step of many trades takes several entries.
        expected: fingerprint and size of the live set by the log, while ``records`` are not known
            to be it; None before the first heartbeat.
        on_change: called when its state or ``visible`` changed, ``waiting`` began or ended, or its
            first order came or its last one went.
        agreed: epoch and number of the last entry after which its home agreed with ``records``.
        jumps: how often entries were left out: a new epoch, or a heartbeat that was jumped to.
        frozen: in state FROZEN only: why nothing of this origin is believed any more; else "".
    """

    home: str
    epoch: int = 1
    seq: int = 0
    hash: str = GENESIS
    time: tuple[int, int] = (0, 0)
    lease_ms: int = LEASE_MS_DEFAULT
    pulse_ms: int = 0
    left_ms: int = 0
    twofold: bool = False
    stated: tuple[int, int, int] = (0, 0, 0)
    resting: bool = False
    waiting: dict[int, tuple[Entry, Signed, str]] = attrs.Factory(dict)
    tail: deque[tuple[int, str, Signed]] = attrs.Factory(lambda: deque(maxlen=TAIL_MAX))
    records: HomeOrders = attrs.Factory(HomeOrders)
    fingerprint: int = 0
    state: OriginState = OriginState.FOLLOWING
    published: tuple[Signed, Entry] | None = None
    expected: tuple[int, int] | None = None
    _visible: bool = False
    on_change: Callable[[Origin], None] = lambda origin: None
    agreed: tuple[int, int] = (0, 0)
    jumps: int = 0
    frozen: str = ""
    beat_seq: int = 0
    out_of_ring: int = 0
    outlived_bytes: int = 0
    waiting_bytes: int = 0
    record_bytes: int = 0
    heard_ms: int = 0

    @classmethod
    def restored(cls, row: OriginRow) -> Origin:
        """An origin as it was stored. Its live set is not verified before the next heartbeat."""
        return cls(
            row.origin,
            row.epoch,
            row.seq,
            row.hash,
            (row.time_ms, row.time_counter),
            row.lease_ms,
            state=OriginState.FROZEN if row.frozen else OriginState.FOLLOWING,
            frozen=row.frozen,
            heard_ms=row.time_ms,
        )

    @property
    def visible(self) -> bool:
        """Whether the lease holds and its orders stand in the books."""
        return self._visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._visible = visible
        self.on_change(self)

    @property
    def head(self) -> Head:
        """The last entry applied."""
        return Head(self.epoch, self.seq, self.hash)

    @property
    def gap(self) -> tuple[int, int] | None:
        """The first missing range of entries, or None."""
        if not self.waiting:
            return None
        return self.seq + 1, min(self.waiting) - 1

    @property
    def complete(self) -> bool:
        """Whether nothing of this origin is known to be missing here."""
        return self.state is OriginState.VERIFIED and not self.waiting

    def range(self, first: int, last: int) -> list[Signed] | None:
        """Applied entries ``first`` to ``last``, or None when some are not in memory."""
        if not self.tail or first < self.tail[0][0]:
            return None
        start = self.tail[0][0]
        return [self.tail[seq - start][2] for seq in range(first, min(last, self.seq) + 1)]

    def silent_about(self, order_id: str, since: int) -> bool:
        """Whether no applied entry after number ``since`` speaks of an order; False: who knows."""
        entries = self.range(since + 1, self.seq)
        return entries is not None and all(order_id not in each.payload for each in entries)

    def wait(self, entry: Entry, signed: Signed, digest: str) -> None:
        """An entry came early."""
        self.waiting[entry.seq] = (entry, signed, digest)
        self.waiting_bytes += len(signed.payload)
        if len(self.waiting) == 1:
            self.on_change(self)

    def wait_no_more(self, seq: int) -> None:
        """An early entry is applied, or not needed any more."""
        self.waiting_bytes -= len(self.waiting.pop(seq)[1].payload)
        if not self.waiting:
            self.on_change(self)

    def stop_waiting(self) -> None:
        """Forget all early entries; what is still missed is fetched again."""
        self.waiting.clear()
        self.waiting_bytes = 0
        self.on_change(self)

    # What happens to it. Each of these raises LocalProtocolError when it may not happen now.

    def _happened(self, event: OriginEvent) -> None:
        self.state = ORIGIN_TRANSITIONS.next(self.state, event)
        if event is not OriginEvent.SET_ADOPTED:
            self.expected = None
        if event in (OriginEvent.BEAT_AGREED, OriginEvent.LOG_AGREED):
            self.agreed = self.epoch, self.seq
        self.on_change(self)

    def freeze(self, why: str) -> None:
        """Its home broke the rules."""
        self._happened(OriginEvent.RULE_BROKEN)
        self.frozen = why
        self.stop_waiting()

    def begin_epoch(self, epoch: int) -> None:
        """Its home started a new log. The caller has dropped the orders of the old one."""
        self._happened(OriginEvent.EPOCH_BEGAN)
        self.epoch, self.seq, self.hash = epoch, 0, GENESIS
        self.agreed = epoch, 0
        self.pulse_ms = self.left_ms = 0
        self.twofold = False
        self.jumps += 1
        self.stop_waiting()
        self.published = None

    def chain_broke(self) -> None:
        """The entry with the next number does not follow the head."""
        self._happened(OriginEvent.CHAIN_BROKE)

    def heard_beat(self, beat: HeartbeatBody) -> None:
        """A heartbeat was applied, and the states in its entry."""
        self.lease_ms = beat.lease_ms
        self.compare(beat.live, int(beat.fingerprint, 16))

    def compare(self, live: int, fingerprint: int) -> None:
        """Its home says what was live after the entry that is the head here."""
        signed = fingerprint, live
        if signed == (self.fingerprint, len(self.records)):
            self._happened(OriginEvent.BEAT_AGREED)
        else:
            self._happened(OriginEvent.BEAT_DIFFERED)
            self.expected = signed

    def is_unproven_head(self, entry: Entry, signed: Signed) -> bool:
        """Whether an entry is the head, and the live set was not compared with what it signed."""
        return (
            self.state is OriginState.FOLLOWING
            and (entry.epoch, entry.seq) == (self.epoch, self.seq)
            and leaf_hash(signed.payload).hex() == self.hash
        )

    def contradicts(self, entry: Entry) -> bool:
        """Whether an entry was signed before a statement that says there was none yet."""
        epoch, seq, ms = self.stated
        return entry.epoch == epoch and entry.seq > seq and entry.time[0] < ms

    # Jumping ahead, and seeing whether what was adopted is what the log says.

    def jump(self, entry: Entry, beat: HeartbeatBody, digest: str) -> None:
        """Make a heartbeat the head; the entries before it are never applied."""
        self.seq, self.hash, self.time = entry.seq, digest, entry.time
        self.jumps += 1
        self.lease_ms = beat.lease_ms
        self.published = None

    def adopted(self, entry: Entry, beat: HeartbeatBody) -> None:
        """
        Its live set was taken from a neighbour that holds this heartbeat.

        Orders that changed since the heartbeat are held as they are now, so the set need not agree
        with it yet. The log after the heartbeat must lead to it, or else the next heartbeat.
        """
        if (self.epoch, self.seq) == (entry.epoch, entry.seq):
            self._happened(OriginEvent.HEAD_ADOPTED)
            self.expected = int(beat.fingerprint, 16), beat.live
        else:
            self._happened(OriginEvent.SET_ADOPTED)
        self.settle()

    def follow(self, state: StateBody, first: bool, terminal: bool) -> None:
        """
        Bring ``expected`` to a state that the log gives next.

        Each state of an order replaces the version before it. When a home numbers them otherwise,
        nothing agrees before its next heartbeat.

        Args:
            first: the order is published with this state.
            terminal: it is not live any more.
        """
        assert self.expected is not None
        fingerprint, number = self.expected
        if not first:
            fingerprint -= element(state.order_id, state.version - 1)
            number -= 1
        if not terminal:
            fingerprint += element(state.order_id, state.version)
            number += 1
        self.expected = fingerprint % FINGERPRINT_MODULUS, number

    def settle(self) -> None:
        """See whether what is held is what the log says by now."""
        if self.expected == (self.fingerprint, len(self.records)):
            self._happened(OriginEvent.LOG_AGREED)
