"""A node with known id, keys and randomness, and words for what it is sent and sends."""

from __future__ import annotations

import random
from typing import Any

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.node import DHTNode
from grenache_py.wire import bencode, krpc
from grenache_py.wire.krpc import Address

__all__ = ["ALICE", "CLIENT_ID", "NOW", "OWN_ID", "Conversation", "make_node"]

NOW = 1_000_000.0
OWN_ID = bytes.fromhex("a32111565a0c649c6ae9fdb432d373341f5dc80d")
CLIENT_ID = b"abcdefghij0123456789"
ALICE: Address = ("10.0.0.1", 7001)


def make_node(
    config: DHTConfig | None = None, *, node_id: bytes = OWN_ID, seed: int = 1
) -> DHTNode:
    """A node at time NOW, its wish to bootstrap taken."""
    node = DHTNode(
        config or DHTConfig(),
        node_id=node_id,
        token_key=b"k" * 32,
        rng=random.Random(seed),
        now=NOW,
    )
    node.take_effects()
    return node


class Conversation:
    """A node seen from outside: queries to it, and its queries to answer."""

    def __init__(self, node: DHTNode, now: float = NOW) -> None:
        self.node = node
        self.now = now

    def ask(
        self,
        method: str,
        address: Address = ALICE,
        *,
        sender: bytes | None = CLIENT_ID,
        **args: Any,
    ) -> dict[bytes, Any] | None:
        """Send a query; the decoded answer."""
        members: dict[bytes, Any] = {key.encode(): value for key, value in args.items()}
        if sender is not None:
            members[b"id"] = sender
        datagram = bencode.encode({b"t": b"aa", b"y": b"q", b"q": method.encode(), b"a": members})
        answer = self.node.receive_datagram(datagram, address, self.now)
        return None if answer is None else bencode.decode(answer)  # type: ignore[return-value]

    def ok(self, method: str, address: Address = ALICE, **args: Any) -> dict[bytes, Any]:
        """The ``r`` of the answer, which must not be an error."""
        answer = self.ask(method, address, **args)
        assert answer is not None
        assert answer[b"y"] == b"r", answer
        found: dict[bytes, Any] = answer[b"r"]
        return found

    def error(self, method: str, address: Address = ALICE, **args: Any) -> tuple[int, bytes]:
        """Code and text of the error answered."""
        answer = self.ask(method, address, **args)
        assert answer is not None
        assert answer[b"y"] == b"e", answer
        code, text = answer[b"e"]
        return code, text

    def token(self, address: Address = ALICE) -> bytes:
        """A write token for ``address``."""
        token: bytes = self.ok("get_peers", address, info_hash=b"any")[b"token"]
        return token

    def sent(self) -> list[tuple[dict[bytes, Any], Address]]:
        """The datagrams the node sent since the last call, decoded."""
        return [
            (bencode.decode(data), address)  # type: ignore[misc]
            for data, address in self.node.take_effects().datagrams
        ]

    def reply(self, query: dict[bytes, Any], address: Address, **members: Any) -> None:
        """Answer one of the node's queries."""
        body = {key.encode(): value for key, value in members.items()}
        datagram = bencode.encode({b"t": query[b"t"], b"y": b"r", b"r": body})
        self.node.receive_datagram(datagram, address, self.now)

    def refuse(self, query: dict[bytes, Any], address: Address, code: int, text: str) -> None:
        """Answer one of the node's queries with an error."""
        self.node.receive_datagram(krpc.error(code, text.encode(), query[b"t"]), address, self.now)

    def meet(self, node_id: bytes, address: Address) -> None:
        """Make a node at ``address`` a verified contact."""
        self.ask("ping", address, sender=node_id)
        for query, target in self.sent():
            if target == address:
                self.reply(query, address, id=node_id)
        self.sent()

    def settle(self) -> None:
        """Let the node look around after it has met somebody; nobody knows anybody else."""
        for _ in range(20):
            self.wait(0.05)
            for query, address in self.sent():
                self.reply(query, address, id=self.node.table.by_address[address].node_id)

    def wait(self, seconds: float) -> None:
        """Let time pass, ticking whenever the node wants it."""
        end = self.now + seconds
        while (due := self.node.next_deadline()) <= end:
            self.now = max(due, self.now)
            self.node.tick(self.now)
        self.now = end
