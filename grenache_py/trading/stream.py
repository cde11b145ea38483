"""
What the blocking client follows.

Pure. It waits by asking its client to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeAlias, TypeVar

from typing_extensions import Self

from grenache_py.trading.errors import NotConnected
from grenache_py.trading.listener import Listener

__all__ = ["Stream"]

T = TypeVar("T")
#: Takes in what comes until it is true, or for so many seconds; whether it is.
WaitUntil: TypeAlias = Callable[[Callable[[], bool], float | None], bool]


class Stream(Generic[T]):
    """
    What is followed, one item after the other; ``with`` or `close` ends it.

    Iteration waits as long as it takes, and ends when the stream is closed. It raises the
    `ExchangeError` that ended the stream.
    """

    def __init__(self, wait_until: WaitUntil, listener: Listener[T]) -> None:
        self._wait_until = wait_until
        self._listener = listener

    @property
    def ready(self) -> bool:
        """Whether `get` has something to give, or to raise, at once."""
        return self._listener.ready

    @property
    def missed(self) -> int:
        """Items that the program was too slow for."""
        return self._listener.missed

    @property
    def seq(self) -> int | None:
        """The number of the last own order or fill that was given: keep it for ``from_seq``."""
        return self._listener.seq

    def get(self, timeout_s: float | None = None) -> T:
        """
        The next item.

        Raises:
            TimeoutError: none came in time.
            ExchangeError: the stream has ended.
        """
        item = self._next(timeout_s)
        if item is None:
            raise NotConnected("this stream was closed")
        return item

    def _next(self, timeout_s: float | None) -> T | None:
        """The next item; None if the stream was closed."""
        if not self._wait_until(lambda: self._listener.ready, timeout_s):
            raise TimeoutError(f"nothing came within {timeout_s} s")
        return self._listener.take()

    def close(self) -> None:
        """End it."""
        self._listener.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = self._next(None)
        if item is None:
            raise StopIteration
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
