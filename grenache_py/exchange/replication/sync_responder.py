"""
Answers to neighbours that lack something: entries, differences of live sets, live orders.

Pure. Every answer is made from what is held at that moment. No state is kept for the side that
asks, so any neighbour can be asked for the next piece (docs/design/sync.rst#live-sets).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import LINE_BYTES
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.requests import PeerParams, PeerResult
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.live_set_key import short_id
from grenache_py.exchange.replication.messages import (
    RANGE_MAX,
    bound_wire,
    fitting,
    read_bound,
    read_frame,
    read_key,
    read_number,
    read_short,
)
from grenache_py.exchange.replication.reconciliation import respond
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["SyncResponder"]

#: Live orders that one request may ask for.
RECORDS_PER_REQUEST_MAX = 80


class SyncResponder:
    """Answers ``gossip.want``, ``sync.range``, ``sync.reconcile`` and ``sync.records``."""

    def __init__(self, peering: Peering, held_logs: HeldLogs, live: LiveSetIndex) -> None:
        self._peering = peering
        self._held_logs = held_logs
        self._live = live
        peering.method("gossip.want", self._want_asked)
        peering.method("sync.range", self._range_asked)
        peering.method("sync.reconcile", self._reconcile_asked)
        peering.method("sync.records", self._records_asked)

    def _want_asked(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        entries = self._entries(params)
        if entries:
            self._peering.notify(
                link, "gossip.publish", {"entries": [signed.wire() for signed in entries]}
            )
        return None

    def _range_asked(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        if params.get("beat") is True:
            entries = self._held_logs.since_beat(read_key(params, "origin"))
            if entries is not None:
                entries = fitting(entries)
        else:
            entries = self._entries(params)
        if entries is None:
            return {"pruned": True}
        return {"entries": [signed.wire() for signed in entries]}

    def _entries(self, params: PeerParams) -> list[Signed] | None:
        origin, epoch = read_key(params, "origin"), read_number(params, "epoch")
        first, last = read_number(params, "first"), read_number(params, "last")
        entries = self._held_logs.entries(origin, epoch, first, min(last, first + RANGE_MAX - 1))
        return None if entries is None else fitting(entries)

    def _reconcile_asked(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        frame = read_frame(params)
        return {"frame": b64encode(respond(self._live.set, frame)).decode()}

    def _records_asked(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        if "range" in params:
            return self._records_between(params["range"])
        ids = params.get("ids")
        if not isinstance(ids, list) or len(ids) > RECORDS_PER_REQUEST_MAX:
            raise RemoteProtocolError("'ids' must be a list of at most 80 element ids")
        page = _Page()
        for place, text in enumerate(ids):
            if not self._put(page, read_short(text)):
                return page.answer(answered=place)  # the asker asks again for the rest
        return page.answer(answered=len(ids))

    def _records_between(self, places: object) -> PeerResult:
        if not isinstance(places, list) or len(places) != 2:
            raise RemoteProtocolError("'range' must be two places")
        live = self._live.set
        low, high = (live.rank(read_bound(place)) for place in places)
        page = _Page()
        for key in live.keys(low, min(high, low + RECORDS_PER_REQUEST_MAX)):
            if not self._put(page, short_id(key)):
                return page.answer(next=bound_wire(key))
        if low + RECORDS_PER_REQUEST_MAX < high:
            return page.answer(next=bound_wire(live.at(low + RECORDS_PER_REQUEST_MAX)))
        return page.answer()

    def _put(self, page: _Page, short: bytes) -> bool:
        """Put one live order into an answer; False when that is full."""
        order_id = self._live.order_id(short)
        record = self._held_logs.record(order_id) if order_id else None
        return record is None or page.put(record)


@attrs.define
class _Page:
    """An answer with as many live orders as one line holds; at least one."""

    records: list[Sequence[Signed]] = attrs.Factory(list)
    size: int = 0

    def put(self, record: Sequence[Signed]) -> bool:
        if record[0] == record[1]:
            record = record[:1]  # one entry published the order and gave its newest state
        size = self.size + sum(part.wire_bytes + 3 for part in record)
        if self.records and size > LINE_BYTES:
            return False
        self.records.append(record)
        self.size = size
        return True

    def answer(self, **more: Any) -> PeerResult:
        return {"records": [[part.wire() for part in record] for record in self.records], **more}
