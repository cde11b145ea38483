"""
One DHT node, whole: datagrams and time go in, datagrams and finished operations come out.

Pure. The shell calls `receive_datagram` and, at `next_deadline`, `tick`; after every
call it takes the effects: datagrams to send, operations that have ended, and whether
the bootstrap addresses are wanted (host names are the shell's to resolve).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from typing import NamedTuple

import attrs

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.errors import AllQueriesFailed, DHTOverloaded
from grenache_py.dht.item_store import (
    SALT_BYTES_MAX,
    Item,
    ItemStore,
    value_fits,
)
from grenache_py.dht.node_id import random_id_in_bucket
from grenache_py.dht.operations import (
    PEERS_ANSWERED_MAX,
    GetResult,
    ItemLookup,
    Operation,
    PeersLookup,
    Refresh,
    Traversal,
)
from grenache_py.dht.peer_store import PeerStore
from grenache_py.dht.rate_limit import RateLimit
from grenache_py.dht.responder import Responder
from grenache_py.dht.routing_table import Contact, RoutingTable
from grenache_py.dht.state import DHTState
from grenache_py.dht.tokens import Tokens
from grenache_py.dht.transactions import TXID_BYTES, Asker, Pending, Transactions
from grenache_py.dht.writes import Announce, Put, PutItem, Target
from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.wire import bencode, krpc
from grenache_py.wire.krpc import Address, ErrorReply, Query, Response, compact_address

__all__ = ["Counters", "DHTNode", "DHTStatus", "Effects"]

DATAGRAM_BYTES_MAX = 65507
SILENT_MAX = 1024
SILENT_FOR_S = 30.0
REMEMBERED_ADDRESSES_MAX = 64
STATE_CONTACTS_MAX = 256
PINGS_MAX = 16
UPKEEP_S = 5.0
UPKEEP_SOON_S = 1.0


class Effects(NamedTuple):
    """What a call into the node brought about, in order."""

    datagrams: list[tuple[bytes, Address]]
    finished: list[Operation]
    bootstrap_wanted: bool


@attrs.define
class Counters:
    """How often things happened since the node was made."""

    datagrams_received: int = 0
    datagrams_malformed: int = 0
    datagrams_over_limit: int = 0
    queries_answered: int = 0
    queries_refused: int = 0
    queries_sent: int = 0
    queries_repeated: int = 0
    queries_lost: int = 0
    answers_unmatched: int = 0
    lookups: int = 0
    announces: int = 0
    puts: int = 0
    gets: int = 0


@attrs.frozen
class DHTStatus:
    """A node at a glance. Sizes are numbers of entries."""

    node_id: bytes
    contacts_good: int
    contacts_total: int
    bootstrapped: bool
    queries_pending: int
    operations: int
    names: int
    peers: int
    items: int
    announce_tables: int
    sources: int
    silent_addresses: int
    round_trip_s: float | None
    counters: Counters


class DHTNode:
    """
    The node.

    Args:
        config: Limits and ages.
        node_id: 20 bytes.
        token_key: Secret behind the write tokens, 16 to 64 bytes.
        rng: A `random.SystemRandom` in production: transaction ids must not be guessed.
        now: Seconds, as in every method; may be wall-clock time, and must be if tokens
            are to survive a restart.
    """

    def __init__(
        self,
        config: DHTConfig,
        *,
        node_id: bytes,
        token_key: bytes,
        rng: random.Random,
        now: float,
    ) -> None:
        self.config = config
        self.own_id = node_id
        self.token_key = token_key
        self.rng = rng
        self.counters = Counters()
        self.table = RoutingTable(node_id, config.bucket_size, now)
        self.peers = PeerStore(
            max_age_s=config.peer_max_age_s,
            names_max=config.names_max,
            name_bytes_max=config.name_bytes_max,
            peers_max=config.peers_max,
            peers_per_name_max=config.peers_per_name_max,
            peers_per_source_max=config.peers_per_source_max,
            values_max=config.values_max,
            rng=rng,
        )
        self.items = ItemStore(config.items_max)
        self._responder = Responder(
            self.table, self.peers, self.items, Tokens(token_key, config.sources_max)
        )
        self._limit = RateLimit(
            trusted_max=config.trusted_rate_max,
            stranger_max=config.stranger_rate_max,
            sources_max=config.sources_max,
            exempt_loopback=config.rate_exempt_loopback,
        )
        self._transactions = Transactions(rng)
        self._outbox: list[tuple[bytes, Address]] = []
        self._finished: list[Operation] = []
        self._bootstrap_wanted = True
        self._bootstrap_wait_s = config.bootstrap_retry_min_s
        self._bootstrap_at = now + self._bootstrap_wait_s
        self._bootstrap: list[Address] = []
        self._remembered: dict[Address, None] = {}
        self._lookups: dict[bytes, PeersLookup] = {}
        self._operations = 0
        self._deadlines: list[tuple[float, int, Operation]] = []
        self._deadline_count = 0
        self._targets: dict[bytes, tuple[int, float, list[Target]]] = {}
        self._silent: dict[Address, float] = {}
        self._pings = 0
        self._upkeep_at = self._bootstrap_at
        self._joined = False
        self._ping_halves = krpc.query_around(b"ping", b"2:id20:" + node_id, TXID_BYTES)

    # --- what the shell calls -------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """A datagram came from ``address``. Never raises, whatever it holds."""
        counters = self.counters
        counters.datagrams_received += 1
        if not self._limit.admits(address[0], now):
            counters.datagrams_over_limit += 1
            return
        try:
            message = krpc.decode(data)
        except RemoteProtocolError:
            counters.datagrams_malformed += 1
            return
        if self._silent:
            self._silent.pop(address, None)
        if type(message) is Query:
            sender_id = message.sender_id
            if sender_id is not None and not message.read_only:
                suspect = self.table.heard_query(sender_id, address, now)
                if suspect is not None:
                    self._ping(suspect, now)
            self._outbox.append((self._responder.answer(message, address, now), address))
            counters.queries_answered += 1
            return
        assert not isinstance(message, Query)
        self._receive_answer(message, address, now)

    def tick(self, now: float) -> None:
        """Do what is due. Call at `next_deadline`, or whenever convenient."""
        while (pending := self._transactions.overdue(now)) is not None:
            if pending.waits < 3:
                if pending.waits == 1 and pending.datagram is not None:
                    self._outbox.append((pending.datagram, pending.address))
                    self.counters.queries_repeated += 1
                pending.asker.slow(pending, now)
            else:
                self._lost(pending, now)
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            operation = heapq.heappop(deadlines)[2]
            if not operation.done:
                operation.expire(now)
        if now >= self._upkeep_at:
            self._upkeep(now)

    def next_deadline(self) -> float:
        """When `tick` wants to be called again; may be early, never late."""
        due = self._upkeep_at
        queries = self._transactions.next_deadline()
        if queries is not None and queries < due:
            due = queries
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].done:
            heapq.heappop(deadlines)
        if deadlines and deadlines[0][0] < due:
            due = deadlines[0][0]
        return due

    def take_effects(self) -> Effects:
        """What is to be done since the last call."""
        effects = Effects(self._outbox, self._finished, self._bootstrap_wanted)
        self._outbox = []
        self._finished = []
        self._bootstrap_wanted = False
        return effects

    def bootstrap(self, addresses: Iterable[Address], now: float) -> None:
        """
        Join through ``addresses``, the answer to ``bootstrap_wanted``.

        With an empty table they, and the contacts known last, start a lookup for the
        own id; otherwise only those missing from the table are pinged.
        """
        self._bootstrap = list(addresses)
        known = self.table.by_address
        if self.table.good():
            for address in self._bootstrap:
                if address not in known:
                    self.ask(self._ping_halves, address, None, self, None, now)
            return
        refresh = Refresh(self, self.own_id)
        self.begin(refresh, now + self.config.operation_deadline_s, now)

    # --- what callers ask for -------------------------------------------------------------

    def lookup(self, name: bytes, now: float) -> PeersLookup:
        """
        Find the peers announced under ``name``.

        While a lookup of the same name is under way, that one is returned.

        Raises:
            DHTOverloaded: ``lookups_max`` operations are under way.
        """
        self.counters.lookups += 1
        running = self._lookups.get(name)
        if running is not None:
            return running
        self._admit()
        held = self.peers.peers(name, now)
        if len(held) > PEERS_ANSWERED_MAX:
            held = self.rng.sample(held, PEERS_ANSWERED_MAX)
        lookup = self._lookups[name] = PeersLookup(self, name, held)
        self.begin(lookup, now + self.config.operation_deadline_s, now)
        return lookup

    def announce(self, name: bytes, port: int, now: float) -> Announce:
        """
        Announce (own IP address, ``port``) under ``name``.

        Raises:
            LocalProtocolError: ``port`` is not in 1..65535.
            DHTOverloaded: ``lookups_max`` operations are under way.
        """
        if not 0 < port < 65536:
            raise LocalProtocolError(f"port {port} is not in 1..65535")
        self.counters.announces += 1
        self._admit()
        if self.config.host is not None:
            self.peers.add(name, compact_address((self.config.host, port)), now)
        announce = Announce(self, name, port, now)
        announce.begin(now)
        return announce

    def put(self, item: PutItem, now: float) -> Put:
        """
        Store a value; an immutable one is kept here too.

        A mutable item whose signature does not hold fails at once, as every node that
        checks would refuse it.

        Raises:
            LocalProtocolError: the value cannot be encoded or is too large, or a member
                has the wrong size or is missing.
            DHTOverloaded: ``lookups_max`` operations are under way.
        """
        encoded = bencode.encode(item.v)
        if not value_fits(bencode.decode(encoded), encoded):
            raise LocalProtocolError("the value is larger than 1000 bytes")
        if item.k is not None:
            _check_mutable(item)
            stored = Item(encoded, item.k, item.seq, item.sig, item.salt)
        else:
            stored = Item(encoded)
        self.counters.puts += 1
        self._admit()
        put = Put(self, stored, item.cas, now)
        if stored.k is None:
            self.items.put(stored)
        elif not stored.signature_holds():
            put.fail(AllQueriesFailed((krpc.SIGNATURE_INVALID, "invalid signature")))
            return put
        put.begin(now)
        return put

    def get(
        self, target: bytes, now: float, *, salt: bytes = b"", use_cache: bool = True
    ) -> ItemLookup:
        """
        Fetch an item; one held here is answered without asking anybody.

        Args:
            target: 20 bytes.
            now: Seconds.
            salt: Needed to verify a salted mutable item found elsewhere.
            use_cache: False asks the network in any case.

        Raises:
            DHTOverloaded: ``lookups_max`` operations are under way.
        """
        self.counters.gets += 1
        self._admit()
        operation = ItemLookup(self, target, salt)
        item = self.items.get(target) if use_cache else None
        if item is not None:
            operation.succeed(
                GetResult(self.own_id, bencode.decode(item.v), None, item.k, item.seq, item.sig)
            )
        else:
            self.begin(operation, now + self.config.operation_deadline_s, now)
        return operation

    def status(self) -> DHTStatus:
        """The node at a glance."""
        good = self.table.good()
        smoothed_s = self._transactions.round_trips.smoothed_s
        return DHTStatus(
            node_id=self.own_id,
            contacts_good=good,
            contacts_total=len(self.table),
            bootstrapped=good > 0,
            queries_pending=len(self._transactions),
            operations=self._operations,
            names=len(self.peers),
            peers=self.peers.peers_held,
            items=len(self.items),
            announce_tables=len(self._targets),
            sources=len(self._limit),
            silent_addresses=len(self._silent),
            round_trip_s=smoothed_s if smoothed_s >= 0 else None,
            counters=self.counters,
        )

    def state(self) -> DHTState:
        """What is worth keeping for the next run."""
        verified = [contact for contact in self.table if contact.verified]
        verified.sort(key=lambda contact: (contact.failures, -contact.seen_at))
        addresses = dict.fromkeys(contact.address for contact in verified)
        addresses |= self._remembered
        return DHTState(
            self.own_id,
            self.token_key,
            list(addresses)[:STATE_CONTACTS_MAX],
            self.items.items(),
        )

    def restore(self, contacts: Iterable[Address], items: Iterable[Item]) -> None:
        """
        Take over what an earlier run left.

        Its contacts are asked whenever the table is empty, so they replace a bootstrap list.
        """
        for item in items:
            self.items.put(item)
        for address in list(contacts)[:REMEMBERED_ADDRESSES_MAX]:
            self._remember_address(address)

    # --- answers ----------------------------------------------------------------------------

    def _receive_answer(self, message: Response | ErrorReply, address: Address, now: float) -> None:
        transactions = self._transactions
        pending = transactions.close(message.txid, address)
        if pending is None:
            self.counters.answers_unmatched += 1
            return
        rtt_s = now - pending.sent_at
        transactions.round_trips.saw(rtt_s)
        self._limit.trust(address[0])
        contact = pending.contact
        if contact is not None:
            contact.pinged = False
            contact.failures = 0
        if type(message) is Response:
            if message.sender_id is not None:
                suspect = self.table.heard_answer(message.sender_id, address, rtt_s, now)
                if suspect is not None:
                    self._ping(suspect, now)
            pending.asker.answered(pending, message, now)
        else:
            assert not isinstance(message, Response)
            pending.asker.refused(pending, message, now)

    def _lost(self, pending: Pending, now: float) -> None:
        self.counters.queries_lost += 1
        contact = pending.contact
        if contact is not None:
            contact.pinged = False
            if contact.verified:
                self._remember_address(contact.address)
            self.table.fell_silent(contact)
            self._upkeep_at = min(self._upkeep_at, now + UPKEEP_SOON_S)
        if pending.address not in self._bootstrap:
            silent = self._silent
            silent.pop(pending.address, None)
            silent[pending.address] = now + SILENT_FOR_S
            if len(silent) > SILENT_MAX:
                del silent[next(iter(silent))]
        pending.asker.lost(pending, now)

    # --- for operations (the protocol WritingNode) ------------------------------------------

    def ask(
        self,
        halves: tuple[bytes, bytes],
        address: Address,
        contact: Contact | None,
        asker: Asker,
        mark: object,
        now: float,
        *,
        once: bool = False,
    ) -> None:
        """Send a query; see `Transactions.open`."""
        self.counters.queries_sent += 1
        self._outbox.append(
            (
                self._transactions.open(halves, address, contact, asker, mark, now, once=once),
                address,
            )
        )

    def contact_at(self, address: Address) -> Contact | None:
        """The contact known at ``address``."""
        return self.table.by_address.get(address)

    def silent(self) -> dict[Address, float]:
        """Addresses that left queries unanswered lately."""
        return self._silent

    def begin(self, traversal: Traversal, due: float, now: float) -> None:
        """Start ``traversal`` from the nearest contacts, or from anywhere if there are none."""
        self.set_deadline(traversal, due)
        contacts = self.table.closest(traversal.lookup.key, self.config.bucket_size)
        traversal.lookup.begin(contacts)
        if not contacts:
            traversal.lookup.begin_at([*self._bootstrap, *self._remembered])
        traversal.step(now)

    def set_deadline(self, operation: Operation, due: float) -> None:
        """Let ``operation`` expire at ``due``."""
        self._deadline_count += 1
        heapq.heappush(self._deadlines, (due, self._deadline_count, operation))

    def started(self, operation: Operation) -> None:
        """``operation`` has begun."""
        self._operations += 1

    def finished(self, operation: Operation) -> None:
        """``operation`` has ended."""
        self._operations -= 1
        if type(operation) is PeersLookup:
            del self._lookups[operation.lookup.key]
        self._finished.append(operation)

    def remembered_targets(self, key: bytes, now: float) -> list[Target] | None:
        """Where ``key`` was stored last, if the table has not changed since."""
        remembered = self._targets.get(key)
        if remembered is None:
            return None
        version, made_at, targets = remembered
        if version != self.table.version or now - made_at > self.config.table_max_age_s:
            del self._targets[key]
            return None
        return targets

    def remember_targets(self, key: bytes, targets: list[Target], now: float) -> None:
        """Keep ``targets`` for the next time."""
        self._targets.pop(key, None)
        self._targets[key] = (self.table.version, now, targets)
        if len(self._targets) > self.config.tables_max:
            del self._targets[next(iter(self._targets))]

    def forget_targets(self, key: bytes) -> None:
        """One of them did not accept."""
        self._targets.pop(key, None)

    # --- keeping the table alive (this node is the asker of its pings) -----------------------

    def answered(self, pending: Pending, response: Response, now: float) -> None:
        """A ping was answered; the table knows already."""

    def refused(self, pending: Pending, error: ErrorReply, now: float) -> None:
        """A ping was refused."""

    def slow(self, pending: Pending, now: float) -> None:
        """A ping is overdue."""

    def lost(self, pending: Pending, now: float) -> None:
        """A ping was never answered; the table knows already."""

    def _ping(self, contact: Contact, now: float) -> None:
        """
        Ask ``contact`` whether it is there.

        One that is not in the table stands for an address whose id is in doubt.
        """
        known = self.table.by_id.get(contact.node_id) is contact
        contact.pinged = True
        self.ask(self._ping_halves, contact.address, contact if known else None, self, None, now)

    def _upkeep(self, now: float) -> None:
        """Ping whoever is in doubt, refresh stale buckets, forget what is old, join if alone."""
        table = self.table
        config = self.config
        silence_allowed_s = config.node_liveness_s
        failing = False
        pings = 0
        for contact in table:
            if contact.failures:
                failing = True
            elif contact.verified and now - contact.seen_at < silence_allowed_s:
                continue
            if not contact.pinged and pings < PINGS_MAX:
                pings += 1
                self._ping(contact, now)
        for shared_bits, bucket in enumerate(table.buckets):
            if bucket.contacts and now - bucket.refreshed_at > config.bucket_refresh_s:
                bucket.refreshed_at = now
                target = random_id_in_bucket(table.own_number, shared_bits, self.rng)
                self.begin(Refresh(self, target), now + config.operation_deadline_s, now)
                break
        self.peers.expire(now)
        silent = self._silent
        while silent:
            address = next(iter(silent))
            if silent[address] > now:
                break
            del silent[address]
        self._upkeep_at = now + (UPKEEP_SOON_S if failing else UPKEEP_S)
        self._seek_company(now)

    def _seek_company(self, now: float) -> None:
        """Want the bootstrap addresses: with back-off while alone, now and then otherwise."""
        config = self.config
        joined = self.table.good() > 0
        if self._joined and not joined:
            self._bootstrap_at = now
        if joined or self._joined:
            self._bootstrap_wait_s = config.bootstrap_retry_min_s
        self._joined = joined
        if now >= self._bootstrap_at:
            self._bootstrap_wanted = True
            wait_s = config.bootstrap_retry_max_s
            if not joined:
                wait_s = min(self._bootstrap_wait_s * 2, wait_s)
                self._bootstrap_wait_s = wait_s
            self._bootstrap_at = now + wait_s * self.rng.uniform(0.75, 1.25)
        if not joined:
            self._upkeep_at = min(self._upkeep_at, self._bootstrap_at)

    def _remember_address(self, address: Address) -> None:
        self._remembered.pop(address, None)
        self._remembered[address] = None
        if len(self._remembered) > REMEMBERED_ADDRESSES_MAX:
            del self._remembered[next(iter(self._remembered))]

    def _admit(self) -> None:
        if self._operations >= self.config.lookups_max:
            raise DHTOverloaded


def _check_mutable(item: PutItem) -> None:
    """Raise LocalProtocolError unless all members are there and have their size."""
    if item.k is None or len(item.k) != 32:
        raise LocalProtocolError("k must be 32 bytes")
    if item.sig is None or len(item.sig) != 64:
        raise LocalProtocolError("sig must be 64 bytes")
    if len(item.salt) > SALT_BYTES_MAX:
        raise LocalProtocolError("salt must be at most 64 bytes")
    if item.seq is None or not -(2**63) <= item.seq < 2**63:
        raise LocalProtocolError("seq must be a 64-bit integer")
