"""
The table of all other homes whose logs are held here.

Pure. What changes an origin as a whole is done here: it is added, frozen, begins a new epoch, is
stored and restored.
"""

from __future__ import annotations

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import OriginRow, RecordGone, RecordRow, Snapshot
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Signed, SignedRow

__all__ = ["ORIGINS_MAX", "OriginTable"]

#: Homes whose logs are held; others are ignored.
ORIGINS_MAX = 5_000


@attrs.define
class OriginTable:
    """
    All other homes.

    Attributes:
        records: their live orders.
        origins: by key.
        changed: keys of those whose row is to be stored; a set in a fixed order.
    """

    records: RemoteOrders
    origins: dict[str, Origin] = attrs.Factory(dict)
    changed: dict[str, None] = attrs.Factory(dict)

    def new(self, home: str, epoch: int) -> Origin | None:
        """
        An origin for a home that is not in the table; None when there are ``ORIGINS_MAX``.

        The caller puts it into ``origins`` once something of it was believed.
        """
        return Origin(home, epoch) if len(self.origins) < ORIGINS_MAX else None

    def freeze(self, origin: Origin, why: str) -> None:
        """Believe nothing of this origin any more; its orders leave the books."""
        origin.freeze(why)
        self.records.hide(origin)
        self.changed[origin.home] = None

    def begin_epoch(self, origin: Origin, epoch: int) -> None:
        """The home started a new log: all its orders of the old one are closed."""
        for record in list(origin.records.values()):
            self.records.drop(origin, record)
        origin.begin_epoch(epoch)

    def show_or_hide(self, now_ms: int) -> None:
        """Let leases that ran out take their orders out of the books."""
        for origin in self.origins.values():
            self.records.show_or_hide(origin, now_ms)

    def take_rows(self) -> list[OriginRow]:
        """The rows of all that changed since the last call."""
        rows = [
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
        self.changed.clear()
        return rows

    def restore(self, snapshot: Snapshot) -> None:
        """Take back what an earlier life of this peer stored; no order stands in a book yet."""
        for row in snapshot.origins:
            self.origins[row.origin] = Origin.restored(row)
        unreadable = list[RecordGone]()
        for kept in snapshot.records:
            try:
                self._restore_record(kept)
            except RemoteProtocolError:
                # The next heartbeat of its home shows that it is missing, and it is fetched again.
                unreadable.append(RecordGone(kept.order_id))
        self.records.rows.clear()  # they are stored already
        self.records.rows.update((row.order_id, row) for row in unreadable)

    def _restore_record(self, kept: RecordRow) -> None:
        origin = self.origins.get(kept.origin)
        if origin is None:
            raise RemoteProtocolError("its home is not held")
        order_signed = Signed.from_row(SignedRow(*kept[3:8]))
        state_signed = Signed.from_row(SignedRow(*kept[8:13]))
        entry = Entry.decode(order_signed.payload)
        newest = Entry.decode(state_signed.payload)
        for body in newest.states:
            if body.order_id == kept.order_id and entry.order is not None:
                self.records.insert(origin, order_signed, entry, state_signed, body, newest.seq)
                return
        raise RemoteProtocolError("its newest entry says nothing of it")
