"""
Answers to neighbours that lack something: entries, differences of live sets, live orders.

Pure. Every answer is made from what is held at that moment; the signed entries of others' live
orders are read from the store for it. No state is kept for the side that asks, so any neighbour can
be asked for the next piece (docs/design/sync.rst#live-sets).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from grenache_py.exchange.effects.batch import ReadRecords
from grenache_py.exchange.effects.rows import RecordRow
from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import LINE_BYTES
from grenache_py.exchange.peers.message_table import Later
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
from grenache_py.exchange.replication.record_rows import signed_pair
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["SyncResponder"]

#: Questions of one neighbour that wait for the store; an honest one asks 16 at once.
READS_PER_LINK_MAX = 64


class SyncResponder:
    """Answers ``gossip.want``, ``sync.range``, ``sync.reconcile`` and ``sync.records``."""

    def __init__(self, peering: Peering, held_logs: HeldLogs, live: LiveSetIndex) -> None:
        self._peering = peering
        self._held_logs = held_logs
        self._live = live
        self._outbox = held_logs.ledger.outbox
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
                order_id = self._held_logs.late_order(link.key)
                if order_id is not None:
                    return self._from_store(link, [order_id], _newest_states)
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
        wish = self._between(*wanted) if isinstance(wanted, tuple) else self._named(wanted)
        copied = [order_id for order_id in wish.order_ids if self._held_logs.copied(order_id)]
        if not copied:
            return self._answer(wish, {})
        return self._from_store(link, copied, lambda rows: self._answer(wish, rows))

    def _from_store(
        self,
        link: PeerLink,
        order_ids: Sequence[str],
        answer: Callable[[Mapping[str, RecordRow]], dict[str, Any]],
    ) -> Later:
        """What ``answer`` makes of these orders' rows, once they were read."""
        if link.reads >= READS_PER_LINK_MAX:
            raise OrderError(BUSY, f"{link.reads} answers are being read for you; ask again later")

        def begin(take: Callable[[dict[str, Any] | OrderError], None]) -> None:
            def done(rows: Mapping[str, RecordRow] | None, then: float) -> None:
                link.reads -= 1
                failed = OrderError(BUSY, "the store could not be read; ask again later")
                take(failed if rows is None else answer(rows))

            link.reads += 1
            self._outbox.reads.append(ReadRecords(order_ids, done))

        return Later(begin)

    def _named(self, shorts: list[bytes]) -> _Wish:
        ids = [self._live.order_id(short) or "" for short in shorts]
        return _Wish(ids, lambda place: {"answered": place}, {"answered": len(ids)})

    def _between(self, first: int, end: int) -> _Wish:
        live = self._live.set
        low, high = live.rank(first), live.rank(end)
        last = min(high, low + RECORDS_PER_REQUEST_MAX)
        keys = list(live.keys(low, last))
        ids = [self._live.order_id(short_id(key)) or "" for key in keys]
        rest = {"next": bound_wire(live.at(last))} if last < high else {}
        return _Wish(ids, lambda place: {"next": bound_wire(keys[place])}, rest)

    def _answer(self, wish: _Wish, rows: Mapping[str, RecordRow]) -> dict[str, Any]:
        page = _Page()
        for place, order_id in enumerate(wish.order_ids):
            row = rows.get(order_id)
            record = self._held_logs.own_record(order_id) if row is None else signed_pair(row)
            if record is not None and not page.put(record):
                return page.answer(**wish.cut(place))  # the asker asks again for the rest
        return page.answer(**wish.rest)


def _newest_states(rows: Mapping[str, RecordRow]) -> dict[str, Any]:
    if not rows:
        return {"pruned": True}
    return {"entries": [signed_pair(row)[1].wire() for row in rows.values()]}


@attrs.frozen
class _Wish:
    """
    Live orders that a neighbour asked for, in the order of its question.

    Attributes:
        order_ids: "" for one that is not live here.
        cut: what an answer says that ends before this place.
        rest: what a complete one says.
    """

    order_ids: Sequence[str]
    cut: Callable[[int], dict[str, Any]]
    rest: dict[str, Any]


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

    def answer(self, **more: Any) -> dict[str, Any]:
        return {"records": [[part.wire() for part in record] for record in self.records], **more}
