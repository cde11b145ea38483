"""
Queries under way: which answer belongs to which, and how long to wait.

Pure. An answer is taken only for a transaction id this node gave out *and* from the
address and port it asked. Ids are four random bytes (BEP 5 asks for two; Node grapes
echo any), so a blind forger has to guess.

Waiting follows the round trips seen (as RFC 6298 does for TCP): after ``slow_after``
a query is sent once more, since a datagram may be lost; after the same time again its
owner is told not to count on it; after ``lost_after`` it is forgotten. On loopback that
is 50, 100 and 500 ms, where a Node grape waits 2.0 to 2.5 s.
"""

from __future__ import annotations

import heapq
import random
from typing import Protocol

from grenache_py.dht.buckets import Contact
from grenache_py.wire.krpc import Address, ErrorReply, Response

__all__ = ["TXID_BYTES", "Asker", "PendingQuery", "RoundTrips", "Transactions"]

#: Bytes of a transaction id: not to be guessed by who does not see the query.
TXID_BYTES = 4
#: Random bytes drawn at a time.
_RANDOM_BLOCK = 4096

#: Bounds of the wait after which a query is overdue.
SLOW_MIN_S = 0.05
SLOW_MAX_S = 0.8
#: The same wait before any round trip was seen.
SLOW_UNKNOWN_S = 0.4
#: Bounds of the time after which a query is forgotten.
LOST_MIN_S = 0.5
LOST_MAX_S = 1.6


class Asker(Protocol):
    """Who sent a query and wants to know what becomes of it."""

    def answered(self, pending: PendingQuery, response: Response, now: float) -> None:
        """The answer came."""

    def refused(self, pending: PendingQuery, error: ErrorReply, now: float) -> None:
        """A KRPC error came."""

    def slow(self, pending: PendingQuery, now: float) -> None:
        """It takes longer than it should: ``pending.waits`` is 1 (sent again) or 2."""

    def lost(self, pending: PendingQuery, now: float) -> None:
        """No answer; the query is forgotten."""


class PendingQuery:
    """
    One query under way.

    Attributes:
        address: Where it went.
        contact: Whom we believe to live there, None for a bare address.
        asker: Whom to tell.
        mark: What the asker attached, to find its own records again.
        halves: To send it again; None when it must not be sent twice.
        sent_at: Seconds; ``again_at`` likewise, for the repetition.
        due: When the present wait runs out.
        waits: How many times a wait ran out: 0, 1 (sent again), 2 (slow).
    """

    __slots__ = (
        "address",
        "again_at",
        "again_txid",
        "asker",
        "contact",
        "due",
        "halves",
        "mark",
        "sent_at",
        "txid",
        "waits",
    )

    def __init__(
        self,
        txid: bytes,
        address: Address,
        contact: Contact | None,
        asker: Asker,
        mark: object,
        halves: tuple[bytes, bytes] | None,
        now: float,
    ) -> None:
        self.txid = txid
        self.address = address
        self.contact = contact
        self.asker = asker
        self.mark = mark
        self.halves = halves
        self.sent_at = now
        self.due = now
        self.again_txid = b""
        self.again_at = now
        self.waits = 0


class RoundTrips:
    """Smoothed round trip time over all nodes, and the waits that follow from it."""

    __slots__ = ("slow_after_s", "smoothed_s", "variation_s")

    def __init__(self) -> None:
        self.smoothed_s = -1.0
        self.variation_s = 0.0
        self.slow_after_s = SLOW_UNKNOWN_S

    def saw(self, rtt_s: float) -> None:
        """Take one sample."""
        if self.smoothed_s < 0:
            self.smoothed_s = rtt_s
            self.variation_s = rtt_s / 2
        else:
            error = rtt_s - self.smoothed_s
            self.smoothed_s += error * 0.125
            self.variation_s += (abs(error) - self.variation_s) * 0.25
        wait = self.smoothed_s + 4 * self.variation_s
        if wait < SLOW_MIN_S:
            wait = SLOW_MIN_S
        elif wait > SLOW_MAX_S:
            wait = SLOW_MAX_S
        self.slow_after_s = wait

    def slow_after(self, contact: Contact | None) -> float:
        """Seconds after which an answer from ``contact`` is overdue."""
        wait = self.slow_after_s
        if contact is not None and contact.rtt_s is not None and 2 * contact.rtt_s > wait:
            return min(2 * contact.rtt_s, SLOW_MAX_S)
        return wait

    def lost_after(self, slow_after_s: float) -> float:
        """Seconds after which nothing is expected any more."""
        return min(max(4 * slow_after_s, LOST_MIN_S), LOST_MAX_S)


