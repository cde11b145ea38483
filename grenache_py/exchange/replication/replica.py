"""
What other homes published: their logs applied in order, their live orders, their leases.

Pure. A replica copies; it never matches on another home's behalf (docs/failure-modes.rst#f7).
Entries of one origin are applied strictly in sequence, each exactly once: an entry that arrives
early waits, a gap is known by number and can be fetched (docs/failure-modes.rst#f16), and what was
applied before changes nothing and is not forwarded, whatever a cache forgot
(docs/failure-modes.rst#f1). A state only ever advances and a closed order never returns
(docs/failure-modes.rst#f11), because a sequence number below the head is never applied again.
"""

from __future__ import annotations

from collections.abc import Callable

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.replication.adoption import Adoption
from grenache_py.exchange.replication.forks import Forks
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.received import Novel, Received
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.signed_log.entries import Entry, StateBody, TradeBody, check_order_id
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.merkle import Signed, Verifier

__all__ = ["WAITING_MAX", "Replica"]

#: Entries of one origin that may wait for a gap to close; later ones are fetched again.
WAITING_MAX = 1_024
#: An order that comes so long after its stamp queues as if stamped so long ago
#: (docs/design/distributed-core.rst#late-orders).
LATE_MS = 10_000
#: A heartbeat so long after the entry before it only keeps a resting log alive.
RESTING_MS = 300_000


