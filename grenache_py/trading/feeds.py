"""
What is followed over any number of connections: books, trades, own orders, own fills.

Pure. A feed is subscribed to on each connection anew, and its listeners are told what they missed,
or that a book is not current. No listener is told anything twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from grenache_py.trading.book import Book, BookSnapshot, BookUpdate
from grenache_py.trading.call_queue import UNAVAILABLE_S
from grenache_py.trading.errors import (
    ExchangeError,
    InvalidRequest,
    RateLimited,
    Standby,
    Unavailable,
)
from grenache_py.trading.line import Line
from grenache_py.trading.listener import Listener
from grenache_py.trading.models import Fill, Order, Trade

__all__ = ["BookFeed", "FeedLine", "FillFeed", "Followed", "OrderFeed", "TradeFeed"]

T = TypeVar("T")

#: Trades asked for at a time of those that were missed.
PAGE_TRADES = 500
#: Trades that came while missed ones were asked for.
HELD_BACK_MAX = 10_000


class FeedLine(Protocol):
    """What a feed asks of the connection of the moment."""

    @property
    def line(self) -> Line:
        """How it is, and to which daemons it may lead."""

    def request(
        self,
        method: str,
        params: dict[str, Any],
        answered: Callable[[Raw | None, ExchangeError | None], None],
    ) -> None:
        """Call a method; ``answered`` is not called when the connection is lost before."""

    def begin_later(self, feed: Followed[Any], delay_s: float) -> None:
        """Have ``feed.begin`` called then, on this connection."""

    def account_params(self) -> dict[str, str]:
        """The params that name the client's account."""

    def ended(self, feed: Followed[Any]) -> None:
        """Nobody listens to it any more."""


class Followed(Generic[T]):
    """
    One subscription.

    Attributes:
        kind: the first part of its methods' names.
        listeners: who is told.
    """

    kind = ""

    def __init__(self, wire: FeedLine) -> None:
        self._wire = wire
        self._has_begun = False
        self.listeners: list[Listener[T]] = []

    def listen(self) -> Listener[T]:
        """Tell another one, from now on."""
        listener: Listener[T] = Listener(self._left)
        self.listeners.append(listener)
        return listener

    def _left(self, listener: Listener[T]) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)
            if not self.listeners:
                self._wire.ended(self)

    @property
    def comes_first(self) -> bool:
        """Whether calls wait until it has begun, so that it tells what they do."""
        return False

    def params(self) -> dict[str, Any]:
        """What names the subscription."""
        raise NotImplementedError

    def begin(self) -> None:
        """Subscribe, on a connection that is live."""
        self._wire.request(f"{self.kind}.subscribe", self.params() | self.since(), self._answered)

    def since(self) -> dict[str, Any]:
        """What says from where on."""
        return {}

    def _answered(self, result: Raw | None, error: ExchangeError | None) -> None:
        if result is not None:
            self._has_begun = True
            self.begun(result)
        elif isinstance(error, RateLimited):
            self._wire.begin_later(self, error.retry_after_s)
        elif isinstance(error, Unavailable):
            only_one = len(self._wire.line.addresses) == 1
            if isinstance(error, Standby) and only_one and not self._has_begun:
                self.fail(error)
            else:
                self._wire.begin_later(self, UNAVAILABLE_S)
        elif error is not None:
            self.fail(error)

    def fail(self, error: ExchangeError) -> None:
        """It cannot be followed."""
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener.fail(error)
        self._wire.ended(self)

    def begun(self, result: Raw) -> None:
        """The answer to the subscription."""
        raise NotImplementedError

    def note(self, params: Raw) -> None:
        """A notification."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone, or the subscription has ended with a ``gap``."""

    def tell(self, item: T, seq: int | None = None) -> None:
        """Give all listeners an item."""
        for listener in list(self.listeners):
            listener.put(item, seq)


_snapshot = msgspec.json.Decoder(BookSnapshot).decode
_update = msgspec.json.Decoder(BookUpdate).decode


class BookFeed(Followed[Book]):
    """A market's book: the newest state only, and once more when it is not current any more."""

    kind = "book"

    def __init__(self, wire: FeedLine, book: Book) -> None:
        super().__init__(wire)
        self.book = book

    def listen(self) -> Listener[Book]:
        listener: Listener[Book] = Listener(self._left, size=1)
        self.listeners.append(listener)
        if self.book.current:
            listener.put(self.book)
        return listener

    def params(self) -> dict[str, Any]:
        return {"market": self.book.market}

    def begun(self, result: Raw) -> None:
        self.book.take(_snapshot(result))
        self.tell(self.book)

    def note(self, params: Raw) -> None:
        if not self.book.current:
            return  # of the subscription before
        update = _update(params)
        if not self.book.apply(update):
            self.tell(self.book)
            self.begin()
        elif update.checksum is not None:  # else the rest of it comes right behind
            self.tell(self.book)

    def lost(self) -> None:
        if self.book.current:
            self.book.lost()
            self.tell(self.book)


