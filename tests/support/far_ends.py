"""A real ``Peering``, and fake other ends of its links, each with a real key."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from grenache_py.exchange.effects.batch import CloseLink, Dial
from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.config import PeeringConfig
from grenache_py.exchange.peers.handshake import PROTOCOL, Handshake, HandshakeError, PeerHello
from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.term_claims import TermClaims
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier
from grenache_py.wire.jsonrpc import decode_message

NOW = 1_790_000_000.0
ME, *OTHERS = (Identity.from_seed(bytes([n]) * 32) for n in range(4))


def claimed(identity: Identity, boot: str, term: int) -> dict[str, Any]:
    """The signed claim of a term as it travels; empty without one."""
    sealer, verifier = Sealer(identity, "test"), Verifier(Ed25519(), "test")
    return TermClaims(identity.key, boot, term, sealer, verifier).wire


class FarEnds:
    """A real ``Peering``, and the other ends of its links, which do what a test says."""

    def __init__(self, inbound_max: int = 3, term: int = 0) -> None:
        verifier = Verifier(Ed25519(), "test")
        config = PeeringConfig(
            "test", listen="a:1", inbound_max=inbound_max, strict=True, term=term
        )
        self.now = NOW
        self.sealer = Sealer(ME, "test")
        self.peering = Peering(
            config, ME, self.sealer, verifier, {}, PEER_MESSAGES, random.Random(1), NOW
        )
        for row in PEER_MESSAGES:
            if row.name not in self.peering.methods:
                self.peering.method(row.name, lambda link, params, now: None)
        self.peering.messages.check_complete()
        self.handshakes: dict[int, Handshake] = {}
        self.before: dict[int, LinkState] = {}
        self.known: dict[int, PeerLink] = {}
        self.gone: list[PeerLink] = []
        #: What was closed, by link, and what was dialled.
        self.closed: dict[int, str] = {}
        self.dialled: list[str] = []
        #: What each far end was told, the handshake included.
        self.told: dict[int, list[dict[str, Any]]] = {}
        self.peering.on_gone.append(lambda link, now: self.gone.append(link))

    def open(
        self,
        number: int,
        who: int,
        boot: int,
        outbound: bool,
        address: str = "",
        term: int = 0,
        version: int = PROTOCOL[1],
        listen: str = "b:2",
    ) -> None:
        """A connection to peer ``who`` (3: this peer's own key) comes up; it says hello."""
        if number in self.peering.links:
            return
        identity = [*OTHERS, ME][who]
        claim = claimed(identity, f"{boot:032x}", term)
        mine = PeerHello(f"{boot:032x}", "test", (3, version), listen, term=claim)
        self.handshakes[number] = Handshake(mine, not outbound, NOW + 1e6)
        address = address or f"10.0.0.{who}:{number}"
        self.peering.link_opened(number, outbound, address, identity.key, self.now)
        self.known[number] = self.peering.links[number]
        self.before[number] = LinkState.HANDSHAKING
        for message in self.handshakes[number].begin():
            self.say(number, message)

    def say(self, number: int, message: dict[str, Any]) -> None:
        """A far end says something."""
        self.peering.link_message(number, message, self.now)

    def settle(self, answer: Callable[[int], bool], close: bool) -> None:
        """Let what waits reach the far ends; they go on with the handshake and answer pings."""
        for _ in range(8):
            self.sealer.seal()
            for send in self.peering.drain(self.now):
                if isinstance(send, CloseLink):
                    self.closed[send.link] = send.reason
                    if close:
                        self.peering.link_closed(send.link, self.now)
                elif isinstance(send, Dial):
                    self.dialled.append(send.address)
                else:
                    self.hear(send.link, send.line, answer)

    def hear(self, number: int, line: bytes, answer: Callable[[int], bool]) -> None:
        """A line arrived at a far end."""
        message: dict[str, Any] = decode_message(line)
        self.told.setdefault(number, []).append(message)
        handshake = self.handshakes[number]
        if handshake.peer is None:
            try:
                for reply in handshake.receive(message):
                    self.say(number, reply)
            except HandshakeError:
                pass  # refused, or confused by what the test said before
        elif message.get("method") == "peer.ping" and answer(number):
            self.say(number, {"jsonrpc": "2.0", "id": message["id"], "result": {}})
