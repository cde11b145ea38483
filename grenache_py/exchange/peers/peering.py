"""
The peer port as a whole: who is linked, what each message means, what to dial next.

Pure. One registry of methods, which refuses a duplicate name (F3), serves every link; each
request is answered (F20) and each request of ours has a deadline. The work itself is done
elsewhere: ``handshake.py`` proves keys, ``contests.py`` tells a restart from a copy,
``addresses.py`` knows where peers may be, ``undelivered.py`` keeps what waits for them,
``gossip.py`` chooses who is told what, ``sync.py`` closes gaps, and the node answers fills.

Nothing is sent from here: messages wait in order until ``drain``, after the batch they belong
to was sealed, so that they may quote signatures that do not exist yet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import CloseLink, Dial, Send
from grenache_py.exchange.errors import (
    NOT_AUTHORISED,
    RATE_LIMITED,
    OrderError,
)
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.peers.clones import CloneCheck
from grenache_py.exchange.peers.handshake import (
    DEADLINE_S,
    PROTOCOL,
    Handshake,
    HandshakeError,
    PeerHello,
)
from grenache_py.exchange.peers.link import (
    BAN_S,
    DISCONNECT_BELOW,
    IGNORE_BELOW,
    MESSAGES,
    PeerLink,
    Scores,
    network_prefix,
)
from grenache_py.exchange.peers.mesh import Mesh
from grenache_py.exchange.peers.peer_exchange import PeerExchange
from grenache_py.exchange.peers.requests import Answered, PeerParams, PeerRequests, PeerResult
from grenache_py.exchange.peers.undelivered import Message, Undelivered
from grenache_py.exchange.rates import TokenBucket
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Verifier
from grenache_py.wire.jsonrpc import error_line, notification_line

__all__ = ["Peering", "PeeringConfig"]

HEARTBEAT_S = 1.0
PING_IDLE_S = 10.0
PINGS_MISSED_MAX = 3
#: Keys remembered that two machines proved at once.
CLONES_MAX = 1_024
_DIALS_AT_ONCE = 4


@attrs.frozen
class PeeringConfig:
    """
    Attributes:
        listen: ``host:port`` others can dial, "" when they cannot; ``:port`` when the host is
            to be what others see.
        connect: addresses the operator named.
        outbound_target: links to dial; at least ``outbound_min`` are insisted upon.
        inbound_max: links to accept.
    """

    network: str
    listen: str = ""
    connect: tuple[str, ...] = ()
    outbound_target: int = 8
    outbound_min: int = 2
    inbound_max: int = 40
    software: str = ""


class Peering:
    """
    All links of one peer.

    Attributes:
        links: by the shell's number.
        by_key: the ready link of each neighbour.
        methods: what the peer port understands; others add theirs with ``method``.
        on_ready, on_gone: called with a link that became, or ceased to be, ready.
        on_clone: called with a key that two live machines prove at once.
        on_heartbeat: called once a second with the links to tell lazily what moved.
        homes: how many live homes there are, this one not counted.
        malformed: messages refused, counted.
    """

    def __init__(
        self,
        config: PeeringConfig,
        identity: Identity,
        sealer: Sealer,
        verifier: Verifier,
        markets: Mapping[str, Market],
        rng: random.Random,
        now: float,
    ) -> None:
        self.config = config
        self.me = identity.key
        self.boot = f"{rng.getrandbits(128):032x}"
        self.links: dict[int, PeerLink] = {}
        self.by_key: dict[str, PeerLink] = {}
        self.scores = Scores()
        self.addresses = AddressBook(identity.key, verifier, rng)
        self.addresses.name(config.connect)
        self.gossip = Mesh(rng)
        self._requests = PeerRequests(self._send, self._send_later, self.penalise)
        self.methods = self._requests.methods
        self.method = self._requests.method
        self.on_ready: list[Callable[[PeerLink, float], None]] = []
        self.on_gone: list[Callable[[PeerLink, float], None]] = []
        self.on_clone: Callable[[str, float], None] = lambda key, now: None
        self.on_heartbeat: Callable[[list[PeerLink], float], None] = lambda lazy, now: None
        self.homes: Callable[[], int] = lambda: len(self.by_key)
        self.own_clone = False
        self.clones: dict[str, float] = {}
        self.malformed = 0
        self.dials = 0
        self.closing = False
        self._identity = identity
        self._markets = markets
        self._rng = rng
        self._out: list[Send | CloseLink | Dial | tuple[int, Callable[[], bytes]]] = []
        self._undelivered = Undelivered()
        self._clone_check = CloneCheck(self._send, self._ask_to_ping, self._two_machines)
        self._heartbeat_at = now + rng.random() * 0.1
        self.peer_exchange = PeerExchange(
            self.me, config.listen, self.addresses, sealer, self._send_later
        )
        self.method("peer.hello", _too_late)
        self.method("peer.prove", _too_late)
        self.method("peer.ping", lambda link, params, now: {})
        self.method("peer.addresses", self._addresses_told)
        self.method("peer.goodbye", self._goodbye_told)
        self.method("gossip.graft", self._graft_told)
        self.method("gossip.prune", self._prune_told)

    # What the shell reports.

    def link_opened(self, number: int, outbound: bool, address: str, now: float) -> None:
        """A TCP connection is up; prove who we are."""
        mine = PeerHello(
            key=self.me,
            nonce=f"{self._rng.getrandbits(128):032x}",
            boot=self.boot,
            network=self.config.network,
            protocol=PROTOCOL,
            listen=self.config.listen,
            markets={
                market.symbol: (market.format_price(1), market.format_quantity(1))
                for market in self._markets.values()
            },
            software=self.config.software,
            seen="" if outbound else address,
        )
        handshake = Handshake(self._identity, mine, outbound, now + DEADLINE_S)
        link = PeerLink(
            number, outbound, address, now, handshake, TokenBucket(MESSAGES, now), heard=now
        )
        self.links[number] = link
        if self.closing:
            self._close(link, "this peer is stopping", now)
        elif not outbound and sum(not link.outbound for link in self.links.values()) > (
            2 * self.config.inbound_max
        ):
            self._close(link, "too many connections", now)
        else:
            for message in handshake.begin():
                self._send(link, _line(message))

    def link_message(self, number: int, message: dict[str, Any], now: float) -> None:
        """One JSON-RPC object came. Whatever it is, at worst this link ends (F33)."""
        link = self.links.get(number)
        if link is None or link.closing:
            return
        if link.bucket.take(now):
            self.penalise(link, -5.0, "too many messages", now)
            self._requests.refuse(link, message, RATE_LIMITED, "too many messages; slow down")
            return
        link.heard = now
        link.pings_missed = 0
        if not link.key:
            self._handshake(link, message, now)
        elif self._clone_check.concerns(link):
            self._clone_check.heard(link, message, now)
        elif not link.ready:
            return  # being replaced
        elif "method" in message:
            self._requests.called(link, message, now)
        else:
            self._requests.returned(link, message, now)

    def link_closed(self, number: int, now: float) -> None:
        """A connection is gone."""
        link = self.links.pop(number, None)
        if link is None:
            return
        self._clone_check.forget(number)
        self._unready(link, now)
        if link.outbound and not link.key:
            self.addresses.failed(link.address, now)

    def link_failed(self, address: str, reason: str, now: float) -> None:
        """A dial did not connect."""
        self.addresses.failed(address, now)

    def discovered(self, addresses: Iterable[str], now: float) -> None:
        """The grapes named these as peers of this network."""
        self.addresses.hint(address for address in addresses if address != self.config.listen)
        self._dial_some(now)

    # What an operator asks for.

    def connect(self, address: str, now: float) -> None:
        """Dial ``address`` now, and for ever after."""
        self.addresses.name([address])
        self._dial_some(now)

    def ban(self, key: str, seconds: float, now: float) -> None:
        """Close the link to ``key`` and refuse it for a while."""
        self.scores.ban(key, now + seconds)
        for link in list(self.links.values()):
            if link.key == key:
                self._close(link, "banned", now)

    def unban(self, key: str, now: float) -> None:
        """Let ``key`` come back."""
        self.scores.unban(key)

    def goodbye(self, now: float) -> None:
        """This peer is about to stop: say so on every link, and take no new ones."""
        self.closing = True
        for link in self.by_key.values():
            self.notify(link, "peer.goodbye", {"reason": "stopping"})

    # What the rest of the core uses.

    def request(
        self, link: PeerLink, method: str, params: PeerParams, answered: Answered | None, now: float
    ) -> None:
        """
        Ask one neighbour, or, without ``answered``, tell it. ``answered`` is called once: with
        the result, or with the error object, or with neither when none came.
        """
        if answered is None:
            self.notify(link, method, params)
        else:
            self._requests.request(link, method, params, answered, now)

    def notify(self, link: PeerLink, method: str, params: PeerParams) -> None:
        """Tell one neighbour something that has no answer."""
        self._send(link, notification_line(method, params))

    def transmit(
        self, key: str, method: str, params: PeerParams, answered: Answered | None, now: float
    ) -> None:
        """
        Ask (or, without ``answered``, tell) a peer that may not be a neighbour: it is dialled
        when its address is known.
        """
        link = self.by_key.get(key)
        if link is not None:
            self.request(link, method, params, answered, now)
            return
        address = self.addresses.address_of(key, now)
        message = Message(method, params, answered)
        if (
            address is None
            or self.scores.banned(key, now)
            or not self._undelivered.put(key, message, now)
        ):
            if answered:
                answered(None, None, now)
        elif not self.addresses.waiting(address, now):
            self._dial(address, now)

    def reachable(self, key: str, now: float) -> bool:
        """Whether a message to ``key`` has a way to go."""
        return key in self.by_key or (
            self.addresses.address_of(key, now) is not None and not self.scores.banned(key, now)
        )

    def publish(self, drafts: Iterable[tuple[Draft, str, Head]]) -> None:
        """Queue own log entries, sealed by now, for everybody."""
        for draft, origin, head in drafts:
            if self.by_key:
                self.gossip.relay(draft.proof, origin, head, -1)
            else:  # whoever links later is told the heads
                self.gossip.note(origin, head)

    def penalise(self, link: PeerLink, points: float, reason: str, now: float) -> None:
        """Count a fault of a link; close and ban it when it has too many."""
        self.malformed += 1
        score = self.scores.add(link.key or link.address, points, now)
        if score < IGNORE_BELOW and link.mesh:
            link.mesh = False
            self.notify(link, "gossip.prune", {"backoff_s": 60})
        if score < DISCONNECT_BELOW and not link.closing:
            if link.key:
                self.scores.ban(link.key, now + BAN_S)
            self._close(link, f"score {score:.0f}: {reason}", now)

    def ignored(self, link: PeerLink, now: float) -> bool:
        """Whether gossip from this link is not listened to any more."""
        return self.scores.of(link.key, now) < IGNORE_BELOW

    def ready(self) -> list[PeerLink]:
        """Links to talk on, in the order they became ready."""
        return list(self.by_key.values())

    def drain(self, now: float) -> list[Send | CloseLink | Dial]:
        """All that is to leave with the current batch, in order; its drafts are sealed."""
        # Entries first: whoever gets an answer has then seen the state it speaks of, and does
        # not plan its next fill with lots that the answer just took.
        lines = self.gossip.lines_for(self.by_key.values())
        out, self._out = self._out, []
        return [
            *(Send(number, line) for number, line in lines),
            *(Send(item[0], item[1]()) if isinstance(item, tuple) else item for item in out),
        ]

    # Time.

    def next_deadline(self) -> float:
        """When ``tick`` wants to be called."""
        return self._heartbeat_at

    def tick(self, now: float) -> None:
        """Once a heartbeat: deadlines, pings, the mesh, dials."""
        if now < self._heartbeat_at:
            # A clock that jumped back must not stop the heartbeats.
            self._heartbeat_at = min(self._heartbeat_at, now + HEARTBEAT_S)
            return
        self._heartbeat_at = now + HEARTBEAT_S
        for link in list(self.links.values()):
            self._tick_link(link, now)
        self._undelivered.expire(now)
        if self.closing:
            return
        good = [link for link in self.ready() if self.scores.of(link.key, now) >= 0]
        graft, prune, lazy = self.gossip.heartbeat(good, self.homes(), now)
        for link in graft:
            self.notify(link, "gossip.graft", {})
        for link in prune:
            self.notify(link, "gossip.prune", {"backoff_s": 60})
        self.on_heartbeat(lazy, now)
        self.peer_exchange.tell(self.ready(), now)
        self._dial_some(now)

    def _tick_link(self, link: PeerLink, now: float) -> None:
        if link.closing:
            return
        if not link.key:
            if now >= link.handshake.deadline:
                self._close(link, "the handshake took too long", now)
            return
        for ended, reason in self._clone_check.ended(link, now):
            self._close(ended, reason, now)
        if not link.ready:
            return
        self._requests.expire(link, now)
        if now - link.heard >= PING_IDLE_S and now - link.ping_sent >= PING_IDLE_S / 2:
            if link.pings_missed >= PINGS_MISSED_MAX:
                self._close(link, f"no answer to {PINGS_MISSED_MAX} pings", now)
                return
            self._ping(link, now)
        elif link.latency_s is None and not link.ping_sent:
            self._ping(link, now)

    def _ping(self, link: PeerLink, now: float) -> None:
        def answered(result: object, error: object, then: float) -> None:
            if result is not None:
                link.latency_s = max(0.0, then - now)

        link.ping_sent = now
        link.pings_missed += 1
        self.request(link, "peer.ping", {}, answered, now)

    # Handshake and the one link a pair of peers keeps.

    def _handshake(self, link: PeerLink, message: dict[str, Any], now: float) -> None:
        handshake = link.handshake
        try:
            for answer in handshake.receive(message):
                self._send(link, _line(answer))
        except HandshakeError as error:
            if not link.outbound and "id" in message:
                self._send(link, error_line(message["id"], error.code, str(error)))
            self._close(link, str(error), now)
            return
        if handshake.proven:
            assert handshake.peer is not None
            self._proven(link, handshake.peer, now)

    def _proven(self, link: PeerLink, peer: PeerHello, now: float) -> None:
        link.key, link.boot = peer.key, peer.boot
        link.listen = _listen(peer.listen, link)
        if peer.key == self.me:
            if peer.boot == self.boot:
                self.addresses.is_own(link.address)
            else:
                self.own_clone = True
            self._close(link, "this is our own key", now)
            return
        if self.scores.banned(peer.key, now):
            self._close(link, "banned", now)
            return
        if link.outbound:
            self.addresses.reached(link.address, peer.key, now)
            self.peer_exchange.seen_from(peer.seen)
        if not link.outbound and self._inbound_full(link):
            self.notify(link, "peer.addresses", {"records": self.peer_exchange.sample(now)})
            self.notify(link, "peer.goodbye", {"reason": "full"})
            self._close(link, "this peer has all the links it takes", now)
            return
        other = self.by_key.get(peer.key)
        if other is not None and not self._replaces(link, other, now):
            self._close(link, "there is a link to this peer already", now)
            return
        link.ready = True
        self.by_key[peer.key] = link
        if self.gossip.joined(link):
            link.mesh = True
            self.notify(link, "gossip.graft", {})
        records = self.peer_exchange.sample(now)
        if records:
            self.notify(link, "peer.addresses", {"records": records})
        self.peer_exchange.tell(self.ready(), now, link)
        for method, params, answered in self._undelivered.take(peer.key):
            self.request(link, method, params, answered, now)
        for ready in self.on_ready:
            ready(link, now)

    def _replaces(self, link: PeerLink, other: PeerLink, now: float) -> bool:
        """Whether ``link`` takes the place of ``other``, both proven to lead to one key."""
        if link.boot != other.boot:
            # A restart, most likely. If both links speak, there are two machines.
            self._unready(other, now)
            self._clone_check.begin(other, link, now)
            return True
        alive = now - other.heard < PING_IDLE_S + 2.0
        if alive and link.outbound != other.outbound:
            # Both dialled: both sides keep the link that the smaller key dialled.
            if link.outbound != (self.me < link.key):
                return False
        self._unready(other, now)
        self._close(other, "replaced by a newer link", now)
        return True

    def _ask_to_ping(self, link: PeerLink, answered: Answered, now: float) -> None:
        self.request(link, "peer.ping", {}, answered, now)

    def _two_machines(self, key: str, now: float) -> None:
        """Two live machines prove ``key``: neither is talked to."""
        self.clones[key] = now
        if len(self.clones) > CLONES_MAX:
            del self.clones[next(iter(self.clones))]
        self.scores.ban(key, now + BAN_S)
        for link in list(self.links.values()):
            if link.key == key:
                self._close(link, "two live peers prove this key: one of them is a copy", now)
        self.on_clone(key, now)

    def _unready(self, link: PeerLink, now: float) -> None:
        if not link.ready:
            return
        link.ready = link.mesh = False
        del self.by_key[link.key]
        self._requests.cancel(link, now)
        for gone in self.on_gone:
            gone(link, now)

    def _inbound_full(self, link: PeerLink) -> bool:
        inbound = [
            other for key, other in self.by_key.items() if not other.outbound and key != link.key
        ]
        if len(inbound) >= self.config.inbound_max:
            return True
        block = network_prefix(link.address)
        return bool(block) and sum(network_prefix(other.address) == block for other in inbound) > 3

    # Messages.

    def _addresses_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        fresh = self.peer_exchange.heard(params.get("records"), now)
        if fresh:
            for other in self.ready():
                if other is not link and (self.gossip.flood or other.mesh):
                    self.notify(other, "peer.addresses", {"records": fresh})
        return None

    def _goodbye_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        if link.outbound:
            self.addresses.failed(link.address, now)
        self._close(link, "the other side said goodbye", now)
        return None

    def _graft_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        if not link.ready:
            return None
        if link.mesh_again > now + 1.0:
            self.penalise(link, -2.0, "graft during back-off", now)
        low = self.scores.of(link.key, now) < 0
        backoff_s = 60.0 if low else self.gossip.grafted(link, self.ready(), now)
        if backoff_s is not None:
            self.notify(link, "gossip.prune", {"backoff_s": int(backoff_s) + 1})
        return None

    def _prune_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        backoff_s = params.get("backoff_s")
        if isinstance(backoff_s, bool) or not isinstance(backoff_s, int):
            raise RemoteProtocolError("'backoff_s' must be an integer")
        self.gossip.pruned(link, backoff_s, now)
        return None

    # Dials.

    def _dial_some(self, now: float) -> None:
        if self.closing:
            return
        outbound = sum(link.outbound for link in self.links.values() if not link.closing)
        linked = set(self.by_key)
        dialled = 0
        for address in self.addresses.due(linked, now):
            named = self.addresses.is_named(address)
            if not named and (
                outbound + dialled >= self.config.outbound_target or (dialled >= _DIALS_AT_ONCE)
            ):
                break
            if self._dial(address, now):
                dialled += 1

    def _dial(self, address: str, now: float) -> bool:
        if self.closing or not self.addresses.dial(address, now):
            return False
        self.dials += 1
        self._out.append(Dial(address))
        return True

    # Sending.

    def _send(self, link: PeerLink, line: bytes) -> None:
        if not link.closing:
            self._out.append(Send(link.id, line))

    def _send_later(self, link: PeerLink, line: Callable[[], bytes]) -> None:
        if not link.closing:
            self._out.append((link.id, line))

    def _close(self, link: PeerLink, reason: str, now: float) -> None:
        if not link.closing:
            link.closing = True
            self._out.append(CloseLink(link.id, reason))
            self._unready(link, now)


def _line(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def _listen(listen: str, link: PeerLink) -> str:
    """The other side's address; a missing host means the one it comes from."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        return ""
    return f"{host or link.address.rpartition(':')[0]}:{port}"


def _too_late(link: PeerLink, params: PeerParams, now: float) -> PeerResult:
    raise OrderError(NOT_AUTHORISED, "the handshake is over")
