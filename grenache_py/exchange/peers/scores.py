"""
How peers have behaved: scores that fade, and bans that end.

Pure. A score judges only what a *link* did, never what the origin of an entry said: an honest
relay of a bad origin must not suffer for it (docs/design/gossip.rst#scores). Scores fade, and are
kept an hour after the link is gone, so that reconnecting does not wash them off.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import ip_address

import attrs

__all__ = [
    "BAN_S",
    "DISCONNECT_BELOW",
    "IGNORE_BELOW",
    "Scores",
    "network_of",
    "network_prefix",
]

#: Below this score gossip of a peer is not read.
IGNORE_BELOW = -50.0
#: Below this score a link is closed and its key banned.
DISCONNECT_BELOW = -100.0
#: How long a key is banned for its score, or because two machines prove it.
BAN_S = 600.0
#: A score loses half its points in this time.
HALF_LIFE_S = 600.0
#: Peers whose score, and peers whose ban, is remembered.
SCORES_MAX = 4_096
#: A score nobody asked to change for this long is forgotten.
FORGET_S = 3_600.0
#: First deliveries never add more than this to a score.
DELIVERY_CAP = 100.0


@attrs.define
class _Standing:
    points: float
    delivered: float
    at: float


class Scores:
    """
    How each peer behaved, by key; at most 4,096 peers, the least recently seen forgotten.

    Attributes:
        bans: from when and until when a key is refused, in seconds.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[str, _Standing] = OrderedDict()
        self.bans: dict[str, tuple[float, float]] = {}

    def add(self, key: str, points: float, now: float) -> float:
        """Count ``points`` for (or against) a peer; returns its score."""
        standing = self._fade(key, now)
        standing.points += points
        return standing.points + standing.delivered

    def delivered(self, key: str, now: float) -> None:
        """Count a first valid delivery: +1, up to 100 in all."""
        standing = self._fade(key, now)
        standing.delivered = min(DELIVERY_CAP, standing.delivered + 1)

    def of(self, key: str, now: float) -> float:
        """The score now; 0 for a stranger."""
        standing = self._of.get(key)
        if standing is None:
            return 0.0
        standing.at = min(standing.at, now)  # when the clock was put back
        faded = _faded(now - standing.at)
        return (standing.points + standing.delivered) * faded

    def _fade(self, key: str, now: float) -> _Standing:
        standing = self._of.pop(key, None) or _Standing(0.0, 0.0, now)
        faded = _faded(now - standing.at)
        standing.points *= faded
        standing.delivered *= faded
        standing.at = now
        self._of[key] = standing
        while len(self._of) > SCORES_MAX or next(iter(self._of.values())).at < now - FORGET_S:
            self._of.popitem(last=False)
        return standing

    def ban(self, key: str, seconds: float, now: float) -> None:
        """Refuse ``key`` for so long."""
        self.bans[key] = now, now + seconds
        if len(self.bans) > SCORES_MAX:
            del self.bans[min(self.bans, key=lambda each: self.bans[each][1])]

    def unban(self, key: str) -> None:
        """Accept ``key`` again, and forget its score."""
        self.bans.pop(key, None)
        self._of.pop(key, None)

    def banned(self, key: str, now: float) -> bool:
        """Whether ``key`` is banned now."""
        ban = self.bans.get(key)
        if ban is not None and not ban[0] <= now < ban[1]:  # or the clock was put back
            del self.bans[key]
            ban = None
        return ban is not None


def _faded(age_s: float) -> float:
    return float(0.5 ** (max(age_s, 0.0) / HALF_LIFE_S))


def network_prefix(address: str) -> str:
    """
    The /24 (IPv6: /48) that ``host:port`` lies in, "" for private and loopback addresses.

    Many peers in one such block are likely one operator's.
    """
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip = ip_address(host)
    except ValueError:
        return ""
    if ip.is_private:
        return ""
    return str(ip).rpartition(".")[0] if ip.version == 4 else ip.exploded[:14]


def network_of(address: str) -> str:
    """What ``host:port`` is counted under: its /24 or /48; its host, when that is private."""
    return network_prefix(address) or address.rpartition(":")[0]
