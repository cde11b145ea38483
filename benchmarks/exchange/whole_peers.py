"""
A network of whole peers on a virtual clock: copies, delay, bandwidth, with nothing left out.

    python -m benchmarks.exchange.whole_peers [--peers 200] [--seed N]

Every peer is the daemon's ``ExchangeNode``: handshake, peer exchange, mesh, gossip, heartbeats,
sync, books. Stand-ins: links of log-normal delay (median 41 ms, 5 % above 110 ms), a disk that
takes 1 ms and keeps nothing, signatures that are a hash. ``exchange_gossip`` goes further, to
1,000 peers, with less of a peer.
"""

from __future__ import annotations

import argparse
import random
import time

import attrs

from benchmarks.exchange.joining import NoDisk
from grenache_py.exchange.effects.rows import RecordRow, Row
from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.node import NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from tests.sim.exchange.network import Network, Peer, identity
from tests.sim.exchange.world import MARKETS
from tests.support.virtual_clock import Scheduler

#: Seconds to link and settle into the mesh, then without orders, then with; two heartbeats each.
SETTLE_S, IDLE_S, ORDERS_S = 30.0, 10.0, 10.0
ORDERS_PER_S = 8


@attrs.define
class Full:
    """What a network of whole peers did."""

    peers: int
    links: float
    mesh: float
    copies: float
    p50_ms: float
    p98_ms: float
    last_ms: float
    reached: float
    idle_bytes_per_s: float
    bytes_per_order: float
    entry_bytes: float


class Whole:
    """The peers, all linked, and when each order came to each of them."""

    def __init__(self, size: int, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.clock = Scheduler()
        self.network = network = Network(self.clock, random.Random(seed))
        network.faults.split = False
        delays = random.Random(seed)
        network.latency = lambda source, target: delays.lognormvariate(-3.194, 0.6)
        self.placed: dict[str, float] = {}
        self.delays: list[float] = []
        self.last: dict[str, float] = {}
        self.entries = self.entry_bytes = 0
        network.tap = self._sent
        self.peers = [self._peer(number, size) for number in range(size)]
        for peer in self.peers:
            self.clock.at(rng.random(), peer.start)

    def _peer(self, number: int, size: int) -> Peer:
        rng = self.rng
        near = {rng.randrange(number) for _ in range(3)} if number else set()
        peer = Peer(
            f"p{number}",
            self.network,
            NodeConfig(
                PeeringConfig(
                    "sim",
                    listen=f"p{number}:7071",
                    connect=tuple(f"p{other}:7071" for other in sorted(near)),
                ),
                MARKETS[:1],
            ),
            identity(rng, False),
            NoDisk(lambda: 0.001),
            random.Random(rng.getrandbits(64)),
        )
        peer.on_commit = self._committed
        return peer

    def _committed(self, peer: Peer, rows: list[Row]) -> None:
        for row in rows:
            if type(row) is RecordRow and row.order_id in self.placed:
                delay = self.clock.now - self.placed[row.order_id]
                self.delays.append(delay)
                self.last[row.order_id] = max(self.last.get(row.order_id, 0.0), delay)

    def _sent(self, source: Peer, target: Peer, line: bytes) -> None:
        if b'"gossip.publish"' in line and rb"\"order\"" in line and line.count(b'"payload"') == 1:
            self.entries += 1
            self.entry_bytes += len(line)

    def place(self) -> None:
        """Somebody places an order that rests."""
        peer = self.rng.choice(self.peers)
        new = NewOrder(MARKETS[0].symbol, "sell", 10, 1000)
        live = peer.do(lambda node, now: node.place(new, now))
        self.placed[live.order_id] = self.clock.now

    def received(self) -> tuple[int, int]:
        """Log entries that came to all peers so far: copies of them, and new ones."""
        nodes = [peer.node for peer in self.peers if peer.node is not None]
        return sum(n.sync.received for n in nodes), sum(n.replica.applied for n in nodes)


def measure(size: int, seed: int) -> Full:
    """Let them link, be idle for a while, then trade."""
    whole = Whole(size, seed)
    clock, network = whole.clock, whole.network
    clock.run_until(SETTLE_S)
    carried, (copies, novel) = network.bytes, whole.received()
    clock.run_until(clock.now + IDLE_S)
    idle = (network.bytes - carried) / IDLE_S / size
    carried, began = network.bytes, clock.now
    while clock.now < began + ORDERS_S:
        whole.place()
        clock.run_until(clock.now + 1 / ORDERS_PER_S)
    orders = (network.bytes - carried) / size - idle * ORDERS_S
    clock.run_until(clock.now + 3.0)
    copies, novel = (
        now - then for now, then in zip(whole.received(), (copies, novel), strict=True)
    )
    nodes = [peer.node for peer in whole.peers if peer.node is not None]
    delays = sorted(1000 * delay for delay in whole.delays)
    return Full(
        size,
        sum(len(n.peering.by_key) for n in nodes) / size,
        sum(sum(link.mesh for link in n.peering.ready()) for n in nodes) / size,
        copies / novel,
        delays[len(delays) // 2],
        delays[int(len(delays) * 0.98)],
        1000 * sum(whole.last.values()) / len(whole.last),
        len(delays) / len(whole.placed) / (size - 1),
        idle,
        orders / len(whole.placed),
        whole.entry_bytes / whole.entries,
    )


def table(full: Full) -> str:
    """The result as people read it."""
    return (
        f"{full.peers} whole peers, {full.links:.1f} links and a mesh of {full.mesh:.1f} each:"
        f" {full.copies:.2f} copies of each entry; an order reaches half of the peers in"
        f" {full.p50_ms:.0f} ms, 98 % of deliveries within {full.p98_ms:.0f} ms, the last peer in"
        f" {full.last_ms:.0f} ms; {full.reached:.2%} reached;\n"
        f"bandwidth of a peer, each way: {full.idle_bytes_per_s / 1e3:.0f} kB/s of heartbeats,"
        f" and {full.bytes_per_order / 1e3:.1f} kB for each order in the network"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--peers", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    began = time.process_time()
    print(table(measure(chosen.peers, chosen.seed)))
    print(f"seed {chosen.seed}, {time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
