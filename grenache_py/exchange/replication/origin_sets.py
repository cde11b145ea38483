"""
Which homes are visible, unsure, incomplete, frozen, or have early entries: kept, not counted.

Pure. There may be thousands of homes, and these are asked for every second, and by each stranger's
new home when there is no room.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_state import OriginState

__all__ = ["OriginSets"]


@attrs.define
class OriginSets:
    """
    Keys of homes; each a set in a fixed order.

    Attributes:
        visible: their lease holds.
        unsure: their live set here is known to differ from what they signed.
        incomplete: visible ones of which something is known to be missing here.
        frozen: they broke the rules.
        waiting: early entries of theirs wait for a gap to close.
    """

    visible: dict[str, None] = attrs.Factory(dict)
    unsure: dict[str, None] = attrs.Factory(dict)
    incomplete: dict[str, None] = attrs.Factory(dict)
    frozen: dict[str, None] = attrs.Factory(dict)
    waiting: dict[str, None] = attrs.Factory(dict)
    # Who gives way to a new home, in this order; of each whose entry is the oldest first.
    _spare: tuple[OrderedDict[str, None], ...] = attrs.Factory(
        lambda: tuple(OrderedDict() for _ in range(4))
    )
    _spare_at: dict[str, int] = attrs.Factory(dict)

    def note(self, origin: Origin) -> None:
        """An origin changed, or is held from now on."""
        for members, belongs in (
            (self.visible, origin.visible),
            (self.unsure, origin.state is OriginState.UNSURE),
            (self.incomplete, origin.visible and not origin.complete),
            (self.frozen, origin.state is OriginState.FROZEN),
            (self.waiting, bool(origin.waiting)),
        ):
            if belongs:
                members[origin.home] = None
            else:
                members.pop(origin.home, None)
        spare_at = None
        if not (origin.visible and origin.records):
            spare_at = 2 * bool(origin.records) + (origin.state is OriginState.FROZEN)
        if spare_at != self._spare_at.get(origin.home):
            self._keep(origin.home)
            if spare_at is not None:
                self._spare_at[origin.home] = spare_at
                self._spare[spare_at][origin.home] = None

    def heard(self, origin: Origin) -> None:
        """Something newer of an origin came."""
        spare_at = self._spare_at.get(origin.home)
        if spare_at is not None:
            self._spare[spare_at].move_to_end(origin.home)

    def first_spare(self) -> str | None:
        """
        Who gives way when there is no room; None when all live and have orders.

        Homes without orders first, then silent ones; of each those that were frozen last, and who
        was heard longest ago first.
        """
        return next((next(iter(homes)) for homes in self._spare if homes), None)

    def _keep(self, home: str) -> None:
        before = self._spare_at.pop(home, None)
        if before is not None:
            del self._spare[before][home]

    def forget(self, home: str) -> None:
        """An origin is not held any more."""
        self._keep(home)
        for members in (self.visible, self.unsure, self.incomplete, self.frozen, self.waiting):
            members.pop(home, None)
