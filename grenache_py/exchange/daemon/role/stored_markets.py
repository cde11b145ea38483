"""
What a daemon that stands by knows of the market: the books by what is stored, and no order.

Pure. The orders of others stand in these books while their homes' leases hold, as in a node's.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.home.heartbeat import is_many
from grenache_py.exchange.home.order_rows import own_from_row
from grenache_py.exchange.home.tape import Tape
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import Trade
from grenache_py.exchange.market.stored_steps import markets_of
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.replication.remote_rows import RemoteRows
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock

__all__ = ["StoredMarkets"]


@attrs.frozen
class StoredMarkets:
    """
    As much of a `gateway.GatewayNode` as the methods need that are answered from the store.

    Attributes:
        markets: those of the settings.
        known_markets: those, and any that orders of earlier times were in.
        books, last_trades: by symbol, if they were read.
    """

    markets: Mapping[str, Market]
    known_markets: Mapping[str, Market]
    books: Mapping[str, Book] = attrs.Factory(dict)
    last_trades: Mapping[str, Trade] = attrs.Factory(dict)

    @classmethod
    def of(cls, markets: Mapping[str, Market], meta: Mapping[str, int]) -> StoredMarkets:
        """
        Without the books.

        Args:
            meta: the named integers of the store.
        """
        return cls(markets, {**markets, **markets_of(meta)})

    def with_books(self, snapshot: Snapshot, home: str, now: float) -> StoredMarkets:
        """
        Likewise, with the books.

        Args:
            snapshot: what the store holds of them.
            home: whose store it is.
            now: when leases have to hold.

        Raises:
            StoreError: pulses show which homes live, and they are not stored.
        """
        if is_many(len(snapshot.origins), before=True):
            raise StoreError(
                "refused",
                "it does not say which of the many homes live; ask the daemon that serves",
            )
        rows = RemoteRows(self.markets)
        books = {symbol: Book(market, rows) for symbol, market in self.markets.items()}
        for row in snapshot.orders:
            live = own_from_row(row, home).live
            if live.triggered and live.open and row.market in books:
                books[row.market].add(live)
        clock = HybridClock(snapshot.meta.get("clock_floor_ms", 0))
        records = RemoteOrders(
            self.markets, books, rows, clock, lambda order_id, market: None, lambda *change: None
        )
        others = OriginTable(records)
        others.restore(snapshot)
        others.tick(clock.read_ms(now), clock.earlier_ms(now))
        tape = Tape(Outbox())
        tape.restore(snapshot)
        return attrs.evolve(self, books=books, last_trades=tape.last)

    def order(self, order_id: str) -> None:
        """No order is in memory."""

    def by_client_id(self, account: str, client_order_id: str) -> None:
        """Likewise."""
