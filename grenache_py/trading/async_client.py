"""
The client for asyncio, without Twisted.

Shell: owns a transport of the running loop.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Literal, TypeVar

from typing_extensions import Self, Unpack

from grenache_py.trading import calls
from grenache_py.trading.address import DaemonAddress
from grenache_py.trading.asyncio_driver import AsyncioDriver
from grenache_py.trading.book import Book
from grenache_py.trading.calls import MethodCall, PlaceOptions
from grenache_py.trading.client_facts import ClientFacts
from grenache_py.trading.core import Core
from grenache_py.trading.errors import NotConnected
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

__all__ = ["AsyncClient", "AsyncStream"]

T = TypeVar("T")


class AsyncClient(ClientFacts):
    """
    A connection to a daemon that is made again when it is lost; ``async with`` opens and closes it.

    A call that is cancelled is not waited for any more; what it asks may happen.
    """

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        account: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 10.0,
        reconnect: bool = True,
        rate_per_s: float | None = None,
        name: str = "",
        cancel_on_disconnect: bool = False,
        on_state: Callable[[State, str], None] | None = None,
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

        Raises:
            ValueError: the address is none.
        """
        self._addresses = DaemonAddress.all_of(address)
        self._tls = tls
        self._clock = time.monotonic
        self._driver: AsyncioDriver | None = None
        self._core = Core(
            [each.text for each in self._addresses],
            self._clock,
            random.SystemRandom(),
            account=account,
            hello=calls.hello(name, token, cancel_on_disconnect),
            timeout_s=timeout_s,
            reconnect=reconnect,
            rate_per_s=rate_per_s,
            on_state=on_state,
        )

    async def __aenter__(self) -> Self:
        driver = AsyncioDriver(self._core, self._clock, self._addresses, self._tls)
        driver.start()
        self._driver = driver
        live: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        driver.when_live(lambda: None if live.done() else live.set_result(None))
        try:
            await asyncio.wait([live], timeout=self._core.calls.timeout_s)
            driver.entered()
        except BaseException:
            driver.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls and streams end."""
        if self._driver is not None:
            self._driver.close()
            await asyncio.sleep(0)  # the transport writes and closes

    @asynccontextmanager
    async def dead_man(self, seconds: float) -> AsyncIterator[None]:
        """
        Have own orders cancelled when this program is silent for ``seconds``.

        The daemon is told again at a third of that, as long as the loop runs. When the block ends
        by an exception the switch stays on, and goes off.
        """
        await self._wait_for(lambda done: self._core.dead_man(seconds, self._clock(), done))
        try:
            yield
        except BaseException:
            self._core.die()
            raise
        await self._wait_for(lambda done: self._core.dead_man(0, self._clock(), done))

    async def place(
        self,
        market: str,
        side: Side,
        quantity: Money,
        price: Money | None = None,
        *,
        timeout_s: float | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Order:
        """Place an order; its report."""
        call = calls.place(market, side, quantity, price, timeout_s=timeout_s, **options)
        return await self._do(call)

    async def buy(
        self,
        market: str,
        quantity: Money,
        price: Money | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Order:
        """Place an order to buy."""
        return await self._do(calls.place(market, "buy", quantity, price, **options))

    async def sell(
        self,
        market: str,
        quantity: Money,
        price: Money | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Order:
        """Place an order to sell."""
        return await self._do(calls.place(market, "sell", quantity, price, **options))

    async def cancel(self, order: Order | str) -> Order:
        """Cancel what is open of an order, named by itself, its id or your own id."""
        return await self._do(calls.cancel(order))

    async def cancel_all(self, market: str | None = None) -> int:
        """Cancel the account's open orders (of one market); their number."""
        return await self._do(calls.cancel_all(market))

    async def replace(
        self, order: Order | str, *, quantity: Money | None = None, price: Money | None = None
    ) -> Order:
        """Change an order's whole quantity, its price or both."""
        return await self._do(calls.replace(order, quantity=quantity, price=price))

    async def get_order(self, order: Order | str) -> Order:
        """Where an order stands."""
        return await self._do(calls.get_order(order))

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

    async def get_book(self, market: str, depth: int = 50) -> Book:
        """The best levels of a book, once: it is not followed, so it is not ``current``."""
        book = Book(market_name(market), self._clock)
        book.take(await self._do(calls.get_book(market, depth)), current=False)
        return book

    async def get_positions(self) -> list[Position]:
        """What the account bought less what it sold, by market, as far as its fills are kept."""
        return await self._do(calls.get_positions())

    async def get_ticker(self, market: str) -> Ticker:
        """Best prices, the last trade, the volume of 24 hours."""
        return await self._do(calls.get_ticker(market))

    async def get_trades(self, market: str, limit: int = 100) -> list[Trade]:
        """The newest trades, newest last."""
        return await self._do(calls.get_trades(market, limit))

    async def get_candles(
        self, market: str, interval: str = "1m", limit: int = 100
    ) -> list[Candle]:
        """The newest candles, oldest first."""
        return await self._do(calls.get_candles(market, interval, limit))

    async def status(self) -> PeerStatus:
        """How the daemon is."""
        return await self._do(calls.status())

    async def ping(self) -> float:
        """How long an answer takes, in seconds."""
        began = self._clock()
        await self._do(calls.ping())
        return self._clock() - began

    async def call(
        self,
        method: str,
        params: dict[str, Any],
        changes: bool = True,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """Any method of the protocol, with its params and its result as they are on the wire."""
        return await self._do(calls.raw(method, params, changes, timeout_s))

    def book(self, market: str) -> AsyncStream[Book]:
        """Follow a book: the newest state, and once more when it is not ``current`` any more."""
        return AsyncStream(self, self._core.book(market))

    def trades(self, market: str) -> AsyncStream[Trade]:
        """Follow a market's trades from now on, none missed and none twice."""
        return AsyncStream(self, self._core.trades(market))

    def orders(self, from_seq: int | None = None) -> AsyncStream[Order]:
        """Follow own orders: each change from now on, or since number ``from_seq``."""
        return AsyncStream(self, self._core.orders(from_seq))

    def fills(self, from_seq: int | None = None) -> AsyncStream[Fill]:
        """Follow own fills, each once: from now on, or all since number ``from_seq``."""
        return AsyncStream(self, self._core.fills(from_seq))

    # How it waits.

    async def _do(self, call: MethodCall[T]) -> T:
        return await self._wait_for(lambda done: self._core.ask(call, self._clock(), done))

    async def _wait_for(self, ask: Callable[[Callable[[], None]], Pending[T]]) -> T:
        driver = self._driver
        if driver is None:
            raise NotConnected("this client is used without `async with`")
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending = ask(lambda: None if over.done() else over.set_result(None))
        driver.pump()
        if not pending.done:
            try:
                await over
            except asyncio.CancelledError:
                self._core.calls.give_up(pending)
                raise
        return pending.value()


class AsyncStream(Generic[T]):
    """
    What is followed, one item after the other; ``async with`` or `close` ends it.

    Iteration waits as long as it takes, and ends when the stream is closed. It raises the
    `ExchangeError` that ended the stream.
    """

    def __init__(self, client: AsyncClient, listener: Listener[T]) -> None:
        self._listener = listener
        self._wake = asyncio.Event()
        listener.on_item = self._wake.set
        driver = client._driver
        if driver is not None:
            driver.pump()

    @property
    def missed(self) -> int:
        """Items that the program was too slow for."""
        return self._listener.missed

    @property
    def seq(self) -> int | None:
        """The number of the last own order or fill that was given: keep it for ``from_seq``."""
        return self._listener.seq

    async def get(self, timeout_s: float | None = None) -> T:
        """
        The next item.

        Raises:
            TimeoutError: none came in time.
            ExchangeError: the stream has ended.
        """
        item = await self._next(timeout_s)
        if item is None:
            raise NotConnected("this stream was closed")
        return item

    async def _next(self, timeout_s: float | None) -> T | None:
        """The next item; None if the stream was closed."""
        while not self._listener.ready:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout_s)
            except asyncio.TimeoutError:
                raise TimeoutError(f"nothing came within {timeout_s} s") from None
        return self._listener.take()

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
