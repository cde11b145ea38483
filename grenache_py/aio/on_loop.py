"""
A Twisted object of this package, made on the running loop's reactor at its first use.

Shell: makes it at first use, so that it can be named before a loop runs.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from grenache_py.aio.futures import wait
from grenache_py.aio.reactor import LoopReactor, acquire, release
from grenache_py.errors import LocalProtocolError

__all__ = ["OnLoop"]

T = TypeVar("T")


class OnLoop(Generic[T]):
    """
    One Link, client, server, publisher or subscriber of Twisted's kind.

    Args:
        kind: its class.
        arguments: returns what comes before ``reactor``.
        count: how many those are.
        options: the named ones.

    Raises:
        TypeError: there is no such option.
    """

    def __init__(
        self,
        kind: Callable[..., T],
        arguments: Callable[[], tuple[Any, ...]],
        count: int,
        options: dict[str, Any],
    ) -> None:
        inspect.signature(kind).bind(*[None] * count, None, **options)
        self._kind = kind
        self._arguments = arguments
        self._options = options
        self._reactor: LoopReactor | None = None
        self._made: T | None = None
        self._closed = False

    def __repr__(self) -> str:
        if self._made is not None:
            return f"{self._made!r} in asyncio"
        name = getattr(self._kind, "__name__", self._kind)
        return f"<{name}, {'closed' if self._closed else 'not used yet'}> in asyncio"

    def get(self) -> T:
        """
        Return it, made if need be.

        Raises:
            LocalProtocolError: it is closed, or of another loop.
        """
        if self._made is None:
            if self._closed:
                raise LocalProtocolError(f"this {getattr(self._kind, '__name__', '')} is closed")
            arguments = self._arguments()
            reactor = acquire()
            try:
                self._made = self._kind(*arguments, reactor, **self._options)
            except BaseException:
                release(reactor)
                raise
            self._reactor = reactor
        elif self._reactor is None or self._reactor.loop is not asyncio.get_running_loop():
            raise LocalProtocolError(f"{self._made!r} belongs to another event loop")
        return self._made

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that uses it."""
        return None if self._reactor is None else self._reactor.loop

    @property
    def made(self) -> T | None:
        """What there is now: None before the first use, and once it is closed."""
        return self._made

    async def close(self, end: Callable[[T], Deferred[None]]) -> None:
        """End it with ``end``, once, and give the reactor back; a cancel cuts everything off."""
        self._closed = True
        if self._made is None or self._reactor is None:
            return
        made, reactor = self.get(), self._reactor
        self._made = self._reactor = None
        try:
            await wait(end(made))
        finally:
            release(reactor)
