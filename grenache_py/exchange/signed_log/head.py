"""
Where a home's log stands: the place and the hash of its newest entry.

Pure. A head is compared with others by its first two members: of two heads the one with the
higher epoch, then the higher seq, is ahead.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NO_HEAD", "Head"]


class Head(NamedTuple):
    """
    The newest entry of one log.

    Attributes:
        epoch: which of the home's logs; a later one replaces an earlier one.
        seq: number of the entry in it, from 1.
        hash: of the entry, 64 hex digits; "" when only the place is known.
    """

    epoch: int
    seq: int
    hash: str

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and seq: what heads are compared by."""
        return self[:2]


#: The head of a log of which no entry is known. Every other head is ahead of it.
NO_HEAD = Head(0, 0, "")
