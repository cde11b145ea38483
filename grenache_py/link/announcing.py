"""
When to announce again.

Pure. A grape keeps a peer record for 120 s, and a Node grape under load for as little
as 80 s, while Node's link renews it every 60 to 180 s, so that healthy services drop
out of lookups now and then. Here a record is renewed after a third of its life, so
that two renewals in a row may be lost without anybody noticing.
"""

from __future__ import annotations

import random

import attrs

__all__ = ["EVERY_S_DEFAULT", "AnnounceSchedule"]

#: A third of the 120 s that a grape keeps a peer record.
EVERY_S_DEFAULT = 40.0


@attrs.define
class AnnounceSchedule:
    """
    The pause before the next announcement.

    Attributes:
        rng: spreads the announcements of services that started together.
        every_s: seconds between two announcements while all is well.
        retry_s: seconds after the first failure; doubles up to ``every_s``.
        jitter: each pause is shortened by up to this fraction, never lengthened.
    """

    rng: random.Random
    every_s: float = EVERY_S_DEFAULT
    retry_s: float = 1.0
    jitter: float = 0.1
    failures: int = 0

    def succeeded(self) -> float:
        """Return the seconds to wait after a grape accepted an announcement."""
        self.failures = 0
        return self._spread(self.every_s)

    def failed(self) -> float:
        """Return the seconds to wait after an announcement that no grape accepted."""
        pause = self.retry_s * 2.0 ** min(self.failures, 16)
        self.failures += 1
        return self._spread(min(pause, self.every_s))

    def _spread(self, pause_s: float) -> float:
        return pause_s * (1.0 - self.jitter * self.rng.random())
