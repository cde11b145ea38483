"""
A home's log, matched again by the simplest rule there is: docs/design/distributed-core.rst#i15.

Own orders standing in a list; whoever came last meets the best price first, at one price the
oldest; what it meets of its own account is dealt with as it asked for (O7, docs/matching.rst). It
shares no code with the exchange, and sees nothing but what the home made durable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import attrs
from sortedcontainers import SortedDict

from grenache_py.exchange.effects.rows import OrderRow
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.signed_log.entries import Entry, OrderBody

__all__ = ["Broken", "LocalBooks"]


class Broken(AssertionError):
    """The home did not match as it must."""


@attrs.define(eq=False)
class _Standing:
    """An own order as the log tells of it; ``open`` in lots."""

    body: OrderBody
    account: str
    price: int | None
    key: tuple[int, int, str]
    open: int
    policy: str = "newest"
    new: bool = True
    own_met: dict[str, _Standing] = attrs.Factory(dict)  # of its account, to be cancelled

    @property
    def rank(self) -> tuple[int, tuple[int, int, str]]:
        """The smallest is met first."""
        price = self.price or 0
        return (price if self.body.side == "sell" else -price), self.key


class LocalBooks:
    """
    One home's own orders, followed through its log, entry by entry.

    Attributes:
        sometimes: what happened at all.
    """

    def __init__(self, markets: Mapping[str, Market], sometimes: dict[str, int]) -> None:
        self._markets = markets
        self.sometimes = sometimes
        self._orders: dict[str, _Standing] = {}
        # (market, side) -> rank -> order, those with something open
        self._sides: dict[tuple[str, str], SortedDict] = defaultdict(SortedDict)

    def follow(self, entry: Entry, private: Mapping[str, OrderRow]) -> int:
        """
        Take the log's next entry.

        Args:
            private: the rows of orders, for the account and self-trade policy, which the log
                does not tell.

        Returns:
            how many trades between own orders it held.

        Raises:
            Broken: one of them is not the one to make, or one was left out.
        """
        if entry.order is not None:
            body = entry.order
            market, row = self._markets[body.market], private.get(body.id)
            self._orders[body.id] = _Standing(
                body,
                row.account if row else "",
                None if body.price is None else market.price_ticks(body.price),
                (*entry.time, body.id),
                0,
                row.self_trade if row else "newest",
            )
        taker: _Standing | None = None
        part_left = False
        trades = 0
        for trade in entry.trades:
            if trade.maker_home != entry.home:
                continue
            lots = self._markets[trade.market].quantity_lots(trade.quantity)
            maker = self._orders[trade.maker]
            if trade.taker_home != entry.home:
                self._stand(maker, max(0, maker.open - lots))
                continue
            trades += 1
            before, taker = taker, self._orders[trade.taker]
            if part_left and before is taker:
                raise Broken(f"{trade.taker} went on before its maker was used up: {entry}")
            best, own = self._met_by(taker)
            if own and taker.policy != "oldest":
                raise Broken(f"O7: {trade.taker} traded past its own {own[0].body}: {entry}")
            taker.own_met.update((other.body.id, other) for other in own)
            if best is not maker:
                raise Broken(
                    f"{trade.taker} traded with {trade.maker}, not with the best,"
                    f" {best and best.body}: {entry}"
                )
            if lots > maker.open:
                raise Broken(f"{trade.maker} traded more than stood open: {entry}")
            self._stand(maker, maker.open - lots)
            part_left = maker.open > 0
        came: list[_Standing] = []
        for state in entry.states:
            order = self._orders.get(state.order_id)
            if order is None:
                raise Broken(f"a state of {state.order_id}, which was never published: {entry}")
            market = self._markets[order.body.market]
            open_lots = market.quantity_lots(state.open) if state.open != "0" else 0
            if order.new:
                order.new = False
                met, _ = self._met_by(order)
                if open_lots and met is not None and not order.body.post_only:
                    raise Broken(f"{state.order_id} stands, and could trade with {met.body}")
                came.append(order)
            self._stand(order, open_lots)
            if state.open == state.reserved == "0":
                del self._orders[state.order_id]
        for order in came:
            self._self_trade(order, entry)
        return trades

    def _self_trade(self, taker: _Standing, entry: Entry) -> None:
        """O7: ``taker`` came with this entry; it and its account's orders are as it asked for."""
        cancelled = {state.order_id for state in entry.states if state.reason == "cancelled"}
        others = cancelled - {taker.body.id}
        if taker.policy == "oldest":
            standing = [other for other in taker.own_met.values() if other.open]
            if standing:
                raise Broken(f"O7: {standing[0].body} was in the way, and stands: {entry}")
            rests = taker.body.price and taker.body.time_in_force in ("gtc", "gtd")
            if taker.body.id in cancelled and rests and not taker.body.post_only:
                raise Broken(f"O7: {taker.body} was to go on, and is cancelled: {entry}")
        elif taker.policy == "newest" and len(others) > 1:  # one may be what it replaces
            raise Broken(f"O7: {taker.body} was to give way, not {others}: {entry}")
        taker.own_met.clear()
        _, own = self._met_by(taker)
        if taker.open and own and not taker.body.post_only:
            raise Broken(f"O7: {taker.body} stands with its own {own[0].body}: {entry}")
        if others and entry.order is not None and taker.account:
            self.sometimes[f"cancelled beside a new order: {taker.policy}"] += 1

    def _stand(self, order: _Standing, open_lots: int) -> None:
        side = self._sides[order.body.market, order.body.side]
        order.open = open_lots
        if open_lots:
            side[order.rank] = order
        else:
            side.pop(order.rank, None)

    def _met_by(self, taker: _Standing) -> tuple[_Standing | None, list[_Standing]]:
        """
        The own order that ``taker`` would trade with next, and those of its account before it.
        """
        buys = taker.body.side == "buy"
        own: list[_Standing] = []
        for other in self._sides[taker.body.market, "sell" if buys else "buy"].values():
            if taker.price is not None and (
                other.price > taker.price if buys else other.price < taker.price
            ):
                break
            if other.key < taker.key:
                if not (taker.account and other.account == taker.account):
                    return other, own
                own.append(other)
        return None, own
