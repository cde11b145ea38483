"""
Which neighbour is asked next for what this peer lacks.

Pure. See docs/design/sync.rst#distrust. A promise costs nothing, so what a neighbour promises does
not count; what it delivered does, and whom this peer chose to dial.
"""

from __future__ import annotations

from collections import OrderedDict

from grenache_py.exchange.peers.link import PeerLink

__all__ = ["FORGIVEN_S", "Helpers"]

#: A neighbour that broke a promise is not believed about what this peer lacks for so long.
FORGIVEN_S = 600.0
#: A neighbour that stalled, or whose set did not agree, comes after all others for so long.
LAST_S = 60.0
#: Keys that are remembered of either kind; the oldest are forgotten.
KEYS_MAX = 4_096


class Helpers:
    """Which neighbours delivered what they were asked for, by key, over all connections."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, float] = OrderedDict()
        self._broken: OrderedDict[str, float] = OrderedDict()

    def put_last(self, key: str, now: float) -> None:
        """Ask all others first for a while."""
        _note(self._last, key, now)

    def broke(self, key: str, now: float) -> None:
        """It did not deliver what it promised."""
        _note(self._broken, key, now)
        self.put_last(key, now)

    def broken(self, key: str) -> bool:
        """Whether it broke a promise lately, so that its promises alone prove nothing."""
        return key in self._broken

    def expire(self, now: float) -> None:
        """Forgive what is long ago."""
        _forget(self._last, now, LAST_S)
        _forget(self._broken, now, FORGIVEN_S)

    def rank(self, link: PeerLink) -> tuple[float, bool, int]:
        """A sort key, the smaller the better: who stalled, who was dialled, who delivered most."""
        return self._last.get(link.key, 0.0), not link.outbound, -link.delivered


def _note(table: OrderedDict[str, float], key: str, now: float) -> None:
    table.pop(key, None)
    table[key] = now
    if len(table) > KEYS_MAX:
        table.popitem(last=False)


def _forget(table: OrderedDict[str, float], now: float, after_s: float) -> None:
    # A clock that jumped back must not keep anything longer than that.
    for key in [key for key, at in table.items() if not now - after_s < at <= now]:
        del table[key]
