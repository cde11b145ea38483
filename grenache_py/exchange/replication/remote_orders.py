"""
The live orders of other homes, and which of them stand in the books.

Pure. Every change comes from a signed entry that ``replica.py`` or ``adoption.py`` checked. It
changes the origin's fingerprint, the set that peers reconcile, the rows to store, and the book. An
order stands in its book only while its home's lease holds, and never when its home trades the
market with another tick or lot (docs/design/log.rst#tick-and-lot).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import RecordGone, RecordRow, Row
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.matching import rests
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.replication.deadlines import Deadlines
from grenache_py.exchange.replication.forgetting import (
    BYTES_PER_ORIGIN_MAX,
    EXPIRED_MS,
    RECORD_BYTES_MAX,
    expired,
)
from grenache_py.exchange.replication.origin import Origin, RemoteOrder
from grenache_py.exchange.signed_log.entries import Entry, OrderBody, StateBody, order_from_body
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, LiveSetChanged, element
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["LIVE_PER_ORIGIN_MAX", "HiddenOrders", "RemoteOrders", "lease_end_ms"]

#: Live orders of one home that are held. More are no fault of it: while it replaces one, or this
#: peer catches up, more may be known here than it ever had.
LIVE_PER_ORIGIN_MAX = 200_000
#: A lease is honoured this much longer than it says: clocks differ.
SKEW_MS = AHEAD_MS_MAX
#: A remote good-till-date order is left alone from this long before it expires.
EXPIRY_MARGIN_MS = 1_000


@attrs.define
class HiddenOrders:
    """
    Orders in one market that are held and not shown, because their tick or lot is another.

    Attributes:
        orders: how many.
        home, tick, lot: of the newest of them.
    """

    orders: int
    home: str
    tick: str
    lot: str


@attrs.define
class RemoteOrders:
    """
    Live remote orders.

    Attributes:
        hidden: by market of this peer; those in which nothing is hidden are left out.
        on_hidden: called with a market and what is hidden there, when that was nothing before.
        on_order: called with each order that came into a book or changed there.
        live_set_changed: called with each change of the set that peers reconcile.
        bytes: of all payloads that are held.
        rows: what changed since they were last taken, by order, at most one row each.
    """

    markets: Mapping[str, Market]
    books: Mapping[str, Book]
    clock: HybridClock
    on_order: Callable[[LiveOrder], None]
    live_set_changed: LiveSetChanged
    bytes: int = 0
    rows: dict[str, Row] = attrs.Factory(dict)
    hidden: dict[str, HiddenOrders] = attrs.Factory(dict)
    on_hidden: Callable[[str, HiddenOrders], None] = lambda market, hidden: None
    _of: dict[str, RemoteOrder] = attrs.Factory(dict)
    _expiring: Deadlines = attrs.Factory(Deadlines)

    def insert(
        self,
        origin: Origin,
        order_signed: Signed,
        entry: Entry,
        state: Signed,
        body: StateBody,
        state_seq: int,
    ) -> None:
        """
        A new live order.

        Args:
            order_signed, entry: the entry that published it.
            state, body, state_seq: the entry with its newest state, that state, and its number.

        Raises:
            RemoteProtocolError: the state is impossible.
        """
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
        record = RemoteOrder(order.id, origin.home, order_signed, state, live, -1, entry.time[0], 0)
        record.expires_ms = order.expires
        origin.records[order.id] = record
        self._of[order.id] = record
        self._count(origin, record.bytes)
        if order.expires is not None:
            self._expiring.add(order.id, order.expires - EXPIRY_MARGIN_MS + 1)
        try:
            self.advance(origin, record, state, body, state_seq)
        except RemoteProtocolError:
            del origin.records[order.id], self._of[order.id]
            self._count(origin, -record.bytes)
            self._expiring.discard(order.id)
            raise
        if market is not None and order.differs(market):
            record.hidden_in = order.market
            self._hide_one(order.market, origin.home, order)

    def _hide_one(self, market: str, home: str, order: OrderBody) -> None:
        first = market not in self.hidden
        orders = 1 if first else self.hidden[market].orders + 1
        told = HiddenOrders(orders, home, order.tick or "?", order.lot or "?")
        self.hidden[market] = told
        if first:
            self.on_hidden(market, told)

    def advance(
        self, origin: Origin, record: RemoteOrder, signed: Signed, body: StateBody, seq: int
    ) -> None:
        """
        Bring an order to a newer state.

        Raises:
            RemoteProtocolError: the quantities are impossible.
        """
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
        before = record.bytes
        record.version, record.state, record.state_seq = body.version, signed, seq
        record.is_open = body.open != "0"
        self._count(origin, record.bytes - before)
        record.element = element(record.order_id, body.version)
        origin.fingerprint = (
            origin.fingerprint - (gone or 0) + record.element
        ) % FINGERPRINT_MODULUS
        self.live_set_changed(record.order_id, record.key_ms, gone, record.element)
        self.rows[record.order_id] = _record_row(record)
        if live is not None and origin.visible:
            self._stand(live)

    def _stand(self, live: LiveOrder) -> None:
        """Put a visible order into its book as it now is, if it is of a kind that rests there."""
        if not rests(live):
            return
        expires = live.order.expires_ms
        if expires is not None and self.clock.ms > expires - EXPIRY_MARGIN_MS:
            self.books[live.order.market].remove(live)
            return
        self.books[live.order.market].touched(live)
        self.on_order(live)

    def drop(self, origin: Origin, record: RemoteOrder) -> None:
        """An order is not live any more."""
        del origin.records[record.order_id]
        self._of.pop(record.order_id, None)
        self._expiring.discard(record.order_id)
        self._count(origin, -record.bytes)
        origin.fingerprint = (origin.fingerprint - record.element) % FINGERPRINT_MODULUS
        self.live_set_changed(record.order_id, record.key_ms, record.element, None)
        self.rows[record.order_id] = RecordGone(record.order_id)
        if record.live is not None:
            self.books[record.live.order.market].remove(record.live)
        elif record.hidden_in:
            hidden = self.hidden[record.hidden_in]
            hidden.orders -= 1
            if not hidden.orders:
                del self.hidden[record.hidden_in]

    def hides(self, order_id: str) -> bool:
        """Whether an order is held and not shown because of its tick or lot."""
        record = self._of.get(order_id)
        return record is not None and bool(record.hidden_in)

    def has_room(self, origin: Origin) -> bool:
        """Whether one more order of a home is held: by number, and by bytes."""
        return (
            len(origin.records) < LIVE_PER_ORIGIN_MAX
            and origin.record_bytes < BYTES_PER_ORIGIN_MAX
            and self.bytes < RECORD_BYTES_MAX
        )

    def _count(self, origin: Origin, change: int) -> None:
        origin.record_bytes += change
        self.bytes += change

    def show_or_hide(self, origin: Origin, now_ms: int) -> None:
        """See `OriginTable.show_or_hide`."""
        alive = not origin.frozen and now_ms <= lease_end_ms(origin)
        if alive and not origin.visible:
            origin.visible = True
            for record in origin.records.values():
                if record.live is not None:
                    self._stand(record.live)
        elif not alive and origin.visible:
            self.hide(origin)

    def hide(self, origin: Origin) -> None:
        """Take an origin's orders out of the books; they are still held."""
        origin.visible = False
        for record in origin.records.values():
            if record.live is not None:
                self.books[record.live.order.market].remove(record.live)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._of)

    def find(self, order_id: str) -> RemoteOrder | None:
        """A live order of another home."""
        return self._of.get(order_id)

    def expire(self, origins: Mapping[str, Origin], earlier_ms: int) -> None:
        """
        Take good-till-date orders out of the books when their time is near, and drop them when it
        is long over: should their home live or come back, it closes them before it signs its next
        heartbeat (docs/design/sync.rst#forgetting).

        Args:
            earlier_ms: what is dropped is judged by, as in `OriginTable.show_or_hide`.
        """
        for order_id in self._expiring.due(self.clock.ms):
            record = self._of[order_id]
            origin, expires_ms = origins[record.home], record.expires_ms or 0
            if expired(expires_ms, record.is_open, origin.heard_ms, earlier_ms):
                self.drop(origin, record)
                continue
            if record.live is not None and origin.visible:
                self._stand(record.live)
            over_ms = expires_ms + EXPIRED_MS + 1
            wait_ms = over_ms - earlier_ms if over_ms > earlier_ms else EXPIRED_MS
            self._expiring.add(order_id, self.clock.ms + wait_ms)


def lease_end_ms(origin: Origin) -> int:
    """Until when the orders of an origin may be matched."""
    return origin.time[0] + origin.lease_ms + SKEW_MS


def _record_row(record: RemoteOrder) -> RecordRow:
    return RecordRow(
        record.order_id, record.home, record.version, *record.order.row(), *record.state.row()
    )
