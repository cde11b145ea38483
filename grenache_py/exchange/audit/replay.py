"""
A home's log replayed: the state that follows from its entries.

Pure. ``LogReplay`` applies entries with the rules that any neighbour holds the home to: each entry
has the hash of the one before, versions and ``filled`` only rise, a closed order stays closed,
trades add up, order ids are hashes, and heartbeats name the live set that follows from the entries
before them. ``proof.py`` compares the outcome with the store's own tables.

Old entries may have been pruned (``retention.py``). After a gap in the numbers the entries of live
orders are still there, so the final state is proven all the same; what happened to orders that
closed in the gap is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import LogRow
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    StateBody,
    check_order_id,
    order_from_body,
    trade_from_body,
)
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from grenache_py.exchange.signed_log.merkle import Signed, Verifier, leaf_hash

__all__ = ["DIFFERENCES_MAX", "LogReplay"]

#: Contradictions listed at most; a broken log would otherwise fill the screen.
DIFFERENCES_MAX = 20


@attrs.define
class LogReplay:
    """
    The state that follows from the entries so far.

    Attributes:
        markets: units of every market the log mentions.
        verifier: checks signatures too, when there is one.
        live: published orders that are not closed, by id.
        trades: all trades of own entries, by id.
        entries: how many were applied.
        gaps: how many runs of entries were missing.
        beats: heartbeats whose fingerprint agreed.
        problems: a sentence for each contradiction, at most ``DIFFERENCES_MAX``.
    """

    markets: Mapping[str, Market]
    verifier: Verifier | None = None
    home: str = ""
    epoch: int = 0
    seq: int = 0
    hash: str = GENESIS
    live: dict[str, LiveOrder] = attrs.Factory(dict)
    trades: dict[str, Trade] = attrs.Factory(dict)
    entries: int = 0
    gaps: int = 0
    beats: int = 0
    problems: list[str] = attrs.Factory(list)
    _traded: Counter[str] = attrs.Factory(Counter)
    _fingerprint: int = 0
    _complete: bool = True

    def apply(self, row: LogRow) -> None:
        """Apply the next entry of the log; it must come after all earlier ones."""
        place = f"entry {row.epoch}/{row.seq}"
        try:
            entry = Entry.decode(row.payload)
            if (entry.epoch, entry.seq) != (row.epoch, row.seq):
                raise RemoteProtocolError(f"says it is entry {entry.epoch}/{entry.seq}")
            if leaf_hash(row.payload).hex() != row.hash:
                raise RemoteProtocolError("its hash is not that of its payload")
            if self.verifier is not None:
                self.verifier.check(Signed.from_row(row), entry.home)
            self._follow(entry)
            self._apply(entry)
        except (RemoteProtocolError, OrderError, KeyError) as error:
            missing = isinstance(error, KeyError)
            self._problem(f"{place}: {f'unknown market {error}' if missing else error}")
        self.epoch, self.seq, self.hash = row.epoch, row.seq, row.hash
        self.entries += 1

    def _problem(self, sentence: str) -> None:
        if len(self.problems) < DIFFERENCES_MAX:
            self.problems.append(sentence)

    def _follow(self, entry: Entry) -> None:
        """Check that ``entry`` is the next one, or notice the gap before it."""
        if self.home not in ("", entry.home):
            raise RemoteProtocolError(f"is of another home, {entry.home}")
        self.home = entry.home
        if entry.epoch != self.epoch:
            # All orders of the old epoch are closed (see --new-epoch).
            self.live.clear()
            self._traded.clear()
            self.seq, self.hash, self._fingerprint, self._complete = 0, GENESIS, 0, True
        if entry.seq != self.seq + 1:
            self.gaps += 1
            self._complete = False
        elif entry.prev != self.hash:
            raise RemoteProtocolError("does not continue the entry before it")

    def _apply(self, entry: Entry) -> None:
        if entry.order is not None:
            check_order_id(entry.order, entry.home)
            order = order_from_body(entry.order, entry.home, self.markets[entry.order.market])
            live = LiveOrder.of(order)
            live.key = (*entry.time, order.order_id)
            if order.order_id in self.live:
                raise RemoteProtocolError(f"publishes order {order.order_id} again")
            live.version = -1  # its first state follows, perhaps in a later entry of this step
            self.live[order.order_id] = live
        for body in entry.trades:
            trade = trade_from_body(body, self.markets[body.market])
            if trade.trade_id in self.trades:
                raise RemoteProtocolError(f"tells trade {trade.trade_id} again")
            self.trades[trade.trade_id] = trade
            for order_id in (trade.maker_order, trade.taker_order):
                if order_id in self.live:
                    self._traded[order_id] += trade.quantity_lots
        for state in entry.states:
            self._state(state)
        if entry.beat is not None and self._complete:
            if (entry.beat.live, entry.beat.fingerprint) != (
                sum(live.version >= 0 for live in self.live.values()),
                f"{self._fingerprint:064x}",
            ):
                raise RemoteProtocolError("its heartbeat names another live set")
            self.beats += 1

    def _state(self, state: StateBody) -> None:
        live = self.live.get(state.order_id)
        if live is None:
            if self._complete:
                raise RemoteProtocolError(f"changes order {state.order_id}, which is not live")
            return  # published, and meanwhile closed, in the gap
        market = self.markets[live.order.market]
        was = live.version, live.filled
        live.open = market.quantity_lots(state.open) if state.open != "0" else 0
        live.reserved = market.quantity_lots(state.reserved) if state.reserved != "0" else 0
        live.filled = market.quantity_lots(state.filled) if state.filled != "0" else 0
        live.version, live.reason = state.version, state.reason
        if was[0] >= 0:
            self._fingerprint -= element(live.order_id, was[0])
        if live.terminal:
            del self.live[live.order_id]
            traded = self._traded.pop(live.order_id, 0)
            if self._complete and traded != live.filled:
                raise RemoteProtocolError(f"order {live.order_id} closes with other trades")
        else:
            self._fingerprint += element(live.order_id, live.version)
        self._fingerprint %= FINGERPRINT_MODULUS
        if live.version <= was[0] or live.filled < was[1] or live.closed < 0:
            raise RemoteProtocolError(f"order {state.order_id} cannot go to this state")
