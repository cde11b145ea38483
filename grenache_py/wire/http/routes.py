"""
Tables of the paths that an HTTP server answers, for its documentation.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["HTTPRoute", "routes_rst"]


@attrs.frozen
class HTTPRoute:
    """
    A row of a server's table of paths.

    Attributes:
        path: The request target without a query.
        methods: The methods that are understood there.
        answer: What the answer is.
        allowed: Who may ask.
    """

    path: str
    methods: str
    answer: str
    allowed: str


def routes_rst(routes: Iterable[HTTPRoute]) -> str:
    """The table in reStructuredText, as it stands in the documentation; ends with a newline."""
    rows = [("path", "method", "answer", "who may ask")]
    rows += [(f"``{r.path}``", r.methods, r.answer, r.allowed) for r in routes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])
