"""
Answers queries of other nodes: the server side of BEP 5 and BEP 44.

Pure: a query in, the datagram that answers it out. Every query with a transaction
gets an answer; where a Node grape falls silent over a malformed query (or dies of
it), ours names the fault with a KRPC error. Well-formed queries are answered byte
for byte as Node does, except that ``nodes`` holds the nearest 20 contacts and
``values`` at most 100 peers, so that no answer outgrows a datagram.
"""

from __future__ import annotations

from collections.abc import Callable

from grenache_py.dht.counters import Counters
from grenache_py.dht.item_store import ItemStore, PutRefused, item_of
from grenache_py.dht.peer_store import PeerStore
from grenache_py.dht.routing_table import RoutingTable
from grenache_py.dht.tokens import TOKEN_BYTES, WriteTokens
from grenache_py.wire import krpc
from grenache_py.wire.bencode import Value
from grenache_py.wire.krpc import Address, Query, compact_address

__all__ = ["Responder"]

#: Answers to ``find_node`` kept until the table changes.
_NODES_CACHED_MAX = 1024


class Responder:
    """
    Answers queries from the routing table and the two stores.

    Args:
        table: Contacts, for ``nodes``.
        peers: Where announcements are kept.
        items: Where BEP 44 values are kept.
        tokens: Proof that an asker owns its address.
        counters: Where answers and refusals are counted.
    """

    def __init__(
        self,
        table: RoutingTable,
        peers: PeerStore,
        items: ItemStore,
        tokens: WriteTokens,
        counters: Counters,
    ) -> None:
        self._table = table
        self._peers = peers
        self._items = items
        self._tokens = tokens
        self._counters = counters
        self._own_id = b"2:id20:" + table.own_id
        self._nodes_version = -1
        self._nodes_cached: dict[bytes, bytes] = {}
        self._methods: dict[bytes | None, Callable[[dict[bytes, Value], Address, float], bytes]] = {
            b"ping": self._ping,
            b"find_node": self._find_node,
            b"get_peers": self._get_peers,
            b"announce_peer": self._announce_peer,
            b"get": self._get,
            b"put": self._put,
        }

    def answer(self, query: Query, address: Address, now: float) -> bytes:
        """
        The datagram to send back to ``address``.

        Raises:
            RemoteProtocolError: the transaction id cannot be echoed.
        """
        try:
            method = self._methods.get(query.method)
            if method is None:
                raise PutRefused(krpc.METHOD_UNKNOWN, b"method unknown")
            if query.args is None:
                raise PutRefused(krpc.PROTOCOL_ERROR, b"query without `a`")
            answer = krpc.response(method(query.args, address, now), query.txid)
        except PutRefused as fault:
            self._counters.queries_refused += 1
            return krpc.error(fault.code, fault.message, query.txid)
        self._counters.queries_answered += 1
        return answer

    # --- BEP 5 --------------------------------------------------------------------------

    def _ping(self, args: dict[bytes, Value], address: Address, now: float) -> bytes:
        return self._own_id

    def _find_node(self, args: dict[bytes, Value], address: Address, now: float) -> bytes:
        return self._own_id + self._nodes(_required(args, b"find_node", b"target"))

    def _get_peers(self, args: dict[bytes, Value], address: Address, now: float) -> bytes:
        name = _required(args, b"get_peers", b"info_hash")
        token = b"5:token20:" + self._tokens.give(address[0], now)
        abroad = not address[0].startswith("127.")
        values = self._peers.encoded_values(name, now, abroad=abroad)
        if values is None:
            return self._own_id + self._nodes(name) + token
        return self._own_id + token + b"6:values" + values

    def _announce_peer(self, args: dict[bytes, Value], address: Address, now: float) -> bytes:
        name = _required(args, b"announce_peer", b"info_hash")
        token = _required(args, b"announce_peer", b"token")
        port: Value | None = address[1] if args.get(b"implied_port") else args.get(b"port")
        if type(port) is not int or not 0 < port < 65536:
            raise PutRefused(krpc.PROTOCOL_ERROR, b"`announce_peer` with a `port` not in 1..65535")
        self._check_token(token, b"announce_peer", address, now)
        if not self._peers.add(name, compact_address((address[0], port)), now):
            raise PutRefused(krpc.SERVER_ERROR, b"too many peers announced from this address")
        return self._own_id

    # --- BEP 44 -------------------------------------------------------------------------

    def _get(self, args: dict[bytes, Value], address: Address, now: float) -> bytes:
        target = _required(args, b"get", b"target")
        token = b"5:token20:" + self._tokens.give(address[0], now)
        item = self._items.get(target)
        if item is None:
            return self._own_id + self._nodes(target) + token
        if item.k is None or item.sig is None or item.seq is None:
            return self._own_id + token + b"1:v" + item.v
        known = args.get(b"seq")
        if type(known) is int and item.seq <= known:
            # BEP 44: the asker has it already.
            return self._own_id + self._nodes(target) + b"3:seqi%de" % item.seq + token
        return b"%b1:k32:%b3:seqi%de3:sig64:%b%b1:v%b" % (
            self._own_id,
            item.k,
            item.seq,
            item.sig,
            token,
            item.v,
        )

    def _put(self, args: dict[bytes, Value], address: Address, now: float) -> bytes:
        value = args.get(b"v")
        if value is None:
            raise PutRefused(krpc.PROTOCOL_ERROR, b"`put` missing required `a.v` field")
        self._check_token(_required(args, b"put", b"token"), b"put", address, now)
        cas = args.get(b"cas")
        self._items.put(item_of(args, value), cas if type(cas) is int else None)
        return self._own_id

    # --- parts --------------------------------------------------------------------------

    def _check_token(self, token: bytes, method: bytes, address: Address, now: float) -> None:
        if len(token) != TOKEN_BYTES or not self._tokens.valid(token, address[0], now):
            raise PutRefused(krpc.PROTOCOL_ERROR, b"cannot `%b` with bad token" % method)

    def _nodes(self, key: bytes) -> bytes:
        """The member ``nodes``: IPv4 contacts nearest to ``key``, encoded."""
        table = self._table
        cached = self._nodes_cached
        if self._nodes_version != table.nodes_version or len(cached) >= _NODES_CACHED_MAX:
            cached.clear()
            self._nodes_version = table.nodes_version
        prefix = key[: krpc.ID_BYTES]
        member = cached.get(prefix)
        if member is None:
            compact = b"".join(
                [
                    contact.compact
                    for contact in table.closest(prefix, table.bucket_size, unverified=True)
                    if len(contact.compact) == krpc.NODE_BYTES
                ]
            )
            member = cached[prefix] = b"5:nodes%d:%b" % (len(compact), compact)
        return member


def _required(args: dict[bytes, Value], method: bytes, key: bytes) -> bytes:
    """A byte string that must be there. The text for a missing one is Node's."""
    value = args.get(key)
    if type(value) is not bytes:
        fault = b"missing required" if value is None else b"with a mistyped"
        raise PutRefused(krpc.PROTOCOL_ERROR, b"`%b` %b `a.%b` field" % (method, fault, key))
    return value
