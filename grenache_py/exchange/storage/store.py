"""
What a home asks of its store, whatever database is behind it.

Shell. Touches nothing itself: `SQLiteStore` is one of these. ``tests/exchange/storage`` holds every
store to the same contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from grenache_py.exchange.effects.rows import (
    LogRow,
    OrderEventRow,
    OrderRow,
    RecordRow,
    Row,
    Snapshot,
    TradedSum,
    TradeRow,
)
from grenache_py.exchange.storage.history import Candle, ExecutionPage

__all__ = ["HistoryReads", "Store"]

T = TypeVar("T")


class Store(Protocol):
    """
    The durable side of one home.

    After ``commit`` has failed nothing is known but what ``open`` reads again: every later
    call fails (``closed``) until then. That is the only way to recover, and it is the way a
    daemon starts.
    """

    def open(self) -> Deferred[Snapshot]:
        """
        Open (again), check, upgrade and load what is stored.

        Fires with: everything a node needs to start where it stopped.
        Fails with:
            StoreError: another daemon has it, or it cannot be used; the message says what to
                do. ``open`` may be called again.
        """

    def commit(self, rows: Sequence[Row]) -> Deferred[None]:
        """
        Write one batch. Several may wait; they are written in the order of the calls.

        Fires with: None, once all rows are durable.
        Fails with:
            StoreError: all rows are there, or none; only ``open`` can tell.
        Cancel: has no effect on the batch.
        """

    def close(self) -> Deferred[None]:
        """
        Finish what is running, close, and let another daemon have the store. Idempotent.

        Fires with: None.
        """

    def prune(self, now_ms: int) -> Deferred[int]:
        """
        Forget history beyond the limits, a few rows at a time between the commits.

        Call it every few minutes; the first call after a long time may run for a while.

        Fires with: the number of rows deleted.
        Fails with:
            StoreError: as ``commit`` does.
        """

    def backup(self, path: str) -> Deferred[None]:
        """
        Write a consistent copy to the SQLite file ``path`` while trading goes on.

        Fires with: None, once the copy is complete and on the disk.
        Fails with:
            StoreError: ``path`` exists or cannot be written; the store itself is not affected.
        """

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        """
        Whether a closed order of ``account`` may have had this id.

        No: certainly not. Yes: ask ``order_by_client_id`` (about one in two hundred in vain).
        """

    @property
    def size_bytes(self) -> int:
        """Bytes that the database takes."""

    @property
    def free_bytes(self) -> int | None:
        """Bytes that are free on its disk, for this user; None when that is not known."""

    @property
    def wal(self) -> dict[str, float | None]:
        """SQLite's write-ahead log: its bytes, and for how long a reader has kept it growing."""

    @property
    def facts(self) -> dict[str, Any]:
        """What else ``status`` says of the store, by member."""

    def order(self, order_id: str) -> Deferred[OrderRow | None]:
        """One own order by its id."""

    def order_by_client_id(self, account: str, client_order_id: str) -> Deferred[OrderRow | None]:
        """The newest order that ``account`` placed under ``client_order_id``."""

    def orders(
        self,
        limit: int,
        *,
        market: str | None = None,
        account: str | None = None,
        status: str | None = None,
        after: str | None = None,
    ) -> Deferred[list[OrderRow] | None]:
        """One page of own orders, newest first (see ``history.orders``)."""

    def trades(
        self, market: str, limit: int, after: str | None = None
    ) -> Deferred[list[TradeRow] | None]:
        """Trades of one market, newest last: the newest, or those learned after trade ``after``."""

    def trades_of(self, row: OrderRow, limit: int) -> Deferred[list[TradeRow]]:
        """The newest trades of an own order, newest last."""

    def candles(
        self, market: str, interval_ms: int, from_ms: int | None, limit: int
    ) -> Deferred[list[Candle]]:
        """The first ``limit`` intervals with trades since ``from_ms`` (None: the newest)."""

    def volume_lots(self, market: str, from_ms: int) -> Deferred[int]:
        """Lots traded in ``market`` since ``from_ms``."""

    def order_events(
        self, account: str, from_seq: int, limit: int
    ) -> Deferred[list[tuple[OrderEventRow, OrderRow | None]]]:
        """Events of one account from ``from_seq`` on, each with its order as it is now."""

    def executions(
        self, account: str, limit: int, after: int | None = None, market: str | None = None
    ) -> Deferred[ExecutionPage | None]:
        """What an account's orders traded (see ``history.executions``)."""

    def traded(self, account: str) -> Deferred[list[TradedSum]]:
        """What an account bought and sold, by market and side (see ``history.traded``)."""

    def records(self, order_ids: Sequence[str]) -> Deferred[list[RecordRow]]:
        """Live orders of other homes, as signed (see ``history.records``)."""


class HistoryReads:
    """
    The questions of a `Store` that one query answers.

    Attributes:
        queries: ``history.py``, or a module of the same functions in another dialect's SQL.
    """

    queries: Any

    def _read(self, query: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        """
        Run ``query`` where it delays no commit; it sees every batch whose commit has fired.

        Fails with:
            StoreError: the store cannot be read.
        """
        raise NotImplementedError

    def order(self, order_id: str) -> Deferred[OrderRow | None]:
        return self._read(self.queries.order, order_id)

    def order_by_client_id(self, account: str, client_order_id: str) -> Deferred[OrderRow | None]:
        return self._read(self.queries.order_by_client_id, account, client_order_id)

    def orders(
        self,
        limit: int,
        *,
        market: str | None = None,
        account: str | None = None,
        status: str | None = None,
        after: str | None = None,
    ) -> Deferred[list[OrderRow] | None]:
        return self._read(
            self.queries.orders, limit, market=market, account=account, status=status, after=after
        )

    def trades(
        self, market: str, limit: int, after: str | None = None
    ) -> Deferred[list[TradeRow] | None]:
        return self._read(self.queries.trades, market, limit, after)

    def trades_of(self, row: OrderRow, limit: int) -> Deferred[list[TradeRow]]:
        return self._read(self.queries.trades_of, row, limit)

    def candles(
        self, market: str, interval_ms: int, from_ms: int | None, limit: int
    ) -> Deferred[list[Candle]]:
        return self._read(self.queries.candles, market, interval_ms, from_ms, limit)

    def volume_lots(self, market: str, from_ms: int) -> Deferred[int]:
        return self._read(self.queries.volume_lots, market, from_ms)

    def order_events(
        self, account: str, from_seq: int, limit: int
    ) -> Deferred[list[tuple[OrderEventRow, OrderRow | None]]]:
        return self._read(self.queries.order_events, account, from_seq, limit)

    def executions(
        self, account: str, limit: int, after: int | None = None, market: str | None = None
    ) -> Deferred[ExecutionPage | None]:
        return self._read(self.queries.executions, account, limit, after, market)

    def traded(self, account: str) -> Deferred[list[TradedSum]]:
        return self._read(self.queries.traded, account)

    def records(self, order_ids: Sequence[str]) -> Deferred[list[RecordRow]]:
        return self._read(self.queries.records, order_ids)

    def log_entries(self, epoch: int, first: int, last: int) -> Deferred[list[LogRow]]:
        """Own log entries ``first`` to ``last`` of ``epoch``; old ones may be gone."""
        return self._read(self.queries.log_entries, epoch, first, last)