class _Trades(Struct):
    market: str
    trades: list[Trade]


_trades = msgspec.json.Decoder(_Trades).decode


class TradeFeed(Followed[Trade]):
    """A market's trades: those that were missed are asked for before new ones are told."""

    kind = "trades"

    def __init__(self, wire: FeedLine, market: str) -> None:
        super().__init__(wire)
        self.market = market
        self._last: str | None = None
        self._first = True
        self._held_back: deque[Trade] | None = None
        self._told_ids: dict[
            str, None
        ] = {}  # ids that pages told, and notifications may tell again

    def params(self) -> dict[str, Any]:
        return {"market": self.market}

    def since(self) -> dict[str, Any]:
        return {"limit": 1}

    def begun(self, result: Raw) -> None:
        newest = _trades(result).trades
        self._held_back = None
        if self._first:
            self._first = False
            self._last = newest[-1].trade_id if newest else None
        elif newest and newest[-1].trade_id != self._last:
            self._held_back = deque(maxlen=HELD_BACK_MAX)
            self._page()

    def _page(self) -> None:
        params = {"market": self.market, "limit": PAGE_TRADES}
        if self._last is not None:
            params["after"] = self._last
        self._wire.request("trades.list", params, self._paged)

    def _paged(self, result: Raw | None, error: ExchangeError | None) -> None:
        if isinstance(error, InvalidRequest):  # what is missing is forgotten
            for listener in self.listeners:
                listener.missed += 1
            self._last = None
            self._caught_up()
        elif result is None:
            self._answered(None, error)
        else:
            trades = _trades(result).trades
            for trade in trades:
                self._told(trade)
                self._told_ids[trade.trade_id] = None
            while len(self._told_ids) > HELD_BACK_MAX:
                del self._told_ids[next(iter(self._told_ids))]
            if trades:
                self._page()
            else:
                self._caught_up()

    def _caught_up(self) -> None:
        held, self._held_back = self._held_back or (), None
        for trade in held:
            self._new(trade)

    def note(self, params: Raw) -> None:
        for trade in _trades(params).trades:
            if self._held_back is not None:
                self._held_back.append(trade)
            else:
                self._new(trade)

    def _new(self, trade: Trade) -> None:
        if trade.trade_id in self._told_ids:
            del self._told_ids[trade.trade_id]
        else:
            self._told(trade)

    def _told(self, trade: Trade) -> None:
        self._last = trade.trade_id
        self.tell(msgspec.structs.replace(trade, market=self.market))


class _Begun(Struct):
    seq: int
    orders: list[Order] | None = None


class _OrderUpdate(Struct):
    seq: int
    order: Order


_begun = msgspec.json.Decoder(_Begun).decode
_order_update = msgspec.json.Decoder(_OrderUpdate).decode
_fill = msgspec.json.Decoder(Fill).decode


class _NumberedFeed(Followed[T]):
    """An account's stream, whose numbers have no gaps."""

    def __init__(self, wire: FeedLine, from_seq: int | None) -> None:
        super().__init__(wire)
        self.seq = from_seq
        self._subscribed = False

    def params(self) -> dict[str, Any]:
        return dict(self._wire.account_params())

    @property
    def comes_first(self) -> bool:
        return self.seq is None

    def since(self) -> dict[str, Any]:
        return {} if self.seq is None else {"from_seq": self.seq}

    def begun(self, result: Raw) -> None:
        answer = _begun(result)
        self.seq, self._subscribed = answer.seq, True
        for listener in self.listeners:
            listener.seq = answer.seq if listener.seq is None else listener.seq

    def numbered(self, seq: int, item: T) -> bool:
        """Tell the item with this number, if it is the next one."""
        if not self._subscribed or (self.seq is not None and seq <= self.seq):
            return False
        if self.seq is not None and seq > self.seq + 1:
            self.lost()
            self.begin()
            return False
        self.seq = seq
        self.tell(item, seq)
        return True

    def lost(self) -> None:
        self._subscribed = False


class OrderFeed(_NumberedFeed[Order]):
    """
    The changes of own orders.

    Attributes:
        open: the account's open orders by id, as far as it was told of them.
    """

    kind = "orders"

    def __init__(self, wire: FeedLine, from_seq: int | None) -> None:
        super().__init__(wire, from_seq)
        self.open: dict[str, Order] = {}

    def begun(self, result: Raw) -> None:
        super().begun(result)
        orders = _begun(result).orders
        if orders is not None:
            self.open = {order.order_id: order for order in orders}

    def note(self, params: Raw) -> None:
        update = _order_update(params)
        order = update.order
        if self.numbered(update.seq, order):
            if order.is_open:
                self.open[order.order_id] = order
            else:
                self.open.pop(order.order_id, None)


class FillFeed(_NumberedFeed[Fill]):
    """What own orders trade."""

    kind = "executions"

    def note(self, params: Raw) -> None:
        fill = _fill(params)
        self.numbered(fill.seq, fill)
