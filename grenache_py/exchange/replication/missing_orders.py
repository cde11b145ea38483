"""
Orders that are held here and that a helper does not have: it hides them, or they are closed.

Pure. See docs/design/sync.rst#missing. One neighbour's word is not enough to drop an order, but
for that of its home.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.remote_rows import RemoteOrder
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element

__all__ = ["MissingOrders"]

#: What is held is what the home signed, or nothing of it is believed.
_SETTLED = frozenset({OriginState.VERIFIED, OriginState.FROZEN})


@attrs.define
class MissingOrders:
    """
    Drops what is missing at a helper once its home's fingerprint or a second peer agrees.

    Only ids of orders that are held are remembered, so this is no larger than the orders.
    """

    _table: OriginTable
    #: By home and order: who said it first, and of which version.
    _said: dict[str, dict[str, tuple[str, int]]] = attrs.Factory(dict)

    def said(self, origin: Origin, records: Sequence[RemoteOrder], key: str, only: bool) -> None:
        """
        A helper, whose live set and log were just taken over, lacks these orders of ``origin``.

        Args:
            key: of the helper.
            only: there is no other neighbour who could be asked.
        """
        said = self._said.pop(origin.home, {})
        if origin.state in _SETTLED:
            return
        if key != origin.home and not _agrees_without(origin, records):
            # Perhaps it hides some. Another peer is asked when the home's next heartbeat differs.
            # Who has one of them after all is not believed more: it may have missed the end.
            still = {
                order_id: (first, version)
                for order_id, (first, version) in said.items()
                if (record := origin.records.find(order_id)) and record.version == version
            }
            news = {r.order_id: (key, r.version) for r in records if r.order_id not in still}
            self._said[origin.home] = {**still, **news}
            records = [
                record
                for record in records
                if record.order_id in still and (still[record.order_id][0] != key or only)
            ]
        for record in records:
            self._table.records.drop(origin, record)
        if records:
            self._table.changed[origin.home] = None
            origin.settle()

    def expire(self) -> None:
        """Forget what was said of homes that are not held any more, or that are in order."""
        origins = self._table.origins
        for home in list(self._said):
            if home not in origins or origins[home].state in _SETTLED:
                del self._said[home]


def _agrees_without(origin: Origin, records: Sequence[RemoteOrder]) -> bool:
    """Whether the rest is what the home signed."""
    gone = sum(element(record.order_id, record.version) for record in records)
    rest = (origin.fingerprint - gone) % FINGERPRINT_MODULUS
    return origin.expected == (rest, len(origin.records) - len(records))
