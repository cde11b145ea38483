"""
Fill messages to homes that are not neighbours: passed on by neighbours, one hop at a time.

Pure. See docs/design/fills.rst#relay. A home behind a network address translation cannot be
dialled, and two of them may be a few hops apart. Each peer knows from which neighbour a home's
newest log entry came first; a message for that home goes to that neighbour. All that a relayed
message says is signed by the home that says it, so whoever passes it on can only delay or drop it.
One message in is at most one message out, while hops are left and the neighbour's rate allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.message_table import PeerParams
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.rates import Rate, TokenBucket

__all__ = ["FillRelay", "Reply", "read_relay"]

#: So many peers pass a message on at most.
HOPS_MAX = 8
#: Messages of one neighbour that are passed on.
RELAY_RATE = Rate(500, 2_000)

#: To which home an answer goes, and a maker of its params.
Reply: TypeAlias = tuple[str, Callable[[], dict[str, Any]]]
#: Takes the params of a message that arrived, and the time.
Arrived: TypeAlias = "Callable[[PeerParams, float], Reply | None]"


class _Relayed(NamedTuple):
    """A message on its way: to whom, how many peers may still pass it on, and what it says."""

    to: str
    hops: int
    method: str
    params: dict[str, Any]


@attrs.define
class FillRelay:
    """
    Sends fill messages to any home, and passes on those of others.

    Args:
        key: this home's.
        peering: the links.
        routes: the key of the neighbour from which each home's newest entry came first.

    Attributes:
        silent: homes whose answers do not come.
        arrived: what takes each message that is for this home, by method.
        sent, passed_on, dropped: counters of messages. Dropped are those that had no way to go, no
            hops left, came too fast, or were refused where they arrived.
    """

    _key: str
    _peering: Peering
    _routes: Mapping[str, str]
    arrived: Mapping[str, Arrived] = attrs.Factory(dict)
    silent: Container[str] = ()
    sent: int = 0
    passed_on: int = 0
    dropped: int = 0
    _buckets: dict[int, TokenBucket] = attrs.Factory(dict)

    def next_hop(self, home: str) -> PeerLink | None:
        """The ready link that leads to ``home``: its own, or the neighbour's that is nearer."""
        by_key = self._peering.by_key
        link = by_key.get(home)
        if link is not None:
            return link
        key = self._routes.get(home)
        link = by_key.get(key) if key is not None else None
        if link is not None:
            return link
        # That neighbour is gone. Another one has this home's log as well.
        return max(by_key.values(), key=lambda link: link.delivered, default=None) if key else None

    def reachable(self, home: str, now: float) -> bool:
        """Whether a message to ``home`` has a way to go."""
        return self._peering.reachable(home, now) or self.next_hop(home) is not None

    def send(self, home: str, method: str, params: PeerParams) -> bool:
        """
        Send a message to a home that is not a neighbour.

        Returns:
            False when no neighbour leads to it.
        """
        link = self._next_try() if home in self.silent else self.next_hop(home)
        if link is None:
            self.dropped += 1
            return False
        self.sent += 1
        self._forward(link, _Relayed(home, HOPS_MAX, method, dict(params)))
        return True

    def _next_try(self) -> PeerLink | None:
        """
        Another neighbour each time: the usual one may drop what it should pass on. Of those that
        this home dialled, if there are any: nobody else chose them.
        """
        links = list(self._peering.by_key.values())
        links = [link for link in links if link.outbound] or links
        # Mixed: of two fills that ask in turns each would have the same neighbour every time.
        number = sha256(b"%d" % self.sent).digest()[0]
        return links[number % len(links)] if links else None

    def _forward(self, link: PeerLink, message: _Relayed) -> None:
        self._peering.notify(link, "fill.relay", message._asdict())

    def told(self, link: PeerLink, message: _Relayed, now: float) -> None:
        """Carry out ``fill.relay``: take what is for this home, pass on the rest."""
        if message.to == self._key:
            self._take(message, link, now)
            return
        bucket = self._buckets.get(link.id)
        if bucket is None:
            bucket = self._buckets[link.id] = TokenBucket(RELAY_RATE, now)
        way = self.next_hop(message.to)
        if message.hops < 1 or way is None or way is link or bucket.take(now):
            self.dropped += 1
            return
        self.passed_on += 1
        self._forward(way, message._replace(hops=message.hops - 1))

    def gone(self, link: PeerLink, now: float) -> None:
        """A link is over."""
        self._buckets.pop(link.id, None)

    def _take(self, message: _Relayed, source: PeerLink, now: float) -> None:
        take = self.arrived.get(message.method)
        try:
            answer = take(message.params, now) if take is not None else None
        except (OrderError, RemoteProtocolError):
            # Busy, or not what its sender may say. Who brought it is not to blame; the sender, if
            # it meant well, asks again.
            self.dropped += 1
            return
        if answer is not None:
            home, params = answer
            # Back the way the question came: who is nearer may drop it.
            link = self._peering.by_key.get(home) or source
            self.sent += 1
            self._peering.notify_later(
                link,
                "fill.relay",
                lambda: _Relayed(home, HOPS_MAX, "answer", params())._asdict(),
            )


def read_relay(params: PeerParams) -> _Relayed:
    """
    The params of ``fill.relay``.

    Raises:
        RemoteProtocolError: a member is missing or of another kind.
    """
    to, hops, method = params.get("to"), params.get("hops"), params.get("method")
    inner = params.get("params")
    if not isinstance(to, str) or len(to) != 64:
        raise RemoteProtocolError("'to' must be a key of 64 hex digits")
    if type(hops) is not int or not 0 <= hops <= HOPS_MAX:
        raise RemoteProtocolError(f"'hops' must be a number from 0 to {HOPS_MAX}")
    if not isinstance(method, str) or not isinstance(inner, dict):
        raise RemoteProtocolError("'method' must be a name, and 'params' an object")
    return _Relayed(to, hops, method, inner)
