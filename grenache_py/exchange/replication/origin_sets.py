"""
Which homes are visible, unsure, incomplete, frozen, or have early entries: kept, not counted.

Pure. There may be thousands of homes, and these are asked for every second.
"""

from __future__ import annotations

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

    def forget(self, home: str) -> None:
        """An origin is not held any more."""
        for members in (self.visible, self.unsure, self.incomplete, self.frozen, self.waiting):
            members.pop(home, None)
