"""
How long the commits of few rows take on this disk, and whether the reactor may wait for one.

Pure. While the reactor waits, every client does. So it waits only on a disk that has shown to be
quick. A commit that was not cannot be taken back; it keeps the reactor from waiting again, the
longer the slower it was.
"""

from __future__ import annotations

import attrs

__all__ = ["CommitPace"]

#: So short a mean is waited for.
QUICK_S = 0.001
#: What is assumed before the first commit: a disk has to show that it is quick.
AT_FIRST_S = 0.01
#: How much of the mean is that of the newest commit.
WEIGHT = 1 / 8


@attrs.define
class CommitPace:
    """
    Attributes:
        mean_s: of the commits so far, in seconds; the newest count most.
    """

    mean_s: float = AT_FIRST_S

    def took(self, seconds: float) -> None:
        """A commit was made."""
        self.mean_s += (seconds - self.mean_s) * WEIGHT

    @property
    def quick(self) -> bool:
        """Whether the reactor may wait for the next one."""
        return self.mean_s < QUICK_S
