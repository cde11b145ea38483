"""
When a subscriber that lost its publisher looks for one again.

Pure. Chance comes from the generator it is given.
"""

from __future__ import annotations

import random

import attrs

__all__ = ["ReconnectSchedule"]


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
