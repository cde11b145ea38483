"""
A home's log, matched again by the simplest rule there is: docs/design/distributed-core.rst#i15.

Own orders standing in a list; whoever came last meets the best price first, at one price the
oldest. It shares no code with the exchange, and sees nothing but what the home made durable.
"""

from __future__ import annotations

import attrs
from sortedcontainers import SortedDict

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
    new: bool = True

    @property
    def rank(self) -> tuple[int, tuple[int, int, str]]:
        """The smallest is met first."""
        price = self.price or 0
        return (price if self.body.side == "sell" else -price), self.key


class LocalBooks:
    """One home's own orders, followed through its log, entry by entry."""

    def __init__(self, markets: dict[str, Market]) -> None:
        self._markets = markets
        self._orders: dict[str, _Standing] = {}
        # (market, side) -> rank -> order, those with something open
        self._sides: dict[tuple[str, str], SortedDict] = {}

    def follow(self, entry: Entry, account_of: dict[str, str]) -> int:
        """
        Take the log's next entry.

        Args:
            account_of: the account of each order, which the log does not tell.

        Returns:
            how many trades between own orders it held.

        Raises:
            Broken: one of them is not the one to make, or one was left out.
        """
        if entry.order is not None:
            body = entry.order
            market = self._markets[body.market]
            self._orders[body.id] = _Standing(
                body,
                account_of.get(body.id, ""),
                None if body.price is None else market.price_ticks(body.price),
                (*entry.time, body.id),
                0,
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
            best = self._met_by(taker)
            if best is not maker:
                raise Broken(
                    f"{trade.taker} traded with {trade.maker}, not with the best,"
                    f" {best and best.body}: {entry}"
                )
            if lots > maker.open:
                raise Broken(f"{trade.maker} traded more than stood open: {entry}")
            self._stand(maker, maker.open - lots)
            part_left = maker.open > 0
        for state in entry.states:
            order = self._orders.get(state.order_id)
            if order is None:
                raise Broken(f"a state of {state.order_id}, which was never published: {entry}")
            market = self._markets[order.body.market]
            open_lots = market.quantity_lots(state.open) if state.open != "0" else 0
            if order.new:
                order.new = False
                met = self._met_by(order)
                if open_lots and met is not None and not order.body.post_only:
                    raise Broken(f"{state.order_id} stands, and could trade with {met.body}")
            self._stand(order, open_lots)
            if state.open == state.reserved == "0":
                del self._orders[state.order_id]
        return trades

    def _stand(self, order: _Standing, open_lots: int) -> None:
        side = self._sides.setdefault((order.body.market, order.body.side), SortedDict())
        order.open = open_lots
        if open_lots:
            side[order.rank] = order
        else:
            side.pop(order.rank, None)

    def _met_by(self, taker: _Standing) -> _Standing | None:
        """The own order that ``taker`` would trade with next."""
        buys = taker.body.side == "buy"
        for other in self._sides.get((taker.body.market, "sell" if buys else "buy"), {}).values():
            if taker.price is not None and (
                other.price > taker.price if buys else other.price < taker.price
            ):
                return None
            if other.key < taker.key and not (taker.account and other.account == taker.account):
                return other  # type: ignore[no-any-return]
        return None
