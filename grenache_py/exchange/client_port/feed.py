"""
Subscriptions to books, to trades, and to an account's own orders and executions.

Pure. Each event is encoded once, however many listen. A subscription begins while a batch is
being sealed, right after that batch's events were staged for the others: its snapshot is the
state after the batch, and the first update it gets belongs to the next one, so nothing is
missed and nothing comes twice (docs/failure-modes.rst#f15).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from grenache_py.exchange.client_port.reports import (
    book_update,
    execution,
    execution_report,
    public_trade,
)
from grenache_py.exchange.client_port.send_queue import NOTES_MAX, SendQueue
from grenache_py.exchange.effects.batch import BookChanged, Event, Executed, OrderChanged, Traded
from grenache_py.exchange.effects.rows import ExecutionRow
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.wire.jsonrpc import notification_line

__all__ = [
    "STATUS",
    "SUBSCRIPTIONS_MAX",
    "Feed",
    "Staged",
    "Subscription",
    "book_lines",
    "execution_update",
    "order_update",
]

#: Subscriptions of one connection.
SUBSCRIPTIONS_MAX = 200

#: The subscription to the daemon's condition.
STATUS = "status"

#: Levels in one ``book.update`` line; a batch that changed more is told in several.
CHANGES_PER_LINE_MAX = 500
TRADES_PER_LINE_MAX = 200

#: Gives the trades behind a copy of an own order, oldest first.
TradesOf = Callable[[LiveOrder], Iterable[Trade]]


@attrs.define(eq=False)
class Subscription:
    """
    One connection's interest in one thing.

    Attributes:
        after: updates of an account up to this number are not told: they come from the store.
        held_back: while the store is asked for the last of them, what came meanwhile.
    """

    name: str
    to: SendQueue
    after: int = 0
    held_back: list[bytes] | None = None
    ended: bool = False


#: Notifications and who gets them, waiting for their batch to become durable.
Staged: TypeAlias = list[tuple[Subscription, bytes]]


@attrs.define
class Feed:
    """
    All subscriptions of one client port.

    A subscription is named by what it is to: ``book:BTC-USD``, ``trades:BTC-USD``,
    ``orders:alice`` (``orders:`` for the account without a name), ``executions:alice``, ``status``.

    Attributes:
        gaps: subscriptions ended because their client was too slow, ever.
    """

    markets: Mapping[str, Market]
    trades_of: TradesOf
    gaps: int = 0
    _unsettled: dict[str, list[Callable[[], None]]] = attrs.Factory(dict)
    _at_seal: dict[str, Callable[[], bytes]] = attrs.Factory(dict)
    _by_name: dict[str, dict[SendQueue, Subscription]] = attrs.Factory(dict)
    _by_client: dict[SendQueue, dict[str, Subscription]] = attrs.Factory(dict)

    def __len__(self) -> int:
        return sum(len(listeners) for listeners in self._by_name.values())

    def begin(self, name: str, to: SendQueue, after: int = 0) -> Subscription:
        """
        Send what happens from now on to ``to``, instead of what it was subscribed to before.

        None of it leaves before ``to.open(name)``: its answer comes first.

        Args:
            after: see `Subscription`.
        """
        self.end(name, to)
        to.hold(name)
        subscription = Subscription(name, to, after)
        self._by_name.setdefault(name, {})[to] = subscription
        self._by_client.setdefault(to, {})[name] = subscription
        return subscription

    def when_settled(self, order_id: str, call: Callable[[], None]) -> None:
        """
        Call once nothing of an order is in doubt any more, or the daemon cannot say so.

        That is not durable by then, but part of the batch that is being made.
        """
        self._unsettled.setdefault(order_id, []).append(call)

    def waits_no_more(self, order_id: str, call: Callable[[], None]) -> None:
        """Do not call: it took too long."""
        waiting = self._unsettled.get(order_id, [])
        if call in waiting:
            waiting.remove(call)
        if not waiting:
            self._unsettled.pop(order_id, None)

    def _settled(self, order_id: str) -> None:
        for call in self._unsettled.pop(order_id, ()):
            call()

    def names(self, to: SendQueue) -> Collection[str]:
        """What ``to`` is subscribed to."""
        return self._by_client.get(to, {}).keys()

    def hold_back(self, subscription: Subscription, after: int) -> None:
        """Keep updates beyond ``after`` until `caught_up`."""
        subscription.after, subscription.held_back = after, []

    def caught_up(self, subscription: Subscription) -> list[bytes]:
        """Hold back no more; return what was."""
        held_back, subscription.held_back = subscription.held_back, None
        return held_back or []

    def end(self, name: str, to: SendQueue) -> bool:
        """End a subscription; False if there was none."""
        subscription = self._by_client.get(to, {}).pop(name, None)
        if subscription is None:
            return False
        subscription.ended = True
        if not self._by_client[to]:
            del self._by_client[to]
        listeners = self._by_name[name]
        del listeners[to]
        if not listeners:
            del self._by_name[name]
        to.drop(name)
        return True

    def gap(self, subscription: Subscription) -> None:
        """End a subscription whose client cannot be told everything."""
        if not subscription.ended:
            subscription.to.gap(subscription.name)
            self.end(subscription.name, subscription.to)
            self.gaps += 1

    def left(self, to: SendQueue) -> None:
        """End all of a connection's subscriptions: it is gone."""
        for name in list(self.names(to)):
            self.end(name, to)

    def gap_all(self) -> set[SendQueue]:
        """
        End every subscription with a ``gap``: what was said may not be true any more.

        Each status stands for itself, so that subscription goes on.
        """
        for order_id in list(self._unsettled):
            self._settled(order_id)
        clients = set(self._by_client)
        for to in clients:
            for name in [name for name in self.names(to) if name != STATUS]:
                to.gap(name)
                self.end(name, to)
        return clients

    def follows(self, account: str) -> bool:
        """Whether somebody has to be told of the orders of ``account`` from now on."""
        if not self._by_name:
            return bool(self._unsettled)
        return bool(self._unsettled) or f"orders:{account}" in self._by_name

    def tell_at_seal(self, name: str, make: Callable[[], bytes]) -> bool:
        """
        Have what ``make`` returns told when the batch under way is complete.

        Returns:
            False when nobody is subscribed to ``name``.
        """
        if name in self._by_name:
            self._at_seal[name] = make
        return name in self._by_name

    def stage(self, events: Collection[Event]) -> Staged:
        """Encode ``events`` for those who listen now; `release` them once they are durable."""
        staged: Staged = []
        if self._unsettled:
            for event in events:
                if isinstance(event, OrderChanged) and not event.order.reserved:
                    self._settled(event.order.order_id)
        if not self._by_name:
            return staged
        while self._at_seal:
            name, make = self._at_seal.popitem()
            if name in self._by_name:
                self._stage(staged, name, make())
        trades: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            if isinstance(event, OrderChanged):
                name = f"orders:{event.account}"
                if name in self._by_name:
                    own = self.trades_of(event.order)
                    market_of = self.markets[event.order.order.market]
                    line = order_update(event.account, event.seq, event.order, market_of, own)
                    self._stage(staged, name, line, event.seq)
            elif isinstance(event, Executed):
                row = event.row
                name = f"executions:{row.account}"
                if name in self._by_name:
                    line = execution_update(row, self.markets[row.market])
                    self._stage(staged, name, line, row.seq)
            elif isinstance(event, Traded):
                market = event.trade.market
                if f"trades:{market}" in self._by_name and market in self.markets:
                    trade = public_trade(event.trade, self.markets[market])
                    trades.setdefault(market, []).append(trade)
            elif f"book:{event.market}" in self._by_name:
                for line in book_lines(event, self.markets[event.market]):
                    self._stage(staged, f"book:{event.market}", line)
        for market, new in trades.items():
            for start in range(0, len(new), TRADES_PER_LINE_MAX):
                part = new[start : start + TRADES_PER_LINE_MAX]
                line = notification_line("trades.update", {"market": market, "trades": part})
                self._stage(staged, f"trades:{market}", line)
        return staged

    def _stage(self, staged: Staged, name: str, line: bytes, seq: int = 1) -> None:
        listeners = self._by_name[name].values()
        staged.extend([(each, line) for each in listeners if seq > each.after])

    def release(self, staged: Staged) -> set[SendQueue]:
        """Queue what was staged, but for subscriptions that ended since; return whose grew."""
        told: set[SendQueue] = set()
        for subscription, line in staged:
            if subscription.ended:
                continue
            to, name = subscription.to, subscription.name
            held_back = subscription.held_back
            if held_back is not None:
                if len(held_back) < NOTES_MAX:
                    held_back.append(line)
                    continue
                to.gap(name)
            elif to.note(name, line):
                told.add(to)
                continue
            told.add(to)
            self.end(name, to)
            self.gaps += 1
        return told


def book_lines(event: BookChanged, market: Market) -> Iterable[bytes]:
    """
    An event as ``book.update`` lines, all of one ``seq``.

    When there are several, the first has the event's ``prev_seq`` and the others their own
    ``seq`` for it; the checksum holds once the last was applied, and only that one has it.
    """
    changes = event.changes
    for start in range(0, len(changes), CHANGES_PER_LINE_MAX):
        update = book_update(event, changes[start : start + CHANGES_PER_LINE_MAX], market)
        if start:
            update["prev_seq"] = event.seq
        if start + CHANGES_PER_LINE_MAX < len(changes):
            update["checksum"] = None
        yield notification_line("book.update", update)


def execution_update(row: ExecutionRow, market: Market) -> bytes:
    """One ``executions.update`` line; its ``seq`` is gap-free within the account."""
    return notification_line("executions.update", execution(row, market))


def order_update(
    account: str,
    seq: int,
    live: LiveOrder,
    market: Market,
    trades: Iterable[Trade],
) -> bytes:
    """One ``orders.update`` line; ``seq`` is gap-free within the account."""
    report = execution_report(live, market, trades)
    return notification_line("orders.update", {"account": account, "seq": seq, "order": report})
