"""
What a node does on behalf of a caller, and the operations that only read.

Pure. An operation sends queries through its node and is told what becomes of them.
It ends once, with a ``result`` or with an ``error``, always by its deadline. A
traversal is an operation that drives one lookup: for peers, for an item, or only to
fill the routing table. Those that write are in `writes`.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any, Protocol

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.errors import DHTError
from grenache_py.dht.item_store import ItemStore
from grenache_py.dht.items import GetResult, StoredItem, immutable_target, mutable_target
from grenache_py.dht.lone_writes import LoneWrites
from grenache_py.dht.lookup import SEARCH_WIDTH, Candidate, Lookup
from grenache_py.dht.peer_store import PeerStore
from grenache_py.dht.queries import Queries
from grenache_py.dht.routing_table import RoutingTable
from grenache_py.dht.transactions import TXID_BYTES, PendingQuery
from grenache_py.dht.write_targets import RememberedTargets
from grenache_py.errors import RemoteProtocolError
from grenache_py.wire import bencode, krpc
from grenache_py.wire.krpc import Address, ErrorReply, Response, expand_address

__all__ = [
    "ItemLookup",
    "LocalNode",
    "Operation",
    "PeersLookup",
    "Refresh",
    "Traversal",
]

#: Peers that a lookup answers.
PEERS_ANSWERED_MAX = 100
#: Peers that a lookup chooses those from.
PEERS_COLLECTED_MAX = 5000
#: Bytes of a compact IPv4 address with its port.
COMPACT_PEER_BYTES = 6
#: The same for IPv6.
COMPACT_PEER6_BYTES = 18


class LocalNode(Protocol):
    """What an operation needs of the node it runs on."""

    config: DHTConfig
    items: ItemStore
    lone_writes: LoneWrites
    own_id: bytes
    peers: PeerStore
    queries: Queries
    rng: random.Random
    table: RoutingTable
    targets: RememberedTargets

    def begin(self, traversal: Traversal, due: float, now: float) -> None:
        """Start a traversal from the nodes that are known; it expires at ``due``."""

    def set_deadline(self, operation: Operation, due: float) -> None:
        """Let ``operation`` expire at ``due``."""

    def started(self, operation: Operation) -> None:
        """``operation`` has begun; it gets its number."""

    def finished(self, operation: Operation) -> None:
        """``operation`` has ended."""


class Operation:
    """
    Something under way.

    Attributes:
        done: Whether it has ended.
        result: What it found or did.
        error: Why it failed, or None.
        context: For the caller's use; the node never looks at it.
        number: The node's, to know it by.
    """

    __slots__ = ("context", "done", "error", "node", "number", "result")

    def __init__(self, node: LocalNode) -> None:
        self.node = node
        self.done = False
        self.result: object = None
        self.error: DHTError | None = None
        self.context: Any = None
        self.number = 0
        node.started(self)

    def expire(self, now: float) -> None:
        """The deadline has come: end with what there is."""
        raise NotImplementedError

    def succeed(self, result: object) -> None:
        """End well."""
        self.done = True
        self.result = result
        self.node.finished(self)

    def fail(self, error: DHTError) -> None:
        """End badly."""
        self.done = True
        self.error = error
        self.node.finished(self)


class Traversal(Operation):
    """
    An operation that drives a lookup.

    Args:
        node: Where it runs.
        key: What is looked for.
        method: The query to send, and ``args``: its arguments after ``id``, encoded.
        width: How many of the nearest nodes must have spoken.
    """

    __slots__ = ("_halves", "lookup")

    def __init__(self, node: LocalNode, key: bytes, method: bytes, args: bytes, width: int) -> None:
        super().__init__(node)
        config = node.config
        self.lookup = Lookup(
            key,
            node.own_id,
            width=width,
            width_max=config.bucket_size,
            concurrency=config.concurrency,
        )
        self._halves = krpc.query_around(method, b"2:id20:" + node.own_id + args, TXID_BYTES)

    def step(self, now: float) -> None:
        """Ask whoever is to be asked now; end when the lookup is settled."""
        lookup = self.lookup
        node = self.node
        for candidate in lookup.to_ask():
            address = candidate.address
            contact = candidate.contact or node.table.by_address.get(address)
            node.queries.ask(
                self._halves,
                address,
                contact,
                self,
                candidate,
                now,
                once=contact is not None and contact.failures > 0,
            )
        if lookup.settled():
            self.settled(now)

    def answered(self, pending: PendingQuery, response: Response, now: float) -> None:
        """An answer to one of the lookup's queries."""
        if self.done:
            return
        candidate = pending.mark
        assert isinstance(candidate, Candidate)
        args = response.args
        token = args.get(b"token")
        self.lookup.answered(candidate, response.sender_id, token if type(token) is bytes else None)
        nodes = args.get(b"nodes")
        if type(nodes) is bytes:
            self.lookup.learn(nodes, candidate.hops + 1, self.node.queries.silent)
        self.collect(response, candidate)
        if not self.done:
            self.step(now)

    def refused(self, pending: PendingQuery, error: ErrorReply, now: float) -> None:
        """An error instead of an answer."""
        self.lost(pending, now)

    def slow(self, pending: PendingQuery, now: float) -> None:
        """A query's wait ran out."""
        if self.done:
            return
        candidate = pending.mark
        assert isinstance(candidate, Candidate)
        if pending.waits == 1:
            self.lookup.overdue(candidate)
        else:
            self.lookup.slow(candidate)
        self.step(now)

    def lost(self, pending: PendingQuery, now: float) -> None:
        """A query came to nothing."""
        if self.done:
            return
        candidate = pending.mark
        assert isinstance(candidate, Candidate)
        self.lookup.failed(candidate)
        self.step(now)

    def expire(self, now: float) -> None:
        if not self.done:
            self.settled(now)

    def collect(self, response: Response, candidate: Candidate) -> None:
        """Take from an answer what the operation is after."""

    def settled(self, now: float) -> None:
        """Nothing more is to be expected, or time is up."""
        raise NotImplementedError


