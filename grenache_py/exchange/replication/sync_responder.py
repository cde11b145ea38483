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

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import LINE_BYTES
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.requests import PeerResult
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.live_set_key import short_id
from grenache_py.exchange.replication.messages import (
    RECORDS_PER_REQUEST_MAX,
    Asked,
    bound_wire,
    fitting,
)
from grenache_py.exchange.replication.reconciliation import respond
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["SyncResponder"]


class SyncResponder:
    """Answers ``gossip.want``, ``sync.range``, ``sync.reconcile`` and ``sync.records``."""

    def __init__(self, peering: Peering, held_logs: HeldLogs, live: LiveSetIndex) -> None:
        self._peering = peering
        self._held_logs = held_logs
        self._live = live
        peering.method("gossip.want", self._want_asked)
        peering.method("sync.range", self._range_asked)
        peering.messages.orders_held = lambda: len(live.set)
        peering.method("sync.reconcile", self._reconcile_asked)
        peering.method("sync.records", self._records_asked)

    def _want_asked(self, link: PeerLink, asked: Asked, now: float) -> PeerResult:
        entries = self._entries(asked)
        if entries:
            link.answer_bytes += sum(signed.wire_bytes for signed in entries)
            self._peering.notify(
                link, "gossip.publish", {"entries": [signed.wire() for signed in entries]}
            )
        return None

    def _range_asked(self, link: PeerLink, asked: Asked | str, now: float) -> PeerResult:
        if isinstance(asked, str):
            entries = self._held_logs.since_beat(asked)
            if entries is not None:
                entries = fitting(entries)
        else:
            entries = self._entries(asked)
            if entries is None and asked.origin == link.key:
                # To a home that may have an old disk any entry that it forgot is proof.
                entries = self._held_logs.late_entry(link.key)
        if entries is None:
            return {"pruned": True}
        return {"entries": [signed.wire() for signed in entries]}

    def _entries(self, asked: Asked) -> list[Signed] | None:
        entries = self._held_logs.entries(*asked)
        return None if entries is None else fitting(entries)

    def _reconcile_asked(self, link: PeerLink, frame: bytes, now: float) -> PeerResult:
        return {"frame": b64encode(respond(self._live.set, frame)).decode()}

    def _records_asked(
        self, link: PeerLink, wanted: list[bytes] | tuple[int, int], now: float
    ) -> PeerResult:
        if isinstance(wanted, tuple):
            return self._records_between(*wanted)
        page = _Page()
        for place, short in enumerate(wanted):
            if not self._put(page, short):
                return page.answer(answered=place)  # the asker asks again for the rest
        return page.answer(answered=len(wanted))

    def _records_between(self, first: int, end: int) -> PeerResult:
        live = self._live.set
        low, high = live.rank(first), live.rank(end)
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
