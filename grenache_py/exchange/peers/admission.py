"""
Which links are kept: the handshake, bans, limits, and one link for each pair of peers.

Pure. The shell hands in keys that TLS proved, ``handshake.py`` reads the hellos, and ``clones.py``
tells a restart from a copy; this module decides what follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import NOT_AUTHORISED
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.peers.clones import CloneCheck
from grenache_py.exchange.peers.config import PeeringConfig
from grenache_py.exchange.peers.handshake import PROTOCOL, HandshakeError, PeerHello
from grenache_py.exchange.peers.keep_alive import PING_IDLE_S
from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.peer_exchange import PeerExchange
from grenache_py.exchange.peers.penalties import Penalties
from grenache_py.exchange.peers.requests import Answered, PeerRequests
from grenache_py.exchange.peers.scores import BAN_S, Scores, network_of, network_prefix
from grenache_py.exchange.peers.term_claims import TermClaims
from grenache_py.wire.jsonrpc import error_line

__all__ = ["Admission", "hello", "line_of"]

#: Keys remembered that two machines proved at once.
CLONES_MAX = 1_024
#: Inbound links from one network prefix, at most.
INBOUND_PER_PREFIX_MAX = 4


class Admission:
    """
    Decides about links, whose keys are proven.

    Attributes:
        on_ready: called with a link that became ready.
        on_clone: called with a key that two live machines prove at once.
        clones: those keys, and when it was seen; the newest 1,024.
        own_clone: another machine proves this peer's own key.
    """

    def __init__(
        self,
        config: PeeringConfig,
        me: str,
        boot: str,
        table: LinkTable,
        scores: Scores,
        penalties: Penalties,
        addresses: AddressBook,
        exchange: PeerExchange,
        requests: PeerRequests,
        outgoing: Outgoing,
        claims: TermClaims,
    ) -> None:
        self.on_ready: list[Callable[[PeerLink, float], None]] = []
        self.on_clone: Callable[[str, float], None] = lambda key, now: None
        self.clones: dict[str, float] = {}
        self.own_clone = False
        self.clone_check = CloneCheck(outgoing.send, self._ask_to_ping, self._two_machines)
        self._me = me
        self._boot = boot
        self._inbound_max = config.inbound_max
        self._table = table
        self._scores = scores
        self._penalties = penalties
        self._addresses = addresses
        self._exchange = exchange
        self._requests = requests
        self._outgoing = outgoing
        self._claims = claims

    def opened(self, link: PeerLink, now: float) -> None:
        """A link is open, and its key proven: begin, or say why not."""
        if self._scores.banned(link.key, now):
            if not link.outbound:
                reason = "this key is banned here for now"
                self._outgoing.greet(link, error_line(None, NOT_AUTHORISED, reason))
            self._table.close(link, "banned", now)
            return
        if not link.outbound:
            self._make_room(now)
        for message in link.handshake.begin():
            self._outgoing.greet(link, line_of(message))

    def _make_room(self, now: float) -> None:
        """
        End a link that has not said hello, when there are more inbound ones than are worth
        judging: the oldest of the network that has most of them. Newcomers are not refused for
        it, or whoever is silent could keep everybody out.
        """
        inbound = [link for link in self._table.links.values() if not link.outbound]
        if sum(not link.closing for link in inbound) <= 2 * self._inbound_max:
            return
        silent = [link for link in inbound if link.state is LinkState.HANDSHAKING]
        if silent:
            of = Counter(network_of(link.address) for link in silent)
            most = max(silent, key=lambda link: of[network_of(link.address)])
            network = network_of(most.address)
            oldest = next(link for link in silent if network_of(link.address) == network)
            self._table.close(oldest, "others wait, and this one says nothing", now)

    def handshake(self, link: PeerLink, message: dict[str, Any], now: float) -> None:
        """A message came over a link whose hello is awaited."""
        handshake = link.handshake
        try:
            answers = handshake.receive(message)
        except HandshakeError as error:
            if not link.outbound and "id" in message:
                self._outgoing.greet(link, error_line(message["id"], error.code, str(error)))
            self._table.close(link, str(error), now)
            return
        for answer in answers:
            self._outgoing.greet(link, line_of(answer))
        assert handshake.peer is not None
        self.proven(link, handshake.peer, now)

    def proven(self, link: PeerLink, peer: PeerHello, now: float) -> None:
        """A link, its key proven, said hello: it becomes ready, or is closed."""
        link.boot = peer.boot
        link.listen = _listen(peer.listen, link)
        try:
            link.term = self._claims.take(peer.term, link.key, peer.boot)
        except RemoteProtocolError as error:
            self._table.close(link, str(error), now)
            return
        if link.key == self._me:
            self._own_key(link, now)
            return
        if 0 < link.term < self._claims.newest(link.key):
            self._retire(link, now)
            return
        if link.outbound:
            self._addresses.reached(link.address, link.key, now)
            self._exchange.seen_from(link, peer.seen)
        elif self._inbound_full(link):
            self._exchange.tell_sample(link, now)
            self._outgoing.notify(link, "peer.goodbye", {"reason": "full"})
            self._table.close(link, "this peer has all the links it takes", now)
            return
        other = self._table.by_key.get(link.key)
        if other is not None and not self._replaces(link, other, now):
            self._table.close(link, "there is a link to this peer already", now)
            return
        if self._table.accept(link, now):
            for ready in self.on_ready:
                ready(link, now)

    def _own_key(self, link: PeerLink, now: float) -> None:
        """The other end is this process, or an earlier or later holder of the term, or a copy."""
        claims = self._claims
        if link.boot == self._boot:
            if link.outbound:
                self._addresses.is_own(link.address, now)
        elif claims.term and link.term and link.term != claims.term:
            claims.superseded(link.term)
        else:
            self.own_clone = True
        self._table.close(link, "this is our own key", now)

    def _retire(self, link: PeerLink, now: float) -> None:
        """The other end held the term before: show it whose the identity is now."""
        if link.outbound:
            self._addresses.failed(link.address, now)
        self._outgoing.notify(link, "peer.goodbye", self._claims.farewell(link.key))
        self._table.close(link, "a newer holder of this identity serves", now)

    def _replaces(self, link: PeerLink, other: PeerLink, now: float) -> bool:
        """Whether ``link`` takes the place of ``other``, both of one key."""
        if link.boot != other.boot and link.term > other.term > 0:
            self._retire(other, now)  # a takeover
            return True
        if link.boot != other.boot:
            # A restart, most likely. If both links speak, there are two machines.
            if self._table.contest(other, now):
                self.clone_check.begin(other, link, now)
            return True
        alive = now - other.heard < PING_IDLE_S + 2.0
        if alive and link.outbound != other.outbound:
            # Both dialled: both sides keep the link that the smaller key dialled.
            if link.outbound != (self._me < link.key):
                return False
        self._table.close(other, "replaced by a newer link", now)
        return True

    def _ask_to_ping(self, link: PeerLink, answered: Answered, now: float) -> None:
        self._requests.request(link, "peer.ping", {}, answered, now)

    def _two_machines(self, key: str, now: float) -> None:
        """Two live machines prove ``key``: neither is talked to."""
        self.clones[key] = now
        if len(self.clones) > CLONES_MAX:
            del self.clones[next(iter(self.clones))]
        reason = "two live peers prove this key: one of them is a copy"
        self._penalties.ban(key, BAN_S, reason, now)
        self.on_clone(key, now)

    def _inbound_full(self, link: PeerLink) -> bool:
        inbound = [
            other
            for key, other in self._table.by_key.items()
            if not other.outbound and key != link.key
        ]
        if len(inbound) >= self._inbound_max:
            return True
        block = network_prefix(link.address)
        same = sum(network_prefix(other.address) == block for other in inbound) if block else 0
        return same >= INBOUND_PER_PREFIX_MAX


def hello(
    config: PeeringConfig, boot: str, markets: Mapping[str, Market], seen: str, term: dict[str, Any]
) -> PeerHello:
    """
    What this peer says of itself on one link.

    Args:
        seen: where the other side comes from.
        term: the signed claim of this peer's term; empty without one.
    """
    return PeerHello(
        boot=boot,
        network=config.network,
        protocol=PROTOCOL,
        listen=config.listen,
        markets={market.symbol: market.steps for market in markets.values()},
        software=config.software,
        seen=seen,
        term=term,
    )


def line_of(message: dict[str, Any]) -> bytes:
    """A message of the handshake as a line."""
    return msgspec.json.encode(message) + b"\n"


def _listen(listen: str, link: PeerLink) -> str:
    """The other side's address; a missing host means the one it comes from."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        return ""
    return f"{host or link.address.rpartition(':')[0]}:{port}"
