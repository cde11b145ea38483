"""
Text from outside, made fit for a terminal, a log or a page of JSON.

Pure. A peer's address, a market's name or a stranger's message can hold anything: bytes that move
the cursor, change the colours, rewrite the line above, name the window, write from right to left,
or begin a line of their own. What is not printable is written as Python writes it in a string.
"""

from __future__ import annotations

import re

__all__ = ["harmless", "harmless_json", "harmless_lines"]

#: What JSON leaves as it is although a terminal may act on it: all but ASCII's printable part.
_NOT_ASCII = re.compile(r"[^\n -~]")


def harmless(text: str) -> str:
    """``text`` on one line, without a character that steers a terminal or hides."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def harmless_lines(text: str) -> str:
    """The same, line by line: for text of our own making that has several, and for tabs."""
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(harmless, line.split("\t"))) for line in text.split("\n"))


def harmless_json(text: str) -> str:
    """JSON that means the same and has no character that steers a terminal or hides."""
    if text.isprintable():
        return text
    return _NOT_ASCII.sub(lambda found: _escaped(found.group()), text)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    pair = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))
