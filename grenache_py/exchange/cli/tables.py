"""
Lines and tables for a terminal or a pipe.

Pure. Text from outside is made harmless when it is put in. rich could do all this, but takes half
as long to import as a command takes for the rest; only what is drawn over and over needs it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from grenache_py.plain_text import harmless

__all__ = ["Block", "Cell", "Shown", "StyledLine", "Table"]

#: A text, or a text and how it looks: some of these words.
Cell: TypeAlias = str | tuple[str, str]
_LOOKS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_GAP = "  "
#: A folded column is at least so wide, whatever the terminal is.
FOLDED_CHARS_MIN = 20


class Shown(Protocol):
    """What can be shown."""

    def lines(self, width: int | None = None) -> Iterable[StyledLine]:
        """Its lines; where it can, none longer than ``width``."""


class StyledLine:
    """One line, of texts that may each look in their own way."""

    def __init__(self, *parts: Cell) -> None:
        self.parts = tuple(map(_clean, parts))

    def lines(self, width: int | None = None) -> Iterable[StyledLine]:
        return (self,)

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts).rstrip()

    def painted(self) -> str:
        """The same with the colours of a terminal."""
        return "".join(_painted(text, look) for text, look in self.parts).rstrip()


class Block:
    """Several things, one below the other."""

    def __init__(self, *shown: Shown | str) -> None:
        self._shown = shown

    def lines(self, width: int | None = None) -> Iterator[StyledLine]:
        for each in self._shown:
            yield from (
                map(StyledLine, each.split("\n")) if isinstance(each, str) else each.lines(width)
            )


class Table:
    """
    Columns as wide as what is in them.

    Args:
        columns: their names.
        right: the names of those that are aligned to the right.
        title: stands above them, where there is one.
        header: whether the names are shown.
        fold: the last column is folded where it is too long for the terminal.
    """

    def __init__(
        self,
        *columns: str,
        right: Sequence[str] = (),
        title: str = "",
        header: bool = True,
        fold: bool = False,
    ) -> None:
        self._right = [column in right for column in columns]
        self._title = title
        self._fold = fold
        self._rows = [[_clean((column, "bold")) for column in columns]] if header else []

    def add_row(self, *cells: Cell) -> None:
        """Add a row, a cell for each column."""
        self._rows.append(list(map(_clean, cells)))

    def lines(self, width: int | None = None) -> Iterator[StyledLine]:
        if self._title:
            yield StyledLine((self._title, "bold"))
        widths = [
            max(_width(text) for text, _ in column) for column in zip(*self._rows, strict=True)
        ]
        before = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
        room = width and max(FOLDED_CHARS_MIN, width - before)
        for row in self._rows:
            *cells, (last, look) = row
            folded = textwrap.wrap(last, room) if self._fold and room else ()
            first, *more = folded or (last,)
            yield self._line([*cells, (first, look)], widths)
            for text in more:
                yield StyledLine(" " * before, (text, look))

    def _line(self, cells: Iterable[tuple[str, str]], widths: Sequence[int]) -> StyledLine:
        parts: list[Cell] = []
        for (text, look), width, right in zip(cells, widths, self._right, strict=True):
            blank = " " * (width - _width(text))
            parts += [blank, (text, look), _GAP] if right else [(text, look), blank, _GAP]
        return StyledLine(*parts)


def _clean(cell: Cell) -> tuple[str, str]:
    text, look = (cell, "") if isinstance(cell, str) else cell
    return harmless(text), look


def _painted(text: str, look: str) -> str:
    codes = ";".join(_LOOKS[word] for word in look.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(1 + (east_asian_width(each) in "WF") for each in text)
