"""
A client of a daemon without its sockets and its clock: calls, and what is followed, over any
number of connections.

Pure. A shell tells it what arrived, that the connection is there or gone, and what time it is; it
writes what `take_output` returns, connects when the state is "connecting", and calls `tick` at
`deadline`. docs/trading.rst#faults says what it promises.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Any, TypeVar

from msgspec import UNSET, Raw

from grenache_py.trading import calls
from grenache_py.trading.book import Book
from grenache_py.trading.call_queue import CallQueue
from grenache_py.trading.calls import MethodCall
from grenache_py.trading.errors import (
    ExchangeError,
    NotAuthorised,
    NotConnected,
    Standby,
    Unavailable,
    refusal,
)
from grenache_py.trading.feeds import BookFeed, FillFeed, Followed, OrderFeed, TradeFeed
from grenache_py.trading.line import Line, State
from grenache_py.trading.listener import Listener
from grenache_py.trading.models import Fill, Market, Order, Trade, market_name
from grenache_py.trading.pending import BROKEN, Pending, SentLine, decode_named, decode_sent_line
from grenache_py.wire.jsonlines import LineSplitter
from grenache_py.wire.jsonrpc import request_line

__all__ = ["Core"]

T = TypeVar("T")

#: The longest line of a daemon that is read.
LINE_BYTES_MAX = 1_048_576


_log = getLogger("grenache_py.trading")


class Core:
    """
    See the module.

    Attributes:
        markets: by name, as the daemon said last.
        calls: those under way.
        closed_by: why there will be no connection any more; None while there may be.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        clock: Callable[[], float],
        rng: random.Random,
        *,
        account: str = "",
        hello: MethodCall[calls.Greeting] | None = None,
        timeout_s: float = 10.0,
        reconnect: bool = True,
        rate_per_s: float | None = None,
        on_state: Callable[[State, str], None] | None = None,
    ) -> None:
        self.markets: dict[str, Market] = {}
        self.line = line = Line(rng, addresses)
        self.calls = CallQueue(line.address, rng, account, timeout_s, rate_per_s, patient=reconnect)
        self.closed_by: ExchangeError | None = None
        self._clock = clock
        self._hello = hello or calls.hello("", None)
        self._reconnect = reconnect
        self._on_state = on_state
        self._splitter = LineSplitter(LINE_BYTES_MAX)
        self._output: list[bytes] = []
        self._own: dict[str, Callable[[Raw | None, ExchangeError | None], None]] = {}
        self._requests = 0
        self._greeting: set[str] = set()
        self._feeds: dict[str, Followed[Any]] = {}
        self._later: list[tuple[float, Followed[Any]]] = []
        self._dead_man: tuple[float, float] | None = None  # seconds, next time

    # What a shell looks at.

    @property
    def address(self) -> str:
        """Of the daemon that is tried or used, for messages."""
        return self.line.address

    @property
    def state(self) -> State:
        """Of the line."""
        return self.line.state

    @property
    def open_orders(self) -> dict[str, Order]:
        """The open orders by id, as the stream of orders tells them; empty without one."""
        feed = self._feeds.get("orders")
        return feed.open if isinstance(feed, OrderFeed) else {}

    def deadline(self) -> float | None:
        """When `tick` has something to do; None: never."""
        live = self.state == "live"
        times = [self.line.deadline(), self.calls.deadline(live), *(at for at, _ in self._later)]
        if live and self._dead_man is not None:
            times.append(self._dead_man[1])
        return min((at for at in times if at is not None), default=None)

    def take_output(self) -> bytes:
        """What is to be written."""
        output, self._output = b"".join(self._output), []
        return output

    # What happens.

    def start(self, now: float) -> None:
        """Begin to connect; a RuntimeError when that was done before."""
        if self.state != "waiting":
            raise RuntimeError("a client is entered once; make a new one for another time")
        self.line.connecting(now)
        self._said()

    def connected(self, now: float) -> None:
        """The connection is there."""
        if self.state != "connecting":
            return
        self.line.connected(now)
        self._splitter = LineSplitter(LINE_BYTES_MAX)
        self._said()
        self._greeting = {"hello", "markets", "ping"}
        greetings: tuple[tuple[str, MethodCall[Any], Callable[[Any], None]], ...] = (
            ("hello", self._hello, self._greeted_by),
            ("ping", calls.ping(), self._time_is),
            ("markets", calls.markets(), self._markets_are),
        )
        for key, call, take in greetings:
            self._ask(key, call.method, call.params, self._greeting_answered(key, call, take))

    def received(self, data: bytes, now: float) -> None:
        """Bytes came."""
        if self.state not in {"greeting", "live"}:
            return
        self.line.heard(now)
        try:
            for line in self._splitter.feed(data):
                self._take(decode_sent_line(line), now)
                if self.state not in {"greeting", "live"}:
                    return
        except BROKEN as error:
            self.lost(f"{self.address} sent what this client does not understand: {error}", now)
        if self._splitter.too_long:
            self.lost(f"{self.address} sent a line longer than {LINE_BYTES_MAX} bytes", now)
        self._send(now)

    def lost(self, reason: str, now: float, serving: str = "") -> None:
        """The connection is gone, or could not be made; for ``serving`` see `Line.lost`."""
        if self.state in {"waiting", "closed"}:
            return
        if self.state == "live":
            _log.warning("%s is lost: %s", self.address, reason)
        last = self.line.lost(reason, now, serving)
        self.calls.address = self.address
        self._output.clear()
        self._own.clear()
        self._later.clear()
        self.calls.lost()
        for feed in list(self._feeds.values()):
            feed.lost()
        if last and not self._reconnect:
            self._end(NotConnected(reason))
        self._said()

    def tick(self, now: float) -> None:
        """It is that late."""
        due = self.line.due(now)
        if due == "connect":
            self.start(now)
        elif due == "ping":
            self._ask("ping", "ping", {}, lambda result, error: None)
        elif due == "dead":
            what = "was not reached" if self.state == "connecting" else "is silent"
            self.lost(f"{self.address} {what}", now)
        self.calls.tick(now, self.line.reason)
        for at, feed in list(self._later):
            if at <= now:
                self._later.remove((at, feed))
                feed.begin()
        if self._dead_man is not None and self._dead_man[1] <= now and self.state == "live":
            self.dead_man(self._dead_man[0], now)
        self._send(now)

    def close(self, now: float) -> None:
        """Ask nothing more, and connect no more."""
        self._send(now)
        self._end(NotConnected("this client was closed"))
        self._said()

    # What the program asks.

    def ask(
        self, call: MethodCall[T], now: float, on_done: Callable[[], None] = lambda: None
    ) -> Pending[T]:
        """Make a call, at once or when there is a connection."""
        pending = self.calls.ask(call, now, on_done, self.closed_by)
        self._send(now)
        return pending

    def dead_man(
        self, seconds: float, now: float, on_done: Callable[[], None] = lambda: None
    ) -> Pending[None]:
        """Have own orders cancelled when this client is silent for ``seconds``; 0: no more."""
        self._dead_man = (seconds, now + seconds / 3) if seconds else None
        return self.ask(calls.cancel_after(seconds), now, on_done)

    def die(self) -> None:
        """Be silent from now on, so that the switch goes off."""
        self._dead_man = None

    def book(self, market: str) -> Listener[Book]:
        """Follow a book."""
        name = market_name(market)
        return self._follow(f"book:{name}", lambda: BookFeed(self, Book(name, self._clock)))

    def trades(self, market: str) -> Listener[Trade]:
        """Follow a market's trades."""
        name = market_name(market)
        return self._follow(f"trades:{name}", lambda: TradeFeed(self, name))

    def orders(self, from_seq: int | None) -> Listener[Order]:
        """Follow own orders."""
        self._only_one("orders")
        return self._follow("orders", lambda: OrderFeed(self, from_seq))

    def fills(self, from_seq: int | None) -> Listener[Fill]:
        """Follow own fills."""
        self._only_one("executions")
        return self._follow("executions", lambda: FillFeed(self, from_seq))

    # What feeds ask, see `feeds.FeedLine`.

    def request(
        self,
        method: str,
        params: dict[str, Any],
        answered: Callable[[Raw | None, ExchangeError | None], None],
    ) -> None:
        """Call a method; ``answered`` is not called when the connection is lost before."""
        self._requests += 1
        self._ask(f"feed {self._requests}", method, params, answered)

    def begin_later(self, feed: Followed[Any], delay_s: float) -> None:
        """Have ``feed.begin`` called then, on this connection."""
        self._later.append((self._clock() + delay_s, feed))

    def account_params(self) -> dict[str, str]:
        """The params that name the client's account."""
        return self.calls.account_params()

    def ended(self, feed: Followed[Any]) -> None:
        """Nobody listens to it any more."""
        for key, other in list(self._feeds.items()):
            if other is feed:
                del self._feeds[key]
                if self.state == "live":
                    self.request(f"{feed.kind}.unsubscribe", feed.params(), lambda *_: None)

    # The line.

    def _said(self) -> None:
        if self._on_state is not None:
            self._on_state(self.line.state, self.line.reason)

    def _ask(
        self,
        key: str,
        method: str,
        params: dict[str, Any],
        answered: Callable[[Raw | None, ExchangeError | None], None],
    ) -> None:
        self._own[key] = answered
        self._output.append(request_line(method, params, key))

    def _greeting_answered(
        self, key: str, call: MethodCall[Any], take: Callable[[Any], None]
    ) -> Callable[[Raw | None, ExchangeError | None], None]:
        def answered(result: Raw | None, error: ExchangeError | None) -> None:
            now = self._clock()
            if isinstance(error, NotAuthorised):
                self._end(error)
                self._said()
            elif isinstance(error, Unavailable) and key == "markets" and not self._reconnect:
                # There is no second try, and how a daemon is can be asked before its store is open.
                self._greeted(key, now)
            elif error is not None or result is None:
                self.lost(f"{self.address} refuses: {error}", now)
            else:
                take(call.result(result))
                self._greeted(key, now)

        return answered

    def _greeted(self, key: str, now: float) -> None:
        self._greeting.discard(key)
        if not self._greeting and self.state == "greeting":
            self._live(now)

    def _greeted_by(self, hello: calls.Greeting) -> None:
        self.calls.features, self.calls.bound = frozenset(hello.features), hello.account
        if hello.token_needed:
            self._end(NotAuthorised(-32006, f"{self.address} asks for a token", {}))
            self._said()
        elif hello.role == "standby":
            self._stands_by(hello.serving, self._clock())

    def _stands_by(self, serving: str, now: float) -> None:
        if len(self.line.addresses) > 1:
            self.lost(f"{self.address} stands by for another daemon", now, serving)

    def _time_is(self, daemon_ms: int) -> None:
        self.calls.daemon_ahead_ms = daemon_ms - self._clock() * 1000

    def _markets_are(self, markets: dict[str, Market]) -> None:
        self.markets = markets

    def _live(self, now: float) -> None:
        if self.line.greeted(now):
            away_s = now - self.line.lost_at
            _log.info("%s is there again, after %.1f s", self.address, away_s)
        self._said()
        for feed in list(self._feeds.values()):
            feed.begin()

    def _end(self, error: ExchangeError) -> None:
        self.closed_by = error
        self.line.closed(str(error))
        self._dead_man = None
        self.calls.end(error)
        for feed in list(self._feeds.values()):
            feed.fail(error)

    # What comes and goes.

    def _send(self, now: float) -> None:
        if self.state == "live" and not any(feed.comes_first for feed in self._feeds.values()):
            self._output += self.calls.send(now)

    def _take(self, line: SentLine, now: float) -> None:
        error = None if line.error is UNSET else refusal(line.error)
        if line.method:
            self._note(line.method, line.params)
        elif isinstance(line.id, int):
            self.calls.answered(line.id, line.result, error, now)
        elif line.id is not None:
            answered = self._own.pop(line.id, None)
            if answered is not None:
                answered(None if line.result is UNSET else line.result, error)
        elif error is not None:
            self.lost(f"{self.address} says: {error}", now)
        if isinstance(error, Standby) and self._reconnect:
            self._stands_by(error.serving, now)

    def _note(self, method: str, params: Raw) -> None:
        kind, _, what = method.partition(".")
        named = decode_named(params)
        if what == "update":
            feed = self._feeds.get(f"{kind}:{named.market}") or self._feeds.get(kind)
            if feed is not None:
                feed.note(params)
        elif method == "gap":
            subscription = named.subscription
            feed = self._feeds.get(subscription) or self._feeds.get(subscription.partition(":")[0])
            if feed is not None:
                feed.lost()
                feed.begin()

    # What is followed.

    def _only_one(self, key: str) -> None:
        if key in self._feeds:
            raise ValueError("a client has one stream of its own orders, and one of its fills")

    def _follow(self, key: str, make: Callable[[], Followed[T]]) -> Listener[T]:
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = make()
            listener = feed.listen()
            if self.state == "live":
                feed.begin()
        else:
            listener = feed.listen()
        if self.closed_by is not None:
            feed.fail(self.closed_by)
        return listener
