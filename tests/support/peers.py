"""Peers wired to each other in one process: no sockets, a virtual clock, SQLite in memory."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec

from grenache_py.exchange.effects.batch import Batch, CloseLink, Dial, Event, Send
from grenache_py.exchange.fills.messages import Settled, encode
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, NewOrder
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.history import records
from tests.support.memory_database import MemoryDatabase

BTC = Market.parse("BTC-USD:tick=0.01,lot=0.0001")


class Peer:
    """One node, its database, and what it told its subscribers."""

    def __init__(self, number: int, now: float, markets: tuple[Market, ...] = (BTC,)) -> None:
        self.number = number
        self.markets = markets
        self.address = f"10.0.0.{number}:7071"
        self.database: Database = MemoryDatabase()
        self.events: list[Event] = []
        self.start(now)

    def lose_since(self, image: Database) -> None:
        """Put an older copy of the disk in place, made with ``copy_of_disk``."""
        self.database = image

    def copy_of_disk(self) -> Database:
        """A copy of the database as it is now (serialize() is missing in Python 3.10)."""
        copy = MemoryDatabase()
        self.database.connection.backup(copy.connection)
        return copy

    def start(self, now: float, new_epoch: bool = False, followed: bool = False) -> None:
        """A new process on the same disk, which may have been followed until now."""
        config = NodeConfig(
            PeeringConfig("test", listen=self.address, strict=True),
            self.markets,
            new_epoch=new_epoch,
            followed=followed,
        )
        identity = Identity.from_seed(bytes([self.number + 1]) * 32)
        snapshot = self.database.load()
        self.node = ExchangeNode(config, identity, snapshot, random.Random(self.number), now)


class Network:
    """
    Delivers every message at once, in order, until nobody has anything to say.

    ``counts`` counts messages by method; ``lost`` names methods that are swallowed ("result" and
    "error" are answers).
    """

    def __init__(self, peers: int, start: float = 1_790_000_000.0) -> None:
        self.now = start
        self.peers = [Peer(number, start) for number in range(peers)]
        self.counts: Counter[str] = Counter()
        self.entries_sent = 0
        self.lost: set[str] = set()
        self._ends: dict[tuple[int, int], tuple[int, int]] = {}
        self._next = 0

    def __getitem__(self, number: int) -> ExchangeNode:
        return self.peers[number].node

    def link(self, one: int, other: int) -> None:
        """Open a connection dialled by ``one``."""
        ends = (one, self._next), (other, self._next + 1)
        self._next += 2
        self._ends[ends[0]], self._ends[ends[1]] = ends[1], ends[0]
        keys = self[one].peering.me, self[other].peering.me
        self[one].link_opened(ends[0][1], True, self.peers[other].address, keys[1], self.now)
        self[other].link_opened(ends[1][1], False, f"10.0.0.{one}:50000", keys[0], self.now)
        self.settle()

    def mesh(self) -> None:
        """Link everybody with everybody."""
        for one in range(len(self.peers)):
            for other in range(one):
                self.link(one, other)

    def cut(self, number: int) -> None:
        """Every connection of one peer breaks."""
        for end, far in list(self._ends.items()):
            if end[0] == number and end in self._ends:
                del self._ends[end], self._ends[far]
                self[end[0]].link_closed(end[1], self.now)
                self[far[0]].link_closed(far[1], self.now)

    def restart(self, number: int, new_epoch: bool = False, followed: bool = False) -> None:
        """Kill -9 and start again: what was not committed never happened."""
        for end, far in list(self._ends.items()):
            if end[0] == number:
                del self._ends[end], self._ends[far]
                self[far[0]].link_closed(far[1], self.now)
        self.peers[number].start(self.now, new_epoch, followed)
        self.settle()

    def settle(self) -> None:
        """Commit and deliver until silence."""
        busy = True
        while busy:
            # Everybody has a turn, whoever was busy before.
            turns = [self.turn(peer) for peer in self.peers]
            busy = any(turns)

    def turn(self, peer: Peer) -> bool:
        """Take, commit and deliver one batch; False when there was nothing to send."""
        batch = peer.node.take_batch(self.now)
        if batch.rows:
            peer.database.commit(batch.rows)
        peer.events += batch.events
        for send in batch.sends:
            if isinstance(send, Send):
                self._deliver(peer, send)
            elif isinstance(send, CloseLink):
                self._close(peer, send.link)
            else:
                self._dial(peer, send)
        self.read(peer, batch)
        return bool(batch.sends or batch.reads)

    def read(self, peer: Peer, batch: Batch) -> None:
        """What the store's reading thread does after the commit."""
        for read in batch.reads:
            rows = records(peer.database.connection, read.order_ids)
            read.done({row.order_id: row for row in rows}, self.now)

    def _deliver(self, peer: Peer, send: Send) -> None:
        message: dict[str, Any] = msgspec.json.decode(send.line)
        name = message.get("method") or ("result" if "result" in message else "error")
        self.counts[name] += 1
        if name == "gossip.publish":
            self.entries_sent += len(message["params"]["entries"])
        far = self._ends.get((peer.number, send.link))
        if far is not None and name not in self.lost:
            self[far[0]].link_message(far[1], message, self.now)

    def _close(self, peer: Peer, link: int) -> None:
        far = self._ends.pop((peer.number, link), None)
        peer.node.link_closed(link, self.now)
        if far is not None:
            del self._ends[far]
            self[far[0]].link_closed(far[1], self.now)

    def _dial(self, peer: Peer, dial: Dial) -> None:
        peer.node.link_failed(dial.address, "tests link by hand", self.now)

    def run(self, seconds: float, step_s: float = 0.25) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += step_s
            for peer in self.peers:
                peer.node.tick(self.now)
            self.settle()

    def place(self, number: int, side: str, lots: int, price: int | None, **more: Any) -> LiveOrder:
        """Place an order at one peer and let the network settle."""
        live = self.place_only(number, side, lots, price, **more)
        self.settle()
        return live

    def place_only(
        self, number: int, side: str, lots: int, price: int | None, **more: Any
    ) -> LiveOrder:
        """Place an order; nothing is committed or sent yet."""
        new = NewOrder("BTC-USD", side, lots, price, **more)  # type: ignore[arg-type]
        return self[number].place(new, self.now)

    def book(self, number: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(bids, asks) at one peer as (ticks, lots)."""
        book = self[number].books["BTC-USD"]
        return (
            [view[:2] for view in book.levels("buy")],
            [view[:2] for view in book.levels("sell")],
        )


def conserved(node: ExchangeNode) -> None:
    """docs/design/distributed-core.rst#i1, for every own order in memory."""
    for own in [*node.ledger.own.values(), *node.ledger.closed.values()]:
        live = own.live
        assert min(live.open, live.reserved, live.filled, live.closed) >= 0, live


def settlement(taker: int, maker: str, *fills: str, says: str | None = None) -> Signed:
    """The signed word of peer ``taker`` that it has the answers to ``fills``; or a lie of it."""
    identity = Identity.from_seed(bytes([taker + 1]) * 32)
    sealer = Sealer(identity, "test")
    draft = sealer.add(encode(Settled(says or identity.key, maker, fills)))
    sealer.seal()
    return draft.proof
