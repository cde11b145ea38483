"""Real grapes on loopback for tests, and a client that sends and sees every byte."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.service import GrapeService

REACTOR: Any = reactor


def make_grape(seed: object = 0, **settings: Any) -> GrapeService:
    """A grape that has not started, on free ports of 127.0.0.1 unless told otherwise."""
    config = attrs.evolve(GrapeConfig(host="127.0.0.1", dht_port=0, api_port=0), **settings)
    return GrapeService(config, REACTOR, random.Random(str(seed)))


@asynccontextmanager
async def ring(size: int, seed: object = 0, **settings: Any) -> AsyncIterator[list[GrapeService]]:
    """Grapes that know each other: all but the first join through the first."""
    grapes: list[GrapeService] = []
    try:
        for index in range(size):
            contacts = tuple(f"127.0.0.1:{grape.dht_port}" for grape in grapes[:1])
            grape = make_grape((seed, index), bootstrap=contacts, **settings)
            grape.startService()
            grapes.append(grape)
        await until(lambda: all(g.dht.status().contacts_good >= min(size - 1, 8) for g in grapes))
        yield grapes
    finally:
        for grape in grapes:
            await grape.stopService()


async def until(condition: Any, timeout_s: float = 5.0) -> None:
    """Wait until ``condition`` holds."""
    deadline = REACTOR.seconds() + timeout_s
    while not condition():
        assert REACTOR.seconds() < deadline, "it did not come to that"
        await deferLater(REACTOR, 0.01)


class RawClient(Protocol):
    """Collects what the server sends."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = False
        self._waiting: Deferred[None] | None = None
        self._enough = 0

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True
        self._look()

    def _look(self) -> None:
        if self._waiting is not None and (self.closed or len(self.received) >= self._enough):
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def read(self, enough: int, timeout_s: float) -> bytes:
        """Wait for ``enough`` bytes or the end of the connection, but not for ever."""
        self._enough = enough
        self._waiting = Deferred(lambda waiting: waiting.callback(None))
        waiting = self._waiting.addTimeout(timeout_s, REACTOR, lambda result, _: result)
        self._look()
        await waiting
        self._waiting = None
        return self.received


async def connect(port: int) -> RawClient:
    """Open a connection."""
    endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", port)
    return await connectProtocol(endpoint, RawClient())


async def exchange(
    port: int, request: bytes, enough: int, *, half_close: bool = False, timeout_s: float = 0.5
) -> tuple[bytes, bool]:
    """Send ``request`` on a new connection; return what came, and whether it was closed."""
    client = await connect(port)
    transport: Any = client.transport
    transport.write(request)
    if half_close:
        transport.loseWriteConnection()
    received = await client.read(enough, timeout_s)
    closed = client.closed
    transport.abortConnection()
    return received, closed


async def post(port: int, command: str, data: object, timeout_s: float = 5.0) -> Any:
    """Ask a grape as its clients do; return the JSON it answers, None for an empty answer."""
    body = json.dumps({"rid": "r", "data": data}).encode()
    head = f"POST /{command} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    received, closed = await exchange(port, head.encode() + body, 1 << 30, timeout_s=timeout_s)
    assert closed, f"no answer to {command} {data!r} within {timeout_s} s"
    answer = received.partition(b"\r\n\r\n")[2]
    return json.loads(answer) if answer else None


async def sleep(seconds: float) -> None:
    """Let the reactor turn."""
    await deferLater(REACTOR, seconds)


def names(prefix: str, count: int) -> Sequence[str]:
    """Service names that fall near different nodes."""
    return [f"{index}-{prefix}" for index in range(count)]
