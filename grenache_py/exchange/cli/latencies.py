"""
Latencies as people read them: percentiles, and a histogram of text.

Pure: seconds in, lines out.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["histogram_lines", "percentile"]


def percentile(rising: Sequence[float], part: float) -> float:
    """The value that ``part`` (0 to 1) of ``rising`` values do not exceed."""
    return rising[min(len(rising) - 1, int(part * len(rising)))]


def histogram_lines(seconds: Sequence[float]) -> list[str]:
    """A histogram of latencies over doubling ranges, one line each, and percentiles below."""
    rising = sorted(seconds)
    if not rising:
        return ["no latencies were measured"]
    bounds: list[float] = [0.00025]
    while bounds[-1] < rising[-1]:
        bounds.append(bounds[-1] * 2)
    counts = [0] * len(bounds)
    place = 0
    for value in rising:
        while value > bounds[place]:
            place += 1
        counts[place] += 1
    first = next(i for i, count in enumerate(counts) if count)
    lines = [
        f"{'<=':>4} {bound * 1000:8.2f} ms {count:>9}  {'█' * round(count / max(counts) * 40)}"
        for bound, count in zip(bounds[first:], counts[first:], strict=True)
    ]
    shown = "  ".join(
        f"{name} {percentile(rising, part) * 1000:.2f} ms"
        for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))
    )
    return [*lines, f"{shown}  max {rising[-1] * 1000:.2f} ms"]
