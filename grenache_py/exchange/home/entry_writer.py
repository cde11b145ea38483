"""
How the changes of own orders become entries of this peer's signed log.

Pure. See docs/design/log.rst#entries. Steps of one batch that neither publish nor match anything
share an entry: they are one transaction, and an entry costs its home and every other peer more than
what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import LogRow
from grenache_py.exchange.home.own_live_set import OwnLiveSet
from grenache_py.exchange.home.transition import OwnOrder, Transition
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import Trade
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    STATES_PER_ENTRY_MAX,
    TRADES_PER_ENTRY_MAX,
    HeartbeatBody,
    Stamp,
    StateBody,
    TradeBody,
    order_body,
    state_body,
    trade_body,
)
from grenache_py.exchange.signed_log.entry_sizes import room_for_states
from grenache_py.exchange.signed_log.merkle import Draft
from grenache_py.exchange.signed_log.own_log import OwnLog

__all__ = ["EntryWriter"]

#: States in an entry that several steps share; with many trades there is room for less.
STATES_SHARED_MAX = 32


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
        trades = len(self.trades) + len(step.trades)
        if trades > TRADES_PER_ENTRY_MAX:
            return False
        states = len(self.states) + len(step.touched)
        return states <= min(STATES_SHARED_MAX, room_for_states(trades))


@attrs.define
class EntryWriter:
    """
    Appends to the log, and keeps the published live set in step with what the log says.

    Attributes:
        markets: by symbol.
        log: this peer's own log; nothing else appends to it.
        outbox: takes each entry for the neighbours, and its row for the store.
        live_set: of the published orders, as heartbeats state it.
        shared: the entry that later steps of this batch may join, if one is open.
    """

    markets: Mapping[str, Market]
    log: OwnLog
    outbox: Outbox
    live_set: OwnLiveSet
    shared: _Shared | None = None
    _entries: list[tuple[int, Draft]] = attrs.Factory(list)

    def join(
        self, step: Transition, published: list[OwnOrder], now: float, stamp: Stamp | None
    ) -> None:
        """
        Write a step into the entry that steps share, or into its own when it cannot share.

        Raises the versions of all orders that the step touched.

        Args:
            published: those of the touched orders that the network knows, or will by this step.
        """
        trades = step.trades
        shared = self._shared_by(step, now) if published or trades else None
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
            publish = next((own for own in published if own.live is step.publish), None)
            self.write(publish, published, trades, now, stamp)

    def _shared_by(self, step: Transition, now: float) -> _Shared | None:
        """The entry that ``step`` shares with others, or None: it gets entries of its own."""
        shared = self.shared
        # Whoever follows the log must be able to match local trades again
        # (docs/design/distributed-core.rst#i15): after all that was before, and one taker at a
        # time.
        alone = step.publish is not None or step.is_local
        if shared is not None and (alone or not shared.has_room(step)):
            self.close()
            shared = None
        if shared is None and not alone:
            shared = _Shared(now, self.log.stamp(now))
            if not shared.has_room(step):
                return None
            self.shared = shared
        return shared

    def close(self) -> None:
        """Append the entry that steps of this batch share, if there is one."""
        shared, self.shared = self.shared, None
        if shared is not None:
            trades, states = tuple(shared.trades), tuple(shared.states.values())
            bodies = tuple([body for _, body in states])
            draft = self.log.append(shared.now, None, trades, bodies, stamp=shared.stamp)
            self._logged(draft)
            self._stated(states, draft)

    def write(
        self,
        publish: OwnOrder | None,
        published: list[OwnOrder],
        trades: list[Trade],
        now: float,
        stamp: Stamp | None,
    ) -> None:
        """
        Append entries of its own for one step; more than one when it made many trades or closed
        many orders (docs/design/log.rst#entry-sizes).

        Args:
            publish: the order to publish with the first entry.
            published: orders whose new state is to be stated; versions are raised already.
            stamp: the time of the first entry; None takes the next.
        """
        while len(trades) > TRADES_PER_ENTRY_MAX:
            part, trades = trades[:TRADES_PER_ENTRY_MAX], trades[TRADES_PER_ENTRY_MAX:]
            # Makers that this part finished with; whoever trades again later waits.
            later = {id for trade in trades for id in (trade.maker_order, trade.taker_order)}
            here = {trade.maker_order for trade in part} - later
            states = [own for own in published if own.live.order_id in here]
            published = [own for own in published if own.live.order_id not in here]
            self._append(publish, states, part, now, stamp)
            publish = stamp = None
        room = room_for_states(len(trades))
        if len(published) > room:
            # Orders closed without a trade. The order that closed them keeps its state for the
            # last entry, beside its trades: until then nobody sees it cross them.
            together = {id for trade in trades for id in (trade.maker_order, trade.taker_order)}
            if publish is not None:
                together.add(publish.live.order_id)
            apart = [own for own in published if own.live.order_id not in together]
            count = len(published) - room
            published = apart[count:] + [o for o in published if o.live.order_id in together]
            for start in range(0, count, STATES_PER_ENTRY_MAX):
                part_end = min(count, start + STATES_PER_ENTRY_MAX)
                self._append(publish, apart[start:part_end], [], now, stamp)
                publish = stamp = None
        self._append(publish, published, trades, now, stamp)

    def _append(
        self,
        publish: OwnOrder | None,
        states: list[OwnOrder],
        trades: list[Trade],
        now: float,
        stamp: Stamp | None,
    ) -> None:
        """One log entry."""
        markets, log = self.markets, self.log
        order = publish.live.order if publish else None
        bodies = [state_body(own.live, markets[own.live.order.market]) for own in states]
        draft = log.append(
            now,
            order_body(order, markets[order.market]) if order else None,
            tuple([trade_body(trade, markets[trade.market]) for trade in trades]) if trades else (),
            tuple(bodies),
            stamp=stamp,
        )
        self._logged(draft)
        if publish is not None:
            publish.order_seq, publish.order_entry = log.seq, draft
        self._stated(zip(states, bodies, strict=True), draft)

    def _stated(self, states: Iterable[tuple[OwnOrder, StateBody]], draft: Draft) -> None:
        """Note that the newest entry, ``draft``, gives these states."""
        seq = self.log.seq
        for own, body in states:
            own.state_seq, own.state_entry = seq, draft
            self.live_set.note(own, body.version, body.open == "0" and body.reserved == "0")

    def beat(self, now: float, lease_ms: int) -> None:
        """Append a heartbeat that states the live set; it closes the shared entry first."""
        self.close()
        live = self.live_set
        beat = HeartbeatBody(lease_ms, live.count, f"{live.fingerprint:064x}")
        self._logged(self.log.append(now, beat=beat))

    def _logged(self, draft: Draft) -> None:
        entry = (self.log.seq, draft)
        self._entries.append(entry)
        self.outbox.published.append(entry)

    def begin_epoch(self, epoch: int, orders: Collection[OwnOrder]) -> None:
        """Begin a new, empty log in which none of ``orders`` is published."""
        self.log.restore(epoch, 0, GENESIS, [])
        self.live_set.clear(orders)
        for own in orders:
            own.order_seq, own.order_entry, own.state_seq, own.state_entry = 0, None, 0, None

    def flush(self) -> None:
        """Emit the rows of the entries of this batch; call after it was sealed."""
        rows, epoch = self.outbox.rows, self.log.epoch
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
