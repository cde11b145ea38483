"""
How long things take in the commit loop, as histograms.

Pure. Observing costs a search among few numbers; an order adds to that one number in a list.
"""

from __future__ import annotations

from typing import NamedTuple

from grenache_py.metrics import Histogram

__all__ = ["Began", "Timings"]

#: Upper bounds of the histograms.
BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)


class Began(NamedTuple):
    """A batch: when its commit began, and when each order in it had come, in seconds."""

    at: float
    orders: list[float]


class Timings:
    """
    Attributes:
        commits: from batch to disk.
        orders: from an order's line to the moment its answer may leave.
        reactor: how much later than asked for a timer was called.
    """

    def __init__(self) -> None:
        self.commits = Histogram(BOUNDS_S)
        self.orders = Histogram(BOUNDS_S)
        self.reactor = Histogram(BOUNDS_S)

    def committed(self, began: Began, now: float) -> None:
        """A batch is on the disk."""
        self.commits.observe(max(0.0, now - began.at))
        observe = self.orders.observe
        for came in began.orders:
            observe(max(0.0, now - came))
