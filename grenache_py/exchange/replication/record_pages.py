"""
What reconciliation found missing, in requests of about a line's worth each.

Pure. A neighbour answers as much of a request as one line holds; ``rest`` says what is to be asked
for again.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.messages import bound_wire, read_bound
from grenache_py.exchange.replication.reconciliation import Reconciliation

__all__ = ["RecordPage", "pages"]

#: Records asked for by id in one request.
_RECORDS_PER_REQUEST = 20


@attrs.define
class _Ids:
    """Records to be asked for by their elements' short ids, in hex."""

    ids: list[str]

    def params(self) -> dict[str, Any]:
        return {"ids": self.ids}

    def rest(self, result: dict[str, Any]) -> _Ids | None:
        """
        What an answer left out, because its line was full.

        Raises:
            RemoteProtocolError: the answer does not say it as it must.
        """
        answered = result.get("answered")
        if type(answered) is not int or answered < 1:
            raise RemoteProtocolError("'answered' must say how many ids were")
        return _Ids(self.ids[answered:]) if answered < len(self.ids) else None


@attrs.define
class _Range:
    """
    Records to be taken whole: keys from ``low`` up to but without ``high``.

    Attributes:
        left: so many more may come. Orders may have been placed between those that were counted,
            but a neighbour that never ends must not hold up all others.
    """

    low: int
    high: int
    left: int

    def params(self) -> dict[str, Any]:
        return {"range": [bound_wire(self.low), bound_wire(self.high)]}

    def rest(self, result: dict[str, Any]) -> _Range | None:
        """
        What an answer left out, because its line was full.

        Raises:
            RemoteProtocolError: the answer does not say it as it must.
        """
        if "next" not in result:
            return None
        low = read_bound(result["next"])
        if not self.low < low < self.high:
            raise RemoteProtocolError("'next' must be a place further on in the range")
        left = self.left - max(1, len(result["records"]))
        return _Range(low, self.high, left) if left > 0 else None


#: One request for records: ``params`` of ``sync.records``, and ``rest`` of its result.
RecordPage: TypeAlias = _Ids | _Range


def pages(asking: Reconciliation) -> list[RecordPage]:
    """All that the other side has and this side has not, the last one first."""
    ids = [short.hex() for short in asking.need]
    found: list[RecordPage] = [
        _Ids(ids[start : start + _RECORDS_PER_REQUEST])
        for start in range(0, len(ids), _RECORDS_PER_REQUEST)
    ]
    found += [_Range(whole.low, whole.high, 2 * whole.held) for whole in asking.whole]
    return found[::-1]
