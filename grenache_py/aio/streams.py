"""
The two ends of a byte stream between services, for asyncio.

Shell: stands before the streams of `grenache_py.rpc`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred

from grenache_py.aio.futures import wait
from grenache_py.rpc import streams

__all__ = ["ClientStream", "ServerStream"]


class _Stream:
    """What both ends have: reads and writes. ``async for`` gives the bytes as they come."""

    def __init__(self, below: streams.ClientStream | streams.ServerStream) -> None:
        self._below = below

    def __repr__(self) -> str:
        return repr(self._below)

    async def read(self) -> bytes:
        """
        Wait for bytes; ``b""`` is the end. Nothing is lost if this is cancelled.

        Raises:
            PeerLost: the connection went away before the end.
        """
        return await wait(self._below.read())

    async def read_all(self, bytes_max: int) -> bytes:
        """
        Return everything up to the end.

        Raises:
            BadFrame: it is more than ``bytes_max``.
            PeerLost: the connection went away before the end.
        """
        return await wait(Deferred.fromCoroutine(self._below.read_all(bytes_max)))

    async def write(self, data: bytes) -> None:
        """
        Send bytes, and wait until the connection can take more.

        Raises:
            PeerLost: the connection went away.
            LocalProtocolError: the stream was finished before.
        """
        await wait(self._below.write(data))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk


class ServerStream(_Stream):
    """
    A stream as the server's stream handler gets it, as `grenache_py.rpc.ServerStream`.

    Attributes:
        rid, key, action, args, headers, peer, certificate: as there.
    """

    def __init__(self, below: streams.ServerStream) -> None:
        super().__init__(below)
        self.rid = below.rid
        self.key = below.key
        self.action = below.action
        self.args = below.args
        self.headers = below.headers
        self.peer = below.peer
        self.certificate = below.certificate


class ClientStream(_Stream):
    """
    A stream as the caller has it: write the request's body, ``finish()``, read the answer.

    ``async with`` drops the connection at the end where the stream has not ended.

    Attributes:
        address: the peer.
        finish: says that all is written.
        abort: drops the connection.
    """

    def __init__(self, below: streams.ClientStream) -> None:
        super().__init__(below)
        self._client = below
        self.address = below.address
        self.finish = below.finish
        self.abort = below.abort

    async def __aenter__(self) -> ClientStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abort()

    @property
    def status(self) -> int:
        """The HTTP status of the answer, 0 before the first byte of it was read."""
        return self._client.status
