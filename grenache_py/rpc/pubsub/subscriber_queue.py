"""
Publish and subscribe: what waits for a slow subscriber, and when to connect again.

Pure. A message is one WebSocket frame without any envelope (section g.2 of the
reference): text for ``str``, binary for ``bytes``. The service name is the topic.
Nothing is numbered and nothing is sent twice, so a subscriber that falls behind loses
the oldest of what waits for it, which is counted.
"""

from __future__ import annotations

import random
from collections import deque

import attrs

__all__ = ["ReconnectSchedule", "SubscriberQueue"]


@attrs.define
class SubscriberQueue:
    """
    Frames that wait until a subscriber's connection can take more.

    Attributes:
        frames_max: frames kept.
        bytes_max: bytes kept in them; a single frame larger than that is not kept at all.
        dropped: frames that had to go, the oldest first.
    """

    frames_max: int = 1000
    bytes_max: int = 1_048_576
    dropped: int = 0
    _frames: deque[bytes] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: bytes) -> int:
        """Keep ``frame`` for later and return how many were dropped to make room."""
        self._frames.append(frame)
        self._bytes += len(frame)
        dropped = 0
        while self._bytes > self.bytes_max or len(self._frames) > self.frames_max:
            self._bytes -= len(self._frames.popleft())
            dropped += 1
        self.dropped += dropped
        return dropped

    def take(self) -> bytes | None:
        """Return the frame that has waited longest, None if there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        return frame


@attrs.define
class ReconnectSchedule:
    """
    The pause before a subscriber looks for a publisher again.

    Attributes:
        rng: spreads the subscribers that lost the same publisher.
        first_s: after the first failure; doubles up to ``most_s``.
        jitter: each pause is shortened by up to this fraction.
    """

    rng: random.Random
    first_s: float = 0.25
    most_s: float = 15.0
    jitter: float = 0.5
    failures: int = 0

    def connected(self) -> None:
        """Begin with short pauses again."""
        self.failures = 0

    def next_pause(self) -> float:
        """Return the seconds to wait after a connection was lost or could not be made."""
        pause_s = min(self.first_s * 2.0 ** min(self.failures, 16), self.most_s)
        self.failures += 1
        return pause_s * (1.0 - self.jitter * self.rng.random())
