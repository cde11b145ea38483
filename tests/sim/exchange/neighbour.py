"""
A neighbour that lies where nothing is signed (docs/design/threat-model.rst#malicious-neighbour).

It is a real peer with a home of its own that trades nothing; what it sends is twisted on its way
out. There is a kind for each message, or answer, that nobody signs. Those it deceives have honest
neighbours as well, and must not notice for long.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from grenache_py.exchange.fills.messages import (
    FILLS_TOLD_MAX,
    FillRequest,
    Settled,
    decode_fill,
    encode,
)
from grenache_py.exchange.fills.query import FillQuery, encode_query
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.replication.remote_rows import RemoteOrder
from grenache_py.exchange.signed_log.merkle import Sealer
from tests.sim.exchange.network import Network, Peer

__all__ = ["Liar"]

#: What came out of a message: seconds late, and the message; nothing: it was dropped.
Twisted = list[tuple[float, dict[str, Any]]]


class Liar:
    """
    Twists what one peer sends.

    Args:
        peer: the liar; it is added to the network and started by the caller.
        kinds: of ``KINDS``.
        until: seconds; then it is gone.
    """

    KINDS = (
        *("drops entries", "drops heads", "drops answers", "late", "no pong"),
        *("false heads", "pruned range", "no difference", "other differences", "pruned records"),
        *("prunes", "grafts", "wants", "says goodbye", "drops addresses"),
        *("settles for others", "asks for others", "drops fills", "old orders"),
        *("false time", "false announcements"),
    )
    IN_CATCH_UPS = frozenset(("no difference", "other differences", "pruned records", "old orders"))
    #: Which of them twist what it says anyway, and which method or member of a result.
    _OF = {
        "drops entries": "gossip.publish",
        "drops heads": "sync.heads",
        "drops addresses": "peer.addresses",
        "drops fills": "fill.request",
        "false heads": "sync.heads",
        "false announcements": "gossip.have",
        "false time": "time",
        "no pong": "time",
        "pruned range": "entries",
        "no difference": "frame",
        "other differences": "frame",
        "pruned records": "records",
    }
    _SPONTANEOUS = (
        *("prunes", "grafts", "wants", "says goodbye", "settles for others", "asks for others"),
    )

    def __init__(
        self, network: Network, peer: Peer, rng: random.Random, kinds: list[str], until: float
    ) -> None:
        self.network = network
        self.peer = peer
        self.rng = rng
        self.kinds = kinds
        self.until = until
        self.fills: list[FillRequest] = []
        self.heads: list[list[Any]] = []
        overheard, network.tap = network.tap, self._overhear
        self._tap = overheard
        network.twist = self._twist
        network.clock.at(rng.uniform(1.0, 3.0), self._speak)
        if "old orders" in kinds:
            started = peer.on_start

            def begun(node: ExchangeNode) -> None:
                started(node)
                node.replica.records.__class__ = self._keeping()

            peer.on_start = begun

    def _overhear(self, source: Peer, target: Peer, line: bytes) -> None:
        self._tap(source, target, line)
        if b'"fill.request"' in line and len(self.fills) < 2000:
            message = json.loads(line)
            params = message["params"]
            if message["method"] == "fill.relay":
                params = params["params"]
            self.fills.append(decode_fill(params["fill"]["payload"]))

    def _keeping(self) -> type[RemoteOrders]:
        """Orders of others that stay when they are closed, and often as they were."""
        liar = self

        class Keeping(RemoteOrders):
            __slots__ = ()

            def drop(self, origin: Origin, record: RemoteOrder, closed: int = 0) -> None:
                if closed:
                    liar._count("old orders")
                else:
                    super().drop(origin, record)

            def advance(self, origin: Origin, record: RemoteOrder, *state: Any) -> None:
                if liar.rng.random() < 0.5:
                    super().advance(origin, record, *state)

        return Keeping

    def _count(self, kind: str) -> None:
        self.network.count(f"neighbour: {kind}")

    def _twist(self, source: Peer, line: bytes) -> list[tuple[float, bytes]] | None:
        if source is not self.peer or self.network.clock.now > self.until:
            return None
        message = json.loads(line)
        method = message.get("method", "")
        if method in ("peer.hello", "peer.prove") or "signature" in message.get("result", ()):
            return None
        if "key" in message.get("result", ()):
            return None  # its hello
        out: Twisted = [(0.0, message)]
        for kind in self.kinds:
            result = message.get("result")
            about = self._OF.get(kind, "")
            if (method and method == about) or (isinstance(result, dict) and about in result):
                out = self._changed(kind, message)
            elif kind == "drops answers" and "result" in message:
                out = [] if self.rng.random() < 0.7 else out
            elif kind == "late":
                out = [(self.rng.uniform(0.5, 4.0), message) for _, message in out]
            else:
                continue
            self._count(kind)
        return [(late, json.dumps(told).encode() + b"\n") for late, told in out]

    def _changed(self, kind: str, message: dict[str, Any]) -> Twisted:
        """What becomes of a message that this kind is about."""
        rng, result = self.rng, message.get("result", {})
        if kind.startswith("drops"):
            return [] if rng.random() < 0.7 else [(0.0, message)]
        if kind == "no pong":
            return []
        if kind == "false time":
            result["time"] += rng.choice((-1, 1)) * rng.randrange(10_000, 7_200_000)
        elif kind in ("false heads", "false announcements"):
            heads = message["params"]["heads"]
            for head in heads:
                if rng.random() < 0.5:
                    head[2], head[3] = (
                        head[2] + rng.randrange(1, 50),
                        f"{rng.getrandbits(256):064x}",
                    )
        elif kind == "pruned range":
            entries = result["entries"]
            result["entries"] = [entry for entry in entries if rng.random() < 0.5]
        elif kind == "no difference":
            result["frame"] = ""
        elif kind == "other differences":
            frame = result["frame"]
            result["frame"] = frame[: len(frame) // 8 * 4]
        elif kind == "pruned records":
            result["records"] = [record for record in result["records"] if rng.random() < 0.5]
        return [(0.0, message)]

    def _speak(self) -> None:
        """Say something that nobody asked for, to every neighbour."""
        clock, rng, node = self.network.clock, self.rng, self.peer.node
        if clock.now > self.until:
            self.peer.crash()
            return
        clock.after(rng.uniform(0.2, 2.0), self._speak)
        kinds = [kind for kind in self.kinds if kind in self._SPONTANEOUS]
        if not kinds or node is None or self.peer.paused:
            return
        kind = rng.choice(kinds)
        say: dict[str, Callable[[], tuple[str, dict[str, Any]] | None]] = {
            "prunes": lambda: ("gossip.prune", {"backoff_s": 60}),
            "grafts": lambda: ("gossip.graft", {}),
            "wants": self._wants,
            "says goodbye": lambda: ("peer.goodbye", {}),
            "settles for others": self._settles,
            "asks for others": self._asks,
        }
        said = say[kind]()
        if said is None:
            return
        self._count(kind)
        method, params = said
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if method == "fill.query":
            message["id"] = rng.getrandbits(50)
        line = json.dumps(message).encode() + b"\n"
        for connection, end in list(self.peer.ends.values()):
            self.network.send(connection, end, line)

    def _wants(self) -> tuple[str, dict[str, Any]] | None:
        node = self.peer.node
        homes = [*node.replica.origins] if node is not None else []
        if not homes:
            return None
        return "gossip.want", {"origin": self.rng.choice(homes), "epoch": 1, "first": 1, "last": 50}

    def _signed(self, payload: str) -> dict[str, Any]:
        """A payload with the liar's own signature: it has no other."""
        sealer = Sealer(self.peer.identity, "sim")
        draft = sealer.add(payload)
        sealer.seal()
        return to_builtins(draft.proof.wire())  # type: ignore[no-any-return]

    def _settles(self) -> tuple[str, dict[str, Any]] | None:
        if not self.fills:
            return None
        homes = self.fills[-1].taker_home, self.fills[-1].maker_home
        fills = [fill.id for fill in self.fills if (fill.taker_home, fill.maker_home) == homes]
        told = Settled(*homes, tuple(fills[-FILLS_TOLD_MAX:]))
        return "fill.settled", {"settled": self._signed(encode(told))}

    def _asks(self) -> tuple[str, dict[str, Any]] | None:
        if not self.fills:
            return None
        fill = self.fills[-1]
        query = FillQuery(
            fill.id, fill.order, fill.maker_home, fill.taker_home, fill.fill_seq, fill.deadline
        )
        return "fill.query", {"query": self._signed(encode_query(query))}
