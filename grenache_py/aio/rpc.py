"""
The client and the server of `grenache_py.rpc` for asyncio.

Service: stands before one client or server, on the reactor of the loop. A handler that is a
coroutine function runs as a task of the loop, and the server knows its tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from twisted.internet.defer import Deferred

from grenache_py.aio.futures import as_deferred, wait
from grenache_py.aio.link import Link
from grenache_py.aio.on_loop import OnLoop
from grenache_py.aio.streams import ClientStream, ServerStream
from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.rpc import client, server, streams
from grenache_py.rpc.answering import Handler
from grenache_py.rpc.limits import CLOSE_TIMEOUT_S

__all__ = ["RPCClient", "RPCServer", "link_below"]

A = TypeVar("A")


def link_below(link: Link | None) -> Callable[[], Any]:
    """
    Return what gives the Link of Twisted's kind, None for none.

    Raises:
        LocalProtocolError: it is not a Link of this package.
    """
    if link is None:
        return lambda: None
    if not isinstance(link, Link):
        raise LocalProtocolError(f"a Link of grenache_py.aio is wanted here, not {link!r}")
    return link.on_loop.get


class RPCClient:
    """
    Sends requests to the services announced on a Grenache network, for asyncio.

    ::

        async with Link(grape) as link, RPCClient(link, transport="ws") as client:
            await client.request("square", 12)

    Cancelling the task that waits, or ``asyncio.timeout``, ends the request.

    Args:
        link: finds them.
        transport: ``"http"`` or ``"ws"``.
        options: the named ones of `grenache_py.rpc.RPCClient`.

    Raises:
        TypeError: there is no such option.
    """

    def __init__(
        self, link: Link, *, transport: Literal["http", "ws"] = "http", **options: Any
    ) -> None:
        below, options = link_below(link), {"transport": transport, **options}
        self._on_loop: OnLoop[client.RPCClient] = OnLoop(
            client.RPCClient, lambda: (below(),), 1, options
        )

    def __repr__(self) -> str:
        return repr(self._on_loop)

    async def __aenter__(self) -> RPCClient:
        self._on_loop.get()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self, name: str, payload: Any, *, timeout_s: float | None = None, retries: int = 0
    ) -> Any:
        """Ask one of the services under ``name``, as `grenache_py.rpc.RPCClient.request`."""
        on_loop = self._on_loop
        asking = on_loop.get().request(name, payload, timeout_s=timeout_s, retries=retries)
        return await wait(asking, on_loop.loop)

    async def call(
        self,
        name: str,
        action: str,
        *args: Any,
        timeout_s: float | None = None,
        retries: int = 0,
    ) -> Any:
        """Call a method of a service, as `grenache_py.rpc.RPCClient.call`."""
        return await wait(
            self._on_loop.get().call(name, action, *args, timeout_s=timeout_s, retries=retries)
        )

    async def map(
        self, name: str, payload: Any, *, limit: int | None = None, timeout_s: float | None = None
    ) -> list[client.Outcome]:
        """Ask every service under ``name``, as `grenache_py.rpc.RPCClient.map`."""
        return await wait(self._on_loop.get().map(name, payload, limit=limit, timeout_s=timeout_s))

    async def stream(
        self,
        name: str,
        *,
        action: str | None = None,
        args: Any = None,
        headers: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> ClientStream:
        """Open a byte stream to one of the services, as `grenache_py.rpc.RPCClient.stream`."""
        opening = self._on_loop.get().stream(
            name, action=action, args=args, headers=headers, timeout_s=timeout_s
        )
        return ClientStream(await wait(opening))

    async def close(self) -> None:
        """Cancel what is in flight and close every connection."""
        await self._on_loop.close(lambda below: below.close())


class _Tasks:
    """The handlers of one server that run as tasks."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    def wrap(self, handler: Callable[[A], Any]) -> Callable[[A], Any]:
        """Return ``handler`` as Twisted's server wants it: what is awaitable is a Deferred."""

        def handle(argument: A) -> Any:
            result = handler(argument)
            if not hasattr(result, "__await__") or isinstance(result, Deferred):
                return result
            task = asyncio.ensure_future(result)
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return as_deferred(task)

        return handle

    async def ended(self, timeout_s: float) -> None:
        """Wait until those that were cancelled have cleaned up."""
        running = self._running - {asyncio.current_task()}
        if running:
            await asyncio.wait(running, timeout=timeout_s)


class RPCServer:
    """
    Answers requests over HTTP or WebSocket and announces where it does, for asyncio.

    ::

        async def square(request):
            return request.payload ** 2

        async with Link(grape) as link, RPCServer(link, "square", square) as server:
            await server.when_announced()

    Args:
        link: announces it; None for a server that is found in another way.
        names: the service name, or several.
        handler: called with a `grenache_py.rpc.Request`; ``def`` or ``async def``, and may await
            anything of asyncio. At its deadline it gets ``asyncio.CancelledError``.
        stream_handler: the same, called with a `ServerStream`.
        options: the named ones of `grenache_py.rpc.RPCServer`.

    Raises:
        TypeError: there is no such option.
    """

    def __init__(
        self,
        link: Link | None,
        names: str | Sequence[str],
        handler: Handler,
        *,
        stream_handler: Callable[[ServerStream], Any] | None = None,
        **options: Any,
    ) -> None:
        below, self._tasks = link_below(link), _Tasks()
        if stream_handler is not None:
            on_stream = self._tasks.wrap(stream_handler)

            def handle(stream: streams.ServerStream) -> Any:
                return on_stream(ServerStream(stream))

            options["stream_handler"] = handle
        self._on_loop: OnLoop[server.RPCServer] = OnLoop(
            server.RPCServer, lambda: (below(), names, self._tasks.wrap(handler)), 3, options
        )

    def __repr__(self) -> str:
        return repr(self._on_loop)

    async def __aenter__(self) -> RPCServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The TCP port that is listened on, 0 while there is none."""
        made = self._on_loop.made
        return 0 if made is None else made.port

    @property
    def answered(self) -> int:
        """Requests answered so far, errors included."""
        made = self._on_loop.made
        return 0 if made is None else made.answered

    async def start(self) -> int:
        """
        Listen, then announce every name until stopped; return the port.

        Raises:
            ConfigError: the endpoint cannot be listened on; the message says why.
        """
        try:
            return await wait(self._on_loop.get().start())
        except ConfigError:
            await self.stop()
            raise

    async def when_announced(self) -> None:
        """Wait until every name has been announced once."""
        await wait(self._on_loop.get().when_announced())

    async def stop(self) -> None:
        """Announce no more, listen no more, finish what is being answered, close."""
        await self._on_loop.close(lambda below: below.stop())
        await self._tasks.ended(CLOSE_TIMEOUT_S)
