"""
Who is announced under a name, again and again.

Shell: asks the link, and waits in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.link.errors import LinkError

__all__ = ["AddressWatch"]


class AddressWatch(AsyncIterator[list[str]]):
    """
    The addresses of a service, each time that they change; made by :meth:`Link.watch`.

    Attributes:
        name: the service.
        last_error: why the last lookup failed, None after a success.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        every_s: float,
        clock: IReactorTime,
        lookup: Callable[[str], Deferred[list[str]]],
    ) -> None:
        self.name = name
        self.last_error: LinkError | None = None
        self._every_s = every_s
        self._clock = clock
        self._lookup = lookup
        self._seen: list[str] | None = None
        self._asked = False

    def __repr__(self) -> str:
        return f"<AddressWatch {self.name!r}: {self._seen}>"

    def __aiter__(self) -> AddressWatch:
        return self

    async def __anext__(self) -> list[str]:
        """
        Return the addresses, sorted: at once the first time, then when they have changed.

        A lookup that fails is tried again and changes nothing.

        Raises:
            LocalProtocolError: the Link is closed, or there is no such name.
        """
        while True:
            if self._asked:
                await deferLater(self._clock, self._every_s)
            self._asked = True
            try:
                found = sorted(set(await self._lookup(self.name)))
            except LinkError as error:
                if self.last_error is None:
                    self._log.warn("{name}: {error}", name=self.name, error=str(error))
                self.last_error = error
                continue
            self.last_error = None
            if found != self._seen:
                self._seen = found
                return list(found)
