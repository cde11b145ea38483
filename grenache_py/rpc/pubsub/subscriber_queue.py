"""
What waits for a subscriber that reads more slowly than is published.

Pure. Messages have no numbers and are not sent twice. So a subscriber that falls behind
loses the oldest of those that wait for it, and they are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

import attrs

__all__ = ["SubscriberQueue"]

F = TypeVar("F", bound=Sized)


@attrs.define
class SubscriberQueue(Generic[F]):
    """
    Frames that wait until a subscriber's connection, or its program, can take more.

    Attributes:
        frames_max: frames kept.
        bytes_max: bytes kept in them, or characters of text; a single frame larger than that is
            not kept at all.
        dropped: frames that were thrown away to make room, the oldest first.
    """

    frames_max: int = 1000
    bytes_max: int = 1_048_576
    dropped: int = 0
    _frames: deque[F] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: F) -> int:
        """Keep ``frame`` for later and return how many were dropped to make room."""
        self._frames.append(frame)
        self._bytes += len(frame)
        dropped = 0
        while self._bytes > self.bytes_max or len(self._frames) > self.frames_max:
            self._bytes -= len(self._frames.popleft())
            dropped += 1
        self.dropped += dropped
        return dropped

    def take(self) -> F | None:
        """Return the frame that has waited longest, None if there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        return frame
