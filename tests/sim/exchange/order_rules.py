"""
The rules of docs/matching.rst for each type of order, seen in what a home makes durable.

The codes, O1 to O6, are those of docs/simulator.rst#order-rules. It shares no code with the
exchange. Prices and quantities are whole numbers of any unit, as long as it is always the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from grenache_py.exchange.effects.rows import IntentRow, OrderRow, Row, TradeRow
from tests.sim.exchange.reference import Broken

__all__ = ["FILL_DEADLINE_MS", "OrderRules", "reached"]

#: A fill's deadline is so much later than the moment it was asked for.
FILL_DEADLINE_MS = 10_000
#: Clocks of homes may differ: a trade that is older than a stop by no more may set it off.
CLOCKS_MS = 5_000
#: What of an order never changes.
_SPEC = (
    *("order_id", "market", "side", "type", "time_in_force", "price_ticks", "stop_ticks"),
    *("quantity_lots", "post_only", "expires_ms", "time_ms", "counter", "account", "self_trade"),
)
_SPEC_AT = tuple(OrderRow._fields.index(name) for name in _SPEC)


def reached(stop: OrderRow, price: int) -> bool:
    """Whether a trade at ``price`` sets ``stop`` off."""
    return price >= stop.stop_ticks if stop.side == "buy" else price <= stop.stop_ticks


class OrderRules:
    """
    All homes' own orders, followed from commit to commit.

    Attributes:
        sometimes: what happened at all.
    """

    def __init__(self, sometimes: dict[str, int]) -> None:
        self.sometimes = sometimes
        self._rows: dict[str, OrderRow] = {}
        self._entered: dict[str, int] = {}  # the commit at which an order began to match
        self._waiting: dict[str, dict[str, OrderRow]] = defaultdict(dict)  # stops, by home
        self._seen: dict[str, set[str]] = defaultdict(set)  # trades, by home
        # By home and market, the trade that was made last, as far as the home knows.
        self._last: dict[tuple[str, str], TradeRow] = {}
        self._asked: dict[str, set[str]] = defaultdict(set)  # fills, by order
        self._makers: dict[str, set[str]] = defaultdict(set)  # homes, by fill-or-kill order
        self._commits = 0
        # What was traded while a home might sign nothing, by home and market.
        self._owed: dict[str, dict[str, list[TradeRow]]] = defaultdict(dict)

    def committed(self, home: str, rows: Sequence[Row], silent: bool = False) -> None:
        """
        Follow one commit of ``home``.

        Args:
            silent: it may sign nothing now: its stops wait until it may.

        Raises:
            Broken: it breaks a rule; the message begins with its code.
        """
        self._commits += 1
        orders = [row for row in rows if type(row) is OrderRow]
        new = {order.order_id for order in orders if order.order_id not in self._rows}
        trades: dict[str, list[TradeRow]] = defaultdict(list)
        for row in rows:
            if type(row) is TradeRow and row.trade_id not in self._seen[home]:
                self._seen[home].add(row.trade_id)
                trades[row.market].append(row)
        for order in orders:
            self._order(home, order, trades)
        for of_market in trades.values():
            for trade in of_market:
                self._trade(home, trade)
        for row in rows:
            if type(row) is IntentRow:
                self._intent(row)
        for market, of_market in trades.items():
            last = self._last.get((home, market))
            known = of_market if last is None else [last, *of_market]
            self._last[home, market] = max(reversed(known), key=lambda trade: trade.time_ms)
        owed = self._owed[home]
        if silent:
            for market, of_market in trades.items():
                owed.setdefault(market, []).extend(of_market)
        elif trades:
            owed.clear()
            for stop in self._waiting[home].values():
                # One that came with this commit may have come after its trades.
                of_market = trades[stop.market]
                if stop.order_id not in new and any(
                    trade.time_ms >= stop.time_ms  # an older one says nothing of now
                    and reached(stop, trade.price_ticks)
                    for trade in of_market
                ):
                    raise Broken(f"O4: {stop} waits, its price was traded: {of_market}")

    def _order(self, home: str, row: OrderRow, trades: dict[str, list[TradeRow]]) -> None:
        before = self._rows.get(row.order_id)
        self._rows[row.order_id] = row
        if before is None:
            if row.stop_ticks and row.triggered:
                last = self._last.get((home, row.market))
                known = [] if last is None else [last]
                # It may have come before, between or after the trades of this commit: the last of
                # them let it enter at once, or one that was made since it came set it off, though
                # another home's trade has a later stamp.
                known += [
                    trade
                    for trade in trades.get(row.market, ())
                    if last is None or trade.time_ms >= min(last.time_ms, row.time_ms - CLOCKS_MS)
                ]
                if not any(reached(row, trade.price_ticks) for trade in known):
                    raise Broken(f"O4: {row} entered, the last trade has not reached it: {known}")
                self.sometimes["stop reached when placed"] += 1
            if row.triggered:
                self._entered[row.order_id] = self._commits
        else:
            self._changed(home, before, row, trades)
        if row.triggered or not row.live:
            self._waiting[home].pop(row.order_id, None)
        else:
            self._waiting[home][row.order_id] = row
        if row.time_in_force == "fok":
            if row.filled and (row.reserved or row.filled != row.total_lots):
                raise Broken(f"O2: fill-or-kill, and filled in part: {row}")
            if row.filled:
                self.sometimes["fill or kill filled"] += 1
        elif row.time_in_force == "ioc" and row.filled and not row.live:
            self.sometimes["immediate or cancel traded"] += 1
        if row.reason == "expired":
            self.sometimes["good till date expired"] += 1

    def _changed(
        self, home: str, before: OrderRow, row: OrderRow, trades: dict[str, list[TradeRow]]
    ) -> None:
        if any(before[at] != row[at] for at in _SPEC_AT):
            raise Broken(f"O6: what never changes has changed: {before} -> {row}")
        if row.total_lots > before.total_lots:
            raise Broken(f"O6: an order grew in place: {before} -> {row}")
        if row.total_lots < before.total_lots:
            self.sometimes["lowered in place"] += 1
        triggered = bool(row.triggered) and not before.triggered
        same_key = (row.key_ms, row.key_counter) == (before.key_ms, before.key_counter)
        if not same_key and not triggered:
            raise Broken(f"O6: an order changed its place in time: {before} -> {row}")
        if triggered:
            known = (*trades.get(row.market, ()), *self._owed[home].get(row.market, ()))
            if not any(
                reached(row, trade.price_ticks) and trade.time_ms + CLOCKS_MS >= row.time_ms
                for trade in known
            ):
                raise Broken(f"O4: {row} was set off by no trade of this commit: {known}")
            self._entered[row.order_id] = self._commits
            self.sometimes["stop triggered"] += 1

    def _trade(self, home: str, row: TradeRow) -> None:
        for role, role_home, order_id in (
            ("maker", row.maker_home, row.maker_order),
            ("taker", row.taker_home, row.taker_order),
        ):
            order = self._rows.get(order_id)
            if role_home != home or order is None:
                continue
            if not order.triggered:
                raise Broken(f"O4: a stop that waits has traded: {order} {row}")
            if role == "maker":
                if order.time_in_force in ("ioc", "fok") or not order.price_ticks:
                    raise Broken(f"O3: what only takes was the maker: {order} {row}")
                if order.post_only:
                    self.sometimes["post only made"] += 1
            elif order.post_only:
                raise Broken(f"O1: a post-only order took: {order} {row}")
            elif order.time_in_force == "fok":
                homes = self._makers[order_id]
                homes.add(row.maker_home)
                if len(homes) > 1:
                    raise Broken(f"O2: fill-or-kill, and filled by two homes: {order} {homes}")
            local = row.maker_home == row.taker_home
            if local and order.expires_ms and row.time_ms > order.expires_ms:
                raise Broken(f"O5: traded after its time: {order} {row}")

    def _intent(self, row: IntentRow) -> None:
        asked = self._asked[row.taker_order]
        order = self._rows.get(row.taker_order)
        if row.fill_id in asked or order is None:
            return
        asked.add(row.fill_id)
        if order.post_only:
            raise Broken(f"O1: a post-only order asks for a fill: {order} {row}")
        takes_only = order.time_in_force in ("ioc", "fok") or not order.price_ticks
        if takes_only and self._entered.get(row.taker_order) != self._commits:
            raise Broken(f"O3: what only takes has asked again: {order} {row}")
        if order.time_in_force == "fok" and len(asked) > 1:
            raise Broken(f"O2: fill-or-kill, and asked twice: {order} {row}")
        if order.expires_ms and row.deadline_ms - FILL_DEADLINE_MS > order.expires_ms:
            raise Broken(f"O5: a fill was asked for after its time: {order} {row}")
