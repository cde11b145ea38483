"""
This home's own orders and how every change of them is written down (distributed.md 2.2).

Pure. A *step* is one atomic change: the orders it touched, the trades it made, perhaps the
order it published. ``finish`` turns a step into log entries, rows and events, all of one
batch; nothing else writes to the log. That keeps one writer per order (F7) and one path from
change to disk to neighbours (F6). Steps of one batch that neither publish nor match
anything share an entry: they are one transaction, and an entry costs its home and every other
peer more than what it says.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from copy import copy

import attrs
from msgspec import Struct

from grenache_py.exchange.effects.batch import OrderChanged, Outbox, Traded
from grenache_py.exchange.effects.rows import LogRow, OrderEventRow, OrderRow, Snapshot, TradeRow
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Order, Trade
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    TRADES_PER_ENTRY_MAX,
    HeartbeatBody,
    Stamp,
    StateBody,
    TradeBody,
    order_body,
    state_body,
    trade_body,
)
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, LiveSetChanged, element
from grenache_py.exchange.signed_log.merkle import Draft, Signed, leaf_hash
from grenache_py.exchange.signed_log.own_log import OwnLog

__all__ = [
    "Ledger",
    "OwnOrder",
    "Transition",
    "own_from_row",
]

#: Own orders kept in memory after they closed, for reports and client-id idempotence.
CLOSED_KEPT_MAX = 10_000
#: Trades kept in memory per market, and per own order.
TAPE_MAX = 1_000
ORDER_TRADES_MAX = 100

#: States in an entry that several steps share; with its trades it stays far below a line.
STATES_SHARED_MAX = 32


class OwnOrder(Struct, eq=False, gc=False):
    """
    An own order with what only its home needs to know.

    Attributes:
        fill_seq: fills it ever took part in as taker; part of their ids.
        order_seq, order_entry: the log entry that published it (0, None while private).
        state_seq, state_entry: the newest log entry with its state.
        element: what stands in the live set for it, None while it does not.
        trades: its newest trades, at most ``ORDER_TRADES_MAX``.
    """

    live: LiveOrder
    fill_seq: int = 0
    order_seq: int = 0
    state_seq: int = 0
    order_entry: Draft | None = None
    state_entry: Draft | None = None
    element: int | None = None
    trades: tuple[Trade, ...] = ()

    def remember(self, trade: Trade) -> None:
        """Keep a trade of this order; most orders never have one, and keep nothing."""
        self.trades = (*self.trades[1 - ORDER_TRADES_MAX :], trade)


class Transition(Struct, gc=False):
    """
    One atomic change under way.

    Attributes:
        publish: the order this step publishes for the first time.
        touched: orders whose state changed, by id; ``publish`` among them.
        trades: in the order they happened.
    """

    publish: LiveOrder | None = None
    touched: dict[str, LiveOrder] = {}
    trades: list[Trade] = []

    def touch(self, live: LiveOrder) -> None:
        """Note that ``live`` changed."""
        self.touched[live.order_id] = live

    @property
    def is_local(self) -> bool:
        """Own orders traded with each other."""
        return any(trade.maker_home == trade.taker_home for trade in self.trades)


@attrs.define
class _Shared:
    """
    An entry that later steps of the same batch may join.

    Attributes:
        stamp: its time; taken when it was begun, for an order published after it must be later.
        states: each order with its state after the last step that touched it.
    """

    now: float
    stamp: Stamp
    trades: list[TradeBody] = attrs.Factory(list)
    states: dict[str, tuple[OwnOrder, StateBody]] = attrs.Factory(dict)

    def has_room(self, step: Transition) -> bool:
        """Whether ``step`` can join."""
        return (
            len(self.trades) + len(step.trades) <= TRADES_PER_ENTRY_MAX
            and len(self.states) + len(step.touched) <= STATES_SHARED_MAX
        )


@attrs.define
class Ledger:
    """
    Own orders, live and recently closed, and the tape of trades.

    Attributes:
        home: this peer's key.
        own: live own orders by id, private stops included.
        closed: recently closed ones, oldest first.
        new_prices: by market, trade prices that stop orders have not been checked against.
        fingerprint, live_count: of the published live set, as heartbeats state them.
    """

    home: str
    markets: Mapping[str, Market]
    books: Mapping[str, Book]
    log: OwnLog
    outbox: Outbox
    live_set_changed: LiveSetChanged = lambda order_id, time_ms, gone, come: None
    own: dict[str, OwnOrder] = attrs.Factory(dict)
    closed: OrderedDict[str, OwnOrder] = attrs.Factory(OrderedDict)
    tape: dict[str, deque[Trade]] = attrs.Factory(dict)
    new_prices: dict[str, deque[int]] = attrs.Factory(dict)
    fingerprint: int = 0
    live_count: int = 0
    by_client_id: dict[tuple[str, str], str] = attrs.Factory(dict)
    event_seqs: dict[str, int] = attrs.Factory(dict)
    _known_trades: set[str] = attrs.Factory(set)
    _dirty: dict[str, OwnOrder] = attrs.Factory(dict)
    _entries: list[tuple[int, Draft]] = attrs.Factory(list)
    _shared: _Shared | None = None

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
        # An order is placed and no entry is open for others to join: so it is nearly always.
        plain = step.publish is not None and self._shared is None
        for order_id, live in step.touched.items():
            own = self.own[order_id]
            if plain:
                live.version += 1
            if own.order_entry is not None or live is step.publish:
                published.append(own)
            self._dirty[order_id] = own
        trades = step.trades
        shared: _Shared | None = None
        if not plain:
            if published or trades:
                shared = self._shared_by(step, now)
            for order_id, live in step.touched.items():
                # An entry shows an order once, as it is in the end: as one new version.
                if shared is None or order_id not in shared.states:
                    live.version += 1
        if shared is not None:
            markets = self.markets
            shared.trades += [trade_body(trade, markets[trade.market]) for trade in trades]
            for own in published:
                body = state_body(own.live, markets[own.live.order.market])
                shared.states[own.live.order_id] = (own, body)
        elif published or trades:
            self._write(step.publish, published, trades, now, stamp)
        time_ms = stamp[0] if stamp else self.log.time_ms(now)
        for trade in trades:
            for order_id in (trade.maker_order, trade.taker_order):
                if order_id in step.touched:
                    self.own[order_id].remember(trade)
            self.record_trade(trade)
        for live in step.touched.values():
            live.updated_ms = time_ms
            self._announce(live, time_ms)
            if live.terminal:
                self._retire(live)

    def _shared_by(self, step: Transition, now: float) -> _Shared | None:
        """The entry that ``step`` shares with others, or None: it gets entries of its own."""
        shared = self._shared
        # Whoever follows the log must be able to match local trades again (I15): after all that
        # was before, and one taker at a time.
        alone = step.publish is not None or step.is_local
        if shared is not None and (alone or not shared.has_room(step)):
            self.close_entry()
            shared = None
        if shared is None and not alone:
            shared = _Shared(now, self.log.stamp(now))
            if not shared.has_room(step):
                return None
            self._shared = shared
        return shared

    def close_entry(self) -> None:
        """Write down the entry that steps of this batch share, if there is one."""
        shared, self._shared = self._shared, None
        if shared is not None:
            trades, states = tuple(shared.trades), tuple(shared.states.values())
            bodies = tuple([body for _, body in states])
            draft = self.log.append(shared.now, None, trades, bodies, stamp=shared.stamp)
            self._logged(self.log.seq, draft)
            self._stated(states, draft)

    def _write(
        self,
        publish: LiveOrder | None,
        published: list[OwnOrder],
        trades: list[Trade],
        now: float,
        stamp: Stamp | None,
    ) -> None:
        """Log entries for a step; more than one when it made many trades."""
        while len(trades) > TRADES_PER_ENTRY_MAX:
            part, trades = trades[:TRADES_PER_ENTRY_MAX], trades[TRADES_PER_ENTRY_MAX:]
            # Makers that this part finished with; whoever trades again later waits.
            later = {id for trade in trades for id in (trade.maker_order, trade.taker_order)}
            here = {trade.maker_order for trade in part} - later
            states = [own for own in published if own.live.order_id in here]
            published = [own for own in published if own.live.order_id not in here]
            self._append(publish, states, part, now, stamp)
            publish = stamp = None
        self._append(publish, published, trades, now, stamp)

    def _append(
        self,
        publish: LiveOrder | None,
        states: list[OwnOrder],
        trades: list[Trade],
        now: float,
        stamp: Stamp | None,
    ) -> None:
        """One log entry."""
        markets, log = self.markets, self.log
        bodies = [state_body(own.live, markets[own.live.order.market]) for own in states]
        draft = log.append(
            now,
            order_body(publish.order, markets[publish.order.market]) if publish else None,
            tuple([trade_body(trade, markets[trade.market]) for trade in trades]),
            tuple(bodies),
            stamp=stamp,
        )
        self._logged(log.seq, draft)
        if publish is not None:
            own = self.own[publish.order_id]
            own.order_seq, own.order_entry = log.seq, draft
        self._stated(zip(states, bodies, strict=True), draft)

    def _stated(self, states: Iterable[tuple[OwnOrder, StateBody]], draft: Draft) -> None:
        """The newest entry, ``draft``, gives these states."""
        seq = self.log.seq
        for own, body in states:
            own.state_seq, own.state_entry = seq, draft
            self._count(own, body.version, body.open == "0" and body.reserved == "0")

    def begin_epoch(self, epoch: int) -> None:
        """A new, empty log. No order is published in it until it is placed again."""
        self.log.restore(epoch, 0, GENESIS, [])
        for own in self.own.values():
            if own.element is not None:
                self.live_set_changed(own.live.order_id, own.live.key[0], own.element, None)
            own.order_seq, own.order_entry, own.state_seq, own.state_entry = 0, None, 0, None
            own.element = None
            self._dirty[own.live.order_id] = own
        self.fingerprint = self.live_count = 0

    def beat(self, now: float, lease_ms: int) -> None:
        """Append a heartbeat."""
        self.close_entry()
        beat = HeartbeatBody(lease_ms, self.live_count, f"{self.fingerprint:064x}")
        draft = self.log.append(now, beat=beat)
        self._logged(self.log.seq, draft)

    def _logged(self, seq: int, draft: Draft) -> None:
        self._entries.append((seq, draft))
        self.outbox.published.append((seq, draft))

    def _count(self, own: OwnOrder, version: int, ended: bool) -> None:
        """Keep fingerprint and live set in step with a published order's new state."""
        live, gone = own.live, own.element
        come = None if ended else element(live.order_id, version)
        if gone is None and come is None:
            return  # it traded away at once
        self.fingerprint = (self.fingerprint - (gone or 0) + (come or 0)) % FINGERPRINT_MODULUS
        self.live_count += (come is not None) - (gone is not None)
        own.element = come
        self.live_set_changed(live.order_id, live.key[0], gone, come)

    def record_trade(self, trade: Trade) -> bool:
        """Put a trade on the tape, once, however many peers tell of it."""
        if trade.trade_id in self._known_trades:
            return False
        tape = self.tape.setdefault(trade.market, deque(maxlen=TAPE_MAX))
        if len(tape) == TAPE_MAX:
            self._known_trades.discard(tape[0].trade_id)
        tape.append(trade)
        self.new_prices.setdefault(trade.market, deque()).append(trade.price_ticks)
        self._known_trades.add(trade.trade_id)
        self.outbox.rows.append(
            TradeRow(
                trade.trade_id,
                trade.market,
                trade.price_ticks,
                trade.quantity_lots,
                trade.side,
                trade.maker_order,
                trade.taker_order,
                trade.maker_home,
                trade.taker_home,
                trade.time_ms,
            )
        )
        self.outbox.events.append(Traded(trade))
        return True

    def _announce(self, live: LiveOrder, time_ms: int) -> None:
        """The account's stream of own-order updates: a row, so that it survives, and an event."""
        account = live.account
        seq = self.event_seqs[account] = self.event_seqs.get(account, 0) + 1
        self.outbox.rows.append(
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
        self.outbox.events.append(OrderChanged(account, seq, copy(live), time_ms))

    def _retire(self, live: LiveOrder) -> None:
        own = self.own.pop(live.order_id)
        self.closed[live.order_id] = own
        if len(self.closed) > CLOSED_KEPT_MAX:
            _, oldest = self.closed.popitem(last=False)
            if oldest.live.client_order_id:
                client_id = (oldest.live.account, oldest.live.client_order_id)
                if self.by_client_id.get(client_id) == oldest.live.order_id:
                    del self.by_client_id[client_id]

    def flush(self) -> None:
        """Emit the rows of all that changed; call after the batch was sealed."""
        rows = self.outbox.rows
        epoch = self.log.epoch
        for seq, draft in self._entries:
            proof = draft.proof
            rows.append(
                LogRow(
                    epoch,
                    seq,
                    draft.hash.hex(),
                    proof.payload,
                    proof.path,
                    proof.index,
                    proof.size,
                    proof.signature,
                )
            )
        self._entries.clear()
        for own in self._dirty.values():
            rows.append(_order_row(own))
        self._dirty.clear()

    def mark(self, own: OwnOrder) -> None:
        """Have ``own``'s row written again although no step touched it."""
        self._dirty[own.live.order_id] = own

    def restore(self, snapshot: Snapshot) -> None:
        """
        Take back what ``flush`` wrote in an earlier life. Books are filled with open orders.

        Raises:
            StoreError: a log entry is missing that a live order needs.
        """
        drafts = {
            seq: Draft(
                row.payload,
                leaf_hash(row.payload),
                Signed(row.payload, row.path, row.leaf, row.size, row.signature),
            )
            for seq, row in snapshot.order_logs.items()
        }
        self.event_seqs.update(snapshot.event_seqs)
        for trade_row in snapshot.trades:
            tape = self.tape.setdefault(trade_row.market, deque(maxlen=TAPE_MAX))
            tape.append(Trade(*trade_row))  # type: ignore[arg-type]
        self._known_trades.update(trade.trade_id for tape in self.tape.values() for trade in tape)
        newest: dict[tuple[str, str], Stamp] = {}
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
                missing = {row.order_seq, row.state_seq} - drafts.keys()
                if missing:
                    raise StoreError(
                        "corrupt",
                        f"the store is damaged (it has order {row.order_id}, but not entry"
                        f" {min(missing)} of the log): keep it, and see 'A damaged file' in"
                        " docs/store-schema.rst",
                    )
                own.order_entry = drafts[row.order_seq]
                own.state_entry = drafts[row.state_seq]
                self._count(own, live.version, live.terminal)
            if live.triggered and live.open and live.order.market in self.books:
                self.books[live.order.market].add(live)
        own_ids = self.own.keys() | self.closed.keys()
        for trade in (trade for tape in self.tape.values() for trade in tape):
            for order_id in {trade.maker_order, trade.taker_order} & own_ids:
                found = self.find(order_id)
                assert found is not None
                found.remember(trade)

    def published(self) -> Iterable[OwnOrder]:
        """Live orders that the network knows."""
        return (own for own in self.own.values() if own.order_entry is not None)


def _order_row(own: OwnOrder) -> OrderRow:
    live, order = own.live, own.live.order
    return OrderRow(
        order.order_id,
        order.market,
        order.side,
        order.type,
        order.time_in_force,
        order.price_ticks or 0,
        order.stop_ticks or 0,
        order.quantity_lots,
        order.post_only,
        order.expires_ms or 0,
        order.time_ms,
        order.counter,
        live.key[0],
        live.key[1],
        live.account,
        live.client_order_id,
        live.self_trade,
        live.open,
        live.reserved,
        live.filled,
        live.quantity,
        live.version,
        live.reason,
        live.value,
        live.triggered,
        own.fill_seq,
        own.order_seq,
        own.state_seq,
        not live.terminal,
        live.updated_ms,
    )


def own_from_row(row: OrderRow, home: str) -> OwnOrder:
    """An own order as the store keeps it, without its trades and log entries."""
    order = Order(
        row.order_id,
        home,
        row.market,
        row.side,  # type: ignore[arg-type]
        row.type,  # type: ignore[arg-type]
        row.time_in_force,  # type: ignore[arg-type]
        row.price_ticks or None,
        row.stop_ticks or None,
        row.quantity_lots,
        bool(row.post_only),
        row.expires_ms or None,
        row.time_ms,
        row.counter,
    )
    live = LiveOrder.of(order, row.account, row.client_order_id)
    live.key = (row.key_ms, row.key_counter, row.order_id)
    live.open, live.reserved, live.filled = row.open, row.reserved, row.filled
    live.quantity, live.version, live.value = row.total_lots, row.version, row.value
    live.reason = row.reason  # type: ignore[assignment]
    live.self_trade = row.self_trade  # type: ignore[assignment]
    live.triggered = bool(row.triggered)
    live.updated_ms = row.updated_ms
    return OwnOrder(live, row.fill_seq, row.order_seq, row.state_seq)
