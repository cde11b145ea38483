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

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.book import Book
from grenache_py.exchange.clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.effects import Outbox
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.ledger import FINGERPRINT_MODULUS, LiveSetChanged, element
from grenache_py.exchange.log import (
    GENESIS,
    Beat,
    Entry,
    StateBody,
    TradeBody,
    check_order_id,
    order_from_body,
)
from grenache_py.exchange.market import Market
from grenache_py.exchange.matching import rests
from grenache_py.exchange.order import LiveOrder
from grenache_py.exchange.rows import OriginRow, RecordGone, RecordRow, Row, SignedRow, Snapshot
from grenache_py.exchange.signed import Signed, Verifier, leaf_hash

__all__ = ["Origin", "Received", "Record", "Replica", "Verdict"]

#: Homes whose logs are held; more are ignored until some are forgotten.
ORIGINS_MAX = 5_000
#: Entries of one origin that may wait for a gap to close; later ones are fetched again.
WAITING_MAX = 1_024
#: Applied entries of one origin kept to serve ``gossip.want``. More than a home lets pass
#: between two heartbeats, so that there is always one to start from.
TAIL_MAX = 1_024
#: Live orders one home may have; a deterministic rule, so that all peers judge alike.
LIVE_PER_ORIGIN_MAX = 200_000
#: A lease is honoured this much longer than it says: clocks differ.
SKEW_MS = AHEAD_MS_MAX
#: The lease of an origin whose heartbeat has not been seen yet.
LEASE_MS_DEFAULT = 20_000
#: A remote good-till-date order is left alone from this long before it expires.
EXPIRY_MARGIN_MS = 1_000

Verdict = Literal["applied", "waiting", "known", "early", "full", "frozen", "own"]
Head: TypeAlias = tuple[int, int, str]


@attrs.define(eq=False)
class Record:
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
        checked: the newest heartbeat agreed with it, and nothing was adopted since.
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
    records: dict[str, Record] = attrs.Factory(dict)
    fingerprint: int = 0
    suspect: bool = False
    checked: bool = False
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

    verdict: Verdict
    origin: Origin | None
    novel: list[tuple[Signed, str, Head]] = attrs.Factory(list)


