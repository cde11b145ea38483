"""
Links that ended because two peers do not fit together: told to the operator, and counted.

Shell: logs. A peer on another network, or with another tick, is refused again at every dial, and a
stranger can be refused as often as it likes. So each host is told of once an hour for each kind of
reason, and all of them together `LINES_PER_HOUR_MAX` times.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["LinkRefusals"]

TELL_EVERY_S = 3_600.0
#: Lines of the log in an hour, over all hosts and reasons.
LINES_PER_HOUR_MAX = 100
#: How the reason begins with which a link is closed, and what kind of reason that is.
_KINDS = (
    ("this is network", "network"),
    ("market ", "market"),
    ("no common protocol", "protocol"),
    ("this is the port for other peers", "port"),
    ("this is not an answer to", "port"),
    ("banned", "banned"),
    ("score", "score"),
    ("this peer has all the links", "full"),
    ("too many connections", "full"),
    ("the handshake took too long", "silent"),
    ("no answer to", "silent"),
)
#: Links end so every day, and nobody has to do anything.
_USUAL = (
    "there is a link to this peer already",
    "replaced by a newer link",
    "this is our own key",
    "the other side said goodbye",
    "this peer is stopping",
)
_TOLD_BY_OTHER = "refused by the other side: "


class LinkRefusals:
    """
    What links were refused for, by either side.

    Attributes:
        counts: by kind: ``network``, ``market`` (tick or lot), ``protocol``, ``port`` (it is not
            one of a peer), ``banned``, ``score``, ``full``, ``silent`` and ``other``.
        last: the newest of those for which somebody has to change something; "" for none.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.counts: dict[str, int] = {}
        self.last = ""
        self._last_at = 0.0
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}  # the oldest first

    def status(self) -> dict[str, Any]:
        """For ``status``."""
        ago = round(self._clock.seconds() - self._last_at) if self.last else None
        return {**self.counts, "last": self.last or None, "last_s_ago": ago}

    def closed(self, address: str, reason: str) -> None:
        """A link to ``address`` is being closed for ``reason``."""
        if reason.startswith(_USUAL):
            return
        said = reason.removeprefix(_TOLD_BY_OTHER)
        kind = next((kind for sign, kind in _KINDS if said.startswith(sign)), "other")
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind in {"network", "market", "protocol", "port"}:
            self.last, self._last_at = f"{address}: {reason}", self._clock.seconds()
        host, now = address.rpartition(":")[0], self._clock.seconds()
        while self._told and next(iter(self._told.values())) <= now - TELL_EVERY_S:
            del self._told[next(iter(self._told))]
        if (host, kind) in self._told or len(self._told) >= LINES_PER_HOUR_MAX:
            self.log.debug("closing the link to {peer}: {reason}", peer=address, reason=reason)
            return
        self._told[host, kind] = now
        self.log.warn("no link with {peer}: {reason}", peer=address, reason=reason)
