"""
One example of every message peers exchange, from a run.

    python -m tests.sim.exchange.wire_examples

``docs/exchange-wire.rst`` shows them. Three peers with real keys link, trade, drift apart and
catch up; the first message of each kind is printed.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any
from unittest import mock

from grenache_py.exchange.home import heartbeat
from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.signed_log.entries import GENESIS, HeartbeatBody
from grenache_py.exchange.signed_log.merkle import Sealer
from tests.sim.exchange.evil import EvilPeer
from tests.sim.exchange.network import Peer, identity
from tests.sim.exchange.world import MARKETS, World

__all__ = ["examples"]

#: Of longer lists of lists only the first member is printed.
LIST_SHOWN_MAX = 4


def examples() -> dict[str, tuple[bytes, bytes]]:
    """
    By method: the first request or notification, and the answer to it (b"" for none).

    Where a method is asked in two ways, a second word says which, as in "sync.records range".
    """
    world = World(11, peers=3, faults=(), real=True)
    seen: dict[str, tuple[bytes, bytes]] = {}
    asked: dict[tuple[str, str, Any], tuple[str, bytes]] = {}

    def tap(source: Peer, target: Peer, line: bytes) -> None:
        message = json.loads(line)
        method = message.get("method")
        if method is None:
            name, request = asked.pop((target.name, source.name, message["id"]), ("", b""))
            if name and "result" in message and seen.get(name, (b"", b""))[0] == request:
                seen[name] = (request, line)
            elif "error" in message:
                seen.setdefault(f"{name} refused", (request, line))
            return
        for way in ("range", "beat"):
            if way in message["params"]:
                method += f" {way}"
        if "id" in message:
            asked[source.name, target.name, message["id"]] = (method, line)
        if method not in seen and len(line) < 5000:
            seen[method] = (line, b"")

    world.network.tap = tap
    first, second, third = world.peers
    first.start()
    second.start()
    world.clock.run_until(3.0)

    def place(peer: Peer, side: str, lots: int, price: int) -> Any:
        new = NewOrder(MARKETS[0].symbol, side, lots, price)  # type: ignore[arg-type]
        return peer.do(lambda node, now: node.place(new, now))

    place(first, "sell", 15_000, 10_000)
    world.clock.run_until(4.0)
    place(second, "buy", 5_000, 10_100)
    world.clock.run_until(8.0)
    for i in range(120):
        placed = place(first, "sell", 10, 10_200 + i)
        if i > 0:
            first.do(lambda node, now, o=placed.order_id: node.cancel(o, now))
    world.clock.run_until(12.0)
    third.start()  # too much happened for it to replay: it reconciles
    world.clock.run_until(16.0)
    first.crash()
    place(second, "buy", 5_000, 10_100)  # its maker is gone: asked again, then asked about
    world.clock.run_until(32.0)
    first.start()
    world.clock.run_until(50.0)
    assert first.node is not None
    peering = first.node.peering
    link = peering.ready()[0]
    gossip = {"origin": second.identity.key, "epoch": 1, "first": 1, "last": 1}
    first.do(lambda node, now: peering.notify(link, "gossip.want", gossip))
    head = list(first.node.sync._held_logs.head(second.identity.key))
    heads = {"heads": [[second.identity.key, *head]]}
    first.do(lambda node, now: peering.notify(link, "gossip.have", heads))
    first.do(lambda node, now: peering.notify(link, "gossip.prune", {"backoff_s": 60}))
    world.clock.run_until(51.0)
    for _ in range(10):
        place(first, "sell", 10, 10_400)
    fourth = world.add_peer("p3", 3)
    world.clock.run_until(52.0)
    fourth.start()  # there is more by now than is worth listing: it takes it whole
    world.clock.run_until(56.0)
    first.behind_nat = fourth.behind_nat = True
    for connection in list(world.network.connections):
        if {connection.dialler.peer, connection.listener.peer} == {first, fourth}:
            world.network.reset(connection)
    place(fourth, "sell", 1, 9_000)
    world.clock.run_until(57.0)
    place(first, "buy", 1, 9_000)  # no neighbours any more: the others pass it on
    world.clock.run_until(58.0)
    liar = EvilPeer("liar", world.network)
    liar.identity = identity(world.rng, True)
    world.checker.evil.add(liar.identity.key)
    liar.sealer = Sealer(liar.identity, "sim")
    liar.dial(second)
    world.clock.run_until(59.0)
    beat = HeartbeatBody(20_000, 0, "0" * 64)
    stories = [liar.entry(1, GENESIS, 59.0 + i / 1000, beat=beat)[0] for i in range(2)]
    liar.notify("gossip.publish", entries=stories)  # two entries, one number
    liar.send({"jsonrpc": "2.0", "id": 1, "method": "sync.records", "params": {"ids": "all"}})
    world.clock.run_until(60.0)
    with mock.patch.object(heartbeat, "BEATING_HOMES_MAX", 0):
        world.clock.run_until(95.0)
        wanted = {"homes": [second.identity.key]}
        first.do(
            lambda node, now: node.peering.notify(node.peering.ready()[0], "lease.want", wanted)
        )
        world.clock.run_until(96.0)
    first.do(lambda node, now: node.goodbye(now))
    world.clock.run_until(97.0)
    return seen


def shown(line: bytes) -> str:
    """A message as the documentation prints it: payloads opened up, long digits and lists cut."""

    def opened(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: opened(member) for name, member in value.items()}
        if isinstance(value, list):
            long = len(value) > LIST_SHOWN_MAX and isinstance(value[0], list)
            return [*map(opened, value[:1] if long else value), *(["…"] if long else [])]
        if isinstance(value, str):
            if value.startswith("{"):
                return "'" + json.dumps(opened(json.loads(value))) + "'"
            if len(value) > 36 and " " not in value:
                return value[:8] + "…"
        return value

    text = json.dumps(opened(json.loads(line)), separators=(", ", ": "), ensure_ascii=False)
    text = text.replace('\\"', '"').replace("\\\\u2026", "…").replace("\\u2026", "…")
    return "\n".join(
        textwrap.wrap(
            text, 92, break_on_hyphens=False, break_long_words=False, subsequent_indent="  "
        )
    )


if __name__ == "__main__":
    for method, lines in sorted(examples().items()):
        print(f"{method}\n")
        for line in lines:
            if line:
                print(textwrap.indent(shown(line), "    ") + "\n")
