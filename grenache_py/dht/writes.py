"""
The operations that store something at other nodes: announce and put.

Pure. Both first look for the 20 nearest nodes that give a token, then send to all of
them, as Node grapes do, so that every node of a small ring holds every key. Where nobody
is heard at all, this node itself is the nearest one and stores it, and again elsewhere once
there is company (see `lone_writes`). The lookup is left out while its outcome is
remembered (see `write_targets`). When one of the remembered nodes refuses its token the
operation looks again at once, where a Node grape fails for up to five minutes after a
neighbour was restarted.
"""

from __future__ import annotations

from grenache_py.dht.errors import AllQueriesFailed, DHTError, NoNodesToQuery
from grenache_py.dht.item_store import PutRefused
from grenache_py.dht.items import StoredItem
from grenache_py.dht.transactions import TXID_BYTES, PendingQuery
from grenache_py.dht.traversals import LocalNode, Operation, Traversal
from grenache_py.dht.write_targets import Target
from grenache_py.wire import krpc
from grenache_py.wire.krpc import Address, ErrorReply, Response, compact_address

__all__ = ["Announce", "Put"]

#: The host that a node without neighbours and without a configured address gives for a service.
LOOPBACK = "127.0.0.1"
# The lookup that comes first leaves the writing its share of the deadline.
_LOOKUP_SHARE = 2 / 3


class FindTargets(Traversal):
    """The lookup before a write; ends by calling the write back."""

    __slots__ = ("_write",)

    def __init__(self, write: Write, method: bytes, args: bytes) -> None:
        super().__init__(write.node, write.key, method, args, write.node.config.bucket_size)
        self._write = write

    def settled(self, now: float) -> None:
        self.succeed(None)
        node = self.node
        by_address = node.table.by_address
        responders = self.lookup.responders(node.config.bucket_size)
        if len(responders) > 1:  # this node itself counts where there is nobody else
            responders = [each for each in responders if each.node_id != node.own_id]
        targets = [
            Target(candidate.address, by_address.get(candidate.address), candidate.token)
            for candidate in responders
            if candidate.token is not None
        ]
        self._write.found(targets, self.lookup.answers > 0, now)


