"""
Where a home's log stands.

Pure.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NO_HEAD", "Head"]


class Head(NamedTuple):
    """The newest entry of a log: its epoch, its number in that epoch, and its hash."""

    epoch: int
    seq: int
    hash: str

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and number, to compare two heads without their hashes."""
        return self[:2]


#: Below every head.
NO_HEAD = Head(0, 0, "")
