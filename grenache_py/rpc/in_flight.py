"""
The requests in flight, and when the wait for each of them ends.

Pure. Times are clock seconds that come in.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

import attrs

from grenache_py.rpc.errors import TooManyRequests

__all__ = ["RequestTable"]

T = TypeVar("T")


@attrs.define
class RequestTable(Generic[T]):
    """
    A waiter for each request in flight, by its id, and the deadline of each.

    A request has no timer of its own. Its deadline stays in a heap after the answer. It is
    dropped when it is due, or when more than half of the heap belongs to answered requests.

    Attributes:
        entries_max: more than these are refused with TooManyRequests.
    """

    entries_max: int
    _waiting: dict[Any, tuple[int, T]] = attrs.field(factory=dict, init=False)
    _deadlines: list[tuple[float, int, Any]] = attrs.field(factory=list, init=False)
    _serial: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, rid: Any, waiter: T, deadline: float) -> None:
        """Remember that ``waiter`` waits for ``rid`` until ``deadline`` (clock seconds)."""
        if len(self._waiting) >= self.entries_max:
            raise TooManyRequests(f"{self.entries_max} requests are in flight")
        self._serial += 1
        self._waiting[rid] = (self._serial, waiter)
        heappush(self._deadlines, (deadline, self._serial, rid))
        if len(self._deadlines) > 2 * len(self._waiting) + 64:
            self._deadlines = [entry for entry in self._deadlines if self._live(entry)]
            heapify(self._deadlines)

    def __contains__(self, rid: Any) -> bool:
        return rid in self._waiting

    def take(self, rid: Any) -> T | None:
        """Forget ``rid`` and return who waited for it, None if nobody does."""
        try:
            entry = self._waiting.pop(rid, None)
        except TypeError:  # an id that cannot be a key was never ours
            return None
        return entry[1] if entry is not None else None

    def expired(self, now: float) -> list[T]:
        """Forget all whose time is up and return them."""
        late: list[T] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heappop(self._deadlines)
            if self._live(entry):
                late.append(self._waiting.pop(entry[2])[1])
        return late

    def next_deadline(self) -> float | None:
        """Return when to call :meth:`expired` next, None if nothing is in flight."""
        while self._deadlines and not self._live(self._deadlines[0]):
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def take_all(self) -> list[T]:
        """Forget everything and return those who waited."""
        waiters = [waiter for _, waiter in self._waiting.values()]
        self._waiting.clear()
        self._deadlines.clear()
        return waiters

    def _live(self, entry: tuple[float, int, Any]) -> bool:
        waiting = self._waiting.get(entry[2])
        return waiting is not None and waiting[0] == entry[1]