class PeersLookup(Traversal):
    """
    ``get_peers``: the result is a list of "host:port", random order, at most 100.

    Only peers that this traversal heard of, or that are held here, are answered; Node
    grapes also answer what earlier lookups saw.
    """

    __slots__ = ("_peers",)

    def __init__(self, node: LocalNode, name: bytes, held: list[bytes]) -> None:
        super().__init__(
            node, name, b"get_peers", b"9:info_hash%d:%b" % (len(name), name), SEARCH_WIDTH
        )
        self._peers = dict.fromkeys(held)
        self.lookup.found = bool(held)

    def collect(self, response: Response, candidate: Candidate) -> None:
        values = response.args.get(b"values")
        if type(values) is not list or len(self._peers) >= PEERS_COLLECTED_MAX:
            return
        for peer in values:
            if type(peer) is not bytes or len(peer) < COMPACT_PEER_BYTES:
                break  # Node reads no further either
            if len(peer) == COMPACT_PEER6_BYTES:
                continue
            peer = peer[:COMPACT_PEER_BYTES]
            if peer[4:] != b"\0\0":
                self._peers[peer] = None
        if self._peers:
            self.lookup.found = True

    def settled(self, now: float) -> None:
        peers = list(self._peers)
        if len(peers) > 1:
            peers = self.node.rng.sample(peers, min(len(peers), PEERS_ANSWERED_MAX))
        self.succeed([_host_and_port(peer) for peer in peers])


@lru_cache(maxsize=4096)
def _host_and_port(peer: bytes) -> str:
    host, port = expand_address(peer)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ItemLookup(Traversal):
    """
    ``get``: the result is a GetResult or None. The first valid immutable value ends it.

    Of a mutable item the highest ``seq`` wins. One that is held here is only a candidate,
    since it may have been updated while this node was away. Whoever answered with an older
    one, this node included, is given the newest.

    Args:
        node: Where it runs.
        target: 20 bytes.
        salt: Needed to verify a salted mutable item.
        held: The mutable item that is held here, or None.
    """

    __slots__ = ("_best", "_best_item", "_salt", "_seqs")

    def __init__(
        self, node: LocalNode, target: bytes, salt: bytes, held: StoredItem | None
    ) -> None:
        super().__init__(
            node, target, b"get", b"6:target%d:%b" % (len(target), target), SEARCH_WIDTH
        )
        self._salt = salt
        self._best: GetResult | None = None
        self._best_item: StoredItem | None = None
        self._seqs: dict[Address, int] = {}
        if held is not None:
            self._salt = held.salt
            self._best_item = held
            self._best = held.found_at(node.own_id)
            self._will_widen()

    def collect(self, response: Response, candidate: Candidate) -> None:
        args = response.args
        value = args.get(b"v")
        if value is None:
            return
        try:
            encoded = bencode.encode_received(value)
        except RemoteProtocolError:
            return
        token = krpc.bytes_field(args, b"token")
        sender = response.sender_id or bytes(krpc.ID_BYTES)
        k = args.get(b"k")
        sig = args.get(b"sig")
        if k is None and sig is None:
            if immutable_target(encoded) == self.lookup.key:
                self.succeed(GetResult(sender, value, token))
            return
        seq = args.get(b"seq")
        if type(k) is not bytes or type(sig) is not bytes or type(seq) is not int:
            return
        self._seqs[candidate.address] = seq
        best = self._best
        if best is not None and best.seq is not None and best.seq >= seq:
            return
        if mutable_target(k, self._salt) != self.lookup.key:
            return
        item = StoredItem(encoded, k, seq, sig, self._salt)
        if item.signature_holds():
            self._best_item = item
            self._best = GetResult(sender, value, token, k, seq, sig)
            self._will_widen()

    def _will_widen(self) -> None:
        self.lookup.found = True
        self.lookup.widen()  # a farther node may hold a higher seq

    def settled(self, now: float) -> None:
        if self._best_item is not None:
            self._repair(self._best_item, now)
        self.succeed(self._best)

    def _repair(self, newest: StoredItem, now: float) -> None:
        """Give ``newest`` to those that hold an older one; nobody waits for their answers."""
        node = self.node
        seq = newest.seq
        assert seq is not None
        node.items.renew(newest)
        before, after = newest.put_arguments(node.own_id)
        for candidate in self.lookup.responders(node.config.bucket_size):
            token = candidate.token
            if token is None or self._seqs.get(candidate.address, seq) >= seq:
                continue
            args = b"%b5:token%d:%b%b" % (before, len(token), token, after)
            halves = krpc.query_around(b"put", args, TXID_BYTES)
            contact = node.table.by_address.get(candidate.address)
            node.queries.ask(halves, candidate.address, contact, node.queries, None, now, once=True)


class Refresh(Traversal):
    """``find_node``: fills the routing table; nobody waits for it."""

    __slots__ = ()

    def __init__(self, node: LocalNode, target: bytes) -> None:
        super().__init__(
            node, target, b"find_node", b"6:target20:" + target, node.config.bucket_size
        )

    def settled(self, now: float) -> None:
        self.succeed(None)