class Replica:
    """
    All other homes.

    Args:
        on_trade: called with each trade an applied entry reports, the home that reports it,
            the signed entry and the time; not with those of orders that are hidden.
        own_head: (epoch, seq) of this home's log.
        own_hash: the hash of an own entry by its seq, None when it is not in memory.

    Attributes:
        records: the live orders of all origins.
        origins, sets, moved: the logs by home, and which of them are how; see ``OriginTable``.
        forks: contradictions; ``alarms`` are its.
        adoption: jumping ahead.
        on_forgotten: called with the key of each home that is not held any more.
        applied: entries applied.
        early: the last entry that was not believed yet because its stamp is too far ahead: its
            home, the stamp in ms, and when it came, in ms; None: there was none.
        attentive_at: from when on an order that comes late was late at its home, in seconds: this
            peer has had neighbours for a while.
        on_entry: called with a home, the time in ms of an entry of its log that was applied, and
            the time, after all that the entry tells was taken in.
    """

    def __init__(
        self,
        home: str,
        records: RemoteOrders,
        clock: HybridClock,
        verifier: Verifier,
        outbox: Outbox,
        on_trade: Callable[[TradeBody, str, Signed, float], None],
        own_head: Callable[[], tuple[int, int]],
        own_hash: Callable[[int], str | None],
    ) -> None:
        self.home = home
        self.records = records
        self.applied = 0
        self.early: tuple[str, int, int] | None = None
        self.attentive_at = 0.0
        self._clock = clock
        self._verifier = verifier
        self._outbox = outbox
        self._on_trade = on_trade
        self.on_entry: Callable[[str, int, float], None] = lambda home, time_ms, now: None
        self._table = table = OriginTable(records)
        self.origins, self.sets, self.moved = table.origins, table.sets, table.moved
        self.forks = Forks(home, table, verifier, own_head, own_hash)
        self.alarms = self.forks.alarms
        self.on_forgotten = table.on_forgotten
        self.on_forgotten.append(self.forks.forget)
        self.adoption = Adoption(home, table, clock, verifier, self._apply_waiting)

    def receive(self, signed: Signed, now: float, teller: str = "") -> Received:
        """
        Take one entry from a neighbour.

        Args:
            teller: whom a new home is counted for.

        Raises:
            RemoteProtocolError: it is not a valid entry; whoever sent it checked nothing.
        """
        entry = Entry.decode(signed.payload)
        if entry.home == self.home:
            self.forks.own_entry(entry, signed)
            return Received("own", None)
        origin, now_ms = self.origins.get(entry.home), int(now * 1000)
        if origin is None:
            by_ms = self._clock.earlier_ms(now)
            origin = self._table.new(entry.home, entry.epoch, entry.time[0], by_ms, orders=False)
        if origin is None:
            return Received("known", None)  # long silent: forgotten by everybody
        known = self.forks.known(origin, entry, signed)
        if known is not None:
            if entry.beat is not None and origin.is_unproven_head(entry, signed):
                origin.heard_beat(entry.beat)
            return Received(known, origin)
        entry.check_canonical(signed.payload)
        digest = self._verifier.check(signed, entry.home).hex()
        if entry.time[0] - now_ms > AHEAD_MS_MAX:
            self.early = entry.home, entry.time[0], now_ms
            return Received("early", origin)
        if not self._table.put(origin, entry.time[0], teller):
            return Received("full", None)
        if entry.epoch > origin.epoch:
            self._table.begin_epoch(origin, entry.epoch)
        if len(origin.waiting) >= WAITING_MAX and entry.seq != origin.seq + 1:
            return Received("full", origin)
        received = Received("applied", origin)
        if entry.seq == origin.seq + 1 and entry.prev == origin.hash:
            self._apply(origin, entry, signed, digest, now)
            received.novel.append((signed, origin.home, Head(origin.epoch, origin.seq, digest)))
        else:
            origin.wait(entry, signed, digest)
        self._apply_waiting(origin, received.novel, now)
        if not received.novel:
            if entry.seq == origin.seq + 1:
                # It does not follow a head that its origin signed too. Which of the two histories
                # the origin shows to others will be seen from the heads that they tell.
                origin.chain_broke()
            return Received("waiting", origin)
        return received

    def _apply_waiting(self, origin: Origin, novel: Novel, now: float) -> None:
        """Apply what is waiting and follows the head; add it to ``novel``."""
        waiting = origin.waiting
        while not origin.frozen:
            entry, signed, digest = waiting.get(origin.seq + 1, (None, None, ""))
            if entry is None or signed is None or entry.prev != origin.hash:
                return
            origin.wait_no_more(entry.seq)
            self._apply(origin, entry, signed, digest, now)
            novel.append((signed, origin.home, Head(origin.epoch, origin.seq, digest)))

    def _apply(self, origin: Origin, entry: Entry, signed: Signed, digest: str, now: float) -> None:
        if entry.time <= origin.time:
            self._table.freeze(origin, f"entry {entry.seq} is not later than the one before")
            return
        if origin.contradicts(entry):
            self._table.freeze(origin, f"entry {entry.seq} was not there by its statement")
            return
        self._clock.merge(*entry.time, now)
        rested_ms = entry.time[0] - origin.time[0]
        origin.seq, origin.hash, origin.time = entry.seq, digest, entry.time
        still = origin.pulse_ms > entry.time[0] and not (entry.states or entry.trades)
        origin.resting = still and rested_ms > RESTING_MS
        self._table.ring.keep(origin, entry.seq, digest, signed, entry.beat is not None)
        self.applied += 1
        self._table.head_moved(origin)
        # Asked before they close: trades of hidden orders are not of this peer's market.
        trades = [trade for trade in entry.trades if not self.records.hides(trade.maker)]
        try:
            if entry.order is not None:
                check_order_id(entry.order, entry.home)
                origin.published = (signed, entry)
            for state in entry.states:
                self._state(origin, entry, signed, state, now)
        except RemoteProtocolError as error:
            self._table.freeze(origin, f"entry {entry.seq}: {error}")
            return
        for trade in trades:
            self._on_trade(trade, origin.home, signed, now)
        if entry.beat is not None:
            origin.heard_beat(entry.beat)
        elif origin.expected is not None:
            origin.settle()
        self._table.show_or_hide(origin, self._clock.read_ms(now))
        self.on_entry(origin.home, entry.time[0], now)

    def _state(
        self, origin: Origin, entry: Entry, signed: Signed, state: StateBody, now: float
    ) -> None:
        record = origin.records.find(state.order_id)
        terminal = state.open == "0" and state.reserved == "0"
        published = origin.published
        if published is not None:
            order = published[1].order
            if order is None or order.id != state.order_id:
                published = None
            else:
                origin.published = None
        if origin.expected is not None:
            origin.follow(state, published is not None, terminal)
        if record is not None and record.state_seq >= entry.seq:
            return  # adopted from a neighbour that was further than this entry
        if record is None:
            dropped = self.records.dropped
            if published is None:  # it was closed in the live set that was adopted, or left out
                if terminal:
                    dropped.note(origin, state.order_id, state.version + 1)
                return
            if terminal or not dropped.may_return(origin, state.order_id, state.version, entry.seq):
                return  # or it was adopted from a neighbour that was further, and is over
            if not self.records.has_room(origin):
                return  # not held; the next heartbeat shows it
            by_ms = self._clock.earlier_ms(now) - LATE_MS
            late = published[1].time[0] < by_ms and now >= self.attentive_at
            late_ms = by_ms if late else 0
            self.records.insert(origin, *published, signed, state, entry.seq, late_ms)
            return
        if state.version <= record.version:
            raise RemoteProtocolError(f"order {state.order_id} went back to an older version")
        if terminal:
            self.records.drop(origin, record, state.version)
            return
        self.records.advance(origin, record, signed, state, entry.seq)

    def published(self, order_id: str, signed: Signed) -> LiveOrder | None:
        """
        A live order of another home in this peer's units.

        Returns:
            None unless ``signed`` is the entry that published it, and among the newest of its log.
        """
        record = self.records.find(order_id)
        if record is None:
            return None
        number = record.row.order_seq
        newest = self.origins[record.home].range(number, number)
        return record.live if newest == [signed] else None

    def tick(self, now: float) -> None:
        """Let leases run out, and orders that are about to expire leave the books."""
        self._table.tick(self._clock.read_ms(now), self._clock.earlier_ms(now))

    def flush(self) -> None:
        """Emit the rows of all that changed since the last call."""
        rows = self._outbox.rows
        rows.extend(self.records.rows.values())
        self.records.rows.clear()
        rows.extend(self._table.take_rows())

    def restore(self, snapshot: Snapshot, now: float) -> None:
        """Take back the replica of an earlier life."""
        self._table.restore(snapshot)
        if self.origins:  # to read the clock moves it
            self.tick(now)
