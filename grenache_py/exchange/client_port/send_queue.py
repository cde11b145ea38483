"""
What waits to be written to one client: answers, and a bounded queue of notifications.

Pure. Answers are never dropped (their number is bounded because a client that does not read is
not read from either). Notifications are: when those of one subscription exceed its share, all
of them go, the subscription ends, and one ``gap`` takes their place (docs/failure-modes.rst#f39).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from grenache_py.wire.jsonrpc import notification_line

__all__ = ["SendQueue"]

NOTES_MAX = 1_000
#: Of all subscriptions of one connection and its answers: then the one whose turn it is gets a gap.
QUEUE_BYTES_MAX = 4 * 1_048_576
#: Of one subscription, waiting while its client does not read; beyond either it gets a gap.
NOTES_BYTES_MAX = 1_048_576


@attrs.define
class Gate:
    """Keeps notifications behind the answers that began their subscription."""

    answers: int = 0
    lines: list[bytes] = attrs.Factory(list)
    gap: bool = False


class SendQueue:
    """
    One connection's queue, oldest first.

    Attributes:
        size: bytes waiting.
        shape: what makes lines into what is sent; None: they are sent as they are.
    """

    __slots__ = ("_counts", "_gates", "_queue", "shape", "size")

    def __init__(self) -> None:
        self._queue: deque[tuple[str, bytes]] = deque()  # subscription ("" for answers), line
        self._counts: dict[str, list[int]] = {}  # subscription -> notes, bytes
        self._gates: dict[str, Gate] = {}
        self.size = 0
        self.shape: Callable[[bytes], bytes] | None = None

    def answer(self, line: bytes) -> None:
        """Queue an answer."""
        self._queue.append(("", line))
        self.size += len(line)

    def hold(self, subscription: str) -> None:
        """A subscription begins: what is noted of it waits until its answer was queued."""
        gate = self._gates.setdefault(subscription, Gate())
        gate.answers += 1
        gate.gap = False  # it was of the one before

    def open(self, subscription: str) -> None:
        """Queue what waited for the answer; while a later one is to come, it goes on waiting."""
        gate = self._gates.get(subscription)
        if gate is None:
            return  # it did not begin after all
        gate.answers -= 1
        if gate.answers:
            return
        del self._gates[subscription]
        if gate.gap:
            self.gap(subscription)
        for line in gate.lines:
            self._queue.append((subscription, line))
            self.size += len(line)

    def note(self, subscription: str, line: bytes) -> bool:
        """
        Queue a notification.

        Returns:
            False when the client is too slow: what waited of this subscription was replaced
            by one ``gap``, and the subscription must be ended.
        """
        count = self._counts.setdefault(subscription, [0, 0])
        if (
            count[0] >= NOTES_MAX
            or count[1] + len(line) > NOTES_BYTES_MAX
            or self.size + len(line) > QUEUE_BYTES_MAX
        ):
            self.gap(subscription)
            return False
        count[0] += 1
        count[1] += len(line)
        gate = self._gates.get(subscription) if self._gates else None
        if gate is not None:
            gate.lines.append(line)
        else:
            self._queue.append((subscription, line))
            self.size += len(line)
        return True

    def gap(self, subscription: str) -> None:
        """Put one ``gap`` in the place of what waits of ``subscription``."""
        self.drop(subscription)
        gate = self._gates.get(subscription)
        if gate is not None:
            gate.gap = True
        else:
            self.answer(notification_line("gap", {"subscription": subscription}))

    def drop(self, subscription: str) -> None:
        """Forget what waits of a subscription that was ended."""
        count = self._counts.pop(subscription, None)
        gate = self._gates.get(subscription)
        if gate is not None:
            gate.lines.clear()
        elif count is not None and count[0]:
            self.size -= count[1]
            self._queue = deque(item for item in self._queue if item[0] != subscription)

    def clear(self) -> None:
        """Forget everything: nobody will read it."""
        self._queue.clear()
        self._counts.clear()
        self._gates.clear()
        self.size = 0

    def take(self, bytes_max: int) -> bytes:
        """Return the oldest lines, at least one and then up to about ``bytes_max``."""
        queue = self._queue
        if len(queue) == 1 and not queue[0][0]:  # one answer, as nearly always
            self.size = 0
            lines = queue.popleft()[1]
            return lines if self.shape is None else self.shape(lines)
        taken: list[bytes] = []
        size = 0
        while queue and size < bytes_max:
            subscription, line = queue.popleft()
            if subscription:
                count = self._counts[subscription]
                count[0] -= 1
                count[1] -= len(line)
            taken.append(line)
            size += len(line)
        self.size -= size
        lines = taken[0] if len(taken) == 1 else b"".join(taken)
        return lines if self.shape is None else self.shape(lines)
