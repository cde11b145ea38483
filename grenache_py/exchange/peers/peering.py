"""
The peer port as a whole: links come, speak and go; everything else asks and tells through here.

Pure. Composed of objects with one task each: ``admission.py`` decides which links are kept,
``keep_alive.py`` ends silent ones, ``dialling.py`` opens new ones, ``requests.py`` carries out
messages by the one table of ``peer_messages.py``, ``grafting.py`` and ``mesh.py`` choose who is
told what, ``peer_exchange.py`` and ``address_book.py`` know where peers are, ``undelivered.py``
keeps messages for peers that are being dialled. ``sync.py`` closes gaps in logs, and
``fills/port.py`` answers fills; both register their methods here.

Nothing is sent from here: messages wait in order until ``drain``, after the batch they belong
to was sealed, so that they may quote signatures that do not exist yet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from grenache_py.exchange.effects.batch import CloseLink, Dial, Send
from grenache_py.exchange.errors import NOT_AUTHORISED, RATE_LIMITED, OrderError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.peers.address_book import GRAPES, AddressBook
from grenache_py.exchange.peers.admission import Admission, hello
from grenache_py.exchange.peers.config import PeeringConfig
from grenache_py.exchange.peers.dialling import Dialling
from grenache_py.exchange.peers.grafting import Grafting
from grenache_py.exchange.peers.handshake import DEADLINE_S, Handshake
from grenache_py.exchange.peers.keep_alive import KeepAlive
from grenache_py.exchange.peers.link import MESSAGE_RATE, LinkState, PeerLink
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.mesh import Mesh
from grenache_py.exchange.peers.message_table import SIGNATURE_POINTS, MessageTable, PeerMessage
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.peer_exchange import PeerExchange
from grenache_py.exchange.peers.penalties import Penalties
from grenache_py.exchange.peers.requests import (
    REFUSED_POINTS,
    Answered,
    PeerParams,
    PeerRequests,
    PeerResult,
)
from grenache_py.exchange.peers.scores import Scores
from grenache_py.exchange.peers.term_claims import TermClaims
from grenache_py.exchange.peers.undelivered import Message, Undelivered
from grenache_py.exchange.rates import TokenBucket
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed, Verifier

__all__ = ["Peering", "PeeringConfig"]

#: Deadlines, pings, the mesh and dials are looked after this often.
HEARTBEAT_S = 1.0
#: What a copy of an entry costs that is the same, byte for byte, as one that was passed on.
REPEATED_POINTS = 1
#: The most expensive message of a handshake, a proof, checks one signature and makes one.
HANDSHAKE_POINTS = 20

# Looking a member up in its enum costs more than a global name in Python 3.10.
_READY, _HANDSHAKING = LinkState.READY, LinkState.HANDSHAKING
_CONTESTED, _CLOSING = LinkState.CONTESTED, LinkState.CLOSING


class Peering:
    """
    All links of one peer.

    Args:
        messages: the rows of all messages peers say.

    Attributes:
        links: by the shell's number.
        by_key: the ready link of each neighbour.
        claims: this peer's own term, and those that others have shown.
        table: the same links, with what changes their state.
        methods: what carries out each message; others add theirs with ``method``.
        ready: the ready links, in the order they became so.
        penalise, ignored: see ``Penalties``.
        notify, notify_later: tell one neighbour something that has no answer; see ``Outgoing``.
        on_stopping: called with the time before goodbye is said.
        on_ready, on_gone: called with a link that became, or ceased to be, ready.
        on_heartbeat: called once a second with the links to tell lazily what moved.
        homes: how many live homes there are, this one not counted.
    """

    def __init__(
        self,
        config: PeeringConfig,
        identity: Identity,
        sealer: Sealer,
        verifier: Verifier,
        markets: Mapping[str, Market],
        messages: Iterable[PeerMessage],
        rng: random.Random,
        now: float,
    ) -> None:
        self.config = config
        self.me = identity.key
        self.boot = f"{rng.getrandbits(128):032x}"
        self._markets, self._rng, self._verifier = markets, rng, verifier
        self._stopping = False
        self._heartbeat_at = now + rng.random() * 0.1

        self._outgoing = outgoing = Outgoing(config.strict)
        self.notify, self.notify_later = outgoing.notify, outgoing.notify_later
        self.table = table = LinkTable(outgoing, config.strict)
        self.links, self.by_key, self.ready = table.links, table.by_key, table.ready
        self.scores = Scores()
        self._penalties = penalties = Penalties(table, self.scores, outgoing)
        self.penalise, self.ignored = penalties.penalise, penalties.ignored
        self.messages = MessageTable(messages)
        self.method, self.methods = self.messages.method, self.messages.methods
        self._requests = PeerRequests(outgoing, self.penalise, self.messages)
        self.on_stopping: Callable[[float], object] = lambda now: None
        self.on_gone = table.on_gone
        self.on_gone.append(self._requests.cancel)
        local = {config.listen.rpartition(":")[0]} - {""}
        self.addresses = AddressBook(self.me, verifier, rng, local, config.grapes)
        self.addresses.name(config.connect)
        self.dialling = Dialling(table, self.addresses, outgoing, config.outbound_target)
        self.claims = TermClaims(self.me, self.boot, config.term, sealer, verifier)
        self.peer_exchange = PeerExchange(
            self.me, config.listen, self.addresses, sealer, outgoing, config.term
        )
        self.admission = Admission(
            config,
            self.me,
            self.boot,
            table,
            self.scores,
            penalties,
            self.addresses,
            self.peer_exchange,
            self._requests,
            outgoing,
            self.claims,
        )
        self._clone_check = self.admission.clone_check
        self._keep_alive = KeepAlive(table, self._requests, self._clone_check)
        self._undelivered = Undelivered()
        self.gossip = Mesh(rng)
        self._grafting = Grafting(self.gossip, table, self.scores, outgoing, self.penalise)
        self.on_ready = self.admission.on_ready
        self.on_ready.append(self._linked)
        self.on_heartbeat: Callable[[list[PeerLink], float], None] = lambda lazy, now: None
        self.homes: Callable[[], int] = lambda: len(self.by_key)
        self.method("peer.hello", _too_late)
        self.method("peer.ping", lambda link, params, now: {"time": int(now * 1000)})
        self.method("peer.addresses", self._addresses_told)
        self.method("peer.goodbye", self._goodbye_told)
        self.method("gossip.graft", self._grafting.graft_told)
        self.method("gossip.prune", self._grafting.prune_told)

    # What the shell reports.

    def link_opened(self, number: int, outbound: bool, address: str, key: str, now: float) -> None:
        """A connection is up, at whose other end is ``key``, as TLS proved; say hello."""
        seen, claim = "" if outbound else address, self.claims.wire
        mine = hello(self.config, self.boot, self._markets, seen, claim)
        handshake = Handshake(mine, outbound, now + DEADLINE_S)
        bucket = TokenBucket(MESSAGE_RATE, now)
        link = PeerLink(number, outbound, address, now, handshake, bucket, key, heard=now)
        self.links[number] = link
        if self._stopping:
            self.table.close(link, "this peer is stopping", now)
        else:
            self.admission.opened(link, now)

    def not_a_message(self, number: int, now: float) -> None:
        """A line came that is no JSON-RPC object; the other side has been told."""
        link = self.links.get(number)
        if link is None or link.state is _CLOSING:
            return
        self.penalise(link, -10.0, "a line that is no message", now)
        if link.state is _HANDSHAKING:
            self.table.close(link, "the first line is no hello", now)

    def link_message(self, number: int, message: dict[str, Any], now: float) -> tuple[int, int]:
        """
        One JSON-RPC object came. Whatever it is, at worst this link ends
        (docs/failure-modes.rst#f33).

        Returns:
            what this link has to pay: points, and bytes of answers (``turns.py``).
        """
        link = self.links.get(number)
        if link is None or link.state is _CLOSING:
            return 0, 0
        if link.bucket.take(now):
            self.penalise(link, -5.0, "too many messages", now)
            self._requests.refuse(link, message, RATE_LIMITED, "too many messages; slow down")
            return REFUSED_POINTS, 0
        link.heard = now
        link.pings_missed = 0
        state = link.state
        if state is _READY:
            checked = self._verifier.signatures_checked
            if "method" in message:
                self._requests.called(link, message, now)
            else:
                self._requests.returned(link, message, now)
            link.points += SIGNATURE_POINTS * (self._verifier.signatures_checked - checked)
        elif state is _HANDSHAKING:
            link.points += HANDSHAKE_POINTS
            self.admission.handshake(link, message, now)
        elif state is _CONTESTED:
            link.points += REFUSED_POINTS
            self._clone_check.heard(link, message, now)
        return link.bill()

    def link_repeats(self, number: int, line: bytes, now: float) -> tuple[int, int] | None:
        """
        A line came, without its newline: see whether it brings only what was sent from here.

        Returns:
            what this link has to pay, when nothing more is to be done; None when the line is to be
            decoded, and given to ``link_message``.
        """
        link = self.links.get(number)
        if link is None or link.state is not _READY or not self.gossip.repeats(line):
            return None
        if link.bucket.take(now):
            return None
        link.heard = now
        link.pings_missed = 0
        link.points += REPEATED_POINTS
        return link.bill()

    def link_closed(self, number: int, now: float) -> None:
        """A connection is gone."""
        self._clone_check.forget(number)
        link = self.table.lost(number, now)
        if link is not None and link.outbound and not link.boot:
            self.addresses.failed(link.address, now)

    def discovered(self, addresses: Iterable[str], now: float) -> None:
        """The grapes named these as peers of this network."""
        own = self.config.listen
        self.dialling.discovered([address for address in addresses if address != own], now)

    def record_found(self, signed: Signed, now: float) -> str:
        """
        The grapes gave an address record.

        Returns:
            the key of the peer that signed it, "" when none did or it is too old.
        """
        signer = self.addresses.signer(signed, now)
        if signer and self.addresses.learn(signed, now, GRAPES) is not None:
            self.dialling.dial_due(now)
        return signer

    # What an operator asks for.

    def ban(self, key: str, seconds: float, now: float) -> None:
        """Close the link to ``key`` and refuse it for a while."""
        self._penalties.ban(key, seconds, "banned", now)

    def goodbye(self, now: float) -> None:
        """This peer is about to stop: say so on every link, and take no new ones."""
        self.on_stopping(now)
        self._stopping = self.dialling.stopped = True
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
            self.dialling.dial(address, now)

    def dial_peer(self, key: str, now: float) -> None:
        """Begin a dial to a peer whose address is known, unless one has just failed."""
        address = self.addresses.address_of(key, now)
        if (
            address is not None
            and not self.scores.banned(key, now)
            and not self.addresses.waiting(address, now)
        ):
            self.dialling.dial(address, now)

    def reachable(self, key: str, now: float) -> bool:
        """Whether a message to ``key`` has a way to go."""
        return key in self.by_key or (
            self.addresses.address_of(key, now) is not None and not self.scores.banned(key, now)
        )

    def publish(self, home: str, epoch: int, entries: Sequence[tuple[int, Draft]]) -> None:
        """Queue own log entries, sealed by now, each with its number, for everybody."""
        if not self.by_key:  # whoever links later is told the head
            entries = entries[-1:]
        for seq, draft in entries:
            head = Head(epoch, seq, draft.hash.hex())
            if self.by_key:
                self.gossip.relay(draft.proof, home, head, -1)
            else:
                self.gossip.note(home, head)

    @property
    def has_at_once(self) -> bool:
        """Whether `at_once` has something."""
        return self.gossip.waits or self._outgoing.greets

    def at_once(self) -> list[Send | CloseLink | Dial]:
        """
        What waits for no commit, because nothing of it speaks of this peer's own state: lines of
        handshakes, and what others signed (docs/design/gossip.rst#at-once).
        """
        return self._outgoing.at_once(self.gossip.lines_for(self.by_key.values()))

    def drain(self, now: float) -> list[Send | CloseLink | Dial]:
        """All that is to leave with the current batch, in order; its drafts are sealed."""
        # Answers of handshakes first, or a busy peer would link with nobody. Then entries:
        # whoever gets an answer has then seen the state it speaks of, and does not plan its next
        # fill with lots that the answer just took.
        return self._outgoing.drain(self.gossip.lines_for(self.by_key.values()))

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
            self._keep_alive.tick(link, now)
        self._undelivered.expire(now)
        if self._stopping:
            return
        self.on_heartbeat(self._grafting.heartbeat(self.homes(), now), now)
        self.peer_exchange.tell(self.ready(), now)
        self.dialling.dial_due(now)

    # Messages.

    def _linked(self, link: PeerLink, now: float) -> None:
        """A link became ready: say hello to its peer, and what waited for it."""
        self._grafting.joined(link)
        self.peer_exchange.tell_sample(link, now)
        self.peer_exchange.tell(self.ready(), now, link)
        for method, params, answered in self._undelivered.take(link.key):
            self.request(link, method, params, answered, now)

    def _addresses_told(self, link: PeerLink, records: list[Signed], now: float) -> PeerResult:
        flood = self.gossip.flood
        others = [each for each in self.ready() if each is not link and (flood or each.mesh)]
        self.peer_exchange.heard(records, now, link.address, others)
        return None

    def _goodbye_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        if link.outbound:
            self.addresses.failed(link.address, now)
        self.table.close(link, "the other side said goodbye", now)
        if "term" in params:
            self.claims.shown(params["term"])
        return None


def _too_late(link: PeerLink, params: PeerParams, now: float) -> PeerResult:
    raise OrderError(NOT_AUTHORISED, "the handshake is over")
