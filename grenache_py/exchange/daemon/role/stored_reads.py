"""
What clients are told of the store while another daemon serves.

Shell: reads the store, and has the gateway tell it. To read the books takes the longer the more
orders there are, so that is done when somebody asks, and not all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IReactorTime

from grenache_py.deferreds import Background, OneShot
from grenache_py.exchange.daemon.role.stored_markets import StoredMarkets
from grenache_py.exchange.errors import StoreError

if TYPE_CHECKING:
    from grenache_py.exchange.client_port.gateway import Gateway, GatewayNode
    from grenache_py.exchange.effects.rows import Snapshot
    from grenache_py.exchange.storage.postgresql.postgresql_store import PostgreSQLStore

__all__ = ["StoredReads"]

#: Books that were read so long ago are told again; or, where that takes long, so many times longer
#: than it took.
KEPT_S, KEPT_TIMES = 0.25, 4


class StoredReads:
    """See the module."""

    def __init__(
        self,
        store: PostgreSQLStore,
        gateway: Gateway,
        clock: IReactorTime,
        seconds: Callable[[], float],
        background: Background,
        age_s: Callable[[], float],
    ) -> None:
        """
        Args:
            clock: the time by which leases hold.
            seconds: a clock that only goes forward.
            age_s: how long ago whoever serves was last known to live.
        """
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._seconds = seconds
        self._background = background
        self._age_s = age_s
        self._markets_asked = False
        self._kept: StoredMarkets | None = None
        self._kept_at, self._keep_s = 0.0, 0.0
        self._reading: OneShot[StoredMarkets] | None = None
        gateway.stored = self._stored

    def begin(self, begun: Callable[[], None]) -> None:
        """Have the gateway tell what is stored, and call ``begun``, once the markets were read."""
        if not (self._gateway.from_store or self._markets_asked):
            self._markets_asked = True
            self._background.spawn("reading the markets", self._read_markets(begun))

    async def _read_markets(self, begun: Callable[[], None]) -> None:
        try:
            found = self._markets(await self._store.meta())
        except StoreError:
            return  # it is tried again with the next look
        finally:
            self._markets_asked = False
        if self._store.follows:
            self._gateway.node = cast("GatewayNode", found)
            self._gateway.from_store = True
            begun()

    def _markets(self, meta: Mapping[str, int]) -> StoredMarkets:
        return StoredMarkets.of(self._gateway.feed.markets, meta)

    async def _stored(self) -> tuple[GatewayNode, float]:
        """See `Gateway.stored`."""
        kept = self._kept
        if kept is None or self._seconds() > self._kept_at + self._keep_s:
            reading = self._reading
            if reading is None:
                reading = self._reading = OneShot()
                self._background.spawn("reading the books", self._read_books(reading))
            kept = await reading.when()
        age_s = max(self._age_s(), self._seconds() - self._kept_at)
        return cast("GatewayNode", kept), round(age_s, 3)

    async def _read_books(self, read: OneShot[StoredMarkets]) -> None:
        home, now, began = self._gateway.facts.peer, self._clock.seconds(), self._seconds()

        def make(snapshot: Snapshot) -> StoredMarkets:
            return self._markets(snapshot.meta).with_books(snapshot, home, now)

        try:
            self._kept = await self._store.books(make)
        except BaseException as error:  # and CancelledError, when the daemon stops
            self._reading = None
            read.fail(error)
            if not isinstance(error, StoreError):
                raise
            return
        self._reading, self._kept_at = None, began
        self._keep_s = max(KEPT_S, KEPT_TIMES * (self._seconds() - began))
        read.fire(self._kept)