class Transactions:
    """All queries under way, by transaction id and by deadline."""

    def __init__(self, rng: random.Random) -> None:
        self.round_trips = RoundTrips()
        self._rng = rng
        self._block = b""
        self._used = 0
        self._pending: dict[bytes, PendingQuery] = {}
        # Entries outlive their query when it is answered, and are skipped when they come up;
        # so that they do not keep it alive, they hold its id only.
        self._deadlines: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        """Transaction ids in use; a repeated query has two."""
        return len(self._pending)

    def open(
        self,
        halves: tuple[bytes, bytes],
        address: Address,
        contact: Contact | None,
        asker: Asker,
        mark: object,
        now: float,
        *,
        once: bool = False,
    ) -> bytes:
        """
        Begin a query; returns the datagram to send.

        Args:
            halves: From `krpc.query_around`, for ids of ``TXID_BYTES``.
            address: Where it goes.
            contact: The contact there, if known; it is told when it stays silent.
            asker: Told what becomes of the query.
            mark: For the asker's own use.
            now: Seconds.
            once: Do not send again when no answer comes (``put`` is not idempotent,
                and what is known to be silent is not worth it).
        """
        txid = self._fresh_txid()
        pending = PendingQuery(txid, address, contact, asker, mark, None if once else halves, now)
        self._pending[txid] = pending
        pending.due = now + self.round_trips.slow_after(contact)
        heapq.heappush(self._deadlines, (pending.due, txid))
        return halves[0] + txid + halves[1]

    def again(self, pending: PendingQuery, now: float) -> bytes | None:
        """
        Repeat a query; returns the datagram, None when it must not be repeated.

        It gets an id of its own, so that an answer tells which of the two it is for.
        """
        halves = pending.halves
        if halves is None:
            return None
        txid = pending.again_txid = self._fresh_txid()
        pending.again_at = now
        self._pending[txid] = pending
        return halves[0] + txid + halves[1]

    def _fresh_txid(self) -> bytes:
        while True:
            used = self._used
            if used >= len(self._block):
                self._block = self._rng.randbytes(_RANDOM_BLOCK)
                used = 0
            self._used = used + TXID_BYTES
            txid = self._block[used : used + TXID_BYTES]
            if txid not in self._pending:
                return txid

    def close(self, txid: bytes, address: Address, now: float) -> tuple[PendingQuery, float] | None:
        """
        End the query an answer belongs to.

        Returns:
            The query and its round trip in seconds; None when there is no such query.
        """
        pending = self._pending.get(txid)
        if pending is None or pending.address != address:
            return None
        self._forget(pending)
        sent_at = pending.sent_at if txid == pending.txid else pending.again_at
        return pending, max(now - sent_at, 0.0)  # the clock may have been set back

    def _forget(self, pending: PendingQuery) -> None:
        del self._pending[pending.txid]
        if pending.again_txid:
            del self._pending[pending.again_txid]

    def next_deadline(self) -> float | None:
        """When `overdue` may have something to say; never too late, sometimes too early."""
        deadlines = self._deadlines
        while deadlines:
            due, txid = deadlines[0]
            pending = self._pending.get(txid)
            if pending is not None and pending.due == due:
                return due
            heapq.heappop(deadlines)
        return None

    def overdue(self, now: float) -> PendingQuery | None:
        """
        The next query whose wait has run out, its ``waits`` counted up.

        With ``waits`` 1 it is to be sent again, with 2 it is slow, with 3 it has been
        forgotten. Call until it returns None.
        """
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            due, txid = heapq.heappop(deadlines)
            pending = self._pending.get(txid)
            if pending is None or pending.due != due:
                continue
            pending.waits += 1
            if pending.waits == 1 and pending.halves is None:
                pending.waits = 2
            if pending.waits == 3:
                self._forget(pending)
                return pending
            wait = self.round_trips.slow_after(pending.contact)
            pending.due = now + wait
            if pending.waits == 2:
                lost_at = pending.sent_at + self.round_trips.lost_after(wait)
                pending.due = max(pending.due, lost_at)
            heapq.heappush(deadlines, (pending.due, txid))
            return pending
        return None
