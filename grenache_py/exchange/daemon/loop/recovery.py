"""
Opens a store that failed, again and again, until it works.

Shell: touches the clock only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.exchange.errors import StoreError

__all__ = ["Recovery"]

#: Between two tries to open a store that failed; each pause is twice as long as the one before.
RETRY_S_MIN, RETRY_S_MAX = 0.5, 30.0


class Recovery:
    """
    The way back from a failure of the store.

    Attributes:
        reason: why the store cannot be used at the moment; "" while it can.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        start: Callable[[], Awaitable[None]],
    ) -> None:
        """
        Args:
            start: opens the store and makes a node; raises ``StoreError`` when it cannot.
        """
        self.reason = ""
        self._clock = clock
        self._start = start

    async def run(self) -> None:
        """Wait, and start again, until that works."""
        pause = RETRY_S_MIN
        while True:
            await deferLater(self._clock, pause)
            try:
                await self._start()
            except StoreError as error:
                if str(error) != self.reason:
                    self.reason = str(error)
                    self.log.error("store still failed: {reason}", reason=self.reason)
                pause = min(RETRY_S_MAX, pause * 2)
            else:
                self.log.info("store is back, orders are accepted again")
                return
