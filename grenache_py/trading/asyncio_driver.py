"""
A core in an asyncio loop.

Shell: owns a transport of the running loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence

from grenache_py.trading.address import DaemonAddress, why_not_reached
from grenache_py.trading.core import Core
from grenache_py.trading.driver import Driver, Timer

__all__ = ["AsyncioDriver"]


class AsyncioDriver(Driver):
    """A core in an asyncio loop."""

    def __init__(
        self,
        core: Core,
        clock: Callable[[], float],
        addresses: Sequence[DaemonAddress],
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(core, clock)
        self._loop = asyncio.get_running_loop()
        self._addresses = addresses
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connect(self, attempt: int) -> None:
        self._connecting = self._loop.create_task(self._connect(attempt))

    async def _connect(self, attempt: int) -> None:
        address, loop = self._addresses[self.core.line.place], self._loop
        host = address.host if self._tls is not None else None
        try:
            if address.path:
                await loop.create_unix_connection(lambda: _Lines(self, attempt), address.path)
            else:
                await loop.create_connection(
                    lambda: _Lines(self, attempt),
                    address.host,
                    address.port,
                    ssl=self._tls,
                    server_hostname=host,
                )
        except OSError as error:
            self.gone(attempt, f"{address.text}: {why_not_reached(error)}")

    def accept(self, attempt: int, transport: asyncio.Transport) -> None:
        """A connection is there."""
        self._transport = transport
        if not self.opened(attempt):
            transport.abort()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def hang_up(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            if self.core.state == "closed":
                transport.close()
            else:
                transport.abort()
        elif self._connecting is not None:
            self._connecting.cancel()

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        return self._loop.call_later(delay_s, call)


class _Lines(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: AsyncioDriver, attempt: int) -> None:
        self._loop = loop
        self._attempt = attempt

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._loop.accept(self._attempt, transport)

    def data_received(self, data: bytes) -> None:
        self._loop.data(self._attempt, data)

    def connection_lost(self, exc: Exception | None) -> None:
        address = self._loop.core.address
        reason = getattr(exc, "strerror", None) or exc
        why = f"{address}: {reason}" if exc else f"{address} closed the connection"
        self._loop.gone(self._attempt, why)
