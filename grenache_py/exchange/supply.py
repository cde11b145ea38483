"""
What a peer gives neighbours that lack something: entries, differences of live sets, records.

Pure. Every answer is made from what is held at that moment; no state is kept for the asker, so
any neighbour can be asked for the next piece (distributed.md 3.4).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.archive import Archive
from grenache_py.exchange.calls import Params, Result
from grenache_py.exchange.gossip import LINE_BYTES
from grenache_py.exchange.links import Link
from grenache_py.exchange.peering import Peering
from grenache_py.exchange.reconcile import LiveSet, respond, short_id
from grenache_py.exchange.signed import Signed
from grenache_py.exchange.sync_messages import (
    RANGE_MAX,
    WIRE_OVERHEAD,
    fitting,
    read_frame,
    read_key,
    read_number,
    read_short,
)

__all__ = ["LiveIndex", "Supply"]

RECORDS_PER_REQUEST_MAX = 80


class LiveIndex:
    """
    The reconciliation set of all live published orders, and which order each element is.

    Attributes:
        set: what is reconciled.
    """

    def __init__(self) -> None:
        self.set = LiveSet()
        self._order_of: dict[bytes, str] = {}

    def changed(self, order_id: str, time_ms: int, gone: int | None, come: int | None) -> None:
        """An order's element changed; None where there was, or is, none."""
        if gone is not None and self.set.remove(time_ms, gone):
            self._order_of.pop(short_id(gone), None)
        if come is not None and self.set.add(time_ms, come):
            self._order_of[short_id(come)] = order_id

    def order_id(self, short: bytes) -> str | None:
        """The order an element's short id stands for, if it is live here."""
        return self._order_of.get(short)


class Supply:
    """Answers ``gossip.want``, ``sync.range``, ``sync.reconcile`` and ``sync.records``."""

    def __init__(self, peering: Peering, archive: Archive, live: LiveIndex) -> None:
        self._peering = peering
        self._archive = archive
        self._live = live
        peering.method("gossip.want", self._want_asked)
        peering.method("sync.range", self._range_asked)
        peering.method("sync.reconcile", self._reconcile_asked)
        peering.method("sync.records", self._records_asked)

    def _want_asked(self, link: Link, params: Params, now: float) -> Result:
        entries = self._entries(params)
        if entries:
            self._peering.notify(
                link, "gossip.publish", {"entries": [signed.wire() for signed in entries]}
            )
        return None

    def _range_asked(self, link: Link, params: Params, now: float) -> Result:
        if params.get("beat") is True:
            entries = self._archive.since_beat(read_key(params, "origin"))
            if entries is not None:
                entries = fitting(entries)
        else:
            entries = self._entries(params)
        if entries is None:
            return {"pruned": True}
        return {"entries": [signed.wire() for signed in entries]}

    def _entries(self, params: Params) -> list[Signed] | None:
        origin, epoch = read_key(params, "origin"), read_number(params, "epoch")
        first, last = read_number(params, "first"), read_number(params, "last")
        entries = self._archive.entries(origin, epoch, first, min(last, first + RANGE_MAX - 1))
        return None if entries is None else fitting(entries)

    def _reconcile_asked(self, link: Link, params: Params, now: float) -> Result:
        frame = read_frame(params)
        return {"frame": b64encode(respond(self._live.set, frame)).decode()}

    def _records_asked(self, link: Link, params: Params, now: float) -> Result:
        ids = params.get("ids")
        if not isinstance(ids, list) or len(ids) > RECORDS_PER_REQUEST_MAX:
            raise RemoteProtocolError("'ids' must be a list of at most 80 element ids")
        found: list[Sequence[Signed]] = []
        size = 0
        answered = len(ids)
        for place, text in enumerate(ids):
            order_id = self._live.order_id(read_short(text))
            record: Sequence[Signed] | None = self._archive.record(order_id) if order_id else None
            if record is None:
                continue
            if record[0] == record[1]:
                record = record[:1]  # nothing has happened to it yet: one entry is both
            more = sum(len(part.payload) + WIRE_OVERHEAD for part in record)
            if found and size + more > LINE_BYTES:
                answered = place  # the asker asks again for the rest
                break
            found.append(record)
            size += more
        return {
            "records": [[part.wire() for part in record] for record in found],
            "answered": answered,
        }
