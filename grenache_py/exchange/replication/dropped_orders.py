"""
Orders of other homes that are not held any more, and which of their states would be old ones.

Pure. See docs/design/sync.rst#dropped. A neighbour that is behind, or that lies, still has states
which their home signed and has replaced since.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from grenache_py.exchange.replication.origin import Origin

__all__ = ["DROPPED_MAX", "DroppedOrders"]

#: Orders that are remembered, of all homes together. Whichever home has most loses them.
DROPPED_MAX = 100_000


@attrs.define
class _Since:
    """
    What was dropped of one home.

    Attributes:
        agreed: since this entry (``Origin.agreed``).
        versions: by order: the least version in which it may come back.
        whole: there is nothing else.
    """

    agreed: tuple[int, int]
    versions: dict[str, int] = attrs.Factory(dict)
    whole: bool = True


@attrs.define
class DroppedOrders:
    """
    Remembers of each home what was dropped since its live set here was last the one it signed.

    Attributes:
        count: how many orders are remembered.
    """

    count: int = 0
    _since: dict[str, _Since] = attrs.Factory(dict)

    def note(self, origin: Origin, order_id: str, version: int) -> None:
        """An order is not held any more; it may come back in ``version`` or a newer one."""
        since = self._since.get(origin.home)
        if since is None or since.agreed != origin.agreed:
            self.forget(origin.home)
            since = self._since[origin.home] = _Since(origin.agreed)
        self.count += order_id not in since.versions
        since.versions[order_id] = version
        if self.count > DROPPED_MAX:
            most = max(self._since.values(), key=lambda each: len(each.versions))
            self.count -= len(most.versions)
            most.versions.clear()
            most.whole = False

    def may_return(self, origin: Origin, order_id: str, version: int, seq: int) -> bool:
        """
        Whether an order that is not held may be taken in a state that its home signed.

        Args:
            version: of the state.
            seq: the number of its entry, which is of the epoch of ``origin``.
        """
        since = self._since.get(origin.home)
        versions: Mapping[str, int] = {}
        if since is not None and since.agreed == origin.agreed:
            if not since.whole and order_id not in since.versions:
                return True
            versions = since.versions
        least = versions.get(order_id)
        # All that was live then is held, or was dropped since.
        return seq > origin.agreed[1] if least is None else version >= least

    def forget(self, home: str) -> None:
        """A home is not held any more."""
        since = self._since.pop(home, None)
        if since is not None:
            self.count -= len(since.versions)
