"""
The asking side of a node: queries go out, answers are matched, silence is noticed.

Pure. What comes of each query is told to the routing table first and then to whoever
asked, so an operation always sees a table that knows already.
"""

from __future__ import annotations

import random
from math import inf

from grenache_py.dht.buckets import Contact
from grenache_py.dht.counters import Counters
from grenache_py.dht.routing_table import RoutingTable
from grenache_py.dht.transactions import TXID_BYTES, Asker, PendingQuery, Transactions
from grenache_py.rate_limit import RateLimit
from grenache_py.wire import krpc
from grenache_py.wire.krpc import Address, ErrorReply, Response

__all__ = ["Queries"]

#: Silent addresses remembered; the one remembered longest makes room.
SILENT_MAX = 1024
#: How long an address that left a query unanswered is left out of lookups.
SILENT_FOR_S = 30.0
#: Addresses of lost contacts remembered.
LAST_KNOWN_MAX = 64
#: How long they are.
LAST_KNOWN_FOR_S = 24 * 3600.0
#: Pause before a contact that fell silent is pinged once more.
PING_AGAIN_S = 1.0


class Queries:
    """
    Queries under way.

    Attributes:
        outbox: Datagrams to send, in order.
        silent: Addresses that left a query unanswered, and until when that counts;
            any datagram from them ends it.
        last_known: Addresses of contacts that have answered and fell silent since, and
            when: they may come back, and may be all there is after an outage.
        bootstrap: Addresses that are asked for company.
        ping_again_at: When a contact that fell silent wants a second chance.
    """

    def __init__(
        self, table: RoutingTable, limit: RateLimit, counters: Counters, rng: random.Random
    ) -> None:
        self.transactions = Transactions(rng)
        self.outbox: list[tuple[bytes, Address]] = []
        self.silent: dict[Address, float] = {}
        self.last_known: dict[Address, float] = {}
        self.bootstrap: list[Address] = []
        self.ping_again_at = inf
        self._table = table
        self._limit = limit
        self._counters = counters
        self._ping_halves = krpc.query_around(b"ping", b"2:id20:" + table.own_id, TXID_BYTES)

    # --- asking -----------------------------------------------------------------------------

    def ask(
        self,
        halves: tuple[bytes, bytes],
        address: Address,
        contact: Contact | None,
        asker: Asker,
        mark: object,
        now: float,
        *,
        once: bool = False,
    ) -> None:
        """Send a query; see `Transactions.open`."""
        self._counters.queries_sent += 1
        datagram = self.transactions.open(halves, address, contact, asker, mark, now, once=once)
        self.outbox.append((datagram, address))

    def ping(self, contact: Contact, now: float) -> None:
        """Ask ``contact``, which is in the table or was just put off, whether it is there."""
        contact.pinged = True
        self.ask(self._ping_halves, contact.address, contact, self, None, now)

    def ping_address(self, address: Address, now: float) -> None:
        """Ask whoever may be at ``address``."""
        self.ask(self._ping_halves, address, None, self, None, now)

    # --- what comes back --------------------------------------------------------------------

    def receive(self, message: Response | ErrorReply, address: Address, now: float) -> None:
        """An answer from ``address``, to a query of ours or to none."""
        transactions = self.transactions
        closed = transactions.close(message.txid, address, now)
        if closed is None:
            self._counters.answers_unmatched += 1
            return
        pending, rtt_s = closed
        transactions.round_trips.saw(rtt_s)
        self._limit.trust(address[0])
        contact = pending.contact
        if contact is not None:
            contact.pinged = False
        if isinstance(message, Response):
            if message.sender_id is not None:
                doubtful = self._table.heard_answer(message.sender_id, address, rtt_s, now)
                if doubtful is not None:
                    self.ping(doubtful, now)
            pending.asker.answered(pending, message, now)
        else:
            if contact is not None:
                self._table.heard_answer(contact.node_id, address, rtt_s, now)
            pending.asker.refused(pending, message, now)

    def overdue(self, now: float) -> None:
        """Repeat what is overdue, give up what is lost."""
        while (pending := self.transactions.overdue(now)) is not None:
            if pending.waits == 3:
                self._lost(pending, now)
                continue
            if pending.waits == 1:
                datagram = self.transactions.again(pending, now)
                if datagram is not None:
                    self._counters.queries_repeated += 1
                    self.outbox.append((datagram, pending.address))
            pending.asker.slow(pending, now)

    def _lost(self, pending: PendingQuery, now: float) -> None:
        self._counters.queries_lost += 1
        contact = pending.contact
        address = pending.address
        if contact is not None:
            contact.pinged = False
            if contact.verified:
                self.keep_last_known(address, now)
            if not self._table.fell_silent(contact):
                self.ping_again_at = min(self.ping_again_at, now + PING_AGAIN_S)
        self.silent.pop(address, None)
        self.silent[address] = now + SILENT_FOR_S
        if len(self.silent) > SILENT_MAX:
            del self.silent[next(iter(self.silent))]
        pending.asker.lost(pending, now)

    def keep_last_known(self, address: Address, now: float) -> None:
        """Remember where a node was; the one kept longest makes room."""
        self.last_known.pop(address, None)
        self.last_known[address] = now
        if len(self.last_known) > LAST_KNOWN_MAX:
            del self.last_known[next(iter(self.last_known))]

    def forget_old_silence(self, now: float) -> None:
        """Give addresses silent for long another chance, and up those lost long ago."""
        _drop_until(self.silent, now)
        _drop_until(self.last_known, now - LAST_KNOWN_FOR_S)

    # --- this is the asker of its own pings, and the table knows already --------------------

    def answered(self, pending: PendingQuery, response: Response, now: float) -> None:
        """A ping was answered."""

    def refused(self, pending: PendingQuery, error: ErrorReply, now: float) -> None:
        """A ping was refused."""

    def slow(self, pending: PendingQuery, now: float) -> None:
        """A ping is overdue."""

    def lost(self, pending: PendingQuery, now: float) -> None:
        """A ping was never answered."""


def _drop_until(times: dict[Address, float], now: float) -> None:
    """Drop the entries up to ``now`` from a dictionary in order of its times."""
    while times:
        address = next(iter(times))
        if times[address] > now:
            return
        del times[address]
