"""
A peer without manners: it proves a key like anybody, then says whatever a test wants.

One for each row of distributed.md 2.11. It speaks raw lines over the virtual network, and has
no node, no store and no shame.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from msgspec import to_builtins

from grenache_py.exchange.handshake import PROTOCOL, Handshake, Hello
from grenache_py.exchange.keys import Identity
from grenache_py.exchange.log import Entry
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.signed import Sealer
from grenache_py.wire.jsonlines import LineSplitter
from tests.sim.exchange_net import EPOCH_S, Connection, End, Network, Peer, identity
from tests.sim.exchange_world import MARKETS

__all__ = ["EvilPeer"]


class EvilPeer:
    """
    Stands in for a ``Peer`` at one end of connections it dials.

    Attributes:
        received: every message that came.
        on_message: called with each; its result, if any, is sent back.
    """

    paused = False

    def __init__(self, name: str, network: Network, seed: int = 1) -> None:
        self.name = self.host = name
        self.network = network
        self.rng = random.Random(f"evil {seed}")
        self.identity: Identity = identity(self.rng, False)
        self.sealer = Sealer(self.identity, "sim")
        self.node: Any = True  # the network asks whether somebody is up
        self.life = 0
        self.ends: dict[int, tuple[Connection, End]] = {}
        self.received: list[dict[str, Any]] = []
        self.closed = 0
        self.on_message: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda message: None
        self._handshakes: dict[int, Handshake] = {}
        self._links = 0

    # What the network expects of a peer.

    def new_link(self) -> int:
        self._links += 1
        return self._links

    def do(self, call: Callable[[ExchangeNode, float], Any]) -> None:
        """The network reports a link: nothing to tell, there is no node."""

    def bytes_came(self, end: End, data: bytes) -> None:
        for line in end.splitter.feed(data):
            message = json.loads(line)
            handshake = self._handshakes[end.link]
            if not handshake.proven:
                for answer in handshake.receive(message):
                    self.send(answer)
                continue
            self.received.append(message)
            answer = self.on_message(message)
            if answer is not None:
                self.send(answer)

    def connection_lost(self, end: End) -> None:
        self.closed += 1
        self.ends.pop(end.link, None)

    # What it does.

    def dial(self, target: Peer) -> None:
        """Connect and prove the key."""
        near = End(self, self.new_link(), 0, LineSplitter())  # type: ignore[arg-type]
        far = End(target, target.new_link(), target.life)
        connection = Connection(near, far)
        self.network.connections.append(connection)
        self.ends[near.link] = (connection, near)
        target.ends[far.link] = (connection, far)
        token = f"{self.rng.getrandbits(128):032x}"
        markets = {m.symbol: (m.format_price(1), m.format_quantity(1)) for m in MARKETS}
        hello = Hello(
            key=self.identity.key, nonce=token, boot="0" * 32, network="sim", protocol=PROTOCOL,
            markets=markets,
        )  # fmt: skip
        handshake = Handshake(self.identity, hello, True, 1e12)
        self._handshakes[near.link] = handshake
        target.do(lambda node, now: node.link_opened(far.link, False, f"{self.host}:1", now))
        for message in handshake.begin():
            self.send(message)

    def send(self, message: dict[str, Any]) -> None:
        """One object, over the newest link."""
        if self.ends:
            connection, end = self.ends[max(self.ends)]
            self.network.send(connection, end, json.dumps(message).encode() + b"\n")

    def notify(self, method: str, **params: Any) -> None:
        """A notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def entry(self, seq: int, prev: str, wall: float, **body: Any) -> tuple[dict[str, Any], str]:
        """A well-formed signed entry of its own log, and its hash."""
        time = (int((EPOCH_S + wall) * 1000), seq)
        payload = Entry(self.identity.key, 1, seq, prev, time, **body).encode()
        draft = self.sealer.add(payload)
        self.sealer.seal()
        return to_builtins(draft.proof.wire()), sha256(b"\0" + payload.encode()).hexdigest()
