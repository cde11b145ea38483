"""
What is known about one connection to another peer, and about how peers have behaved.

Pure. A score judges only what a *link* did, never what the origin of an entry said: an honest
relay of a bad origin must not suffer for it (distributed.md 3.5). Scores fade, and are kept an
hour after the link is gone, so that reconnecting does not wash them off.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import attrs

from grenache_py.exchange.peers.handshake import Handshake
from grenache_py.exchange.rates import Rate, TokenBucket
from grenache_py.exchange.signed_log.head import Head

__all__ = [
    "BAN_S",
    "DISCONNECT_BELOW",
    "IGNORE_BELOW",
    "MESSAGES",
    "PeerLink",
    "PendingRequest",
    "Scores",
    "network_prefix",
]

#: Messages of one link. What a peer can digest in Python is about this; more is abuse.
MESSAGES = Rate(10_000, 40_000)
#: Requests of ours that one link may owe an answer.
PENDING_MAX = 4_096
#: Origins whose head one link may tell.
ORIGINS_MAX = 20_000

IGNORE_BELOW = -50.0
DISCONNECT_BELOW = -100.0
BAN_S = 600.0
_HALF_LIFE_S = 600.0
_SCORES_MAX = 4_096
_FORGET_S = 3_600.0
_DELIVERY_CAP = 100.0


@attrs.frozen
class PendingRequest:
    """A request of ours: who to tell of the result (None: it failed), and until when."""

    method: str
    answered: Callable[[dict[str, Any] | None, dict[str, Any] | None, float], None]
    deadline: float


@attrs.define(eq=False)
class PeerLink:
    """
    One connection.

    Attributes:
        id: the shell's number for it.
        address: of the other end, as seen from here.
        handshake: until ``key`` is proven.
        key: the peer's key, "" before it is proven.
        listen: ``host:port`` it can be dialled at, "" when it cannot.
        ready: proven, and the one link to that peer that is used.
        heard: when the last message came.
        heads: the heads it told of, by origin.
        heads_again: it did not deliver what it promised; its heads are not believed until then.
        told: the heads it was told, or told of itself, by origin.
        mesh: entries are pushed to it at once (``gossip.py``).
        mesh_again: not grafted before this time.
    """

    id: int
    outbound: bool
    address: str
    opened: float
    handshake: Handshake
    bucket: TokenBucket
    key: str = ""
    boot: str = ""
    listen: str = ""
    ready: bool = False
    closing: bool = False
    heard: float = 0.0
    ping_sent: float = 0.0
    pings_missed: int = 0
    latency_s: float | None = None
    heads: dict[str, Head] = attrs.Factory(dict)
    heads_again: float = 0.0
    told: dict[str, Head] = attrs.Factory(dict)
    mesh: bool = False
    mesh_again: float = 0.0
    pending: dict[int, PendingRequest] = attrs.Factory(dict)


@attrs.define
class _Standing:
    points: float
    delivered: float
    at: float


class Scores:
    """How each peer behaved, by key; at most 4,096 peers, the least recently seen forgotten."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, _Standing] = OrderedDict()
        self.banned_until: dict[str, float] = {}

    def add(self, key: str, points: float, now: float) -> float:
        """Count ``points`` for (or against) a peer; returns its score."""
        standing = self._fade(key, now)
        standing.points += points
        return standing.points + standing.delivered

    def delivered(self, key: str, now: float) -> None:
        """Count a first valid delivery: +1, up to 100 in all."""
        standing = self._fade(key, now)
        standing.delivered = min(_DELIVERY_CAP, standing.delivered + 1)

    def of(self, key: str, now: float) -> float:
        """The score now; 0 for a stranger."""
        standing = self._of.get(key)
        if standing is None:
            return 0.0
        faded = _faded(now - standing.at)
        return (standing.points + standing.delivered) * faded

    def _fade(self, key: str, now: float) -> _Standing:
        standing = self._of.pop(key, None) or _Standing(0.0, 0.0, now)
        faded = _faded(now - standing.at)
        standing.points *= faded
        standing.delivered *= faded
        standing.at = now
        self._of[key] = standing
        while len(self._of) > _SCORES_MAX or next(iter(self._of.values())).at < now - _FORGET_S:
            self._of.popitem(last=False)
        return standing

    def ban(self, key: str, until: float) -> None:
        """Talk to ``key`` no more before ``until``."""
        self.banned_until[key] = until
        if len(self.banned_until) > _SCORES_MAX:
            del self.banned_until[min(self.banned_until, key=self.banned_until.__getitem__)]

    def unban(self, key: str) -> None:
        """Talk to ``key`` again, with a clean record."""
        self.banned_until.pop(key, None)
        self._of.pop(key, None)

    def banned(self, key: str, now: float) -> bool:
        """Whether ``key`` is banned now."""
        until = self.banned_until.get(key)
        if until is not None and until <= now:
            del self.banned_until[key]
            until = None
        return until is not None


def _faded(age_s: float) -> float:
    return float(0.5 ** (max(age_s, 0.0) / _HALF_LIFE_S))


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
