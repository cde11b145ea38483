"""
The client that waits: one socket, no thread, for scripts, notebooks and simple bots.

Shell: owns a socket, and looks at the clock. Not to be shared between threads.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from typing_extensions import Self, Unpack

from grenache_py.trading import calls
from grenache_py.trading.address import DaemonAddress, why_not_reached
from grenache_py.trading.book import Book
from grenache_py.trading.calls import MethodCall, PlaceOptions
from grenache_py.trading.client_facts import ClientFacts
from grenache_py.trading.core import Core
from grenache_py.trading.errors import no_connection
from grenache_py.trading.line import State
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
from grenache_py.trading.opening import open_socket
from grenache_py.trading.pending import Pending
from grenache_py.trading.stream import Stream

if TYPE_CHECKING:
    import ssl

__all__ = ["Client"]

T = TypeVar("T")

CONNECT_S = 5.0
READ_BYTES = 65_536
#: Read in one turn, so that a flood does not keep the program from its own work.
TURN_BYTES = 4_194_304


class Client(ClientFacts):
    """
    A connection to a daemon that is made again when it is lost; ``with`` opens and closes it.

    Whatever is asked waits, and takes in meanwhile what comes for the streams. A program that works
    for long without asking calls `poll` now and then.
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
        self._not_now: tuple[type[OSError], ...] = (BlockingIOError,)
        if tls is not None:
            import ssl

            self._not_now += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._clock = time.monotonic
        self._socket: socket.socket | None = None
        self._unwritten = b""
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

    def __enter__(self) -> Self:
        core = self._core
        core.start(self._clock())
        try:
            self.wait_until(lambda: core.state in {"live", "closed"}, core.calls.timeout_s)
            if core.state != "live":
                raise core.closed_by or no_connection(core.address, core.line.reason)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls and streams end."""
        self._core.close(self._clock())
        self._write(self._core.take_output())
        self._hang_up()

    def detach(self) -> socket.socket:
        """
        Give away the connection, greeted and with nothing asked, and be closed without it.

        Raises:
            NotConnected: there is none.
        """
        if self._socket is None:
            raise no_connection(self._core.address, self._core.line.reason)
        connection, self._socket = self._socket, None
        self.close()
        return connection

    def poll(self) -> None:
        """Take in what has come."""
        self._turn(0.0)

    @contextmanager
    def dead_man(self, seconds: float) -> Iterator[None]:
        """
        Have own orders cancelled when this program is silent for ``seconds``.

        The daemon is told again at a third of that, as long as this client is asked anything.
        When the block ends by an exception the switch stays on, and goes off.
        """
        self._wait_for(self._core.dead_man(seconds, self._clock()))
        try:
            yield
        except BaseException:
            self._core.die()
            raise
        self._wait_for(self._core.dead_man(0, self._clock()))

    def place(
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
        return self._do(call)

    def buy(
        self,
        market: str,
        quantity: Money,
        price: Money | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Order:
        """Place an order to buy."""
        return self._do(calls.place(market, "buy", quantity, price, **options))

    def sell(
        self,
        market: str,
        quantity: Money,
        price: Money | None = None,
        **options: Unpack[PlaceOptions],
    ) -> Order:
        """Place an order to sell."""
        return self._do(calls.place(market, "sell", quantity, price, **options))

    def cancel(self, order: Order | str) -> Order:
        """Cancel what is open of an order, named by itself, its id or your own id."""
        return self._do(calls.cancel(order))

    def cancel_all(self, market: str | None = None) -> int:
        """Cancel the account's open orders (of one market); their number."""
        return self._do(calls.cancel_all(market))

    def replace(
        self, order: Order | str, *, quantity: Money | None = None, price: Money | None = None
    ) -> Order:
        """Change an order's whole quantity, its price or both."""
        return self._do(calls.replace(order, quantity=quantity, price=price))

    def get_order(self, order: Order | str) -> Order:
        """Where an order stands."""
        return self._do(calls.get_order(order))

    def get_orders(
        self, market: str | None = None, *, status: Literal["open", "closed", "all"] = "open"
    ) -> Iterator[Order]:
        """All orders, newest first, page by page."""
        after: str | None = None
        while True:
            page = self._do(calls.order_page(market, status, after))
            yield from page.orders
            after = page.next
            if after is None:
                return

    def get_fills(self, market: str | None = None, *, after: int | None = None) -> Iterator[Fill]:
        """Own fills, oldest first: all after number ``after``; without it, the newest."""
        while True:
            page = self._do(calls.fill_page(market, after))
            yield from page.executions
            if after is None or page.next >= page.seq:
                return
            after = page.next

    def get_book(self, market: str, depth: int = 50) -> Book:
        """The best levels of a book, once: it is not followed, so it is not ``current``."""
        book = Book(market_name(market), self._clock)
        book.take(self._do(calls.get_book(market, depth)), current=False)
        return book

    def get_positions(self) -> list[Position]:
        """What the account bought less what it sold, by market, as far as its fills are kept."""
        return self._do(calls.get_positions())

    def get_ticker(self, market: str) -> Ticker:
        """Best prices, the last trade, the volume of 24 hours."""
        return self._do(calls.get_ticker(market))

    def get_trades(self, market: str, limit: int = 100) -> list[Trade]:
        """The newest trades, newest last."""
        return self._do(calls.get_trades(market, limit))

    def get_candles(self, market: str, interval: str = "1m", limit: int = 100) -> list[Candle]:
        """The newest candles, oldest first."""
        return self._do(calls.get_candles(market, interval, limit))

    def status(self) -> PeerStatus:
        """How the daemon is."""
        return self._do(calls.status())

    def ping(self) -> float:
        """How long an answer takes, in seconds."""
        began = self._clock()
        self._do(calls.ping())
        return self._clock() - began

    def call(
        self,
        method: str,
        params: dict[str, Any],
        changes: bool = True,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """Any method of the protocol, with its params and its result as they are on the wire."""
        return self._do(calls.raw(method, params, changes, timeout_s))

    def book(self, market: str) -> Stream[Book]:
        """Follow a book: the newest state, and once more when it is not ``current`` any more."""
        return Stream(self.wait_until, self._core.book(market))

    def trades(self, market: str) -> Stream[Trade]:
        """Follow a market's trades from now on, none missed and none twice."""
        return Stream(self.wait_until, self._core.trades(market))

    def orders(self, from_seq: int | None = None) -> Stream[Order]:
        """Follow own orders: each change from now on, or since number ``from_seq``."""
        return Stream(self.wait_until, self._core.orders(from_seq))

    def fills(self, from_seq: int | None = None) -> Stream[Fill]:
        """Follow own fills, each once: from now on, or all since number ``from_seq``."""
        return Stream(self.wait_until, self._core.fills(from_seq))

    # How it waits.

    def _do(self, call: MethodCall[T]) -> T:
        return self._wait_for(self._core.ask(call, self._clock()))

    def _wait_for(self, pending: Pending[T]) -> T:
        try:
            self._run(lambda: pending.done, None)
        except BaseException:
            self._core.calls.give_up(pending)
            raise
        return pending.value()

    def wait_until(self, done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Take in what comes until ``done()`` or for so long; whether it is."""
        return self._run(done, None if timeout_s is None else self._clock() + timeout_s)

    def _run(self, done: Callable[[], bool], until: float | None) -> bool:
        self._turn(0.0)
        while not done():
            now = self._clock()
            if until is not None and now >= until:
                return False
            times = [at for at in (self._core.deadline(), until) if at is not None]
            if not times and self._socket is None:
                return False  # closed: nothing will happen any more
            self._turn(max(0.0, min(times) - now) if times else None)
        return True

    def _turn(self, wait_s: float | None) -> None:
        """Read what is there, waiting so long for it; write, connect, hang up."""
        core = self._core
        if self._socket is None:
            if wait_s:
                time.sleep(wait_s)
        else:
            self._read(wait_s)
        core.tick(self._clock())
        if core.state == "connecting" and self._socket is None:
            self._connect()
        if core.state in {"waiting", "closed"}:
            self._hang_up()
        self._write(core.take_output())

    def _connect(self) -> None:
        address = self._addresses[self._core.line.place]
        try:
            connection = open_socket(address, min(CONNECT_S, self._core.calls.timeout_s), self._tls)
        except OSError as error:  # ssl.SSLError is one
            self._core.lost(f"{address.text}: {why_not_reached(error)}", self._clock())
        else:
            self._socket = connection
            self._core.connected(self._clock())

    def _read(self, wait_s: float | None) -> None:
        connection = self._socket
        assert connection is not None
        if self._tls is None or not cast("ssl.SSLSocket", connection).pending():
            poll = select.poll()
            poll.register(connection, select.POLLIN | (select.POLLOUT if self._unwritten else 0))
            if not poll.poll(None if wait_s is None else int(wait_s * 1000 + 0.999)):
                return
        left = TURN_BYTES
        try:
            while left > 0:
                data = connection.recv(READ_BYTES)
                if not data:
                    unknown = self._core.state == "greeting"
                    hint = " before it said who it is; does it speak TLS?" if unknown else ""
                    text = f"{self._core.address} closed the connection{hint}"
                    self._core.lost(text, self._clock())
                    return
                left -= len(data)
                self._core.received(data, self._clock())
        except self._not_now:
            pass
        except OSError as error:
            self._core.lost(f"{self._core.address}: {error.strerror or error}", self._clock())

    def _write(self, data: bytes) -> None:
        self._unwritten += data
        try:
            while self._unwritten and self._socket is not None:
                sent = self._socket.send(self._unwritten)
                self._unwritten = self._unwritten[sent:]
        except self._not_now:
            pass
        except OSError as error:
            self._core.lost(f"{self._core.address}: {error.strerror or error}", self._clock())

    def _hang_up(self) -> None:
        self._unwritten = b""
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()
