"""
Connections to the peer port that have not proven a key: how many, from where, and who has to go.

Pure. See docs/design/identity.rst#door. Keys are free, but addresses are not: what is rationed
before the proof is rationed by network. A newcomer is never refused. When there are too many, one
of the network that has most of them goes: first one that has not even said what TLS begins with,
then the oldest.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import attrs

from grenache_py.exchange.peers.scores import network_of
from grenache_py.exchange.rates import Rate, TokenBucket

__all__ = ["TOTAL_RATE", "WAITING_MAX", "Door", "Visitor"]

#: Connections without a proven key.
WAITING_MAX = 64
#: Key exchanges begun for connections from one network, and for all of them.
NETWORK_RATE = Rate(20, 60)
TOTAL_RATE = Rate(100, 200)
#: Networks whose rate is remembered; beyond it the one that came longest ago is forgotten.
NETWORKS_MAX = 1_024


@attrs.define(eq=False)
class Visitor:
    """
    One connection at the door.

    Attributes:
        network: what it is counted under.
        number: the larger, the later it came.
        ready: it has said what TLS begins with.
    """

    network: str
    number: int
    ready: bool = False


class Door:
    """
    All connections without a proven key.

    Attributes:
        refused: how many were closed, by reason: ``silent`` (said nothing in time), ``not_tls``,
            ``no_key`` (TLS without an ed25519 key, or never finished), ``crowded`` (had to go for
            others).
    """

    def __init__(self, now: float) -> None:
        self.refused = dict.fromkeys(("silent", "not_tls", "no_key", "crowded"), 0)
        self._entered = 0
        self._waiting = 0
        self._of: defaultdict[str, dict[Visitor, None]] = defaultdict(dict)  # oldest first
        self._all = TokenBucket(TOTAL_RATE, now)
        self._networks: OrderedDict[str, TokenBucket] = OrderedDict()

    def enter(self, address: str) -> tuple[Visitor, Visitor | None]:
        """A connection came: it, and the one that has to go for it, if any."""
        self._entered += 1
        visitor = Visitor(network_of(address), self._entered)
        self._of[visitor.network][visitor] = None
        self._waiting += 1
        if self._waiting <= WAITING_MAX:
            return visitor, None
        most = max(map(len, self._of.values()))
        # An old one of two equally crowded networks goes, never the newcomer for its age.
        first = (
            next((each for each in crowd if not each.ready), next(iter(crowd)))
            for crowd in self._of.values()
            if len(crowd) == most
        )
        evicted = min(first, key=lambda each: (each.ready, each.number))
        self.refuse(evicted, "crowded")
        return visitor, evicted

    def begin(self, visitor: Visitor, now: float) -> float:
        """It has said what TLS begins with: after how many seconds to ask again; 0: begin."""
        visitor.ready = True
        bucket = self._networks.pop(visitor.network, None) or TokenBucket(NETWORK_RATE, now)
        self._networks[visitor.network] = bucket
        if len(self._networks) > NETWORKS_MAX:
            self._networks.popitem(last=False)
        return (bucket.take(now) or self._all.take(now)) / 1000

    def leave(self, visitor: Visitor) -> None:
        """It proved a key, or is gone."""
        crowd = self._of.get(visitor.network, {})
        if visitor in crowd:
            del crowd[visitor]
            self._waiting -= 1
            if not crowd:
                del self._of[visitor.network]

    def refuse(self, visitor: Visitor, why: str) -> None:
        """It was closed; counted once."""
        if visitor in self._of.get(visitor.network, ()):
            self.leave(visitor)
            self.refused[why] += 1

    def counters(self) -> dict[str, object]:
        """For ``status``."""
        return {"waiting": self._waiting, "refused": dict(self.refused)}
