"""
Who filled how much of a table of limited size, so that whoever filled most of it gives way.

Pure. A stranger can make up as many rows as it likes. It must not push out what others told: when
the table is full, the oldest row of whoever has most rows goes (docs/design/gossip.rst#shares).
"""

from __future__ import annotations

import attrs

__all__ = ["Shares"]


@attrs.define
class Shares:
    """The rows, by who told them, in the order in which they came."""

    _rows: dict[str, dict[str, None]] = attrs.Factory(dict)
    _teller: dict[str, str] = attrs.Factory(dict)

    def __len__(self) -> int:
        return len(self._teller)

    def add(self, teller: str, row: str) -> None:
        """``teller`` told ``row``; who told it first keeps it."""
        if row not in self._teller:
            self._teller[row] = teller
            self._rows.setdefault(teller, {})[row] = None

    def remove(self, row: str) -> None:
        """A row is gone; nothing happens when it is not here."""
        teller = self._teller.pop(row, None)
        if teller is not None:
            rows = self._rows[teller]
            del rows[row]
            if not rows:
                del self._rows[teller]

    def count(self, teller: str) -> int:
        """Rows that ``teller`` told."""
        return len(self._rows.get(teller, ()))

    def teller(self, row: str) -> str:
        """Who told a row; "" for one that is not here."""
        return self._teller.get(row, "")

    def oldest_of(self, teller: str) -> str:
        """The row ``teller`` told first; there must be one."""
        return next(iter(self._rows[teller]))

    def gives_way(self, teller: str) -> str:
        """
        The row that goes for a new one of ``teller``; there must be one.

        It is of whoever has most rows, or of ``teller`` itself when nobody has more.
        """
        most = max(self._rows, key=lambda each: len(self._rows[each]))
        return self.oldest_of(teller if self.count(teller) >= self.count(most) else most)
