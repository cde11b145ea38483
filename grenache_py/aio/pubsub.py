"""
The publisher and the subscriber of `grenache_py.rpc` for asyncio.

Service: stands before one of them, on the reactor of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from twisted.logger import Logger

from grenache_py.aio.futures import wait
from grenache_py.aio.link import Link
from grenache_py.aio.on_loop import OnLoop
from grenache_py.aio.rpc import link_below
from grenache_py.errors import ConfigError
from grenache_py.rpc.pubsub import publisher, subscriber
from grenache_py.rpc.pubsub.subscriber_queue import SubscriberQueue

__all__ = ["Publisher", "Subscriber"]


class Publisher:
    """
    Sends messages to everybody who is subscribed, for asyncio.

    Args:
        link: announces it.
        name: the service name, which is the topic.
        options: the named ones of `grenache_py.rpc.Publisher`.

    Raises:
        TypeError: there is no such option.
    """

    def __init__(self, link: Link | None, name: str, **options: Any) -> None:
        below = link_below(link)
        self._on_loop: OnLoop[publisher.Publisher] = OnLoop(
            publisher.Publisher, lambda: (below(), name), 2, options
        )

    def __repr__(self) -> str:
        return repr(self._on_loop)

    async def __aenter__(self) -> Publisher:
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
    def subscribers(self) -> int:
        """How many are subscribed now."""
        made = self._on_loop.made
        return 0 if made is None else made.subscribers

    @property
    def dropped(self) -> int:
        """Messages that did not reach a subscriber that is too slow, over those of now."""
        made = self._on_loop.made
        return 0 if made is None else made.dropped

    def publish(self, message: str | bytes | dict[str, Any] | list[Any]) -> int:
        """Send ``message`` to every subscriber, as `grenache_py.rpc.Publisher.publish`."""
        return self._on_loop.get().publish(message)

    async def start(self) -> int:
        """
        Listen, then announce the name until stopped; return the port.

        Raises:
            ConfigError: the endpoint cannot be listened on; the message says why.
        """
        try:
            return await wait(self._on_loop.get().start())
        except ConfigError:
            await self.stop()
            raise

    async def when_announced(self) -> None:
        """Wait until the name has been announced once."""
        await wait(self._on_loop.get().when_announced())

    async def stop(self) -> None:
        """Announce no more, listen no more, close."""
        await self._on_loop.close(lambda below: below.stop())


class Subscriber(AsyncIterator[Any]):
    """
    Receives what one publisher sends, and finds another when it is gone, for asyncio.

    ::

        async with Link(grape) as link, Subscriber(link, "prices") as subscriber:
            async for message in subscriber:
                print(message)

    A program that does not keep up loses the oldest of the messages that wait for it.

    Args:
        link: finds the publishers.
        name: the service name, which is the topic.
        queue_max: messages that may wait for the program.
        queue_bytes_max: bytes in them.
        json: the messages are JSON; one that is not is logged and left out.
        options: the other named ones of `grenache_py.rpc.Subscriber`.

    Raises:
        TypeError: there is no such option.
    """

    _log = Logger()

    def __init__(
        self,
        link: Link,
        name: str,
        *,
        queue_max: int = 1000,
        queue_bytes_max: int = 16_777_216,
        json: bool = False,
        **options: Any,
    ) -> None:
        below = link_below(link)
        self._name = name
        self._json = json
        self._queue: SubscriberQueue[str | bytes] = SubscriberQueue(queue_max, queue_bytes_max)
        self._arrived = asyncio.Event()
        self._ended = False
        self._on_loop: OnLoop[subscriber.Subscriber] = OnLoop(
            subscriber.Subscriber, lambda: (below(), name, self._heard), 3, options
        )

    def __repr__(self) -> str:
        return repr(self._on_loop)

    async def __aenter__(self) -> Subscriber:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __aiter__(self) -> Subscriber:
        return self

    async def __anext__(self) -> Any:
        """Return the next message, ``str`` or ``bytes``, or what it holds as JSON."""
        while True:
            message = self._queue.take()
            if message is None:
                if self._ended:
                    raise StopAsyncIteration
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if not self._json:
                return message
            try:
                return msgspec.json.decode(message)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._log.warn("{name}: not JSON: {error}", name=self._name, error=str(error))

    @property
    def address(self) -> str | None:
        """The publisher that is connected now, or None."""
        made = self._on_loop.made
        return None if made is None else made.address

    @property
    def dropped(self) -> int:
        """Messages that were thrown away because the program was too slow."""
        return self._queue.dropped

    def start(self) -> None:
        """Find a publisher and stay connected to one until stopped."""
        self._on_loop.get().start()

    async def when_connected(self) -> str:
        """Wait for a connection, or get the present one; return the publisher's address."""
        return await wait(self._on_loop.get().when_connected())

    async def stop(self) -> None:
        """Close the connection; who iterates gets what waits, and then the end."""
        await self._on_loop.close(lambda below: below.stop())
        self._ended = True
        self._arrived.set()

    def _heard(self, message: str | bytes) -> None:
        self._queue.add(message)
        self._arrived.set()
