"""
This peer's own orders: accepting, cancelling, replacing, expiring them.

Pure. See docs/design/distributed-core.rst#own-orders. Only an order's home ever changes it, and
here is where a home does. Matching against own orders happens at once, in the same transaction;
what would trade with other homes' orders is reserved and handed to ``fills/taker.py``. The maker's
side of fills is ``fills/maker.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import attrs

from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.home.acceptance import (
    check_new,
    identified,
    open_order,
    placed_before,
    unknown_market,
)
from grenache_py.exchange.home.dead_man_switches import DeadManSwitches
from grenache_py.exchange.home.expiries import Expiries
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.transition import OwnOrder, Transition
from grenache_py.exchange.market.changes import close, lower, replacement
from grenache_py.exchange.market.matching import (
    Fill,
    Leg,
    MatchResult,
    local_trade_id,
    match,
)
from grenache_py.exchange.market.order import ClosedReason, LiveOrder, NewOrder, Trade
from grenache_py.exchange.market.stops import Stops, reached
from grenache_py.exchange.market.sweep import crossed
from grenache_py.exchange.signed_log.entries import Stamp
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock

__all__ = ["OwnOrders", "Reserve"]

#: Orders closed by one log entry, so that no entry outgrows a line.
CLOSED_PER_STEP_MAX = 32
#: Own orders in a row that a sweep finds nothing for before it ends.
IDLE_MATCHES_MAX = 32


class Reserve(Protocol):
    """The taker's side of fills, as far as own orders need it."""

    def allowance(self, maker: LiveOrder) -> int:
        """Lots of a remote order that may be asked for now; 0 to leave it alone."""

    def reserve(self, taker: OwnOrder, legs: Sequence[Leg], now: float) -> None:
        """Turn legs, whose lots are reserved already, into fills to be asked for."""


