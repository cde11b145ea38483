"""
In which order to try the addresses of a service.

Pure. Times are clock seconds that come in, chance comes from the generator it is given.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable

import attrs

__all__ = ["Destinations"]


@attrs.define
class Destinations:
    """
    In which order to try the addresses of a service.

    The order is random, which spreads the load; an address that did not accept a
    connection goes to the end of it for a while that doubles with every failure.

    Attributes:
        rng: makes the order.
        cool_down_s: seconds an address is set aside after its first failure in a row.
        cool_down_s_max: the most those seconds double up to.
        suspects_max: addresses remembered as bad; the one remembered longest goes first.
    """

    rng: random.Random
    cool_down_s: float = 1.0
    cool_down_s_max: float = 60.0
    suspects_max: int = 1000
    _suspects: OrderedDict[str, tuple[int, float]] = attrs.field(factory=OrderedDict, init=False)

    def order(self, addresses: Iterable[str], now: float) -> list[str]:
        """Return each address once, the one to try first in front."""
        shuffled = list(dict.fromkeys(addresses))
        if len(shuffled) > 1:
            self.rng.shuffle(shuffled)
            if self._suspects:
                shuffled.sort(key=lambda one: max(0.0, self._suspects.get(one, (0, now))[1] - now))
        return shuffled

    def failed(self, address: str, now: float) -> None:
        """Set ``address`` aside: nobody accepted a connection there."""
        failures, _ = self._suspects.pop(address, (0, 0.0))
        pause_s = min(self.cool_down_s * 2.0 ** min(failures, 16), self.cool_down_s_max)
        self._suspects[address] = (failures + 1, now + pause_s)
        while len(self._suspects) > self.suspects_max:
            self._suspects.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of ``address``: it accepted a connection."""
        if self._suspects:
            self._suspects.pop(address, None)
