"""
The client for Twisted: a service.

Shell: owns a connection of a reactor.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Literal, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from typing_extensions import Self, Unpack

from grenache_py.trading import calls
from grenache_py.trading.address import DaemonAddress
from grenache_py.trading.book import Book, BookSnapshot
from grenache_py.trading.calls import MethodCall, PlaceOptions
from grenache_py.trading.client_facts import ClientFacts
from grenache_py.trading.core import Core
from grenache_py.trading.errors import ExchangeError, NotConnected
from grenache_py.trading.line import State
from grenache_py.trading.listener import Listener
from grenache_py.trading.models import (
    Candle,
    Fill,
    Money,
    Order,
    PeerStatus,
    Position,
    Side,
    Ticker,
    Trade,
    market_name,
)
from grenache_py.trading.pending import Pending
from grenache_py.trading.twisted_driver import TwistedDriver

__all__ = ["TwistedClient", "TwistedStream"]

T = TypeVar("T")


class TwistedClient(ClientFacts, Service):
    """
    A connection to a daemon that is made again when it is lost, while the service runs.

    Each call's Deferred fires with its result and fails with an `ExchangeError`. Cancel: it is not
    waited for any more; what it asks may happen.
    """

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        account: str = "",
        tls: IOpenSSLClientConnectionCreator | None = None,
        timeout_s: float = 10.0,
        reconnect: bool = True,
        rate_per_s: float | None = None,
        name: str = "",
        cancel_on_disconnect: bool = False,
        on_state: Callable[[State, str], None] | None = None,
        reactor: Any = None,
    ) -> None:
        """
        Args:
            address: ``HOST:PORT``, the path of a UNIX socket, or None for ``EXCHANGE_CONNECT``,
                else 127.0.0.1:7070. Several, in a list or with commas between: the daemons of one
                home, of which the client finds the one that serves.
            token: shown to a daemon that asks for one.
            account: whose orders these are: a label inside one home.
            tls: how to speak TLS; None: not at all.
            timeout_s: how long a call waits, for the connection and for its answer.
            reconnect: connect again after a line was lost, and ask again what the daemon refuses
                for the moment; False: one connection, and one try of each call.
            rate_per_s: calls sent in a second at most, for those who share a limit.
            name: this program's, for the daemon's log.
            cancel_on_disconnect: have the orders of a connection cancelled when it is lost.
            on_state: called with the state, and why the line is not live.
            reactor: that it runs in; None: the global one.

        Raises:
            ValueError: the address is none.
        """
        if reactor is None:
            from twisted.internet import reactor
        addresses = DaemonAddress.all_of(address)
        self._clock: Callable[[], float] = reactor.seconds
        self._core = Core(
            [each.text for each in addresses],
            self._clock,
            random.SystemRandom(),
            account=account,
            hello=calls.hello(name, token, cancel_on_disconnect),
            timeout_s=timeout_s,
            reconnect=reconnect,
            rate_per_s=rate_per_s,
            on_state=on_state,
        )
        self._driver = TwistedDriver(self._core, addresses, tls, reactor)

    def startService(self) -> None:
        """Begin to connect; `ready` waits for it."""
        super().startService()
        self._driver.start()

    def stopService(self) -> Deferred[None]:
        """
        Close the connection; calls and streams end.

        Fires with: None.
        """
        super().stopService()
        self._driver.close()
        return succeed(None)

    def ready(self) -> Deferred[None]:
        """
        Wait for the connection.

        Fires with: None, once it is live, which it may be already.
        Fails with:
            ExchangeError: the service has stopped, or the token is refused.
        """
        live: Deferred[None] = Deferred()

        def entered() -> None:
            if not live.called:
                live.callback(None)

        self._driver.when_live(entered)
        return live.addCallback(lambda _: self._driver.entered())

    @asynccontextmanager
    async def dead_man(self, seconds: float) -> AsyncIterator[None]:
        """
        Have own orders cancelled when this program is silent for ``seconds``.

        The daemon is told again at a third of that, as long as the reactor runs. When the block
        ends by an exception the switch stays on, and goes off.
        """
        await self._wait_for(lambda done: self._core.dead_man(seconds, self._clock(), done))
        try:
            yield
        except BaseException:
            self._core.die()
            raise
        await self._wait_for(lambda done: self._core.dead_man(0, self._clock(), done))

    def place(
        self,
        market: str,
        side: Side,
        quantity: Money,
        price: Money | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Deferred[Order]:
        """Place an order; its report."""
        call = calls.place(market, side, quantity, price, timeout_s=timeout_s, **options)
        return self._do(call)

    def buy(
        self,
        market: str,
        quantity: Money,
        price: Money | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Deferred[Order]:
        """Place an order to buy."""
        return self._do(calls.place(market, "buy", quantity, price, **options))

    def sell(
        self,
        market: str,
        quantity: Money,
        price: Money | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Deferred[Order]:
        """Place an order to sell."""
        return self._do(calls.place(market, "sell", quantity, price, **options))

    def cancel(self, order: Order | str) -> Deferred[Order]:
        """Cancel what is open of an order, named by itself, its id or your own id."""
        return self._do(calls.cancel(order))

    def cancel_all(self, market: str | None = None) -> Deferred[int]:
        """Cancel the account's open orders (of one market); their number."""
        return self._do(calls.cancel_all(market))

    def replace(
        self, order: Order | str, *, quantity: Money | None = None, price: Money | None = None
    ) -> Deferred[Order]:
        """Change an order's whole quantity, its price or both."""
        return self._do(calls.replace(order, quantity=quantity, price=price))

    def get_order(self, order: Order | str) -> Deferred[Order]:
        """Where an order stands."""
        return self._do(calls.get_order(order))

    async def get_orders(
        self, market: str | None = None, *, status: Literal["open", "closed", "all"] = "open"
    ) -> AsyncIterator[Order]:
        """All orders, newest first, page by page."""
        after: str | None = None
        while True:
            page = await self._do(calls.order_page(market, status, after))
            for order in page.orders:
                yield order
            after = page.next
            if after is None:
                return

    async def get_fills(
        self, market: str | None = None, *, after: int | None = None
    ) -> AsyncIterator[Fill]:
        """Own fills, oldest first: all after number ``after``; without it, the newest."""
        while True:
            page = await self._do(calls.fill_page(market, after))
            for fill in page.executions:
                yield fill
            if after is None or page.next >= page.seq:
                return
            after = page.next

    def get_book(self, market: str, depth: int = 50) -> Deferred[Book]:
        """The best levels of a book, once: it is not followed, so it is not ``current``."""
        book = Book(market_name(market), self._clock)

        def taken(snapshot: BookSnapshot) -> Book:
            book.take(snapshot, current=False)
            return book

        return self._do(calls.get_book(market, depth)).addCallback(taken)

    def get_positions(self) -> Deferred[list[Position]]:
        """What the account bought less what it sold, by market, as far as its fills are kept."""
        return self._do(calls.get_positions())

    def get_ticker(self, market: str) -> Deferred[Ticker]:
        """Best prices, the last trade, the volume of 24 hours."""
        return self._do(calls.get_ticker(market))

    def get_trades(self, market: str, limit: int = 100) -> Deferred[list[Trade]]:
        """The newest trades, newest last."""
        return self._do(calls.get_trades(market, limit))

    def get_candles(
        self, market: str, interval: str = "1m", limit: int = 100
    ) -> Deferred[list[Candle]]:
        """The newest candles, oldest first."""
        return self._do(calls.get_candles(market, interval, limit))

    def status(self) -> Deferred[PeerStatus]:
        """How the daemon is."""
        return self._do(calls.status())

    def ping(self) -> Deferred[float]:
        """How long an answer takes, in seconds."""
        began = self._clock()
        return self._do(calls.ping()).addCallback(lambda _: self._clock() - began)

    def call(
        self,
        method: str,
        params: dict[str, Any],
        changes: bool = True,
        *,
        timeout_s: float | None = None,
    ) -> Deferred[Any]:
        """Any method of the protocol, with its params and its result as they are on the wire."""
        return self._do(calls.raw(method, params, changes, timeout_s))

    def book(self, market: str) -> TwistedStream[Book]:
        """Follow a book: the newest state, and once more when it is not ``current`` any more."""
        return TwistedStream(self, self._core.book(market))

    def trades(self, market: str) -> TwistedStream[Trade]:
        """Follow a market's trades from now on, none missed and none twice."""
        return TwistedStream(self, self._core.trades(market))

    def orders(self, from_seq: int | None = None) -> TwistedStream[Order]:
        """Follow own orders: each change from now on, or since number ``from_seq``."""
        return TwistedStream(self, self._core.orders(from_seq))

    def fills(self, from_seq: int | None = None) -> TwistedStream[Fill]:
        """Follow own fills, each once: from now on, or all since number ``from_seq``."""
        return TwistedStream(self, self._core.fills(from_seq))

    # How it waits.

    def _do(self, call: MethodCall[T]) -> Deferred[T]:
        return self._wait_for(lambda done: self._core.ask(call, self._clock(), done))

    def _wait_for(self, ask: Callable[[Callable[[], None]], Pending[T]]) -> Deferred[T]:
        over: Deferred[None] = Deferred(lambda _: self._core.calls.give_up(pending))
        pending = ask(lambda: over.callback(None))
        self._driver.pump()
        if pending.done and not over.called:
            over.callback(None)
        return over.addCallback(lambda _: pending.value())


