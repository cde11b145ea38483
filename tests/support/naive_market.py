"""
A market that is slow and obviously right: one list of orders, sorted whenever it is looked at.

It knows the rules of ``matching.py`` and shares none of its code; the property tests run every
command on both and compare what happened, order by order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import attrs

from grenache_py.exchange.market.order import NewOrder


class Refused(Exception):
    """
    The market does not take this order; ``code`` is a code of docs/client-protocol.rst#errors.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@attrs.define(eq=False)
class Naive:
    """One order and everything about it."""

    id: str
    side: str
    price: int | None
    key: tuple[int, int, str]
    quantity: int
    open: int
    tif: str
    post_only: bool = False
    expires: int | None = None
    stop: int | None = None
    account: str = ""
    self_trade: str = "newest"
    home: str = "local"
    reserved: int = 0
    filled: int = 0
    value: int = 0
    reason: str = ""
    waiting: bool = False
    hidden: bool = False

    @property
    def stands(self) -> bool:
        return self.open > 0 and not self.waiting and not self.hidden and self.price is not None


class NaiveMarket:
    """
    Attributes:
        orders: every order ever, in the order they came.
        trades: (maker, taker, price, lots), every one ever.
        legs: (taker, maker, lots) of every request to another home, ever.
    """

    def __init__(self, protection_bp: int, room: Callable[[str], int] | None = None) -> None:
        self.orders: dict[str, Naive] = {}
        self.trades: list[tuple[str, str, int, int]] = []
        self.legs: list[tuple[str, str, int]] = []
        self.last: int | None = None
        self.protection_bp = protection_bp
        self.room = room
        self.count = 0

    # -- looking ----------------------------------------------------------------------------

    def queue(self, side: str) -> list[Naive]:
        """What stands on ``side``, best price first, then oldest first."""
        standing = [order for order in self.orders.values() if order.side == side and order.stands]
        best_first = -1 if side == "buy" else 1
        return sorted(standing, key=lambda order: (best_first * order.price, order.key))

    def levels(self, side: str) -> list[tuple[int, int, int]]:
        levels: list[tuple[int, int, int]] = []
        for price in dict.fromkeys(order.price for order in self.queue(side)):
            at = [order.open for order in self.queue(side) if order.price == price]
            levels.append((price, sum(at), len(at)))
        return levels

    def state_hash(self, symbol: str) -> str:
        text = symbol
        for order in (*self.queue("buy"), *self.queue("sell")):
            text += f"{order.side} {order.price} {order.open} {order.key} {order.home}\n"
        return hashlib.sha256(text.encode()).hexdigest()

    def makers(self, taker: Naive) -> list[Naive]:
        """Older orders that ``taker`` may trade with, in the order it meets them."""
        queue = self.queue("sell" if taker.side == "buy" else "buy")
        if not queue:
            return []
        limit = taker.price
        if limit is None:
            best = queue[0].price
            margin = best * self.protection_bp // 10_000
            limit = best + margin if taker.side == "buy" else max(best - margin, 1)
        return [
            maker
            for maker in queue
            if maker.key < taker.key
            and (maker.price <= limit if taker.side == "buy" else maker.price >= limit)
        ]

    def may_ask(self, maker: Naive) -> int:
        return min(self.room(maker.id), maker.open) if self.room else 0

    # -- changing ---------------------------------------------------------------------------

    def place(self, new: NewOrder, now: int, instead_of: str | None = None) -> Naive:
        self.count += 1
        order_id = f"{self.count:032x}"
        order = Naive(
            order_id,
            new.side,
            new.price_ticks,
            (now, self.count, order_id),
            new.quantity_lots,
            new.quantity_lots,
            new.time_in_force,
            new.post_only,
            new.expires_ms,
            new.stop_ticks,
            new.account,
            new.self_trade,
        )
        already = len(self.trades)
        if order.stop is not None and not self.triggers(order, self.last):
            order.waiting = True
            self.orders[order_id] = order
        else:
            self.enter(order, refuse=True)
        if instead_of is not None:
            self.cancel(instead_of)
        due: list[Naive] = []
        while True:
            for _, _, price, _ in self.trades[already:]:
                reached = [o for o in self.orders.values() if o.waiting and o not in due]
                reached = [o for o in reached if self.triggers(o, price)]
                reached.sort(key=lambda o: (o.side, o.stop if o.side == "buy" else -o.stop, o.key))
                due += reached
            already = len(self.trades)
            if not due:
                return order
            stop = due.pop(0)
            self.count += 1
            stop.key = (now, self.count, stop.id)
            stop.waiting = False
            self.enter(stop, refuse=False)

    @staticmethod
    def triggers(order: Naive, last: int | None) -> bool:
        if last is None:
            return False
        return last >= order.stop if order.side == "buy" else last <= order.stop

    def enter(self, taker: Naive, refuse: bool) -> None:
        """Match ``taker``; when it may not be refused, what is wrong cancels it."""
        makers = self.makers(taker)
        if taker.post_only and makers:
            return self.turn_away(taker, refuse, -32003)
        if taker.tif == "fok":
            home = self.one_home(taker, makers)
            if home is None:
                return self.turn_away(taker, refuse, -32004)
            makers = [maker for maker in makers if maker.home == home]
        done = False
        asked: dict[str, int] = {}
        for maker in makers:
            if not taker.open:
                break
            if maker.home != "local":
                lots = min(self.may_ask(maker), taker.open)
                if lots > 0 and asked.get(maker.home, 0) < 32:
                    asked[maker.home] = asked.get(maker.home, 0) + 1
                    taker.open -= lots
                    taker.reserved += lots
                    self.legs.append((taker.id, maker.id, lots))
                    done = True
            elif taker.account and maker.account == taker.account:
                if taker.self_trade in ("oldest", "both"):
                    maker.open, maker.reason = 0, "cancelled"
                if taker.self_trade == "newest" and refuse and not done:
                    raise Refused(-32012)
                if taker.self_trade in ("newest", "both"):
                    taker.open, taker.reason = 0, "cancelled"
            else:
                lots = min(maker.open, taker.open)
                for order in (maker, taker):
                    order.open -= lots
                    order.filled += lots
                    order.value += maker.price * lots
                self.trades.append((maker.id, taker.id, maker.price, lots))
                self.last = maker.price
                done = True
        if taker.open and (taker.tif in ("ioc", "fok") or taker.price is None):
            taker.open, taker.reason = 0, "cancelled"
        self.orders[taker.id] = taker
        return None

    def turn_away(self, taker: Naive, refuse: bool, code: int) -> None:
        if refuse:
            raise Refused(code)
        taker.open, taker.reason = 0, "cancelled"
        self.orders[taker.id] = taker

    def one_home(self, taker: Naive, makers: list[Naive]) -> str | None:
        """The first home to reach the taker's quantity when the makers are walked in turn."""
        found: dict[str, list[int]] = {}
        ended = False
        for maker in makers:
            if maker.home == "local" and taker.account and maker.account == taker.account:
                ended = ended or taker.self_trade != "oldest"
                continue
            lots = maker.open if maker.home == "local" else self.may_ask(maker)
            if lots <= 0 or (maker.home == "local" and ended):
                continue
            amounts = found.setdefault(maker.home, [])
            if maker.home == "local" or len(amounts) < 32:
                amounts.append(lots)
            if sum(amounts) >= taker.open:
                return maker.home
        return None

    def cancel(self, order_id: str, reason: str = "cancelled") -> None:
        order = self.orders.get(order_id)
        if order is None or not order.open:
            raise Refused(-32001)
        order.open, order.reason, order.waiting = 0, reason, False

    def replace(self, order_id: str, now: int, quantity: int | None, price: int | None) -> Naive:
        old = self.orders.get(order_id)
        if old is None or not old.open:
            raise Refused(-32001)
        whole = old.open + old.reserved + old.filled
        quantity = whole if quantity is None else quantity
        left = quantity - old.reserved - old.filled
        if left <= 0 or (price is not None and old.price is None):
            raise Refused(-32602)
        if quantity <= whole and price in (None, old.price):
            old.open = left
            return old
        kind: Any = "limit"
        if old.waiting:
            kind = "stop" if old.price is None else "stop_limit"
        new = NewOrder(
            "BTC-USD",
            old.side,  # type: ignore[arg-type]
            left,
            old.price if price is None else price,
            kind,
            old.tif,  # type: ignore[arg-type]
            old.stop if old.waiting else None,
            old.post_only,
            old.expires,
            old.account,
            "",
            old.self_trade,  # type: ignore[arg-type]
        )
        if new.expires_ms is not None and new.expires_ms <= now:
            raise Refused(-32602)
        return self.place(new, now, instead_of=order_id)

    def expire(self, now: int) -> None:
        for order in self.orders.values():
            if order.open and order.expires is not None and order.expires <= now:
                self.cancel(order.id, "expired")