@attrs.define
class OwnOrders:
    """
    Own orders of all markets.

    Attributes:
        ledger: where the orders are kept and each change is finished.
        clock: this home's hybrid clock; it gives orders their place in time.
        reserve: the taker's side of fills.
        live_orders_max: open own orders, all markets together; more are refused.
        stops: by market, the stop orders that wait for their price.
        switches: accounts whose orders are cancelled unless they say that they are there.
    """

    ledger: Ledger
    clock: HybridClock
    reserve: Reserve
    live_orders_max: int = 200_000
    stops: dict[str, Stops] = attrs.Factory(dict)
    switches: DeadManSwitches = attrs.field(init=False)
    _expiries: Expiries = attrs.Factory(Expiries)

    @switches.default
    def _switches(self) -> DeadManSwitches:
        return DeadManSwitches(self.ledger.outbox)

    def place(self, new: NewOrder, now: float) -> LiveOrder:
        """
        Accept an order, match it, and let the rest of it stand.

        Placing the same order again under the same ``client_order_id`` returns the first one.

        Raises:
            OrderError: it was refused, and nothing happened.
        """
        ledger = self.ledger
        market = ledger.markets.get(new.market)
        if market is None:
            raise unknown_market(new.market, list(ledger.markets))
        if new.client_order_id:
            earlier = ledger.by_client_id.get((new.account, new.client_order_id))
            if earlier is not None:
                return placed_before(ledger, earlier, new)
        check_new(ledger, market, new, self.clock.read_ms(now))
        self._must_have_room()
        stamp = self.clock.stamp(now)
        live = identified(new, market, ledger.home, stamp)
        if new.stop_ticks is not None and not self._stop_reached(new):
            self._wait(live, now, stamp)
        else:
            self._enter(live, now, stamp)
        if new.expires_ms is not None:
            self._expiries.add(new.expires_ms, live.order_id)
        self.fire_stops(new.market, now)
        return live

    def _must_have_room(self) -> None:
        if len(self.ledger.own) >= self.live_orders_max:
            raise OrderError(
                BUSY,
                f"this peer already holds {self.live_orders_max} open orders, its limit;"
                " cancel some, or place the order at another peer",
            )

    def _enter(
        self,
        live: LiveOrder,
        now: float,
        stamp: Stamp | None = None,
        *,
        accepted: bool = False,
        replaces: LiveOrder | None = None,
    ) -> None:
        """
        Publish ``live``, match it, and close the order it replaces, all in one step.

        Raises:
            OrderError: it was refused; it is not in the ledger and nothing changed.
        """
        outcome = self._match(live, accepted)
        own = self.ledger.own.get(live.order_id) or self.ledger.admit(live)
        transition = Transition(publish=live)
        transition.touch(live)
        if replaces is not None:
            close(self.ledger.books[replaces.order.market], replaces, "cancelled")
            transition.touch(replaces)
        self._settle(live, outcome, transition, now)
        if outcome.legs:
            self.reserve.reserve(own, outcome.legs, now)
        self.ledger.finish(transition, now, stamp)

    def _match(self, live: LiveOrder, accepted: bool) -> MatchResult:
        book = self.ledger.books[live.order.market]
        return match(book, live, self.ledger.home, self.reserve.allowance, accepted=accepted)

    def _settle(
        self, taker: LiveOrder, outcome: MatchResult, transition: Transition, now: float
    ) -> None:
        """Write down the local part of an outcome: trades, makers, self-trade cancels."""
        if not outcome.fills and not outcome.cancelled:
            return
        time_ms = self.clock.read_ms(now)
        own = self.ledger.own[taker.order_id]
        for fill in outcome.fills:
            own.fill_seq += 1
            transition.trades.append(self._local_trade(fill, own, time_ms))
            transition.touch(fill.maker)
            transition.touch(taker)
        for cancelled in outcome.cancelled:
            transition.touch(cancelled)

    def _local_trade(self, fill: Fill, taker: OwnOrder, time_ms: int) -> Trade:
        maker, live = fill.maker, taker.live
        return Trade(
            local_trade_id(live.order_id, maker.order_id, taker.fill_seq),
            live.order.market,
            maker.price_ticks,
            fill.lots,
            live.side,
            maker.order_id,
            live.order_id,
            maker.home,
            live.home,
            time_ms,
        )

    def sweep(self, market: str, now: float) -> None:
        """
        Resolve every crossed pair of this market whose younger order is an own one
        (docs/design/fills.rst#role).

        A post-only order never takes: it is cancelled, as it would have been refused had the
        older order been known.
        """
        book, idle = self.ledger.books[market], 0
        for live in crossed(book, self.ledger.home, self.reserve.allowance):
            if not live.open:
                continue
            if idle == IDLE_MATCHES_MAX:
                break  # those before it took all there was; a later sweep begins with them
            before = (live.open, live.reserved)
            outcome = self._match(live, accepted=True)
            if (live.open, live.reserved) == before and not outcome.cancelled:
                idle += 1
                continue
            idle = 0
            transition = Transition()
            transition.touch(live)
            self._settle(live, outcome, transition, now)
            if outcome.legs:
                self.reserve.reserve(self.ledger.own[live.order_id], outcome.legs, now)
            self.ledger.finish(transition, now)
        self.fire_stops(market, now)

    def cancel(self, order_id: str, now: float, account: str | None = None) -> LiveOrder:
        """
        Close what is open of an own order; what is in doubt closes when its answer comes.

        Raises:
            OrderError: unknown here (or another account's), or closed already.
        """
        live = open_order(self.ledger, order_id, account)
        self._close([live], "cancelled", now)
        return live

    def cancel_all(
        self, now: float, market: str | None = None, account: str | None = None
    ) -> list[LiveOrder]:
        """Cancel every own order of a market and an account (None: of all)."""
        lives = [
            own.live
            for own in self.ledger.own.values()
            if (market is None or own.live.order.market == market)
            and (account is None or own.live.account == account)
            and not own.live.reason
        ]
        self._close_all([live.order_id for live in lives], "cancelled", now)
        return lives

    def replace(
        self,
        order_id: str,
        now: float,
        quantity_lots: int | None = None,
        price_ticks: int | None = None,
        account: str | None = None,
    ) -> LiveOrder:
        """
        Change an order's total quantity, its price, or both.

        Less quantity at the same price takes the difference off and keeps time priority. Anything
        else cancels the order and places a new one, with a new id and the old client id, for
        what is not filled yet.

        Raises:
            OrderError: unknown, closed, in doubt, or the new values make no sense.
        """
        live = open_order(self.ledger, order_id, account)
        new = replacement(live, quantity_lots, price_ticks)
        if isinstance(new, int):
            lower(self.ledger.books[live.order.market], live, new)
            self._changed([live], now)
            return live
        market = self.ledger.markets[new.market]
        check_new(self.ledger, market, new, self.clock.read_ms(now), live.order.price_ticks)
        if live.reserved:
            self._must_have_room()  # the old one stays until its answer comes
        stamp = self.clock.stamp(now)
        successor = identified(new, market, self.ledger.home, stamp)
        successor.used_before = live.used_before + live.reserved + live.filled
        if live.triggered:
            self._enter(successor, now, stamp, replaces=live)
        else:
            self._wait(successor, now, stamp)
            self._close([live], "cancelled", now)
        if new.expires_ms is not None:
            self._expiries.add(new.expires_ms, successor.order_id)
        self.fire_stops(new.market, now)
        return successor

    def _close(self, lives: list[LiveOrder], reason: ClosedReason, now: float) -> None:
        for live in lives:
            if not live.triggered:
                self._stops(live.order.market).remove(live)
            close(self.ledger.books[live.order.market], live, reason)
        self._changed(lives, now)

    def _changed(self, lives: list[LiveOrder], now: float) -> None:
        """Finish a step that trades nothing."""
        transition = Transition()
        for live in lives:
            transition.touch(live)
            if live.triggered:
                self.ledger.books[live.order.market].touched(live)
        self.ledger.finish(transition, now)

    def cancel_after(self, account: str, market: str | None, ms: int, now: float) -> int | None:
        """
        Cancel an account's orders (of one market) in ``ms``, unless called again; 0: do not.

        Returns:
            When, by this home's clock; None: not at all.

        Raises:
            OrderError: too many accounts did this.
        """
        deadline_ms = self.clock.read_ms(now) + ms if ms else 0
        self.switches.set(account, market or "", deadline_ms)
        return deadline_ms or None

    def expire(self, now: float) -> None:
        """
        Close every good-till-date order whose time has come, by this home's clock
        (docs/design/distributed-core.rst#own-orders), and the orders of accounts that are silent
        and of connections that are lost.
        """
        if self.ledger.tied.cut:
            self._close_all(list(self.ledger.tied.cut), "cancelled", now)
            self.ledger.tied.cut.clear()
        if self.switches.next_ms is not None:
            for account, market in self.switches.due(self.clock.read_ms(now)):
                self.cancel_all(now, market or None, account)
        if not self._expiries.heap:
            return
        self._close_all(self._expiries.due(self.clock.read_ms(now)), "expired", now)

    def _close_all(self, order_ids: Iterable[str], reason: ClosedReason, now: float) -> None:
        """Close those that are open still."""
        found = (self.ledger.own.get(order_id) for order_id in order_ids)
        lives = [own.live for own in found if own is not None and not own.live.reason]
        for start in range(0, len(lives), CLOSED_PER_STEP_MAX):
            self._close(lives[start : start + CLOSED_PER_STEP_MAX], reason, now)

    def next_expiry(self) -> float | None:
        """
        When ``expire`` next has work, in seconds, or None. A clock that rests does not get there
        by itself: ``ExchangeNode.tick`` looks every second, whatever this says.
        """
        if self.clock.resting:
            return None
        times_ms = filter(None, (self._expiries.next_ms(), self.switches.next_ms))
        next_ms = min(times_ms, default=None)
        return None if next_ms is None else next_ms / 1000

    def _stops(self, market: str) -> Stops:
        stops = self.stops.get(market)
        if stops is None:
            stops = self.stops[market] = Stops()
        return stops

    def _stop_reached(self, new: NewOrder) -> bool:
        last = self.ledger.tape.last.get(new.market)
        return last is not None and reached(new.side, new.stop_ticks or 0, last.price_ticks)

    def _wait(self, live: LiveOrder, now: float, stamp: Stamp) -> None:
        """Keep a stop order private until its price trades: durable here, unknown to others."""
        live.triggered = False
        self.ledger.admit(live)
        self._stops(live.order.market).add(live)
        transition = Transition()
        transition.touch(live)
        self.ledger.finish(transition, now, stamp)

    def fire_stops(self, market: str, now: float) -> None:
        """Enter the stop orders that new trades have reached, and those that these reach."""
        new_trades = self.ledger.tape.new_trades
        if market not in new_trades:
            return
        trades, stops = new_trades[market], self.stops.get(market)
        while trades:
            trade = trades.popleft()
            while stops:
                # A home that was forgotten tells its old trades again when it is heard again.
                live = stops.pop_reached(trade.price_ticks, trade.time_ms + AHEAD_MS_MAX)
                if live is None:
                    break
                stamp = self.clock.stamp(now)
                # It gets its place in time now: until now nobody could trade with it.
                live.key = (*stamp, live.order_id)
                live.triggered = True
                self._enter(live, now, stamp, accepted=True)
        del new_trades[market]

    def restore(self) -> None:
        """Take up expiries and stops of the orders the ledger restored."""
        for own in self.ledger.own.values():
            live = own.live
            if not live.triggered:
                self._stops(live.order.market).add(live)
            if live.order.expires_ms is not None and not live.reason:
                self._expiries.add(live.order.expires_ms, live.order_id)
        tape = self.ledger.tape
        for market in self.stops:
            last = tape.last.get(market)
            if last is not None:
                # It may have been traded while this home might sign nothing, so that no stop fired.
                tape.new_trades.setdefault(market, deque()).append(last)
