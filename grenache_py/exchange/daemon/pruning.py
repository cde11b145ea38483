"""
Forgets old history now and then, and collects garbage while nobody asks for anything.

Shell: touches the store and the garbage collector.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from grenache_py.deferreds import every
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.store import Store

__all__ = ["Pruning"]

#: Between two looks for history that may be forgotten.
PRUNE_INTERVAL_S = 60.0


class Pruning:
    """Keeps the store from growing for ever, and the memory from holding what nobody needs."""

    log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, requests: Callable[[], int]) -> None:
        """
        Args:
            requests: returns how many lines clients have sent, ever.
        """
        self._store = store
        self._clock = clock
        self._requests = requests
        self._requests_before = -1

    async def run(self) -> None:
        """Never ends by itself. A failure is logged, and the work goes on."""
        await every(
            lambda: PRUNE_INTERVAL_S,
            self._clock,
            self.log,
            "forgetting old history",
            self._forget_history,
        )

    async def _forget_history(self) -> None:
        requests = self._requests()
        if requests == self._requests_before:
            gc.collect()  # see tap.GC_THRESHOLDS
        self._requests_before = requests
        try:
            rows = await self._store.prune(int(self._clock.seconds() * 1000))
        except StoreError as error:
            self.log.warn("old history is kept for now: {reason}", reason=error.message)
        else:
            if rows:
                self.log.info("forgot {rows} rows of old history", rows=rows)
