"""
What other homes published: their logs applied in order, their live orders, their leases.

Pure. A replica copies; it never matches on another home's behalf (F7). Entries of one origin
are applied strictly in sequence, each exactly once: an entry that arrives early waits, a gap is
known by number and can be fetched (F16), and what was applied before changes nothing and is
not forwarded, whatever a cache forgot (F1). A state only ever advances and a closed order
never returns (F11), because a sequence number below the head is never applied again.

An origin that signed two entries with one number is *frozen*: its orders leave the book, and
the two entries, which prove it to anybody, are kept and passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import OriginRow, Snapshot
from grenache_py.exchange.replication.origin import Head, Origin
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    StateBody,
    TradeBody,
    check_order_id,
)
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.merkle import Signed, SignedRow, Verifier, leaf_hash

__all__ = ["EntryVerdict", "Received", "Replica"]

#: Homes whose logs are held; more are ignored until some are forgotten.
ORIGINS_MAX = 5_000
#: Entries of one origin that may wait for a gap to close; later ones are fetched again.
WAITING_MAX = 1_024
#: Live orders one home may have; a deterministic rule, so that all peers judge alike.
LIVE_PER_ORIGIN_MAX = 200_000
EntryVerdict = Literal["applied", "waiting", "known", "early", "full", "frozen", "own"]


@attrs.frozen
class Received:
    """
    What an entry did.

    Attributes:
        verdict: ``applied``; ``waiting`` for a gap to close; ``known`` and ``own`` changed
            nothing; ``early`` and ``full`` entries cannot be taken yet; ``frozen``: the entry
            contradicts an earlier one and the pair is in ``Replica.proofs``.
        origin: None for an own entry.
        novel: the entries that were applied, in order, as (payload, origin, head): exactly
            what is to be forwarded.
    """

    verdict: EntryVerdict
    origin: Origin | None
    novel: list[tuple[Signed, str, Head]] = attrs.Factory(list)


@attrs.define
class Replica:
    """
    All other homes.

    Attributes:
        on_trade: called with each trade an applied entry reports and the home that reports it.
        records: the live orders of all origins.
        own_head: (epoch, seq, hash-of) of this home's log, to notice a clone or a lost disk.
        alarms: why this home must stop serving, if it must (distributed.md 2.9).
    """

    home: str
    records: RemoteOrders
    clock: HybridClock
    verifier: Verifier
    outbox: Outbox
    on_trade: Callable[[TradeBody, str, float], None]
    own_head: Callable[[], tuple[int, int]]
    own_hash: Callable[[int], str | None]
    origins: dict[str, Origin] = attrs.Factory(dict)
    alarms: list[str] = attrs.Factory(list)
    proofs: dict[str, tuple[Signed, Signed]] = attrs.Factory(dict)
    applied: int = 0
    _dirty: dict[str, None] = attrs.Factory(dict)  # a set in a fixed order

    def receive(self, signed: Signed, now: float) -> Received:
        """
        Take one entry from a neighbour.

        Raises:
            RemoteProtocolError: it is not a valid entry; whoever sent it checked nothing.
        """
        entry = Entry.decode(signed.payload)
        if entry.home == self.home:
            self._own(entry, signed)
            return Received("own", None)
        origin = self.origins.get(entry.home)
        if origin is None:
            if len(self.origins) >= ORIGINS_MAX:
                return Received("full", None)
            origin = Origin(entry.home, entry.epoch)
        known = self._known(origin, entry, signed)
        if known is not None:
            return Received(known, origin)
        digest = self.verifier.check(signed, entry.home).hex()
        if entry.time[0] - int(now * 1000) > AHEAD_MS_MAX:
            return Received("early", origin)
        self.origins[entry.home] = origin
        if entry.epoch > origin.epoch:
            self._new_epoch(origin, entry.epoch)
        if len(origin.waiting) >= WAITING_MAX and entry.seq != origin.seq + 1:
            return Received("full", origin)
        origin.waiting[entry.seq] = (entry, signed, digest)
        received = Received("applied", origin)
        self._catch_up(origin, received.novel, now)
        if not received.novel:
            # Early, or it does not follow a head that its origin signed too: which of two
            # stories the origin tells others, their heads will show.
            origin.suspect = origin.suspect or entry.seq == origin.seq + 1
            return Received("waiting", origin)
        return received

    def _own(self, entry: Entry, signed: Signed) -> None:
        """An own entry comes back (F1). One this home does not remember is an alarm (2.9)."""
        epoch, seq = self.own_head()
        ahead = (entry.epoch, entry.seq) > (epoch, seq)
        other = self.own_hash(entry.seq) if entry.epoch == epoch else None
        if ahead or (other is not None and other != leaf_hash(signed.payload).hex()):
            self.verifier.check(signed, self.home)
            self._alarm(
                f"the network knows entry {entry.epoch}/{entry.seq} of this home, which this"
                " disk does not: it is an old copy, or another process uses the same identity"
            )

    def _alarm(self, why: str) -> None:
        if not self.alarms:
            self.alarms.append(why)

    def _known(self, origin: Origin, entry: Entry, signed: Signed) -> EntryVerdict | None:
        """Whether the entry adds nothing; a second entry with the number of a first freezes."""
        if origin.frozen:
            return "known"
        position, head = (entry.epoch, entry.seq), (origin.epoch, origin.seq)
        earlier: Signed | None = None
        if position <= head:
            if entry.epoch == origin.epoch:
                found = origin.range(entry.seq, entry.seq)
                earlier = found[0] if found else None
        elif entry.epoch == origin.epoch and entry.seq in origin.waiting:
            earlier = origin.waiting[entry.seq][1]
        else:
            return None
        if earlier is not None and earlier.payload != signed.payload:
            self.verifier.check(signed, entry.home)
            self._freeze(origin, earlier, signed)
            return "frozen"
        return "known"

    def _freeze(self, origin: Origin, first: Signed, second: Signed) -> None:
        """Two entries of ``origin`` with one number: it lied to somebody, or lost its disk."""
        self.proofs[origin.home] = (first, second)
        self._break(origin, f"signed two entries numbered {origin.epoch}/{origin.seq} or before")

    def prove(self, first: Signed, second: Signed) -> str | None:
        """
        Take a neighbour's proof that an origin signed two histories.

        Returns:
            the origin's key when it was news.

        Raises:
            RemoteProtocolError: it proves nothing.
        """
        one, other = Entry.decode(first.payload), Entry.decode(second.payload)
        same = (one.home, one.epoch, one.seq) == (other.home, other.epoch, other.seq)
        if not same or first.payload == second.payload:
            raise RemoteProtocolError("these two entries contradict nothing")
        self.verifier.check(first, one.home)
        self.verifier.check(second, one.home)
        if one.home == self.home:
            self._alarm("the network holds proof that this identity signed two histories")
            return None
        origin = self.origins.get(one.home) or Origin(one.home, one.epoch)
        if origin.frozen or len(self.origins) >= ORIGINS_MAX:
            return None
        self.origins[one.home] = origin
        self._freeze(origin, first, second)
        return one.home

    def _break(self, origin: Origin, why: str) -> None:
        origin.frozen = why
        origin.waiting.clear()
        self.records.hide(origin)
        self._dirty[origin.home] = None

    def _new_epoch(self, origin: Origin, epoch: int) -> None:
        """The home started over: all its orders of the old epoch are closed."""
        for record in list(origin.records.values()):
            self.records.drop(origin, record)
        origin.epoch, origin.seq, origin.hash = epoch, 0, GENESIS
        origin.waiting.clear()
        origin.tail.clear()
        origin.suspect = origin.checked = False
        origin.published = origin.expected = None

    def _catch_up(self, origin: Origin, novel: list[tuple[Signed, str, Head]], now: float) -> None:
        """Apply what is waiting and follows the head."""
        waiting = origin.waiting
        while not origin.frozen:
            entry, signed, digest = waiting.get(origin.seq + 1, (None, None, ""))
            if entry is None or signed is None or entry.prev != origin.hash:
                return
            del waiting[entry.seq]
            self._apply(origin, entry, signed, digest, now)
            novel.append((signed, origin.home, (origin.epoch, origin.seq, digest)))

    def _apply(self, origin: Origin, entry: Entry, signed: Signed, digest: str, now: float) -> None:
        if entry.time <= origin.time:
            self._break(origin, f"entry {entry.seq} is not later than the one before")
            return
        self.clock.merge(*entry.time, now)
        origin.seq, origin.hash, origin.time = entry.seq, digest, entry.time
        origin.tail.append((entry.seq, digest, signed))
        self.applied += 1
        self._dirty[origin.home] = None
        try:
            if entry.order is not None:
                check_order_id(entry.order, entry.home)
                origin.published = (signed, entry)
            for state in entry.states:
                self._state(origin, entry, signed, state)
        except RemoteProtocolError as error:
            self._break(origin, f"entry {entry.seq}: {error}")
            return
        for trade in entry.trades:
            self.on_trade(trade, origin.home, now)
        if entry.beat is not None:
            origin.lease_ms = entry.beat.lease_ms
            origin.checked = origin.agrees(entry.beat)
            origin.suspect = not origin.checked
            origin.expected = None
        elif origin.expected is not None:
            origin.settle()
        self.records.show_or_hide(origin, self.clock.read_ms(now))

    def _state(self, origin: Origin, entry: Entry, signed: Signed, state: StateBody) -> None:
        record = origin.records.get(state.order_id)
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
            if published is None or terminal:
                return  # without an order it was closed in the live set that was adopted
            if len(origin.records) >= LIVE_PER_ORIGIN_MAX:
                raise RemoteProtocolError(f"more than {LIVE_PER_ORIGIN_MAX} live orders")
            self.records.insert(origin, *published, signed, state, entry.seq)
            return
        if state.version <= record.version:
            raise RemoteProtocolError(f"order {state.order_id} went back to an older version")
        if terminal:
            self.records.drop(origin, record)
            return
        self.records.advance(origin, record, signed, state, entry.seq)

    def adopt_record(self, order_signed: Signed, state_signed: Signed, now: float) -> bool:
        """
        Take one live order from a neighbour's set (distributed.md 3.4).

        It is refused when its newest state is not newer than our head of its origin: we have
        applied that entry, and if the order is not here, it is closed (F11).

        Returns:
            whether anything changed.

        Raises:
            RemoteProtocolError: the pair is not one live order signed by its home.
        """
        published, newest, state = self._checked_record(order_signed, state_signed)
        order = published.order
        if published.home == self.home or order is None:
            return False
        origin = self.origins.get(published.home)
        if origin is None:
            if len(self.origins) >= ORIGINS_MAX:
                return False
            origin = Origin(published.home, newest.epoch)
        if origin.frozen or newest.time[0] - int(now * 1000) > AHEAD_MS_MAX:
            return False
        if newest.epoch > origin.epoch:
            self._new_epoch(origin, newest.epoch)
        if (newest.epoch, newest.seq) <= (origin.epoch, origin.seq) and not origin.suspect:
            return False
        self.origins[origin.home] = origin
        record = origin.records.get(order.id)
        if record is None:
            if len(origin.records) >= LIVE_PER_ORIGIN_MAX:
                return False
            self.records.insert(origin, order_signed, published, state_signed, state, newest.seq)
        elif state.version > record.version:
            self.records.advance(origin, record, state_signed, state, newest.seq)
        else:
            return False
        self._dirty[origin.home] = None
        return True

    def adopt_head(self, beat_signed: Signed, gone: Iterable[str], now: float) -> Received:
        """
        Jump to a heartbeat of an origin whose live set has been adopted.

        The head is the origin's own word, not the neighbour's. What was published after that
        heartbeat is then applied through ``receive``, and the heartbeat after it proves the
        set, or makes the origin suspect again.

        Args:
            gone: ids of records here that the neighbour, further than we, does not have.

        Returns:
            ``applied``, and what had been waiting to follow; ``known`` when the heartbeat is not
            ahead of what is held, and that was not suspect; ``early``.

        Raises:
            RemoteProtocolError: not a heartbeat signed by its home.
        """
        entry = Entry.decode(beat_signed.payload)
        if entry.beat is None:
            raise RemoteProtocolError("not a heartbeat")
        digest = self.verifier.check(beat_signed, entry.home).hex()
        origin = self.origins.get(entry.home) or Origin(entry.home, entry.epoch)
        here, there = (origin.epoch, origin.seq), (entry.epoch, entry.seq)
        ahead = there > here
        if entry.home == self.home or origin.frozen or not (ahead or origin.suspect):
            return Received("known", origin)
        if entry.time[0] - int(now * 1000) > AHEAD_MS_MAX:
            return Received("early", origin)
        self.origins[origin.home] = origin
        if entry.epoch > origin.epoch:
            self._new_epoch(origin, entry.epoch)
        for order_id in gone:
            record = origin.records.get(order_id)
            if record is not None:
                self.records.drop(origin, record)
        if ahead:
            self.clock.merge(*entry.time, now)
            origin.seq, origin.hash, origin.time = entry.seq, digest, entry.time
            origin.lease_ms = entry.beat.lease_ms
            origin.tail.clear()
            origin.tail.append((entry.seq, digest, beat_signed))
            origin.published = None
        # Orders that changed since the heartbeat are held as they are now, so it need not agree
        # with them yet; what the log says after it must, or else the next one.
        origin.suspect = False
        origin.checked, origin.expected = False, None
        if origin.seq == entry.seq:
            origin.expect(entry.beat)
            origin.settle()
        for number in [number for number in origin.waiting if number <= entry.seq]:
            del origin.waiting[number]
        self._dirty[origin.home] = None
        self.records.show_or_hide(origin, self.clock.read_ms(now))
        received = Received("applied", origin)
        self._catch_up(origin, received.novel, now)
        return received

    def _checked_record(
        self, order_signed: Signed, state_signed: Signed
    ) -> tuple[Entry, Entry, StateBody]:
        """
        Raises:
            RemoteProtocolError: the pair is not one live order signed by its home.
        """
        published = Entry.decode(order_signed.payload)
        alone = state_signed is order_signed  # nothing has happened to it since
        newest = published if alone else Entry.decode(state_signed.payload)
        order = published.order
        if published.home != newest.home or order is None:
            raise RemoteProtocolError("the two entries are not of one order")
        self.verifier.check(order_signed, published.home)
        if not alone:
            self.verifier.check(state_signed, newest.home)
        check_order_id(order, published.home)
        for state in newest.states:
            if state.order_id == order.id:
                if state.open == "0" and state.reserved == "0":
                    raise RemoteProtocolError(f"order {order.id} is closed, not live")
                return published, newest, state
        raise RemoteProtocolError(f"the state entry says nothing of order {order.id}")

    def tick(self, now: float) -> None:
        """Let leases run out, and orders that are about to expire leave the books."""
        now_ms = self.clock.read_ms(now)
        for origin in self.origins.values():
            self.records.show_or_hide(origin, now_ms)
        self.records.expire()

    def flush(self) -> None:
        """Emit the rows of all that changed since the last call."""
        rows = self.outbox.rows
        rows.extend(self.records.rows.values())
        self.records.rows.clear()
        for home in self._dirty:
            origin = self.origins.get(home)
            if origin is not None:
                rows.append(
                    OriginRow(
                        home,
                        origin.epoch,
                        origin.seq,
                        origin.hash,
                        *origin.time,
                        origin.lease_ms,
                        origin.frozen,
                    )
                )
        self._dirty.clear()

    def restore(self, snapshot: Snapshot, now: float) -> None:
        """Take back the replica of an earlier life."""
        for row in snapshot.origins:
            self.origins[row.origin] = Origin(
                row.origin,
                row.epoch,
                row.seq,
                row.hash,
                (row.time_ms, row.time_counter),
                row.lease_ms,
                frozen=row.frozen,
            )
        for kept in snapshot.records:
            origin = self.origins[kept.origin]
            order_signed = Signed.from_row(SignedRow(*kept[3:8]))
            state_signed = Signed.from_row(SignedRow(*kept[8:13]))
            entry = Entry.decode(order_signed.payload)
            newest = Entry.decode(state_signed.payload)
            body = next(state for state in newest.states if state.order_id == kept.order_id)
            self.records.insert(origin, order_signed, entry, state_signed, body, newest.seq)
        self.records.rows.clear()
        for origin in self.origins.values():
            self.records.show_or_hide(origin, self.clock.read_ms(now))
