"""
Sends a subscriber what it missed: pages from the store, then what came meanwhile.

Pure. For streams of an account whose updates have gap-free numbers and are kept in the store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import attrs

from grenache_py.exchange.client_port.feed import Feed, Subscription
from grenache_py.exchange.errors import INVALID_PARAMS, OrderError, StoreError

__all__ = ["ALL", "KeptUpdates"]

#: Read from the store at a time for a subscriber that names its last ``seq``.
PAGE_UPDATES_MAX = 200
#: The ``after`` of a subscription that is told nothing yet.
ALL = 2**63


@attrs.frozen
class KeptUpdates:
    """
    One account's stream.

    Attributes:
        newest: returns the number of its newest update, durable or not.
        read: given a number and how many, the numbers and lines of the updates after it.
    """

    feed: Feed
    newest: Callable[[], int]
    read: Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]

    async def after(
        self, subscription: Subscription, from_seq: int, sealed: int
    ) -> AsyncGenerator[list[bytes], None]:
        """
        The updates after ``from_seq``, by pages from the store; then those that came meanwhile.

        None of them waits in memory: what comes while there is more than a page to read is read
        later, as all is in the store.

        Args:
            subscription: begun with `ALL`.
            sealed: updates up to this number are durable by now, later ones perhaps not yet.

        Raises:
            OrderError, StoreError: the first page is not to be had. A later one ends in a ``gap``.
        """
        feed, seq, last = self.feed, from_seq, None
        answered = False
        while not subscription.ended:
            if last is None and self.newest() <= seq + PAGE_UPDATES_MAX:
                last = self.newest()
                feed.hold_back(subscription, after=last)
            if seq == last:
                yield feed.caught_up(subscription)
                return
            limit = PAGE_UPDATES_MAX if last is None else last - seq
            try:
                found = await self.read(seq, limit)
                count = len(found) or int(seq < sealed)
                if [number for number, _ in found] != list(range(seq + 1, seq + 1 + count)):
                    raise OrderError(
                        INVALID_PARAMS,
                        f"The updates after {seq} are not kept any more: subscribe without"
                        " from_seq.",
                        field="from_seq",
                    )
            except Exception as error:  # and CancelledError: raised again
                if not answered:
                    feed.end(subscription.name, subscription.to)
                    raise
                feed.gap(subscription)  # or it would wait for ever for what is not told
                if not isinstance(error, (OrderError, StoreError)):
                    raise
                return
            seq += len(found)
            yield [line for _, line in found]
            answered = True
