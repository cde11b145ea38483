"""Bar charts as SVG, drawn plainly, for the documents that benchmarks write."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import attrs

__all__ = ["Chart", "page"]

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 44, 214
COLOURS = ("#084594", "#4292c6", "#9ecae1")


@attrs.frozen
class Chart:
    """
    Groups of bars side by side.

    Attributes:
        groups: a label, which may have a second line after ``\\n``, and the heights of its bars.
        series: what the first, second, third bar of each group is.
        mark: a height to compare with, and what it is.
    """

    title: str
    series: Sequence[str]
    groups: Sequence[tuple[str, Sequence[float]]]
    mark: tuple[float, str] | None = None

    def svg(self, above: int) -> list[str]:
        """Elements, so far below the top of the page."""
        tallest = max(value for _, values in self.groups for value in values)
        top = 1.08 * max(tallest, self.mark[0] if self.mark else 0)
        step = (WIDTH - LEFT - RIGHT) / len(self.groups)
        bar = step * 0.8 / len(self.series)

        def y(value: float) -> float:
            return above + BOTTOM - (BOTTOM - TOP) * value / top

        parts = [_text(LEFT, above + 18, self.title, "start", bold=True)]
        for value in _marks(top):
            parts.append(_line(y(value), "#ddd"))
            parts.append(_text(LEFT - 6, y(value) + 4, f"{value:g}", "end"))
        for place, (label, values) in enumerate(self.groups):
            x = LEFT + step * (place + 0.1)
            for number, value in enumerate(values):
                parts.append(
                    f'<rect x="{x + bar * number:.1f}" y="{y(value):.1f}" width="{bar - 2:.1f}"'
                    f' height="{above + BOTTOM - y(value):.1f}" fill="{COLOURS[number]}"/>'
                )
                middle = x + bar * (number + 0.5) - 1
                parts.append(_text(middle, y(value) - 3, _short(value), "middle", small=True))
            for number, line in enumerate(label.split("\n")):
                middle = LEFT + step * (place + 0.5)
                parts.append(_text(middle, above + BOTTOM + 16 + 14 * number, line, "middle"))
        if self.mark is not None:
            value, words = self.mark
            parts.append(_line(y(value), "#c00"))
            parts.append(_text(WIDTH - RIGHT, y(value) - 4, words, "end", colour="#c00"))
        parts.append(_line(y(0), "black"))
        x = LEFT
        for number, name in enumerate(self.series if len(self.series) > 1 else ()):
            parts.append(
                f'<rect x="{x}" y="{above + 26}" width="10" height="10" fill="{COLOURS[number]}"/>'
            )
            parts.append(_text(x + 14, above + 35, name, "start"))
            x += 30 + 7 * len(name)
        return parts


def page(charts: Sequence[Chart]) -> str:
    """All charts, one below the other."""
    tall = HEIGHT * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{tall}" fill="white"/>',
    ]
    for number, chart in enumerate(charts):
        parts += chart.svg(HEIGHT * number)
    return "\n".join([*parts, "</svg>\n"])


def _marks(top: float) -> list[float]:
    """Three to seven round numbers from 0 to ``top``."""
    size = 1.0
    while size * 7 < top:
        size *= 10
    while size * 3 > top:
        size /= 10
    step = next(size * k for k in (1, 2, 5, 10) if top / (size * k) <= 7)
    return [step * k for k in range(int(top / step) + 1)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _line(y: float, colour: str) -> str:
    return f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, words: str, anchor: str, colour: str = "black",
    bold: bool = False, small: bool = False,
) -> str:  # fmt: skip
    style = ' font-weight="bold"' if bold else ' font-size="10"' if small else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{style}>'
        f"{escape(words)}</text>"
    )
