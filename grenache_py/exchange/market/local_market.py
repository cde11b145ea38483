"""
One market at one home and nothing else: no log, no other peers.

Pure. The same functions that ``own_orders.py`` runs under a signed log, in a form that replay, the
comparison with a naive book and the benchmark can drive. Ids and keys are counted, so the same
commands always give the same orders and trades.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import NamedTuple

from grenache_py.exchange.errors import UNKNOWN_ORDER, OrderError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.changes import close, lower, replacement
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.matching import MatchResult, match
from grenache_py.exchange.market.order import ClosedReason, LiveOrder, NewOrder
from grenache_py.exchange.market.stops import Stops, reached

__all__ = ["Execution", "LocalMarket"]


class Execution(NamedTuple):
    """
    What one command did.

    Attributes:
        order: the order that was placed.
        outcomes: each order that entered the market and what matching did: ``order`` first
            (unless it is a stop that waits), then the stops it triggered, in turn.
    """

    order: LiveOrder
    outcomes: list[tuple[LiveOrder, MatchResult]]


class LocalMarket:
    """
    Place, cancel, replace and expire orders of one market.

    Attributes:
        live: every order that is open or waits for its trigger, by id.
        last_ticks: price of the last trade; None before the first.
    """

    def __init__(self, market: Market, home: str = "local") -> None:
        self.market = market
        self.home = home
        self.book = Book(market)
        self.stops = Stops()
        self.live: dict[str, LiveOrder] = {}
        self.last_ticks: int | None = None
        self._count = 0
        self._expiries: list[tuple[int, str]] = []

    def place(self, new: NewOrder, now_ms: int) -> Execution:
        """
        Accept an order and let it, and what it triggers, trade.

        Raises:
            OrderError: refused; nothing happened.
        """
        return self._place(new, now_ms, None)

    def _place(self, new: NewOrder, now_ms: int, replaced: str | None) -> Execution:
        self.market.check(new, now_ms)
        live = self._order(new, now_ms)
        outcomes: list[tuple[LiveOrder, MatchResult]] = []
        if new.stop_ticks is not None and not (
            self.last_ticks is not None and reached(new.side, new.stop_ticks, self.last_ticks)
        ):
            live.triggered = False
            self.live[live.order_id] = live
            self.stops.add(live)
        else:
            outcomes.append((live, self.submit(live)))
        # After the last chance to refuse the new order, before anything else may trade: the
        # old one and the new one together never trade more than was asked for.
        if replaced is not None:
            self.cancel(replaced)
        self._trigger(outcomes, now_ms)
        if new.expires_ms is not None:
            heapq.heappush(self._expiries, (new.expires_ms, live.order_id))
        return Execution(live, outcomes)

    def submit(self, live: LiveOrder, *, accepted: bool = False) -> MatchResult:
        """
        Let an order that has its identity trade; triggers no stops.

        Raises:
            OrderError: see ``match``.
        """
        outcome = match(self.book, live, self.home, accepted=accepted)
        orders = self.live
        if live.open:
            orders[live.order_id] = live
        if outcome.fills:
            maker = live
            for fill in outcome.fills:
                maker = fill.maker
                if not maker.open:
                    del orders[maker.order_id]
            self.last_ticks = maker.price_ticks
        for gone in outcome.cancelled:
            orders.pop(gone.order_id, None)
        return outcome

    def cancel(self, order_id: str, reason: ClosedReason = "cancelled") -> LiveOrder:
        """
        Close what is open of an order.

        Raises:
            OrderError: -32001 no open order has this id.
        """
        live = self._find(order_id)
        del self.live[order_id]
        if not live.triggered:
            self.stops.remove(live)
        close(self.book, live, reason)
        return live

    def cancel_all(self, account: str | None = None) -> list[LiveOrder]:
        """Cancel every order, or every order of ``account``."""
        ids = [i for i, live in self.live.items() if account is None or live.account == account]
        return [self.cancel(order_id) for order_id in ids]

    def replace(
        self,
        order_id: str,
        now_ms: int,
        quantity_lots: int | None = None,
        price_ticks: int | None = None,
    ) -> Execution:
        """
        Change an order's whole quantity or its price, as ``matching.replacement`` says.

        Raises:
            OrderError: unknown, closed, or refused; the order stands as it stood.
        """
        live = self._find(order_id)
        new = replacement(live, quantity_lots, price_ticks)
        if isinstance(new, NewOrder):
            return self._place(new, now_ms, order_id)
        lower(self.book, live, new)
        return Execution(live, [])

    def expire(self, now_ms: int) -> list[LiveOrder]:
        """Close every order whose time has come."""
        expired: list[LiveOrder] = []
        while self._expiries and self._expiries[0][0] <= now_ms:
            _, order_id = heapq.heappop(self._expiries)
            if order_id in self.live:
                expired.append(self.cancel(order_id, "expired"))
        return expired

    def _order(self, new: NewOrder, now_ms: int) -> LiveOrder:
        self._count += 1
        return LiveOrder.placed(new, f"{self._count:032x}", self.home, now_ms, self._count)

    def _trigger(self, outcomes: list[tuple[LiveOrder, MatchResult]], now_ms: int) -> None:
        """Enter the stops that the fills of ``outcomes`` reach, appending what comes of it."""
        due: deque[LiveOrder] = deque()
        for _, outcome in outcomes:  # grows while it is walked
            if self.stops:
                for fill in outcome.fills:
                    last_ticks = fill.maker.price_ticks
                    while (live := self.stops.pop_reached(last_ticks)) is not None:
                        due.append(live)
            if due:
                live = due.popleft()
                self._count += 1
                live.key = (now_ms, self._count, live.order_id)
                live.triggered = True
                del self.live[live.order_id]
                outcomes.append((live, self.submit(live, accepted=True)))

    def _find(self, order_id: str) -> LiveOrder:
        live = self.live.get(order_id)
        if live is None:
            raise OrderError(UNKNOWN_ORDER, f"no open order {order_id} here")
        return live
