"""
Pages of history for the methods of the client port, read from the store.

Shell: asks the store. `gateway.History` says what each answer is.
"""

from __future__ import annotations

from grenache_py.exchange.client_port.gateway import Found
from grenache_py.exchange.client_port.reports import REPORT_TRADES_MAX, trades_until
from grenache_py.exchange.effects.rows import OrderEventRow, OrderRow, TradedSum
from grenache_py.exchange.home.order_rows import own_from_row
from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.exchange.storage.history import ExecutionPage
from grenache_py.exchange.storage.store import Store

__all__ = ["StoreHistory"]


class StoreHistory:
    """The `gateway.History` of a daemon."""

    def __init__(self, store: Store, home: str) -> None:
        """
        Args:
            home: the key of this peer, which every own order names.
        """
        self._store = store
        self._home = home

    async def order(self, order_id: str) -> Found | None:
        row = await self._store.order(order_id)
        return None if row is None else await self._found(row)

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        return self._store.may_have_used(account, client_order_id)

    async def order_by_client_id(self, account: str, client_order_id: str) -> Found | None:
        row = await self._store.order_by_client_id(account, client_order_id)
        return None if row is None else await self._found(row)

    async def orders(
        self, market: str | None, account: str | None, status: str, after: str | None, limit: int
    ) -> list[Found] | None:
        rows = await self._store.orders(
            limit,
            market=market,
            account=account,
            status=None if status == "all" else status,
            after=after,
        )
        return None if rows is None else [await self._found(row) for row in rows]

    async def _found(self, row: OrderRow) -> Found:
        return own_from_row(row, self._home).live, await self._trades_of(row)

    async def _trades_of(self, row: OrderRow) -> list[Trade]:
        if not row.filled:
            return []
        rows = await self._store.trades_of(row, REPORT_TRADES_MAX)
        return [
            Trade(*trade)  # type: ignore[arg-type]  # the store keeps plain text
            for trade in rows
        ]

    async def trades(self, market: str, after: str | None, limit: int) -> list[Trade] | None:
        rows = await self._store.trades(market, limit, after)
        if rows is None:
            return None
        return [
            Trade(*row)  # type: ignore[arg-type]  # the store keeps plain text
            for row in rows
        ]

    async def order_events(
        self, account: str, after_seq: int, limit: int
    ) -> list[tuple[int, LiveOrder, list[Trade]]]:
        if not limit:
            return []
        found = await self._store.order_events(account, after_seq + 1, limit)
        trades: dict[str, list[Trade]] = {}
        events: list[tuple[int, LiveOrder, list[Trade]]] = []
        for event, row in found:
            if row is None:
                continue  # the caller sees the hole in the numbers
            if row.order_id not in trades:
                trades[row.order_id] = await self._trades_of(row)
            live = _as_it_was(row, event, self._home)
            until = trades_until(trades[row.order_id], row.filled - event.filled)
            events.append((event.seq, live, until))
        return events

    async def executions(
        self, account: str, after: int | None, limit: int, market: str | None = None
    ) -> ExecutionPage | None:
        return await self._store.executions(account, limit, after, market)

    async def traded(self, account: str) -> list[TradedSum]:
        return await self._store.traded(account)

    async def volume_lots(self, market: str, since_ms: int) -> int:
        return await self._store.volume_lots(market, since_ms)

    async def candles(
        self, market: str, interval_ms: int, after_ms: int | None, limit: int
    ) -> list[tuple[int, int, int, int, int, int]]:
        start = None if after_ms is None else (after_ms // interval_ms + 1) * interval_ms
        found = await self._store.candles(market, interval_ms, start, limit)
        return [candle[:6] for candle in found]


def _as_it_was(row: OrderRow, event: OrderEventRow, home: str) -> LiveOrder:
    live = own_from_row(row, home).live
    live.open, live.reserved, live.filled = event.open, event.reserved, event.filled
    live.version, live.value, live.updated_ms = event.version, event.value, event.time_ms
    live.reason = event.reason  # type: ignore[assignment]
    return live
