"""
A home's log, played again, and whether it leads to the orders and books that are stored.

Pure. The log says everything that a home ever published, each entry chained to the one before
by its hash. ``LogReplay`` applies entries with the rules any neighbour would hold the home to
(versions and ``filled`` only rise, what is closed stays closed, trades add up, order ids are
hashes, heartbeats name the live set that follows from the entries before them), and ``compare``
holds the outcome against the store's own tables: order by order, and by the hash of each book.

Old entries may have been forgotten (``retention.py``): after a gap in the numbers the entries
of live orders are still there, so the end state is proven all the same; what happened to
orders that closed in the gap is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import LogRow, OrderRow, TradeRow
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.home.order_rows import own_from_row
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market, Step, decimal_text
from grenache_py.exchange.market.matching import rests
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

__all__ = ["LogReplay", "Proof", "compare", "markets_of"]

#: Differences told; a broken log would otherwise fill the screen.
DIFFERENCES_MAX = 20


def markets_of(meta: Mapping[str, int]) -> dict[str, Market]:
    """The markets of a store, from the steps it keeps with its counts of ticks and lots."""
    found: dict[str, Market] = {}
    for name in meta:
        kind, _, symbol = name.partition(":")
        if kind == "tick_units":
            tick, lot = (
                Step.of(
                    decimal_text(meta[f"{step}_units:{symbol}"], meta[f"{step}_decimals:{symbol}"])
                )
                for step in ("tick", "lot")
            )
            found[symbol] = Market(symbol, tick, lot)
    return found


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
        problems: what contradicted the rules, at most ``DIFFERENCES_MAX``.
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
                self.verifier.check(Signed(*row[3:]), entry.home)
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
            # All orders of the old epoch were given up (see --new-epoch).
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
            live.version = -1  # its first state follows, perhaps in a later part of this step
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


@attrs.frozen
class Proof:
    """
    Whether the log leads to what is stored.

    Attributes:
        books: by market: number of standing own orders, hash of the book that follows from the
            log, hash of the book that is stored.
        problems: sentences; empty when all is proven.
    """

    home: str
    entries: int
    gaps: int
    beats: int
    live_orders: int
    trades: int
    books: dict[str, tuple[int, str, str]]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Nothing contradicts the store."""
        return not self.problems


def compare(replay: LogReplay, orders: Iterable[OrderRow], trades: Iterable[TradeRow]) -> Proof:
    """
    Hold the end of a replay against the store.

    Args:
        orders: own orders that are stored as live.
        trades: all trades that are stored, those of other homes too.
    """
    problems = list(replay.problems)
    replayed = {symbol: Book(market) for symbol, market in replay.markets.items()}
    stored = {symbol: Book(market) for symbol, market in replay.markets.items()}
    left = dict(replay.live)
    for live in left.values():
        _stand(replayed, live)
    for row in orders:
        if not row.order_seq:
            continue  # a stop that has not been triggered: nobody was told of it
        if row.order_id not in left:
            problems.append(f"order {row.order_id} is stored as live, the log does not have it")
            continue
        live = left.pop(row.order_id)
        _stand(stored, own_from_row(row, replay.home).live)
        if (live.version, live.open, live.reserved, live.filled, live.reason) != (
            row.version,
            row.open,
            row.reserved,
            row.filled,
            row.reason,
        ):
            problems.append(f"order {row.order_id} is stored in another state than the log's")
    problems.extend(
        f"order {order_id} is live in the log, the store does not have it" for order_id in left
    )
    told = dict(replay.trades)
    oldest = None
    for found in trades:
        oldest = found.time_ms if oldest is None else min(oldest, found.time_ms)
        trade = told.pop(found.trade_id, None)
        if trade is not None and TradeRow(*msgspec.structs.astuple(trade)) != found:
            problems.append(f"trade {found.trade_id} is stored in another way than the log's")
    problems.extend(
        f"trade {trade.trade_id} is in the log, the store does not have it"
        for trade in told.values()
        if oldest is not None and trade.time_ms >= oldest  # older ones may be forgotten
    )
    books = {
        symbol: (sum(1 for _ in book.orders()), book.state_hash(), stored[symbol].state_hash())
        for symbol, book in sorted(replayed.items())
    }
    problems.extend(
        f"the book of {symbol} is not the one that follows from the log"
        for symbol, (_, follows, is_stored) in books.items()
        if follows != is_stored
    )
    return Proof(
        replay.home,
        replay.entries,
        replay.gaps,
        replay.beats,
        len(replay.live),
        len(replay.trades),
        books,
        tuple(problems[:DIFFERENCES_MAX]),
    )


def _stand(books: Mapping[str, Book], live: LiveOrder) -> None:
    if live.open and rests(live):
        books[live.order.market].add(live)