class Write(Operation):
    """
    One announce or put.

    Attributes:
        key: Info hash or target.
        repeatable: Whether a query may be sent to the same node twice.
        accepted: Addresses of the nodes that have stored it.
    """

    __slots__ = (
        "_alone_since",
        "_cached",
        "_heard",
        "_in_flight",
        "_overdue",
        "_refusal",
        "_round",
        "_slow",
        "_token_refused",
        "accepted",
        "due",
        "key",
        "repeatable",
    )

    find_method: bytes
    """The query that yields tokens, and how it names the key."""
    find_key: bytes
    method: bytes
    """The query that stores."""

    def __init__(self, node: LocalNode, key: bytes, now: float, *, repeatable: bool) -> None:
        super().__init__(node)
        self.key = key
        self.repeatable = repeatable
        self.accepted: dict[Address, None] = {}
        self.due = now + node.config.operation_deadline_s
        self._alone_since: float | None = None
        self._cached = False
        self._heard = False
        self._token_refused = False
        self._refusal: tuple[int, str] | None = None
        self._round = 0
        self._in_flight = self._overdue = self._slow = 0

    def begin(self, now: float) -> None:
        """Write where it was written last, or look for nodes first."""
        self.node.set_deadline(self, self.due)
        targets = self.node.targets.get(self.key, now)
        if targets:
            self._cached = True
            self._send(targets, now)
        else:
            self._look(now)

    def found(self, targets: list[Target], heard: bool, now: float) -> None:
        """The lookup has ended: the nodes that gave a token, and whether anybody answered."""
        if self.done:
            return
        self._heard = self._heard or heard
        if targets:
            self.node.targets.keep(self.key, targets, now)
        left = [target for target in targets if target.address not in self.accepted]
        if left:
            self._send(left, now)
        else:
            self._conclude(NoNodesToQuery(), now)

    def answered(self, pending: PendingQuery, response: Response, now: float) -> None:
        """A node has stored it."""
        self.accepted[pending.address] = None
        self._settle(pending, now)

    def refused(self, pending: PendingQuery, error: ErrorReply, now: float) -> None:
        """A node will not store it; the refusals of BEP 44 (3xx) say most."""
        if self._refusal is None or 300 <= error.code < 400:
            self._refusal = (error.code, error.message)
        if error.code == krpc.PROTOCOL_ERROR:
            self.node.targets.forget(self.key, now)
            self._token_refused = True  # most likely: that node was restarted
        self._settle(pending, now)

    def slow(self, pending: PendingQuery, now: float) -> None:
        """A node is overdue."""
        if pending.mark != self._round:
            return
        if pending.waits == 1:
            self._in_flight -= 1
            self._overdue += 1
        else:
            if pending.halves is None:
                self._in_flight -= 1
            else:
                self._overdue -= 1
            self._slow += 1
            self.node.targets.forget(self.key, now)
        self._step(now)

    def lost(self, pending: PendingQuery, now: float) -> None:
        """A node never answered."""
        if pending.mark == self._round:
            self._slow -= 1
            self._step(now)

    def expire(self, now: float) -> None:
        if not self.done:
            self._conclude(AllQueriesFailed(self._refusal), now)

    def arguments(self) -> tuple[bytes, bytes]:
        """The inside of ``a``, encoded: what stands before the token, and what after it."""
        raise NotImplementedError

    def store_here(self, now: float) -> Address:
        """
        Store it at this node, since there is no other.

        Returns:
            The address that stands for this node.

        Raises:
            PutRefused: as any other node would.
        """
        raise NotImplementedError

    def repeat(self, made: float, now: float) -> None:
        """Write to others what was stored here only, at ``made``."""
        write = self.again(now)
        write._alone_since = made
        write.begin(now)

    def again(self, now: float) -> Write:
        """The same write, anew."""
        raise NotImplementedError

    def outcome(self) -> object:
        """The result once at least one node has stored it."""
        raise NotImplementedError

    # --- inside -------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        self._cached = False
        self._round += 1
        args = b"%d:%b%d:%b" % (len(self.find_key), self.find_key, len(self.key), self.key)
        find = FindTargets(self, self.find_method, args)
        self.node.begin(find, now + (self.due - now) * _LOOKUP_SHARE, now)

    def _send(self, targets: list[Target], now: float) -> None:
        self._round += 1
        self._in_flight = len(targets)
        self._overdue = self._slow = 0
        ask = self.node.queries.ask
        once = not self.repeatable
        before, after = self.arguments()
        for target in targets:
            token = target.token
            args = b"%b5:token%d:%b%b" % (before, len(token), token, after)
            halves = krpc.query_around(self.method, args, TXID_BYTES)
            ask(halves, target.address, target.contact, self, self._round, now, once=once)

    def _settle(self, pending: PendingQuery, now: float) -> None:
        if pending.mark != self._round:
            return  # late, from a round that was given up
        if pending.waits == 0:
            self._in_flight -= 1
        elif pending.waits == 1:
            self._overdue -= 1
        else:
            self._slow -= 1
        self._step(now)

    def _step(self, now: float) -> None:
        if self.done or self._in_flight or self._overdue:
            return
        if self._slow and not self.accepted and not self._cached:
            return  # the only hope left
        heard = self.accepted or self._refusal is not None
        if self._cached and (self._token_refused or not heard):
            self._look(now)
            return
        self._conclude(AllQueriesFailed(self._refusal), now)

    def _conclude(self, error: DHTError, now: float) -> None:
        alone = not self.accepted and not self._heard and self._refusal is None
        if alone and self._alone_since is not None:
            # Stored here before: once more would make a record of it that nobody renewed.
            self.node.lone_writes.keep(self, self._alone_since)
        elif alone:
            try:
                self.accepted[self.store_here(now)] = None
                self.node.lone_writes.keep(self, now)
            except PutRefused as refused:
                error = AllQueriesFailed((refused.code, refused.message.decode()))
        if self.accepted:
            self.succeed(self.outcome())
        else:
            self.fail(error)


class Announce(Write):
    """``announce_peer``: the result is the number of nodes that stored it."""

    __slots__ = ("_port",)

    find_method = b"get_peers"
    find_key = b"info_hash"
    method = b"announce_peer"

    def __init__(self, node: LocalNode, name: bytes, port: int, now: float) -> None:
        super().__init__(node, name, now, repeatable=True)
        self._port = port

    def arguments(self) -> tuple[bytes, bytes]:
        key = self.key
        before = b"2:id20:%b12:implied_porti0e9:info_hash%d:%b4:porti%de"
        return before % (self.node.own_id, len(key), key, self._port), b""

    def store_here(self, now: float) -> Address:
        host = self.node.config.host or LOOPBACK
        if not self.node.peers.add(self.key, compact_address((host, self._port)), now):
            raise PutRefused(krpc.SERVER_ERROR, b"too many peers announced from this address")
        return host, 0

    def again(self, now: float) -> Announce:
        return Announce(self.node, self.key, self._port, now)

    def outcome(self) -> int:
        return len(self.accepted)


class Put(Write):
    """
    ``put``: the result is the target.

    A mutable item is not sent twice to a node: had the first datagram arrived and the
    answer been lost, the second would be refused with 302.
    """

    __slots__ = ("_cas", "_item")

    find_method = b"get"
    find_key = b"target"
    method = b"put"

    def __init__(self, node: LocalNode, item: StoredItem, cas: int | None, now: float) -> None:
        super().__init__(node, item.target(), now, repeatable=item.k is None)
        self._item = item
        self._cas = cas

    def arguments(self) -> tuple[bytes, bytes]:
        return self._item.put_arguments(self.node.own_id, self._cas)

    def store_here(self, now: float) -> Address:
        self.node.items.put(self._item, self._cas)
        return LOOPBACK, 0

    def again(self, now: float) -> Put:
        return Put(self.node, self._item, None, now)

    def outcome(self) -> bytes:
        self.node.items.renew(self._item)
        return self.key
