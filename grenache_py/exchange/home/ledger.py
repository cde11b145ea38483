"""
This home's own orders, live and recently closed, and how a change of them is finished.

Pure. A *step* is one atomic change: the orders it touched, the trades it made, perhaps the
order it published. ``finish`` turns a step into log entries, rows and events, all of one
batch; nothing else writes to the log. That keeps one writer per order (docs/failure-modes.rst#f7)
and one path from change to disk to neighbours (docs/failure-modes.rst#f6)
(docs/design/log.rst#entries).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import attrs
from msgspec.structs import replace

from grenache_py.exchange.effects.batch import Executed, OrderChanged, Outbox
from grenache_py.exchange.effects.rows import ExecutionRow, OrderEventRow, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.home.entry_writer import EntryWriter
from grenache_py.exchange.home.order_rows import order_row, own_from_row
from grenache_py.exchange.home.own_live_set import OwnLiveSet
from grenache_py.exchange.home.tape import Tape
from grenache_py.exchange.home.tied_orders import TiedOrders
from grenache_py.exchange.home.transition import OwnOrder, Transition
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.exchange.signed_log.entries import Stamp
from grenache_py.exchange.signed_log.live_set import LiveSetChanged
from grenache_py.exchange.signed_log.merkle import Draft, Signed
from grenache_py.exchange.signed_log.own_log import OwnLog

__all__ = ["Ledger"]

#: Own orders kept in memory after they closed, for reports and client-id idempotence.
CLOSED_KEPT_MAX = 10_000


@attrs.define
class Ledger:
    """
    Own orders, live and recently closed, and the tape of trades.

    Attributes:
        home: this peer's key.
        own: live own orders by id, private stops included.
        closed: recently closed ones, oldest first.
        by_client_id: the newest order's id, by account and client id.
        event_seqs: by account, the number of its newest order event.
        execution_seqs: by account, the number of its newest execution.
        tape: the newest trades of each market.
        tied: orders that end with the connection they were placed on.
        writer: turns changes into log entries.
    """

    home: str
    markets: Mapping[str, Market]
    books: Mapping[str, Book]
    log: OwnLog
    outbox: Outbox
    live_set_changed: LiveSetChanged = lambda order_id, time_ms, gone, come: None
    own: dict[str, OwnOrder] = attrs.Factory(dict)
    closed: OrderedDict[str, OwnOrder] = attrs.Factory(OrderedDict)
    by_client_id: dict[tuple[str, str], str] = attrs.Factory(dict)
    event_seqs: dict[str, int] = attrs.Factory(dict)
    execution_seqs: dict[str, int] = attrs.Factory(dict)
    tape: Tape = attrs.field(init=False)
    tied: TiedOrders = attrs.field(init=False)
    writer: EntryWriter = attrs.field(init=False)
    _dirty: dict[str, OwnOrder] = attrs.Factory(dict)

    @tape.default
    def _tape(self) -> Tape:
        return Tape(self.outbox)

    @tied.default
    def _tied(self) -> TiedOrders:
        return TiedOrders(self.outbox)

    @writer.default
    def _writer(self) -> EntryWriter:
        live_set = OwnLiveSet(self.live_set_changed)
        return EntryWriter(self.markets, self.log, self.outbox, live_set)

    def find(self, order_id: str) -> OwnOrder | None:
        """An own order, live or recently closed."""
        return self.own.get(order_id) or self.closed.get(order_id)

    def admit(self, live: LiveOrder) -> OwnOrder:
        """Take a new order into the ledger; it is written by the step that touches it."""
        own = self.own[live.order_id] = OwnOrder(live)
        if live.client_order_id:
            self.by_client_id[live.account, live.client_order_id] = live.order_id
        return own

    def finish(self, step: Transition, now: float, stamp: Stamp | None = None) -> None:
        """Write ``step`` to the log, the rows and the events of the current batch."""
        published: list[OwnOrder] = []
        writer, publish = self.writer, step.publish
        # Nearly always: an order is placed, and no entry is open for others to join.
        plain = publish is not None and writer.shared is None
        for order_id, live in step.touched.items():
            own = self.own[order_id]
            if plain:
                live.version += 1
            if own.order_seq or live is publish:
                published.append(own)
            self._dirty[order_id] = own
        trades = step.trades
        if plain and publish is not None:
            writer.write(self.own[publish.order_id], published, trades, now, stamp)
        else:
            writer.join(step, published, now, stamp)
        time_ms = stamp[0] if stamp else self.log.time_ms(now)
        for trade in trades:
            for order_id in (trade.maker_order, trade.taker_order):
                if order_id in step.touched:
                    own = self.own[order_id]
                    own.remember(trade)
                    self._execute(own.live, trade)
            self.tape.record(trade)
        for live in step.touched.values():
            live.updated_ms = time_ms
            self._announce(live, time_ms)
            if live.terminal:
                self._retire(live)

    def begin_epoch(self, epoch: int) -> None:
        """Begin a new, empty log. No order is published in it until it is placed again."""
        self.writer.begin_epoch(epoch, self.own.values())
        self._dirty.update(self.own)

    def _announce(self, live: LiveOrder, time_ms: int) -> None:
        """The account's stream of own-order updates: a row, so that it survives, and an event."""
        account, outbox = live.account, self.outbox
        seq = self.event_seqs[account] = self.event_seqs.get(account, 0) + 1
        outbox.rows.append(
            OrderEventRow(
                account,
                seq,
                live.order_id,
                live.open,
                live.reserved,
                live.filled,
                live.version,
                live.reason,
                live.value,
                time_ms,
            )
        )
        if outbox.followed(account):
            outbox.events.append(OrderChanged(account, seq, replace(live), time_ms))

    def _execute(self, live: LiveOrder, trade: Trade) -> None:
        """The account's stream of own fills: a row, so that it survives, and an event."""
        account = live.account
        seq = self.execution_seqs[account] = self.execution_seqs.get(account, 0) + 1
        is_maker = trade.maker_order == live.order_id
        row = ExecutionRow(
            account,
            seq,
            trade.trade_id,
            live.order_id,
            live.client_order_id,
            trade.market,
            live.side,
            trade.price_ticks,
            trade.quantity_lots,
            "maker" if is_maker else "taker",
            trade.taker_home if is_maker else trade.maker_home,
            trade.time_ms,
        )
        self.outbox.rows.append(row)
        self.outbox.events.append(Executed(row))

    def _retire(self, live: LiveOrder) -> None:
        own = self.own.pop(live.order_id)
        self.tied.closed(live.order_id)
        self.closed[live.order_id] = own
        if len(self.closed) > CLOSED_KEPT_MAX:
            _, oldest = self.closed.popitem(last=False)
            if oldest.live.client_order_id:
                client_id = (oldest.live.account, oldest.live.client_order_id)
                if self.by_client_id.get(client_id) == oldest.live.order_id:
                    del self.by_client_id[client_id]

    def flush(self) -> None:
        """Emit the rows of all that changed; call after the batch was sealed."""
        self.writer.flush()
        rows = self.outbox.rows
        for own in self._dirty.values():
            rows.append(order_row(own))
        self._dirty.clear()

    def mark(self, own: OwnOrder) -> None:
        """Have ``own``'s row written again although no step touched it."""
        self._dirty[own.live.order_id] = own

    def restore(self, snapshot: Snapshot) -> set[int]:
        """
        Take back what ``flush`` wrote in an earlier life. Books are filled with open orders.

        Orders whose entries are missing cannot be shown to who comes anew. They are closed as soon
        as this home may sign (docs/design/log.rst#unreadable).

        Returns:
            the numbers of those entries.

        Raises:
            StoreError: the end of the log is missing, that live orders are in.
        """
        drafts = {
            seq: Draft(row.payload, bytes.fromhex(row.hash), Signed.from_row(row))
            for seq, row in snapshot.order_logs.items()
        }
        self.event_seqs.update(snapshot.event_seqs)
        self.execution_seqs.update(snapshot.execution_seqs)
        self.tied.restore(snapshot.meta)
        self.tape.restore(snapshot)
        newest: dict[tuple[str, str], Stamp] = {}
        missing = set[int]()
        for row in snapshot.orders:
            own = own_from_row(row, self.home)
            live = own.live
            if live.client_order_id:
                # A replacement, which is newer, has its forerunner's client id.
                client_id, stamp = (live.account, live.client_order_id), (row.time_ms, row.counter)
                if stamp > newest.get(client_id, (0, -1)):
                    newest[client_id] = stamp
                    self.by_client_id[client_id] = live.order_id
            if not row.live:
                self.closed[live.order_id] = own
                continue
            self.own[live.order_id] = own
            if row.order_seq:
                if row.state_seq > self.log.seq:
                    raise StoreError(
                        "corrupt",
                        f"the store is damaged (it has order {row.order_id}, but not entry"
                        f" {row.state_seq} of the log): keep it, and see 'A damaged file' in"
                        " docs/store-schema.rst",
                    )
                own.order_entry = drafts.get(row.order_seq)
                own.state_entry = drafts.get(row.state_seq)
                if own.order_entry is None or own.state_entry is None:
                    missing.update(n for n in (row.order_seq, row.state_seq) if n not in drafts)
                    self.tied.cut[live.order_id] = None
                self.writer.live_set.note(own, live.version, live.terminal)
            if live.triggered and live.open and live.order.market in self.books:
                self.books[live.order.market].add(live)
        own_ids = self.own.keys() | self.closed.keys()
        for trade in self.tape:
            for order_id in {trade.maker_order, trade.taker_order} & own_ids:
                found = self.find(order_id)
                assert found is not None
                found.remember(trade)
        return missing

    def published(self) -> Iterable[OwnOrder]:
        """Live orders that the network knows."""
        return (own for own in self.own.values() if own.order_entry is not None)
