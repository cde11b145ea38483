"""
One DHT node, whole: datagrams and time go in, datagrams and ended operations come out.

Pure. The shell calls `receive_datagram` and, at `next_deadline`, `tick`; after every
call it takes the effects: datagrams to send, operations that have ended, and whether
the bootstrap addresses are wanted (host names are the shell's to resolve).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.counters import Counters, DHTStatus
from grenache_py.dht.errors import AllQueriesFailed, DHTOverloaded
from grenache_py.dht.item_store import ItemStore
from grenache_py.dht.items import PutItem, StoredItem
from grenache_py.dht.lone_writes import LoneWrites
from grenache_py.dht.peer_store import PeerStore
from grenache_py.dht.queries import LAST_KNOWN_MAX, Queries
from grenache_py.dht.responder import Responder
from grenache_py.dht.routing_table import RoutingTable
from grenache_py.dht.saved_state import DHTState
from grenache_py.dht.tokens import WriteTokens
from grenache_py.dht.traversals import (
    PEERS_ANSWERED_MAX,
    ItemLookup,
    Operation,
    PeersLookup,
    Refresh,
    Traversal,
)
from grenache_py.dht.under_way import OperationsUnderWay
from grenache_py.dht.upkeep import Upkeep
from grenache_py.dht.write_targets import RememberedTargets
from grenache_py.dht.writes import Announce, Put
from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.rate_limit import RateLimit
from grenache_py.wire import krpc
from grenache_py.wire.krpc import Address, Query, compact_address

__all__ = ["DATAGRAM_BYTES_MAX", "DHTNode", "DHTStatus", "Effects"]

#: Largest UDP payload over IPv4.
DATAGRAM_BYTES_MAX = 65507
#: Contacts kept in the state file.
STATE_CONTACTS_MAX = 256


class Effects(NamedTuple):
    """What a call into the node brought about, in order."""

    datagrams: list[tuple[bytes, Address]]
    finished: list[Operation]
    bootstrap_wanted: bool


class DHTNode:
    """
    The node.

    Args:
        config: Limits and ages.
        node_id: 20 bytes.
        token_key: Secret behind the write tokens, 16 to 64 bytes.
        rng: A `random.SystemRandom` in production: transaction ids must not be guessed.
        now: Seconds, as in every method; wall-clock time if tokens are to survive a
            restart.
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
        self.targets = RememberedTargets(config, self.table)
        self.lone_writes = LoneWrites(config.peer_max_age_s)
        self._token_key = token_key
        self._limit = RateLimit(
            trusted_max=config.trusted_rate_max,
            stranger_max=config.stranger_rate_max,
            sources_max=config.sources_max,
            exempt_loopback=config.rate_exempt_loopback,
        )
        self._responder = Responder(
            self.table,
            self.peers,
            self.items,
            WriteTokens(token_key, config.sources_max),
            self.counters,
        )
        self.queries = Queries(self.table, self._limit, self.counters, rng)
        self._upkeep = Upkeep(config, self.table, self.queries, rng, now)
        self._finished: list[Operation] = []
        self._lookups: dict[bytes, PeersLookup] = {}
        self._operations = OperationsUnderWay()

    # --- what the shell calls -------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: Address, now: float) -> bytes | None:
        """
        A datagram came from ``address``. Never raises, whatever it holds.

        Returns:
            What to send back, when it was a query; `has_effects` tells of anything else.
        """
        counters = self.counters
        counters.datagrams_received += 1
        # How every answer in canonical form ends; what only looks like one is not answered.
        answer = data.endswith(b"1:y1:re")
        if not self._limit.admits(address[0], now, answer=answer):
            counters.datagrams_over_limit += 1
            if self._limit.reached_by(address[0]):  # a busy neighbour may have more
                self.queries.ping_address(address, now)
            return None
        try:
            message = krpc.decode(data)
        except RemoteProtocolError:
            counters.datagrams_malformed += 1
            return None
        queries = self.queries
        if queries.silent:
            queries.silent.pop(address, None)
        if not isinstance(message, Query):
            queries.receive(message, address, now)
            return None
        if answer:
            counters.datagrams_malformed += 1
            return None
        sender_id = message.sender_id
        if sender_id is not None and not message.read_only:
            doubtful = self.table.heard_query(sender_id, address, now)
            if doubtful is not None:
                queries.ping(doubtful, now)
        try:
            return self._responder.answer(message, address, now)
        except RemoteProtocolError:  # its transaction id cannot be echoed
            counters.datagrams_malformed += 1
            return None

    def tick(self, now: float) -> None:
        """Do what is due. Call at `next_deadline`, or whenever convenient."""
        self.queries.overdue(now)
        self._operations.expire(now)
        if now >= self._upkeep.due():
            self.peers.expire(now)
            stale = self._upkeep.run(now)
            if stale is not None:
                self._refresh(stale, now)
            if self.lone_writes and self.table.good():
                for write, made in self.lone_writes.take(now):
                    write.repeat(made, now)

    def next_deadline(self) -> float:
        """When `tick` wants to be called again; may be early, never late."""
        due = self._upkeep.due()
        queries = self.queries.transactions.next_deadline()
        if queries is not None and queries < due:
            due = queries
        operations = self._operations.next_deadline()
        return due if operations is None or due < operations else operations

    def has_effects(self) -> bool:
        """Whether `take_effects` has something to give."""
        return bool(self.queries.outbox or self._finished or self._upkeep.bootstrap_wanted)

    def take_effects(self) -> Effects:
        """What is to be done since the last call."""
        queries = self.queries
        effects = Effects(queries.outbox, self._finished, self._upkeep.bootstrap_wanted)
        queries.outbox = []
        self._finished = []
        self._upkeep.bootstrap_wanted = False
        return effects

    def bootstrap(self, addresses: Iterable[Address], now: float) -> None:
        """
        Join through ``addresses``, the answer to ``bootstrap_wanted``.

        With an empty table they, and the contacts known last, start a lookup for the
        own id; otherwise those missing from the table are pinged.
        """
        queries = self.queries
        queries.bootstrap = list(addresses)
        if not self.table.good():
            queries.silent.clear()  # the silence may have been ours
            self._refresh(self.own_id, now)
            return
        for address in dict.fromkeys([*queries.bootstrap, *queries.last_known]):
            if address not in self.table.by_address:
                queries.ping_address(address, now)

    def running(self) -> list[Operation]:
        """The operations under way."""
        return self._operations.all()

    def state(self) -> DHTState:
        """What is worth keeping for the next run."""
        verified = [contact for contact in self.table if contact.verified]
        verified.sort(key=lambda contact: (contact.failures, -contact.seen_at))
        addresses = dict.fromkeys(contact.address for contact in verified)
        addresses |= dict.fromkeys(self.queries.last_known)
        return DHTState(
            self.own_id,
            self._token_key,
            list(addresses)[:STATE_CONTACTS_MAX],
            self.items.items(),
        )

    def restore(self, contacts: Iterable[Address], items: Iterable[StoredItem], now: float) -> None:
        """
        Take over what an earlier run left.

        Its contacts are asked whenever the table is empty, so they stand in for a
        bootstrap list.
        """
        for item in items:
            self.items.put(item)
        for address in list(contacts)[:LAST_KNOWN_MAX]:
            self.queries.keep_last_known(address, now)

    def status(self) -> DHTStatus:
        """The node at a glance."""
        good = self.table.good()
        transactions = self.queries.transactions
        smoothed_s = transactions.round_trips.smoothed_s
        return DHTStatus(
            node_id=self.own_id,
            contacts_good=good,
            contacts_total=len(self.table),
            bootstrapped=good > 0,
            queries_pending=len(transactions),
            operations=len(self._operations),
            names=len(self.peers),
            peers=self.peers.peers_held,
            items=len(self.items),
            announce_tables=len(self.targets),
            sources=len(self._limit),
            silent_addresses=len(self.queries.silent),
            round_trip_s=smoothed_s if smoothed_s >= 0 else None,
            counters=self.counters,
        )

    # --- what callers ask for -------------------------------------------------------------

    def lookup(self, name: bytes, now: float) -> PeersLookup:
        """
        Find the peers announced under ``name``.

        While a lookup of the same name is under way, that one is returned.

        Raises:
            DHTOverloaded: ``operations_max`` operations are under way.
        """
        self.counters.lookups += 1
        running = self._lookups.get(name)
        if running is not None:
            self.counters.lookups_shared += 1
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
            DHTOverloaded: ``operations_max`` operations are under way.
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
            DHTOverloaded: ``operations_max`` operations are under way.
        """
        stored = item.checked()
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
        Fetch an item; an immutable one held here is answered without asking anybody.

        A mutable one held here is the answer when nobody has a newer one.

        Args:
            target: 20 bytes.
            now: Seconds.
            salt: Needed to verify a salted mutable item found elsewhere.
            use_cache: False asks the network only, whatever is held here.

        Raises:
            DHTOverloaded: ``operations_max`` operations are under way.
        """
        self.counters.gets += 1
        self._admit()
        held = self.items.get(target) if use_cache else None
        fixed = held is not None and held.seq is None
        operation = ItemLookup(self, target, salt, None if fixed else held)
        if held is not None and fixed:
            operation.succeed(held.found_at(self.own_id))
        else:
            self.begin(operation, now + self.config.operation_deadline_s, now)
        return operation

    # --- for operations (the protocol `Node`) ----------------------------------------

    def begin(self, traversal: Traversal, due: float, now: float) -> None:
        """Start ``traversal`` from the nearest contacts, or from anywhere if there are none."""
        self.set_deadline(traversal, due)
        contacts = self.table.closest(traversal.lookup.key, self.config.bucket_size)
        traversal.lookup.begin(contacts)
        if not contacts:
            traversal.lookup.begin_at([*self.queries.bootstrap, *self.queries.last_known])
        traversal.step(now)

    def set_deadline(self, operation: Operation, due: float) -> None:
        """Let ``operation`` expire at ``due``."""
        self._operations.set_deadline(operation, due)

    def started(self, operation: Operation) -> None:
        """``operation`` has begun; it gets its number."""
        self._operations.add(operation)

    def finished(self, operation: Operation) -> None:
        """``operation`` has ended."""
        self._operations.remove(operation)
        if type(operation) is PeersLookup:
            del self._lookups[operation.lookup.key]
        self._finished.append(operation)

    def _refresh(self, target: bytes, now: float) -> None:
        self.begin(Refresh(self, target), now + self.config.operation_deadline_s, now)

    def _admit(self) -> None:
        if len(self._operations) >= self.config.operations_max:
            raise DHTOverloaded
