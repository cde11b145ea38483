"""
The live orders of other homes, and which of them stand in the books.

Pure. Every change comes from a signed entry that ``replica.py`` or ``adoption.py`` checked. It
changes the origin's fingerprint, the set that peers reconcile, the rows to store, and the book. An
order stands in its book only while its home's lease holds, and never when its home trades the
market with another tick or lot (docs/design/log.rst#tick-and-lot).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import RecordGone, Row
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.replication.deadlines import Deadlines
from grenache_py.exchange.replication.dropped_orders import DroppedOrders
from grenache_py.exchange.replication.forgetting import (
    BYTES_PER_ORIGIN_MAX,
    EXPIRED_MS,
    RECORD_BYTES_MAX,
    expired,
)
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.record_rows import changed_row, new_row
from grenache_py.exchange.replication.remote_rows import (
    HIDDEN,
    IN_UNITS,
    IS_OPEN,
    RESTS,
    STANDS,
    RemoteOrder,
    RemoteRow,
    RemoteRows,
)
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
        table: what is held of them.
        hidden: by market of this peer; those in which nothing is hidden are left out.
        on_hidden: called with a market and what is hidden there, when that was nothing before.
        on_order: called with id and market of each order that came into a book or changed there.
        live_set_changed: called with each change of the set that peers reconcile.
        bytes: of all payloads that are stored.
        dropped: those that are not held any more.
        rows: what changed since they were last taken, by order, at most one row each.
    """

    markets: Mapping[str, Market]
    books: Mapping[str, Book]
    table: RemoteRows
    clock: HybridClock
    on_order: Callable[[str, str], None]
    live_set_changed: LiveSetChanged
    bytes: int = 0
    dropped: DroppedOrders = attrs.Factory(DroppedOrders)
    rows: dict[str, Row] = attrs.Factory(dict)
    hidden: dict[str, HiddenOrders] = attrs.Factory(dict)
    on_hidden: Callable[[str, HiddenOrders], None] = lambda market, hidden: None
    _expiring: Deadlines = attrs.Factory(Deadlines)

    def insert(
        self,
        origin: Origin,
        order_signed: Signed,
        entry: Entry,
        state: Signed,
        body: StateBody,
        state_seq: int,
        late_ms: int = 0,
    ) -> None:
        """
        A new live order.

        Args:
            order_signed, entry: the entry that published it.
            state, body, state_seq: the entry with its newest state, that state, and its number.
            late_ms: it queues as if it were stamped then; 0: as it is.

        Raises:
            RemoteProtocolError: the state is impossible.
        """
        order = entry.order
        assert order is not None
        market = self.markets.get(order.market)
        live: LiveOrder | None = None
        hides = market is not None and order.differs(market)
        if market is not None:
            with suppress(OrderError):  # another tick or lot than ours: not a market we trade
                live = LiveOrder.of(order_from_body(order, origin.home, market))
        size = len(order_signed.payload)
        row = self.table.published(origin, entry, live, HIDDEN * hides, size)
        row = self._with_state(origin, row, state, body, state_seq)
        if late_ms:
            self.table.came_late(order.id, late_ms)
        self._changed(origin, self.table.add(origin, row), None, row)
        if len(origin.records) == 1:
            origin.on_change(origin)
        self.rows[order.id] = new_row(order.id, origin.home, body.version, order_signed, state)
        if order.expires is not None:
            self._expiring.add(order.id, order.expires - EXPIRY_MARGIN_MS + 1)
        if hides:
            self._hide_one(origin.home, order)

    def _hide_one(self, home: str, order: OrderBody) -> None:
        market = order.market
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

        Args:
            record: just looked up.

        Raises:
            RemoteProtocolError: the quantities are impossible.
        """
        before = record.row
        row = self._with_state(origin, before, signed, body, seq)
        self.table.put(record.number, row)
        self._changed(origin, record.number, before, row)
        order_id = record.order_id
        self.rows[order_id] = changed_row(self.rows.get(order_id), order_id, body.version, signed)

    def _with_state(
        self, origin: Origin, row: RemoteRow, signed: Signed, body: StateBody, seq: int
    ) -> RemoteRow:
        lots = [0, 0, 0]
        if row.flags & IN_UNITS:
            market = self.markets[self.table.symbols[row.market]]
            try:
                lots = [
                    0 if text == "0" else market.quantity_lots(text)
                    for text in (body.open, body.reserved, body.filled)
                ]
            except OrderError as error:
                raise RemoteProtocolError(str(error)) from None
            if lots[2] < row.filled or sum(lots) > row.quantity:
                raise RemoteProtocolError(f"order {body.order_id} has impossible quantities")
        flags = row.flags & ~(STANDS | IS_OPEN) | IS_OPEN * (body.open != "0")
        flags |= STANDS * self._shows(origin, row)
        size = 0 if seq == row.order_seq else len(signed.payload)
        state = (body.version, seq, row.order_seq, row.order_bytes, size, row.place)
        # All fields by place: ``_replace`` takes three times as long.
        return RemoteRow._make((*row[:5], flags, *row[6:8], *lots, row.expires, *state))

    def _changed(
        self, origin: Origin, number: int, before: RemoteRow | None, row: RemoteRow
    ) -> None:
        order_id = row.id.hex()
        gone, stood, size = None, 0, row.bytes
        if before is not None:
            gone, stood = element(order_id, before.version), before.standing
            size -= before.bytes
        come = element(order_id, row.version)
        origin.fingerprint = (origin.fingerprint - (gone or 0) + come) % FINGERPRINT_MODULUS
        self._count(origin, size)
        self.live_set_changed(order_id, row.key_ms, gone, come)
        if row.flags & STANDS or stood:
            self._stand(number, row, stood, row.standing)
        if row.flags & STANDS:
            self.on_order(order_id, self.table.symbols[row.market])

    def _shows(self, origin: Origin, row: RemoteRow) -> bool:
        """Whether it belongs into its book now, with what it has open."""
        return bool(
            origin.visible
            and row.flags & RESTS
            and not (row.expires and self.clock.ms >= row.expires - EXPIRY_MARGIN_MS)
        )

    def _stand(self, number: int, row: RemoteRow, stood: int, lots: int) -> None:
        """Bring the book in line with a row: it stands with ``lots``, no more with ``stood``."""
        self.books[self.table.symbols[row.market]].row_touched(
            row.side, row.price, number, stood, lots
        )

    def _stand_anew(self, origin: Origin, number: int) -> None:
        """Whether an order belongs into its book may have changed."""
        row = self.table.row(number)
        shows = self._shows(origin, row)
        flags = row.flags | STANDS if shows else row.flags & ~STANDS
        if flags != row.flags:
            self.table.put_flags(number, flags)
            self._stand(number, row, row.standing, row.open if shows else 0)
            if shows:
                self.on_order(row.id.hex(), self.table.symbols[row.market])

    def drop(self, origin: Origin, record: RemoteOrder, closed: int = 0) -> None:
        """
        An order is not held any more.

        Args:
            closed: the version in which its home closed it; 0: perhaps it did not.
        """
        row, order_id = record.row, record.order_id
        self.dropped.note(origin, order_id, closed + 1 if closed else row.version)
        gone = element(order_id, row.version)
        self._expiring.discard(order_id)
        self._count(origin, -row.bytes)
        origin.fingerprint = (origin.fingerprint - gone) % FINGERPRINT_MODULUS
        self.live_set_changed(order_id, row.key_ms, gone, None)
        self.rows[order_id] = RecordGone(order_id)
        if row.standing:
            self._stand(record.number, row, row.standing, 0)
        if row.flags & HIDDEN:
            market = self.table.symbols[row.market]
            hidden = self.hidden[market]
            hidden.orders -= 1
            if not hidden.orders:
                del self.hidden[market]
        self.table.remove(record.number)
        if not origin.records:
            origin.on_change(origin)

    def hides(self, order_id: str) -> bool:
        """Whether an order is held and not shown because of its tick or lot."""
        record = self.find(order_id)
        return record is not None and bool(record.row.flags & HIDDEN)

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
            for number in origin.records.numbers:
                self._stand_anew(origin, number)
        elif not alive and origin.visible:
            self.hide(origin)

    def hide(self, origin: Origin) -> None:
        """Take an origin's orders out of the books; they are still held."""
        origin.visible = False
        for number in origin.records.numbers:
            self._stand_anew(origin, number)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.table)

    def find(self, order_id: str) -> RemoteOrder | None:
        """A live order of another home."""
        return self.table.find(order_id)

    def expire(self, earlier_ms: int) -> None:
        """
        Take good-till-date orders out of the books when their time is near, and drop them when it
        is long over: should their home live or come back, it closes them before it signs its next
        heartbeat (docs/design/sync.rst#forgetting).

        Args:
            earlier_ms: what is dropped is judged by, as in `OriginTable.show_or_hide`.
        """
        for order_id in self._expiring.due(self.clock.ms):
            record = self.find(order_id)
            assert record is not None and record.expires_ms is not None
            origin = self.table.origins[record.row.home]
            if expired(record.expires_ms, record.is_open, origin.heard_ms, earlier_ms):
                self.drop(origin, record)
                continue
            self._stand_anew(origin, record.number)
            over_ms = record.expires_ms + EXPIRED_MS + 1
            wait_ms = over_ms - earlier_ms if over_ms > earlier_ms else EXPIRED_MS
            self._expiring.add(order_id, self.clock.ms + wait_ms)


def lease_end_ms(origin: Origin) -> int:
    """Until when the orders of an origin may be matched; 0: not at all."""
    if origin.twofold or origin.left_ms >= origin.time[0] > 0:
        return 0
    return max(origin.time[0] + origin.lease_ms, origin.pulse_ms) + SKEW_MS
