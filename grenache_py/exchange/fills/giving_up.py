"""
The operator gives up on a fill in doubt; its maker's home is asked first, when it can be.

Pure. See docs/design/fills.rst#giving-up.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import attrs

from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.fills.taker import Taker

__all__ = ["GivingUp"]

#: How long a maker's home that can be reached has for its answer, in seconds.
ANSWER_S = 5.0
#: Fills for which an answer is awaited; of the oldest the operator is asked again.
AWAITED_MAX = 1_000


@attrs.define
class GivingUp:
    """
    Attributes:
        reachable: tells whether a message to a home has a way to go.
    """

    taker: Taker
    reachable: Callable[[str, float], bool]
    _asked: dict[str, float] = attrs.Factory(dict)

    def decide(self, fill_id: str, now: float) -> None:
        """
        Give up on a fill, now or when its maker has not answered within ``ANSWER_S``.

        Raises:
            OrderError: no such fill is in doubt; or its maker can be reached and has time left.
        """
        intent = self.taker.intents.get(fill_id)
        if intent is not None and self.reachable(intent.fill.maker_home, now):
            asked = self._asked.setdefault(fill_id, now)
            if asked == now:
                self.taker.ask_outcome(intent)
                while len(self._asked) > AWAITED_MAX:
                    del self._asked[next(iter(self._asked))]
            left = asked + ANSWER_S - now
            if 0 < left <= ANSWER_S:
                raise OrderError(
                    BUSY,
                    "its peer may be reached, and was asked what became of this fill; if it is"
                    f" still in doubt in {ceil(left)} s, decide again",
                    retry_after_ms=int(left * 1000),
                )
        self._asked.pop(fill_id, None)
        self.taker.decide(fill_id, now)
