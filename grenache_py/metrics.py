"""
Counters as text that Prometheus reads (exposition format 0.0.4).

Pure. The cores count in plain integers; whoever serves ``GET /metrics`` lists them in an
`Exposition`. There is no registry and no global state: what is not listed is not shown.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import isnan

__all__ = ["CONTENT_TYPE", "Exposition", "Histogram"]

#: The content type of the answer.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Histogram:
    """
    How often a value fell into each of a few ranges, and the sum of all values.

    Attributes:
        bounds: Upper bounds, each included in its range, rising; infinity is added.
        counts: One per bound and one for what lies above all; not cumulative.
        total: The sum of all observed values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        if not bounds or any(a >= b for a, b in pairwise(bounds)):
            raise ValueError(f"bounds must rise and not be empty: {bounds!r}")
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Exposition:
    """
    The answer to one ``GET /metrics``.

    Each method adds one family; `text` is the whole. The value of ``counter`` and
    ``gauge`` is a number, or pairs of labels and number, one for each time series.

    Raises:
        ValueError: a name Prometheus would refuse, or a family given twice.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: set[str] = set()

    def counter(self, name: str, help: str, value: float | Iterable[tuple[Labels, float]]) -> None:
        """Add something that only rises until the process ends; by custom named ``..._total``."""
        self._family(name, help, "counter")
        self._samples(name, value)

    def gauge(self, name: str, help: str, value: float | Iterable[tuple[Labels, float]]) -> None:
        """Add something that goes up and down."""
        self._family(name, help, "gauge")
        self._samples(name, value)

    def histogram(
        self, name: str, help: str, value: Histogram | Iterable[tuple[Labels, Histogram]]
    ) -> None:
        """Add ranges with their counts; by custom the unit, in seconds or bytes, ends the name."""
        self._family(name, help, "histogram")
        series = [({}, value)] if isinstance(value, Histogram) else value
        for labels, histogram in series:
            cumulative = 0
            for bound, count in zip(
                (*histogram.bounds, float("inf")), histogram.counts, strict=True
            ):
                cumulative += count
                self._sample(f"{name}_bucket", {**labels, "le": _number(bound)}, cumulative)
            self._sample(f"{name}_sum", labels, histogram.total)
            self._sample(f"{name}_count", labels, cumulative)

    def text(self) -> str:
        """Return the whole as the body of an answer of type `CONTENT_TYPE`."""
        return "".join(f"{line}\n" for line in self._lines)

    def _family(self, name: str, help: str, kind: str) -> None:
        if not _METRIC_NAME.fullmatch(name):
            raise ValueError(f"not a metric name: {name!r}")
        if name in self._names:
            raise ValueError(f"metric given twice: {name}")
        self._names.add(name)
        escaped = help.replace("\\", "\\\\").replace("\n", "\\n")
        self._lines.append(f"# HELP {name} {escaped}")
        self._lines.append(f"# TYPE {name} {kind}")

    def _samples(self, name: str, value: float | Iterable[tuple[Labels, float]]) -> None:
        if isinstance(value, (int, float)):
            self._sample(name, {}, value)
        else:
            for labels, number in value:
                self._sample(name, labels, number)

    def _sample(self, name: str, labels: Labels, value: float) -> None:
        self._lines.append(f"{name}{_labels(labels)} {_number(value)}")


def _labels(labels: Labels) -> str:
    for label in labels:
        if not _LABEL_NAME.fullmatch(label):
            raise ValueError(f"not a label name: {label!r}")
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))  # True counts as 1
    if isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