class TwistedStream(Generic[T]):
    """
    What is followed, one item after the other; ``async with`` or `close` ends it.

    Iteration (in a coroutine) waits as long as it takes, and ends when the stream is closed. It
    raises the `ExchangeError` that ended the stream.
    """

    def __init__(self, client: TwistedClient, listener: Listener[T]) -> None:
        self._listener = listener
        self._reactor = client._driver.reactor
        self._wake: Deferred[None] | None = None
        listener.on_item = self._item
        client._driver.pump()

    def _item(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.callback(None)

    @property
    def missed(self) -> int:
        """Items that the program was too slow for."""
        return self._listener.missed

    @property
    def seq(self) -> int | None:
        """The number of the last own order or fill that was given: keep it for ``from_seq``."""
        return self._listener.seq

    def get(self, timeout_s: float | None = None) -> Deferred[T]:
        """
        Wait for the next item; one may wait at a time.

        Fires with: it.
        Fails with:
            TimeoutError: none came in time.
            ExchangeError: the stream has ended.
        Cancel: only this wait ends.
        """
        return self._next(timeout_s).addCallback(self._not_closed)

    @staticmethod
    def _not_closed(item: T | None) -> T:
        if item is None:
            raise NotConnected("this stream was closed")
        return item

    def _next(self, timeout_s: float | None) -> Deferred[T | None]:
        """Fires with: the next item; None if the stream was closed."""
        if self._listener.ready:
            return self._taken()
        wake: Deferred[None] = Deferred()
        self._wake = wake

        def none_came(result: Any, timeout: float) -> Any:
            self._wake = None
            raise TimeoutError(f"nothing came within {timeout} s")

        if timeout_s is not None:
            wake.addTimeout(timeout_s, self._reactor, none_came)
        return wake.addCallback(lambda _: self._taken())

    def _taken(self) -> Deferred[T | None]:
        try:
            return succeed(self._listener.take())
        except ExchangeError:
            return fail()

    def close(self) -> None:
        """End it."""
        self._listener.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._next(None)
        if item is None:
            raise StopAsyncIteration
        return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
