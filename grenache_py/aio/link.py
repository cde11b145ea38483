"""
The Link of `grenache_py.link` for asyncio: the same methods, as coroutines.

Shell: stands before one Link, on the reactor of the loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from grenache_py.aio.futures import wait
from grenache_py.aio.on_loop import OnLoop
from grenache_py.errors import GrenacheError
from grenache_py.link import announcement, client, watching
from grenache_py.link.announcing import EVERY_S_DEFAULT
from grenache_py.link.items import Item
from grenache_py.link.keys import ItemKey
from grenache_py.link.urls import check_grape_url

__all__ = ["AddressWatch", "Announcement", "Link"]


class Link:
    """
    The way to a Grenache network, for asyncio: `grenache_py.link.Link` with coroutines.

    ::

        async with Link("http://127.0.0.1:30001") as link:
            await link.lookup("rest:util:net")

    Args:
        grapes: base URLs such as ``http://127.0.0.1:30001``, the preferred one first.
        options: the named ones of `grenache_py.link.Link`.

    Raises:
        LocalProtocolError: there is no grape, or its URL cannot be asked.
        TypeError: there is no such option.
    """

    def __init__(self, grapes: str | Sequence[str], **options: Any) -> None:
        urls = [grapes] if isinstance(grapes, str) else list(grapes)
        for url in urls:
            check_grape_url(url)
        self.on_loop: OnLoop[client.Link] = OnLoop(client.Link, lambda: (urls,), 1, options)

    def __repr__(self) -> str:
        return repr(self.on_loop)

    async def __aenter__(self) -> Link:
        self.on_loop.get()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def grapes(self) -> list[str]:
        """The URLs of the grapes, in the order they would be asked now."""
        return self.on_loop.get().grapes

    @property
    def announcements(self) -> list[Announcement]:
        """Everything this Link keeps announced."""
        return [Announcement(one) for one in self.on_loop.get().announcements]

    async def lookup(self, name: str, *, fresh: bool = False) -> list[str]:
        """Find the services announced under ``name``, as `grenache_py.link.Link.lookup`."""
        return await wait(self.on_loop.get().lookup(name, fresh=fresh))

    def watch(self, name: str, every_s: float = 10.0) -> AddressWatch:
        """Follow who is announced under ``name``: ``async for addresses in link.watch(name)``."""
        return AddressWatch(self.on_loop.get().watch(name, every_s))

    def known(self, name: str) -> list[str] | None:
        """Return the answer that `lookup` would give without asking, None if it would ask."""
        return self.on_loop.get().known(name)

    def forget(self, name: str, address: str | None = None) -> None:
        """Drop an address found dead, or with None the whole cached answer, for ``name``."""
        self.on_loop.get().forget(name, address)

    async def announce(self, name: str, port: int) -> int:
        """Announce once that ``name`` listens on ``port`` of the grape's host."""
        return await wait(self.on_loop.get().announce(name, port))

    def start_announcing(
        self, name: str, port: int, every_s: float = EVERY_S_DEFAULT
    ) -> Announcement:
        """Announce now and again, until `stop_announcing`; failures are tried again."""
        return Announcement(self.on_loop.get().start_announcing(name, port, every_s))

    def stop_announcing(self, name: str, port: int) -> bool:
        """Stop renewing a record, which then expires; False if nobody renewed it."""
        return self.on_loop.get().stop_announcing(name, port)

    async def put(self, value: str) -> str:
        """Store an immutable item and return its hash, as `grenache_py.link.Link.put`."""
        return await wait(self.on_loop.get().put(value))

    async def put_mutable(
        self,
        value: str,
        key: ItemKey,
        seq: int,
        *,
        salt: str | bytes = b"",
        cas: int | None = None,
    ) -> str:
        """Sign and store a mutable item, as `grenache_py.link.Link.put_mutable`."""
        return await wait(self.on_loop.get().put_mutable(value, key, seq, salt=salt, cas=cas))

    async def get(
        self, target: str, *, salt: str | bytes = b"", fresh: bool = False
    ) -> Item | None:
        """Fetch an item that has been checked, as `grenache_py.link.Link.get`."""
        return await wait(self.on_loop.get().get(target, salt=salt, fresh=fresh))

    async def close(self) -> None:
        """Stop announcing, cancel every request in flight, close the connections."""
        await self.on_loop.close(lambda link: link.close())


class Announcement:
    """A service that is kept announced; made by :meth:`Link.start_announcing`."""

    def __init__(self, below: announcement.Announcement) -> None:
        self._below = below
        self.name = below.name
        self.port = below.port
        self.stop = below.stop

    def __repr__(self) -> str:
        return repr(self._below)

    @property
    def last_success(self) -> float | None:
        """Time of the loop of the last announcement a grape accepted, or None."""
        return self._below.last_success

    @property
    def last_count(self) -> int:
        """How many other grapes recorded it then."""
        return self._below.last_count

    @property
    def last_error(self) -> GrenacheError | None:
        """Why the last try failed, None after a success."""
        return self._below.last_error

    async def when_announced(self) -> int:
        """Wait until the service has been announced once; return how many grapes recorded it."""
        return await wait(self._below.when_announced())


class AddressWatch(AsyncIterator[list[str]]):
    """The addresses of a service, each time that they change; made by :meth:`Link.watch`."""

    def __init__(self, below: watching.AddressWatch) -> None:
        self._below = below
        self.name = below.name

    def __repr__(self) -> str:
        return repr(self._below)

    @property
    def last_error(self) -> GrenacheError | None:
        """Why the last lookup failed, None after a success."""
        return self._below.last_error

    def __aiter__(self) -> AddressWatch:
        return self

    async def __anext__(self) -> list[str]:
        """Return the addresses, sorted: at once the first time, then when they have changed."""
        return await wait(Deferred.fromCoroutine(self._below.__anext__()))
