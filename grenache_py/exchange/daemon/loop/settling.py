"""
Waits until no lots of an order are in doubt any more.

Shell: owns the timers of those who wait.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from grenache_py.exchange.client_port.feed import Feed

__all__ = ["Settling"]


@attrs.frozen
class Settling:
    """Who waits is told by the feed, which sees every change of an own order."""

    clock: IReactorTime
    feed: Feed

    async def wait(self, order_id: str, timeout_s: float) -> None:
        """Return when nothing of an order is in doubt, or after ``timeout_s``."""
        done: Deferred[None] = Deferred()

        def settled() -> None:
            done.callback(None)

        self.feed.when_settled(order_id, settled)
        timer = self.clock.callLater(timeout_s, settled)
        try:
            await done
        finally:
            self.feed.waits_no_more(order_id, settled)
            if timer.active():
                timer.cancel()
