"""
One stream of a program: what waits for it, what it was too slow for, how it ended.

Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from grenache_py.trading.errors import ExchangeError

__all__ = ["QUEUE_MAX", "Listener"]

T = TypeVar("T")

#: Items that wait for a slow program; the oldest make room.
QUEUE_MAX = 10_000


class Listener(Generic[T]):
    """
    One stream of a program.

    Attributes:
        missed: items it was too slow for.
        seq: the number of the last item it has taken, of orders and fills; None before the first.
        error: why it ended; None while it has not, and when it was closed.
        on_item: called when there is something to take, or it has ended.
    """

    def __init__(self, close: Callable[[Listener[T]], None], size: int = QUEUE_MAX) -> None:
        self.missed = 0
        self.seq: int | None = None
        self.closed = False
        self.error: ExchangeError | None = None
        self.on_item: Callable[[], None] = lambda: None
        self._close = close
        self._items: deque[tuple[T, int | None]] = deque()
        self._size = size

    @property
    def ready(self) -> bool:
        """Whether `take` returns or raises something."""
        return bool(self._items) or self.closed

    def take(self) -> T | None:
        """
        The next item; None when there is none now, or it was closed.

        Raises:
            ExchangeError: it ended, and all before was taken.
        """
        if self._items:
            item, seq = self._items.popleft()
            self.seq = self.seq if seq is None else seq
            return item
        if self.error is not None:
            raise self.error
        return None

    def close(self) -> None:
        """End it; what was not taken is dropped."""
        if not self.closed:
            self.closed = True
            self._items.clear()
            self._close(self)
            self.on_item()

    # What a feed does.

    def put(self, item: T, seq: int | None = None) -> None:
        """There is another item."""
        if len(self._items) >= self._size:
            self._items.popleft()
            self.missed += self._size > 1
        self._items.append((item, seq))
        self.on_item()

    def fail(self, error: ExchangeError) -> None:
        """There will be none any more."""
        self.closed, self.error = True, error
        self.on_item()