@attrs.define
class Replica:
    """
    All other homes.

    Attributes:
        on_trade: called with each trade an applied entry reports and the home that reports it.
        on_order: called with each remote order that came into or changed in a book.
        own_head: (epoch, seq, hash-of) of this home's log, to notice a clone or a lost disk.
        alarms: why this home must stop serving, if it must (distributed.md 2.9).
    """

    home: str
    markets: Mapping[str, Market]
    books: Mapping[str, Book]
    clock: HybridClock
    verifier: Verifier
    outbox: Outbox
    on_trade: Callable[[TradeBody, str, float], None]
    on_order: Callable[[LiveOrder], None]
    own_head: Callable[[], tuple[int, int]]
    own_hash: Callable[[int], str | None]
    live_set_changed: LiveSetChanged = lambda order_id, time_ms, gone, come: None
    origins: dict[str, Origin] = attrs.Factory(dict)
    alarms: list[str] = attrs.Factory(list)
    proofs: dict[str, tuple[Signed, Signed]] = attrs.Factory(dict)
    applied: int = 0
    _home_of: dict[str, str] = attrs.Factory(dict)
    _rows: dict[str, Row] = attrs.Factory(dict)
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

    def _known(self, origin: Origin, entry: Entry, signed: Signed) -> Verdict | None:
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
        self._hide(origin)
        self._dirty[origin.home] = None

    def _new_epoch(self, origin: Origin, epoch: int) -> None:
        """The home started over: all its orders of the old epoch are closed."""
        for record in list(origin.records.values()):
            self._drop(origin, record)
        origin.epoch, origin.seq, origin.hash = epoch, 0, GENESIS
        origin.waiting.clear()
        origin.tail.clear()
        origin.suspect = origin.checked = False

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
            for state in entry.states:
                self._state(origin, entry, signed, state)
        except RemoteProtocolError as error:
            self._break(origin, f"entry {entry.seq}: {error}")
            return
        for trade in entry.trades:
            self.on_trade(trade, origin.home, now)
        if entry.beat is not None:
            origin.lease_ms = entry.beat.lease_ms
            origin.checked = _agrees(origin, entry.beat)
            origin.suspect = not origin.checked
        self._show_or_hide(origin, self.clock.read_ms(now))

    def _state(self, origin: Origin, entry: Entry, signed: Signed, state: StateBody) -> None:
        record = origin.records.get(state.order_id)
        terminal = state.open == "0" and state.reserved == "0"
        order = entry.order
        if record is not None and record.state_seq >= entry.seq:
            return  # adopted from a neighbour that was further than this entry
        if record is None:
            if order is None or order.id != state.order_id:
                return  # it was closed already in a live set that was adopted
            if terminal:
                return
            if len(origin.records) >= LIVE_PER_ORIGIN_MAX:
                raise RemoteProtocolError(f"more than {LIVE_PER_ORIGIN_MAX} live orders")
            self._insert(origin, signed, entry, signed, state, entry.seq)
            return
        if state.version <= record.version:
            raise RemoteProtocolError(f"order {state.order_id} went back to an older version")
        if terminal:
            self._drop(origin, record)
            return
        self._advance(origin, record, signed, state, entry.seq)

    def _insert(
        self,
        origin: Origin,
        order_signed: Signed,
        entry: Entry,
        state: Signed,
        body: StateBody,
        state_seq: int,
    ) -> None:
        """A new live order. ``entry`` is the one that published it."""
        order = entry.order
        assert order is not None
        live: LiveOrder | None = None
        market = self.markets.get(order.market)
        if market is not None:
            try:
                live = LiveOrder.of(order_from_body(order, origin.home, market))
                live.key = (*entry.time, order.id)
            except OrderError:
                live = None  # another tick or lot than ours: not a market we trade
        record = Record(order.id, origin.home, order_signed, state, live, -1, entry.time[0], 0)
        origin.records[order.id] = record
        self._home_of[order.id] = origin.home
        self._advance(origin, record, state, body, state_seq)

    def _advance(
        self, origin: Origin, record: Record, signed: Signed, body: StateBody, seq: int
    ) -> None:
        """Bring a record to a newer state."""
        live = record.live
        if live is not None:
            market = self.markets[live.order.market]
            try:
                lots = [
                    0 if text == "0" else market.quantity_lots(text)
                    for text in (body.open, body.reserved, body.filled)
                ]
            except OrderError as error:
                raise RemoteProtocolError(str(error)) from None
            if lots[2] < live.filled or sum(lots) > live.quantity:
                raise RemoteProtocolError(f"order {record.order_id} has impossible quantities")
            live.open, live.reserved, live.filled = lots
            live.version, live.reason = body.version, body.reason
        gone = record.element if record.version >= 0 else None
        record.version, record.state, record.state_seq = body.version, signed, seq
        record.element = element(record.order_id, body.version)
        origin.fingerprint = (
            origin.fingerprint - (gone or 0) + record.element
        ) % FINGERPRINT_MODULUS
        self.live_set_changed(record.order_id, record.key_ms, gone, record.element)
        self._rows[record.order_id] = _record_row(record)
        if live is not None and origin.visible:
            self._stand(live)

    def _stand(self, live: LiveOrder) -> None:
        """Put a visible order into its book as it now is; one that only takes never stands."""
        if not rests(live):
            return
        expires = live.order.expires_ms
        if expires is not None and self.clock.ms > expires - EXPIRY_MARGIN_MS:
            self.books[live.order.market].remove(live)
            return
        self.books[live.order.market].touched(live)
        self.on_order(live)

    def _drop(self, origin: Origin, record: Record) -> None:
        """A record reached its end."""
        del origin.records[record.order_id]
        self._home_of.pop(record.order_id, None)
        origin.fingerprint = (origin.fingerprint - record.element) % FINGERPRINT_MODULUS
        self.live_set_changed(record.order_id, record.key_ms, record.element, None)
        self._rows[record.order_id] = RecordGone(record.order_id)
        if record.live is not None:
            self.books[record.live.order.market].remove(record.live)

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
            self._insert(origin, order_signed, published, state_signed, state, newest.seq)
        elif state.version > record.version:
            self._advance(origin, record, state_signed, state, newest.seq)
        else:
            return False
        self._dirty[origin.home] = None
        return True

    def adopt_head(self, beat_signed: Signed, gone: Iterable[str], now: float) -> bool:
        """
        Jump to a heartbeat of an origin whose live set has been adopted.

        The head is the origin's own word, not the neighbour's. What was published after that
        heartbeat is then applied through ``receive``, and the heartbeat after it proves the
        set, or makes the origin suspect again.

        Args:
            gone: ids of records here that the neighbour, further than we, does not have.

        Returns:
            False when the heartbeat is not ahead of what is held, and that was not suspect.

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
            return False
        if entry.time[0] - int(now * 1000) > AHEAD_MS_MAX:
            return False
        self.origins[origin.home] = origin
        if entry.epoch > origin.epoch:
            self._new_epoch(origin, entry.epoch)
        for order_id in gone:
            record = origin.records.get(order_id)
            if record is not None:
                self._drop(origin, record)
        if ahead:
            self.clock.merge(*entry.time, now)
            origin.seq, origin.hash, origin.time = entry.seq, digest, entry.time
            origin.lease_ms = entry.beat.lease_ms
            origin.tail.clear()
            origin.tail.append((entry.seq, digest, beat_signed))
        # Orders that changed since the heartbeat are held as they are now, so it need not agree
        # with them yet; the next one must.
        origin.suspect = False
        origin.checked = origin.seq == entry.seq and _agrees(origin, entry.beat)
        for number in [number for number in origin.waiting if number <= entry.seq]:
            del origin.waiting[number]
        self._dirty[origin.home] = None
        self._show_or_hide(origin, self.clock.read_ms(now))
        return True

    def _checked_record(
        self, order_signed: Signed, state_signed: Signed
    ) -> tuple[Entry, Entry, StateBody]:
        """
        Raises:
            RemoteProtocolError: the pair is not one live order signed by its home.
        """
        published = Entry.decode(order_signed.payload)
        newest = Entry.decode(state_signed.payload)
        order = published.order
        if published.home != newest.home or order is None:
            raise RemoteProtocolError("the two entries are not of one order")
        self.verifier.check(order_signed, published.home)
        self.verifier.check(state_signed, newest.home)
        check_order_id(order, published.home)
        for state in newest.states:
            if state.order_id == order.id:
                if state.open == "0" and state.reserved == "0":
                    raise RemoteProtocolError(f"order {order.id} is closed, not live")
                return published, newest, state
        raise RemoteProtocolError(f"the state entry says nothing of order {order.id}")

    def _show_or_hide(self, origin: Origin, now_ms: int) -> None:
        alive = not origin.frozen and now_ms <= origin.time[0] + origin.lease_ms + SKEW_MS
        if alive and not origin.visible:
            origin.visible = True
            for record in origin.records.values():
                if record.live is not None:
                    self._stand(record.live)
        elif not alive and origin.visible:
            self._hide(origin)

    def _hide(self, origin: Origin) -> None:
        """Take an origin's orders out of the books; its records stay."""
        origin.visible = False
        for record in origin.records.values():
            if record.live is not None:
                self.books[record.live.order.market].remove(record.live)

    def tick(self, now: float) -> None:
        """Let leases run out, and orders that are about to expire leave the books."""
        now_ms = self.clock.read_ms(now)
        for origin in self.origins.values():
            self._show_or_hide(origin, now_ms)
        for book in self.books.values():
            for live in list(book.orders()):
                expires = live.order.expires_ms
                if live.home != self.home and expires is not None:
                    self._stand(live)

    def find(self, order_id: str) -> Record | None:
        """A live order of another home."""
        home = self._home_of.get(order_id)
        return self.origins[home].records.get(order_id) if home is not None else None

    def flush(self) -> None:
        """Emit the rows of all that changed since the last call."""
        rows = self.outbox.rows
        rows.extend(self._rows.values())
        self._rows.clear()
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
            order_signed = Signed(*kept[3:8])
            state_signed = Signed(*kept[8:13])
            entry = Entry.decode(order_signed.payload)
            newest = Entry.decode(state_signed.payload)
            body = next(state for state in newest.states if state.order_id == kept.order_id)
            self._insert(origin, order_signed, entry, state_signed, body, newest.seq)
        self._rows.clear()
        for origin in self.origins.values():
            self._show_or_hide(origin, self.clock.read_ms(now))


def _agrees(origin: Origin, beat: Beat) -> bool:
    return beat.live == len(origin.records) and int(beat.fingerprint, 16) == origin.fingerprint


def _record_row(record: Record) -> RecordRow:
    return RecordRow(
        record.order_id, record.home, record.version, *_row(record.order), *_row(record.state)
    )


def _row(signed: Signed) -> SignedRow:
    return SignedRow(signed.payload, signed.path, signed.index, signed.size, signed.signature)
