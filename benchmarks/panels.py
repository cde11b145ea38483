"""
A Grafana dashboard drawn plainly, as SVG: what its panels show when their expressions are answered.

Pure: the dashboard's JSON and Prometheus's answers come in.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import attrs

__all__ = ["Series", "asked", "drawn", "named"]

#: Pixels of one of Grafana's 24 columns, and of a row.
COLUMN, ROW = 40, 26
#: Room round a panel, for its title, its values and its legend.
GAP, TITLE, VALUES, LEGEND = 6, 22, 58, 34
COLOURS = (
    "#5794f2", "#73bf69", "#f2cc0c", "#ff9830", "#f2495c", "#b877d9", "#3274d9", "#37872d",
)  # fmt: skip
INK, DIM, PAPER, CARD, RULE = "#24292e", "#6a737d", "#f4f5f5", "#ffffff", "#e3e5e8"


@attrs.frozen
class Series:
    """
    One line of a panel.

    Attributes:
        points: seconds since the beginning, and what there was then.
    """

    name: str
    points: Sequence[tuple[float, float]]


def asked(panel: dict[str, Any], rate_interval: str) -> list[tuple[str, str]]:
    """The expressions of a panel as Prometheus understands them, each with its legend."""
    return [
        (
            target["expr"].replace("$__rate_interval", rate_interval).replace("$instance", ".*"),
            target["legendFormat"],
        )
        for target in panel["targets"]
    ]


def drawn(dashboard: dict[str, Any], shown: Callable[[dict[str, Any]], list[Series]]) -> str:
    """
    The whole dashboard.

    Args:
        shown: the series of a panel.
    """
    panels = dashboard["panels"]
    tall = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW
    wide = 24 * COLUMN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}"'
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{tall}" fill="{PAPER}"/>',
    ]
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] * COLUMN + GAP / 2, place["y"] * ROW + GAP / 2
        width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        parts += [
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{CARD}"'
            f' stroke="{RULE}" rx="3"/>',
            _text(left + 8, top + 15, panel["title"], bold=True),
        ]
        box = (left + 8, top + TITLE, width - 16, height - TITLE)
        draw = _figures if panel["type"] == "stat" else _lines
        parts += draw(shown(panel), panel["fieldConfig"]["defaults"], box)
    return "\n".join([*parts, "</svg>\n"])


Box = tuple[float, float, float, float]


def _figures(series: list[Series], defaults: dict[str, Any], box: Box) -> list[str]:
    """The newest value of each series, in the colour of its threshold."""
    left, top, width, height = box
    step = width / max(1, len(series))
    parts = []
    for number, each in enumerate(series):
        value = each.points[-1][1]
        colour = ""
        for threshold in defaults.get("thresholds", {}).get("steps", ()):
            if threshold["value"] is None or value >= threshold["value"]:
                colour = threshold["color"]
        middle = left + step * (number + 0.5)
        shade = {"green": "#37872d", "red": "#c4162a", "orange": "#fa6400"}.get(colour, INK)
        parts += [
            _text(middle, top + height / 2, f"{value:g}", "middle", shade, size=24, bold=True),
            _text(middle, top + height / 2 + 18, each.name, "middle", DIM),
        ]
    return parts


def _lines(series: list[Series], defaults: dict[str, Any], box: Box) -> list[str]:
    left, top, width, height = box
    left, width, height = left + VALUES, width - VALUES, height - LEGEND
    if defaults["custom"]["stacking"]["mode"] == "normal":
        series = _stacked(series)
    values = [value for each in series for _, value in each.points]
    highest, lowest = max([*values, 0.0]), min([*values, 0.0])
    by, unit = _measure(defaults["unit"], highest)
    marks = [mark * by for mark in _marks(lowest / by, highest / by)]
    lowest, highest = min(lowest, marks[0]), max(highest, marks[-1])
    last = max((at for each in series for at, _ in each.points), default=1.0) or 1.0

    def x(at: float) -> float:
        return left + width * at / last

    def y(value: float) -> float:
        return top + height - (height - 6) * (value - lowest) / ((highest - lowest) or 1.0)

    parts = []
    for mark in marks:
        parts.append(
            f'<path d="M{left:.0f} {y(mark):.1f}h{width:.0f}" stroke="{RULE}" fill="none"/>'
        )
        words = f"{round(mark / by, 6):g} {unit}" if mark else "0"
        parts.append(_text(left - 6, y(mark) + 4, words, "end", DIM))
    for number, each in enumerate(series):
        path = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in each.points)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="1.5" fill="none"/>')
    return [*parts, *_legend(series, (box[0], top + height, box[2], LEGEND))]


def _stacked(series: list[Series]) -> list[Series]:
    """Each line on those before it."""
    below: defaultdict[float, float] = defaultdict(float)
    lines = []
    for each in series:
        for at, value in each.points:
            below[at] += value
        lines.append(Series(each.name, [(at, below[at]) for at, _ in each.points]))
    return lines


def _legend(series: list[Series], box: Box) -> list[str]:
    """Names of the lines, as many as fit on two lines of text."""
    left, top, width, _ = box
    parts, x, y = [], left, top + 14
    for number, each in enumerate(series):
        needed = 24 + 6.3 * len(each.name)
        if x + needed > left + width:
            x, y = left, y + 13
            if y > top + 30:
                break
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<path d="M{x:.0f} {y - 4:.0f}h10" stroke="{colour}" stroke-width="3" fill="none"/>'
        )
        parts.append(_text(x + 14, y, each.name, colour=DIM))
        x += needed
    return parts


def named(labels: dict[str, str], legend: str) -> str:
    """A legend of Grafana's with the labels of one series in it."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def _marks(lowest: float, highest: float) -> list[float]:
    """Two to six round numbers from ``lowest`` to ``highest``."""
    span = (highest - lowest) or 1.0
    size = 10 ** math.floor(math.log10(span))
    step = next(size * k for k in (0.2, 0.5, 1, 2) if span / (size * k) <= 5)
    return [step * k for k in range(math.floor(lowest / step), math.ceil(highest / step) + 1)]


#: Units of Grafana's: from which size on, by what, and its name; the largest first.
_UNITS = {
    "s": ((1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs")),
    "bytes": ((2**30, 2**30, "GiB"), (2**20, 2**20, "MiB"), (0.0, 2**10, "KiB")),
}


def _measure(unit: str, largest: float) -> tuple[float, str]:
    """By what the values of a panel are divided to be read, and what they are then."""
    return next(
        ((by, name) for least, by, name in _UNITS.get(unit, ()) if largest >= least), (1.0, "")
    )


def _text(
    x: float, y: float, words: str, anchor: str = "start", colour: str = INK,
    size: int = 11, bold: bool = False,
) -> str:  # fmt: skip
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}"'
        f' font-size="{size}"{weight}>{escape(words)}</text>'
    )
