"""
The operations of a node that are under way, and when each must have ended.

Pure.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grenache_py.dht.traversals import Operation

__all__ = ["OperationsUnderWay"]


class OperationsUnderWay:
    """Operations by the number they get when they begin."""

    def __init__(self) -> None:
        self._started = 0
        self._operations: dict[int, Operation] = {}
        # By operation number; an entry may outlive its operation, and is then skipped.
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._operations)

    def all(self) -> list[Operation]:
        """Those that have not ended."""
        return list(self._operations.values())

    def add(self, operation: Operation) -> None:
        """``operation`` has begun; it gets its number."""
        self._started += 1
        operation.number = self._started
        self._operations[operation.number] = operation

    def remove(self, operation: Operation) -> None:
        """``operation`` has ended."""
        del self._operations[operation.number]

    def set_deadline(self, operation: Operation, due: float) -> None:
        """Let ``operation`` expire at ``due``."""
        heapq.heappush(self._deadlines, (due, operation.number))

    def expire(self, now: float) -> None:
        """End those whose time is up."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            operation = self._operations.get(heapq.heappop(deadlines)[1])
            if operation is not None:
                operation.expire(now)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, None if nothing is under way."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self._operations:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None
