"""
What is held of another home: where its log stands here, and its live orders.

Pure. Values only; ``replica.py`` moves the heads, ``records.py`` the orders.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import attrs

from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.signed_log.entries import GENESIS, Entry, HeartbeatBody, StateBody
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["LEASE_MS_DEFAULT", "Head", "Origin", "RemoteOrder"]

#: Applied entries of one origin kept to serve ``gossip.want``. More than a home lets pass
#: between two heartbeats, so that there is always one to start from.
TAIL_MAX = 1_024
#: The lease of an origin whose heartbeat has not been seen yet.
LEASE_MS_DEFAULT = 20_000

#: Where a log stands: epoch, seq and the hash of that entry.
Head: TypeAlias = tuple[int, int, str]


@attrs.define(eq=False)
class RemoteOrder:
    """
    One live order of another home.

    Attributes:
        order, state: the signed entries that published it and gave its newest state.
        live: in this peer's units; None when its market is not traded here.
        version, element, state_seq: of its newest state.
        key_ms: the time of the entry that published it.
    """

    order_id: str
    home: str
    order: Signed
    state: Signed
    live: LiveOrder | None
    version: int
    key_ms: int
    element: int
    state_seq: int = 0


@attrs.define(eq=False)
class Origin:
    """
    Another home's log, as far as it is held here.

    Attributes:
        epoch, seq, hash: the last entry applied; seq 0 while none was.
        time: its stamp; the next must be later.
        waiting: early entries by seq.
        tail: the newest applied entries by seq.
        fingerprint: over ``records``, comparable with the origin's heartbeats.
        suspect: a heartbeat disagreed with it; it must be reconciled.
        checked: the newest heartbeat agreed with it, and nothing was adopted since; or what
            was adopted is what the log says.
        published: the newest entry that published an order whose first state is to come: a
            step of many trades takes several entries.
        expected: fingerprint and number of the live set by the log: the heartbeat that was
            adopted and the entries after it. None while ``checked`` needs no such proof.
        visible: the lease holds and its orders stand in the books.
        frozen: "" or why nothing of this origin is believed any more.
    """

    home: str
    epoch: int = 1
    seq: int = 0
    hash: str = GENESIS
    time: tuple[int, int] = (0, 0)
    lease_ms: int = LEASE_MS_DEFAULT
    waiting: dict[int, tuple[Entry, Signed, str]] = attrs.Factory(dict)
    tail: deque[tuple[int, str, Signed]] = attrs.Factory(lambda: deque(maxlen=TAIL_MAX))
    records: dict[str, RemoteOrder] = attrs.Factory(dict)
    fingerprint: int = 0
    suspect: bool = False
    checked: bool = False
    published: tuple[Signed, Entry] | None = None
    expected: tuple[int, int] | None = None
    visible: bool = False
    frozen: str = ""

    @property
    def gap(self) -> tuple[int, int] | None:
        """The first missing range of entries, or None."""
        if not self.waiting:
            return None
        return self.seq + 1, min(self.waiting) - 1

    @property
    def complete(self) -> bool:
        """Nothing of this origin is known to be missing here."""
        return self.checked and not self.waiting and not self.suspect

    def range(self, first: int, last: int) -> list[Signed] | None:
        """Applied entries ``first`` to ``last``, or None when some are not in memory."""
        if not self.tail or first < self.tail[0][0]:
            return None
        start = self.tail[0][0]
        return [self.tail[seq - start][2] for seq in range(first, min(last, self.seq) + 1)]

    def agrees(self, beat: HeartbeatBody) -> bool:
        """Whether the live set held here is the one the heartbeat signs."""
        return beat.live == len(self.records) and int(beat.fingerprint, 16) == self.fingerprint

    def expect(self, beat: HeartbeatBody) -> None:
        """Follow the live set as the log has it from ``beat`` on."""
        self.expected = int(beat.fingerprint, 16), beat.live

    def follow(self, state: StateBody, first: bool, terminal: bool) -> None:
        """
        Bring ``expected`` to a state that the log gives next.

        Each state of an order replaces the version before it. Should a home number them
        otherwise, nothing agrees before its next heartbeat, which is what there was without.

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
            self.checked, self.expected = True, None
