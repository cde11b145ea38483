"""
The table of all other homes whose logs are held here.

Pure. What changes an origin as a whole is done here: it is added, frozen, begins a new epoch, is
stored, restored and forgotten. A stranger can make up any number of homes, so a table that is full
takes from the dead, and then from whoever told most (docs/design/sync.rst#forgetting).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import (
    OriginGone,
    OriginRow,
    RecordGone,
    RecordRow,
    Snapshot,
)
from grenache_py.exchange.peers.shares import Shares
from grenache_py.exchange.replication.deadlines import Deadlines
from grenache_py.exchange.replication.forgetting import (
    IDLE_MS,
    NEW_MS,
    WAITING_BYTES_MAX,
    is_over,
    over_ms,
    too_old,
)
from grenache_py.exchange.replication.log_ring import LogRing
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_sets import OriginSets
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.record_rows import signed_pair
from grenache_py.exchange.replication.remote_orders import RemoteOrders, lease_end_ms
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.statement import LifeStatement

__all__ = ["ENDING_MS", "ORIGINS_MAX", "OriginTable"]

#: Homes whose logs are held.
ORIGINS_MAX = 10_000
#: A lease is about to end so long before it does.
ENDING_MS = 5_000


@attrs.define
class OriginTable:
    """
    All other homes.

    Attributes:
        records: their live orders.
        origins: by key.
        sets: which of them are visible, unsure and so on.
        ring: their newest entries.
        changed: keys of those whose row is to be stored; a set in a fixed order.
        moved: keys of those whose head moved since neighbours were told; likewise.
        on_forgotten: called with the key of each home that is not held any more.
        on_lease: called with each home whose orders are about to leave the books, left them or stay
            out of them.
    """

    records: RemoteOrders
    origins: dict[str, Origin] = attrs.Factory(dict)
    sets: OriginSets = attrs.Factory(OriginSets)
    changed: dict[str, None] = attrs.Factory(dict)
    moved: dict[str, None] = attrs.Factory(dict)
    on_forgotten: list[Callable[[str], None]] = attrs.Factory(list)
    on_lease: Callable[[Origin], None] = lambda origin: None
    _gone: dict[str, None] = attrs.Factory(dict)
    _shares: Shares = attrs.Factory(Shares)
    ring: LogRing = attrs.field(init=False)
    _leases: Deadlines = attrs.Factory(Deadlines)
    _silent: Deadlines = attrs.Factory(Deadlines)
    _new: Deadlines = attrs.Factory(Deadlines)

    def __attrs_post_init__(self) -> None:
        self.ring = LogRing(self.origins)

    def new(self, home: str, epoch: int, stamp_ms: int, now_ms: int, orders: bool) -> Origin | None:
        """
        An origin for a home that is not in the table; None when it must not be.

        The caller hands it to ``put`` once something of it was believed.

        Args:
            stamp_ms: of the entry that tells of it. A home that is long silent is not learned.
            orders: the entry is one of a live order.
        """
        return None if too_old(stamp_ms, now_ms, orders) else Origin(home, epoch)

    def put(self, origin: Origin, stamp_ms: int, teller: str) -> bool:
        """
        Hold ``origin``, of which an entry stamped ``stamp_ms`` was believed.

        Args:
            teller: whom it is counted for, when it is new.

        Returns:
            False when there is no room for it.
        """
        if origin.home not in self.origins:
            if len(self.origins) >= ORIGINS_MAX and not self._make_room(stamp_ms, teller):
                return False
            self._hold(origin)
            self._shares.add(teller, origin.home)
            self._new.add(origin.home, stamp_ms + NEW_MS)
            self._silent.add(origin.home, stamp_ms + IDLE_MS)
        if stamp_ms > origin.heard_ms:
            origin.heard_ms = stamp_ms
            self.sets.heard(origin)
        return True

    def _hold(self, origin: Origin) -> None:
        self.origins[origin.home] = origin
        origin.on_change = self.sets.note
        self.sets.note(origin)

    def _make_room(self, stamp_ms: int, teller: str) -> bool:
        spare = self.sets.first_spare()
        if spare is not None:
            first = self.origins[spare]
            if not first.visible and stamp_ms <= first.heard_ms:
                return False  # or two that are both silent would go in turn
        elif len(self._shares):
            first = self.origins[self._shares.gives_way(teller)]
        else:
            return False
        self.forget(first)
        return True

    def forget(self, origin: Origin) -> None:
        """Forget a home, in memory and on the disk."""
        for record in list(origin.records.values()):
            self.records.drop(origin, record)
        self.records.dropped.forget(origin.home)
        self.ring.clear(origin)
        del self.origins[origin.home]
        self.sets.forget(origin.home)
        self._leases.discard(origin.home)
        self._silent.discard(origin.home)
        self._new.discard(origin.home)
        self._shares.remove(origin.home)
        self._gone[origin.home] = None
        for forgotten in self.on_forgotten:
            forgotten(origin.home)

    def bound_waiting(self) -> None:
        """Early entries of all homes together are bounded: whoever has most loses them."""
        waiting = [self.origins[home] for home in self.sets.waiting]
        total = sum(origin.waiting_bytes for origin in waiting)
        waiting.sort(key=lambda origin: origin.waiting_bytes)
        while total > WAITING_BYTES_MAX:
            origin = waiting.pop()
            total -= origin.waiting_bytes
            origin.stop_waiting()

    def freeze(self, origin: Origin, why: str) -> None:
        """Believe nothing of this origin any more; its orders leave the books."""
        origin.freeze(why)
        self.records.hide(origin)
        self.changed[origin.home] = None

    def begin_epoch(self, origin: Origin, epoch: int) -> None:
        """The home started a new log: all its orders of the old one are closed."""
        for record in list(origin.records.values()):
            self.records.drop(origin, record)
        self.ring.clear(origin)
        origin.begin_epoch(epoch)

    def head_moved(self, origin: Origin) -> None:
        """The newest entry of an origin's log is another one now."""
        self.changed[origin.home] = None
        if not origin.resting:
            self.moved[origin.home] = None

    def show_or_hide(self, origin: Origin, now_ms: int) -> None:
        """Let an origin's orders stand in the books while its lease holds and it is not frozen."""
        self.records.show_or_hide(origin, now_ms)
        ending = not origin.visible
        if origin.visible:
            end_ms = lease_end_ms(origin)
            ending = end_ms - ENDING_MS <= now_ms
            self._leases.add(origin.home, end_ms + 1 if ending else end_ms - ENDING_MS)
        if ending:
            self.on_lease(origin)

    def stated(self, origin: Origin, statement: LifeStatement) -> None:
        """Its newest statement says how far its log went, and what was live there."""
        stated = statement.epoch, statement.seq, statement.ms
        if stated == origin.stated:
            return
        origin.stated = stated
        for seq, _, signed in reversed(origin.tail):
            if seq <= statement.seq:
                break
            if origin.contradicts(Entry.decode(signed.payload)):
                self.freeze(origin, "its log has an entry that was not there by its statement")
                return
        if origin.state is OriginState.FOLLOWING and origin.seq == statement.seq:
            origin.compare(statement.live, statement.fingerprint)

    def tick(self, now_ms: int, earlier_ms: int) -> None:
        """
        Let leases that ran out take their orders out of the books; forget what is over.

        Who was held for an hour gives way to no newcomer as long as it lives and has orders.

        Each home is looked at when its lease is about to end, when it ends, and once in ten minutes
        while it is silent.

        Args:
            earlier_ms: what is forgotten is judged by, as in ``new``: were it taken again by
                another clock, it would be forgotten again, and passed on each time.
        """
        self.records.expire(earlier_ms)
        for home in self._leases.due(now_ms):
            origin = self.origins[home]
            self.show_or_hide(origin, now_ms)
            if not origin.visible:
                self._silent.add(home, over_ms(origin))
        for home in self._new.due(earlier_ms):
            self._shares.remove(home)
        for home in self._silent.due(earlier_ms):
            origin = self.origins[home]
            if is_over(origin, earlier_ms):
                self.forget(origin)
            elif not origin.visible and not origin.frozen:
                self._silent.add(home, min(over_ms(origin), earlier_ms + IDLE_MS))
        self.bound_waiting()

    def take_rows(self) -> list[OriginRow | OriginGone]:
        """The rows of all that changed since the last call."""
        rows: list[OriginRow | OriginGone] = [
            OriginRow(
                origin.home,
                origin.epoch,
                origin.seq,
                origin.hash,
                *origin.time,
                origin.lease_ms,
                origin.frozen,
            )
            for home in self.changed
            if (origin := self.origins.get(home)) is not None
        ]
        rows.extend(OriginGone(home) for home in self._gone if home not in self.origins)
        self.changed.clear()
        self._gone.clear()
        return rows

    def restore(self, snapshot: Snapshot) -> None:
        """Take back what an earlier life of this peer stored; no order stands in a book yet."""
        for row in snapshot.origins:
            self._hold(Origin.restored(row))
            self._leases.add(row.origin, 0)
        unreadable = list[RecordGone]()
        for kept in snapshot.records:
            try:
                self._restore_record(kept)
            except RemoteProtocolError:
                # The next heartbeat of its home shows that it is missing, and it is fetched again.
                unreadable.append(RecordGone(kept.order_id))
        for origin in sorted(self.origins.values(), key=lambda each: each.heard_ms):
            self.sets.heard(origin)
        self.records.rows.clear()  # they are stored already
        self.records.rows.update((row.order_id, row) for row in unreadable)

    def _restore_record(self, kept: RecordRow) -> None:
        origin = self.origins.get(kept.origin)
        if origin is None:
            raise RemoteProtocolError("its home is not held")
        order_signed, state_signed = signed_pair(kept)
        newest = entry = Entry.decode(order_signed.payload)
        # Neighbours would refuse it, and count it against this peer.
        entry.check_canonical(order_signed.payload)
        if state_signed is not order_signed:
            newest = Entry.decode(state_signed.payload)
            newest.check_canonical(state_signed.payload)
        for body in newest.states:
            if body.order_id == kept.order_id and entry.order is not None:
                self.records.insert(origin, order_signed, entry, state_signed, body, newest.seq)
                return
        raise RemoteProtocolError("its newest entry says nothing of it")
