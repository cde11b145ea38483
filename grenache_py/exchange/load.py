"""
A load generator for the client port: many clients that place orders and time the answers.

Shell: owns its connections. Each client keeps up to ``depth`` orders unanswered; with 1 it waits
for each, as a person's program does. The flow is that of the field's benchmarks: sides at
random, prices normal round a spread, so that a part trades and a part rests.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from grenache_py.errors import GrenacheError
from grenache_py.wire.jsonlines import LineSplitter
from grenache_py.wire.jsonrpc import decode_response, request_line

__all__ = ["Flow", "Load", "LoadFailed"]

TOKEN_ID = "token"  # noqa: S105  # the id of a request, not a secret


class LoadFailed(GrenacheError):
    """The daemon closed a connection, or does not understand the orders."""


@attrs.define
class Flow:
    """
    A sequence of orders.

    Attributes:
        tick, lot: decimals of prices and quantities are those of these steps.
        mid_ticks: the middle of the spread.
        spread_ticks: the standard deviation of prices from their side's middle.
    """

    market: str
    tick: str
    lot: str
    rng: random.Random
    mid_ticks: int = 10_000
    spread_ticks: int = 50
    account: str = ""

    def lines(self, count: int) -> list[bytes]:
        """``count`` requests, ids 0 to ``count`` - 1."""
        rng = self.rng
        lines = []
        for number in range(count):
            side = "buy" if rng.random() < 0.5 else "sell"
            away = self.spread_ticks if side == "sell" else -self.spread_ticks
            ticks = max(1, round(rng.gauss(self.mid_ticks + away, self.spread_ticks)))
            params = {
                "market": self.market,
                "side": side,
                "price": _times(self.tick, ticks),
                "quantity": _times(self.lot, rng.randint(1, 100)),
            }
            if self.account:
                params["account"] = self.account
            lines.append(request_line("order.place", params, number))
        return lines


def _times(step: str, count: int) -> str:
    """``step`` (a decimal string) times ``count``, exactly."""
    whole, _, part = step.partition(".")
    units = str(int(whole + part) * count).rjust(len(part) + 1, "0")
    return f"{units[: len(units) - len(part)]}.{units[len(units) - len(part) :]}" if part else units


class _Loader(Protocol):
    """One client."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._splitter = LineSplitter()
        self._sent: deque[float] = deque()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        if self._load.token:
            transport.write(request_line("hello", {"token": self._load.token}, TOKEN_ID))

    def begin(self) -> None:
        self._send(self._load.depth)

    def _send(self, count: int) -> None:
        lines = self._load.take(count)
        if lines:
            now = self._load.clock()
            self._sent.extend([now] * len(lines))
            transport: Any = self.transport
            transport.write(b"".join(lines))

    def dataReceived(self, data: bytes) -> None:
        load = self._load
        now = load.clock()
        answered = 0
        for line in self._splitter.feed(data):
            if b'"result"' not in line or b'"method"' in line:
                response = decode_response(line)
                if isinstance(response.error, dict):
                    load.refused(response.error)
            elif line.startswith(b'{"jsonrpc":"2.0","id":"token"'):
                continue
            answered += 1
            load.latencies.append(now - self._sent.popleft())
        if answered:
            self._send(answered)
            load.answered(answered)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._load.lost(reason.getErrorMessage())


class Load:
    """
    One run.

    Args:
        tls: Twisted's options of a TLS client; None: plain TCP.

    Attributes:
        latencies: seconds from sending an order to its answer.
        errors: refusals by message.
        seconds: how long the run took, once it is over.
    """

    def __init__(
        self,
        reactor: Any,
        address: str,
        lines: list[bytes],
        clients: int,
        *,
        depth: int = 1,
        token: str = "",
        tls: Any = None,
        clock: Callable[[], float],
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.latencies: list[float] = []
        self.errors: dict[str, int] = {}
        self.seconds = 0.0
        self.depth = depth
        self.token = token
        self._tls = tls
        self.clock = clock
        self._reactor = reactor
        self._address = address
        self._lines = lines
        self._clients = clients
        self._next = 0
        self._open = 0
        self._progress = progress
        self._done: Deferred[None] = Deferred()

    async def run(self) -> None:
        """
        Connect all clients, then place all orders.

        Fails with:
            LoadFailed: a connection was refused or lost.
        """
        loaders: list[_Loader] = []
        for _ in range(self._clients):
            try:
                loaders.append(await self._endpoint().connect(self._factory()))
            except OSError as error:
                raise LoadFailed(f"cannot connect to {self._address}: {error}") from None
        began = self.clock()
        for loader in loaders:
            loader.begin()
        try:
            await self._done
        finally:
            self.seconds = self.clock() - began
            self._done = Deferred()
            for loader in loaders:
                if loader.transport is not None:
                    loader.transport.loseConnection()

    def _endpoint(self) -> Any:
        if "/" in self._address:
            return UNIXClientEndpoint(self._reactor, self._address)
        host, _, port = self._address.rpartition(":")
        endpoint = HostnameEndpoint(self._reactor, host.strip("[]"), int(port))
        return endpoint if self._tls is None else wrapClientTLS(self._tls, endpoint)

    def _factory(self) -> Any:
        factory = Factory.forProtocol(lambda: _Loader(self))
        factory.noisy = False
        return factory

    def take(self, count: int) -> list[bytes]:
        """The next orders to send."""
        lines = self._lines[self._next : self._next + count]
        self._next += len(lines)
        return lines

    def answered(self, count: int) -> None:
        """Some orders have their answer."""
        self._progress(count)
        if len(self.latencies) == len(self._lines):
            self._done.callback(None)

    def refused(self, error: dict[str, Any]) -> None:
        """An order was refused."""
        message = str(error.get("message", ""))
        if len(self.errors) < 20 or message in self.errors:
            self.errors[message] = self.errors.get(message, 0) + 1

    def lost(self, reason: str) -> None:
        """A connection ended before the run did."""
        if len(self.latencies) < len(self._lines) and not self._done.called:
            self._done.errback(LoadFailed(f"a connection was lost: {reason}"))
