"""
A load generator for the client port: many clients that place orders and time the answers.

Shell: owns its connections. Each client keeps up to ``depth`` orders unanswered; with 1 it waits
for each, as a person's program does. The flow is that of the field's benchmarks: sides at
random, prices normal round a spread, so that a part trades and a part rests.
"""

from __future__ import annotations

import random
import selectors
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from grenache_py.errors import GrenacheError
from grenache_py.wire.jsonrpc import decode_response, request_line

__all__ = ["Flow", "Load", "LoadFailed"]

READ_BYTES = 65_536
#: Without any answer for so long, a run ends.
SILENCE_S = 60.0
#: Answers between two reports of progress, each of which may draw on a terminal.
PROGRESS_STEP = 100


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


class _Loader:
    """One client."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.sent: deque[float] = deque()
        self.unsent = b""
        self.begun = b""  # an answer whose end has not come

    def send(self, data: bytes) -> None:
        """Send as much as is taken; ``unsent`` is the rest."""
        data = self.unsent + data
        try:
            self.unsent = data[self.connection.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self.unsent = data

    def answers(self) -> list[bytes]:
        """
        The lines that have come.

        Raises:
            OSError: the connection broke.
            EOFError: the daemon closed it.
        """
        try:
            data = self.connection.recv(READ_BYTES)
            while isinstance(self.connection, ssl.SSLSocket) and self.connection.pending():
                data += self.connection.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return []
        if not data:
            raise EOFError
        lines = (self.begun + data).split(b"\n")
        self.begun = lines.pop()
        return lines


class Load:
    """
    One run.

    One thread and no reactor: what the generator spends, the daemon on the same machine lacks.

    Args:
        connect: gives a connection on which orders may be placed.
        lines: the requests, in turn for whoever may send one.
        progress: told now and then how many more are answered.
        taken: told each answer that is no refusal, as it came.

    Attributes:
        latencies: seconds from sending an order to its answer.
        errors: refusals by message.
        seconds: how long the run took, once it is over.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        lines: list[bytes],
        clients: int,
        *,
        depth: int = 1,
        clock: Callable[[], float],
        progress: Callable[[int], None] = lambda done: None,
        taken: Callable[[bytes], None] = lambda line: None,
    ) -> None:
        self.latencies: list[float] = []
        self.errors: dict[str, int] = {}
        self.seconds = 0.0
        self._connect = connect
        self._clients = clients
        self._lines = lines
        self._depth = depth
        self._clock = clock
        self._progress = progress
        self._taken = taken
        self._next = 0

    def run(self) -> None:
        """
        Connect all clients, then place all orders.

        Raises:
            LoadFailed: a connection was lost, or nothing was answered for ``SILENCE_S``.
            ExchangeError: as ``connect`` does.
        """
        loaders: list[_Loader] = []
        with selectors.DefaultSelector() as selector:
            try:
                for _ in range(self._clients):
                    loaders.append(_Loader(self._connect()))
                for loader in loaders:
                    loader.connection.setblocking(False)
                    selector.register(loader.connection, selectors.EVENT_READ, loader)
                began = self._clock()
                for loader in loaders:
                    self._send(selector, loader, self._depth)
                self._serve(selector)
                self.seconds = self._clock() - began
            except (OSError, EOFError) as error:
                reason = str(error) or "the daemon closed it"
                raise LoadFailed(f"a connection was lost: {reason}") from None
            finally:
                for loader in loaders:
                    loader.connection.close()

    def _serve(self, selector: selectors.BaseSelector) -> None:
        told = 0
        while len(self.latencies) < len(self._lines):
            ready = selector.select(SILENCE_S)
            if not ready:
                raise LoadFailed(f"no answer for {SILENCE_S:g} s")
            for key, events in ready:
                loader: _Loader = key.data
                answered = 0
                if events & selectors.EVENT_READ:
                    answered = self._take(loader)
                if answered or loader.unsent:
                    self._send(selector, loader, answered)
            if len(self.latencies) - told >= PROGRESS_STEP:
                self._progress(len(self.latencies) - told)
                told = len(self.latencies)
        self._progress(len(self.latencies) - told)

    def _take(self, loader: _Loader) -> int:
        """Take a client's answers; return how many they are."""
        lines = loader.answers()
        now = self._clock()
        for line in lines:
            self.latencies.append(now - loader.sent.popleft())
            if b'"result"' in line:
                self._taken(line)
            else:
                error = decode_response(line).error
                if isinstance(error, dict):
                    self._refused(error)
        return len(lines)

    def _send(self, selector: selectors.BaseSelector, loader: _Loader, count: int) -> None:
        lines = self._lines[self._next : self._next + count]
        self._next += len(lines)
        now = self._clock()
        loader.sent.extend([now] * len(lines))
        blocked = bool(loader.unsent)
        loader.send(b"".join(lines))
        if bool(loader.unsent) != blocked:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if loader.unsent else 0)
            selector.modify(loader.connection, events, loader)

    def _refused(self, error: dict[str, Any]) -> None:
        message = str(error.get("message", ""))
        if len(self.errors) < 20 or message in self.errors:
            self.errors[message] = self.errors.get(message, 0) + 1
