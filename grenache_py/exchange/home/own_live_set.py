"""
This home's live set, as its heartbeats state it and peers reconcile it.

Pure. Many orders are gone before anybody asks for the set. So what the log says of an order is
noted, and counted when somebody asks, with the next heartbeat at the latest: a hash, two sums of
256 bits and a place in a sorted list are then spent on what is left, and once on an order that
changed often.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from grenache_py.exchange.home.transition import OwnOrder
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, LiveSetChanged, element

__all__ = ["OwnLiveSet"]


@attrs.define
class OwnLiveSet:
    """
    The published live orders of this home.

    Attributes:
        changed: called, when it is counted, for each order that entered, changed in or left it.
    """

    changed: LiveSetChanged
    _fingerprint: int = 0
    _count: int = 0
    _noted: dict[str, tuple[OwnOrder, int, bool]] = attrs.Factory(dict)

    def note(self, own: OwnOrder, version: int, ended: bool) -> None:
        """The log gives an order this state; ``ended``: it is not live any more."""
        self._noted[own.live.order_id] = (own, version, ended)

    def settle(self) -> None:
        """Count what was noted."""
        if not self._noted:
            return
        noted, self._noted = self._noted, {}
        for own, version, ended in noted.values():
            live, gone = own.live, own.element
            come = None if ended else element(live.order_id, version)
            if gone is None and come is None:
                continue  # it came and went
            self._fingerprint = (
                self._fingerprint - (gone or 0) + (come or 0)
            ) % FINGERPRINT_MODULUS
            self._count += (come is not None) - (gone is not None)
            own.element = come
            self.changed(live.order_id, live.key[0], gone, come)

    @property
    def fingerprint(self) -> int:
        """The sum of the elements (see ``live_set.element``)."""
        self.settle()
        return self._fingerprint

    @property
    def count(self) -> int:
        """How many orders are in it."""
        self.settle()
        return self._count

    def clear(self, orders: Iterable[OwnOrder]) -> None:
        """Empty it; ``orders`` are all that may be in it."""
        self.settle()
        for own in orders:
            if own.element is not None:
                self.changed(own.live.order_id, own.live.key[0], own.element, None)
                own.element = None
        self._fingerprint = self._count = 0
