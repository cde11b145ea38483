"""
A peer joins a market with many open orders: how long, how many bytes, how much memory?

    python -m benchmarks.exchange.joining [--orders 100000]

Both nodes, their signatures (ed25519), links, sync and books are the daemon's own. Stand-ins: the
link, which has a bandwidth and a round-trip time and carries bytes in virtual time; the disk, which
takes ``COMMIT_S`` for each commit and keeps nothing. The processor is not left out: what a node
computes is measured as it runs, and until then it answers nobody, each node on a core of its own.

Memory is what the process grows by, from before the joiner was made to after it has joined and all
garbage is collected; the same for the home of all these orders.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import attrs

from grenache_py.exchange.effects.rows import Row
from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.node import NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.signed_log.keys import Identity
from tests.sim.exchange.network import Connection, Disk, End, Network, Peer
from tests.sim.exchange.world import MARKETS
from tests.soak.daemons import Daemon
from tests.support.virtual_clock import Scheduler

COMMIT_S = 0.005
#: Orders placed between two commits of the home, as many clients at once do.
BATCH = 64
#: What links are called, Mbit/s, and round trip in seconds.
LINKS = (("1 Gbit/s, 1 ms", 1000.0, 0.001), ("100 Mbit/s, 20 ms", 100.0, 0.020),
         ("20 Mbit/s, 50 ms", 20.0, 0.050))  # fmt: skip


@attrs.define
class Join:
    """What joining over one link took."""

    link: str
    seconds: float
    cpu_s: float
    down_bytes: int
    up_bytes: int


@attrs.define
class Result:
    """All that was measured with so many orders."""

    orders: int
    joins: list[Join]
    home_bytes: int
    replica_bytes: int


class VirtualLink(Network):
    """Bytes take their time: one line behind the other, then half a round trip."""

    def __init__(self, clock: Scheduler) -> None:
        super().__init__(clock, random.Random(1))
        self.bits_per_s = 1e9
        self.round_trip_s = 0.0
        self.latency = lambda source, target: self.round_trip_s / 2
        self.carried: dict[str, int] = {}
        self._free_at: dict[str, float] = {}

    def send(self, connection: Connection, end: End, line: bytes) -> None:
        source, target = end.peer.name, connection.other(end)
        self.carried[source] = self.carried.get(source, 0) + len(line)
        begin = max(self.clock.now, self._free_at.get(source, 0.0))
        self._free_at[source] = begin + 8 * len(line) / self.bits_per_s
        when = self._free_at[source] + self.round_trip_s / 2
        self.clock.at(when, lambda: target.peer.bytes_came(target, line))


class NoDisk(Disk):
    """Takes its time and keeps nothing."""

    def commit(self, rows: list[Row]) -> None:
        pass


class BusyPeer(Peer):
    """A peer whose computing takes the time it takes on this machine."""

    def __init__(self, name: str, network: Network, connect: tuple[str, ...]) -> None:
        seed = random.Random(name).randbytes(32)
        clock = network.clock
        super().__init__(
            name,
            network,
            NodeConfig(PeeringConfig("sim", listen=f"{name}:7071", connect=connect), MARKETS[:1]),
            Identity.from_seed(seed),
            NoDisk(lambda: max(0.0, self.busy_until - clock.now) + COMMIT_S),
            random.Random(name),
        )
        self.busy_until = 0.0
        self.cpu_s = 0.0
        self._waiting: deque[tuple[End, bytes]] = deque()

    def bytes_came(self, end: End, data: bytes) -> None:
        self._waiting.append((end, data))
        if len(self._waiting) == 1:
            self._next()

    def _next(self) -> None:
        clock = self.network.clock
        if clock.now < self.busy_until:
            clock.at(self.busy_until, self._next)
            return
        began = time.process_time()
        super().bytes_came(*self._waiting[0])
        self._spent(time.process_time() - began)
        self._waiting.popleft()
        if self._waiting:
            clock.at(self.busy_until, self._next)

    def _turn(self, life: int) -> None:
        clock = self.network.clock
        if clock.now < self.busy_until:
            clock.at(self.busy_until, lambda: self._turn(life))
            return
        began = time.process_time()
        super()._turn(life)
        self._spent(time.process_time() - began)

    def _spent(self, seconds: float) -> None:
        self.cpu_s += seconds
        self.busy_until = max(self.network.clock.now, self.busy_until) + seconds


def resident_bytes() -> int:
    """What the process has in memory, all garbage collected."""
    gc.collect()
    return _resident_bytes("self")


def _resident_bytes(process: str) -> int:
    pages = int(Path("/proc", process, "statm").read_text().split()[1])
    return pages * resource.getpagesize()


def idle_daemon_bytes() -> int:
    """What a daemon that has nothing to do has in memory."""
    with tempfile.TemporaryDirectory() as name:
        daemon = Daemon(Path(name))
        daemon.start()
        try:
            daemon.wait()
            assert daemon.process is not None
            return _resident_bytes(str(daemon.process.pid))
        finally:
            daemon.kill()


def home_of(orders: int, network: Network) -> BusyPeer:
    """A peer with that many resting orders, its log published."""
    home = BusyPeer("home", network, ())
    home.start()
    rng = random.Random(2)
    for number in range(orders):
        side = "buy" if number % 2 else "sell"
        price = 100_000 + rng.randrange(1, 2000) * (-1 if number % 2 else 1)
        new = NewOrder(MARKETS[0].symbol, side, rng.randrange(1, 1000), price)  # type: ignore[arg-type]
        home.do(lambda node, now, new=new: node.place(new, now))
        if number % BATCH == BATCH - 1:
            network.clock.run_until(network.clock.now + 2 * COMMIT_S + 0.01)
    network.clock.run_until(network.clock.now + 10.0)
    return home


def join(name: str, network: VirtualLink, orders: int, what: str) -> tuple[Join, BusyPeer]:
    """A new peer, until it has all orders and knows that it has."""
    clock = network.clock
    network.carried.clear()
    joiner = BusyPeer(name, network, ("home:7071",))
    began = clock.now
    joiner.start()
    while joiner.node is None or not joiner.node.sync.synced or len(joiner.node.live.set) < orders:
        clock.run_until(clock.now + 0.01)
        if clock.now > began + 600:
            raise SystemExit(f"{name} has not joined after ten minutes of virtual time")
    carried = network.carried
    took = clock.now - began
    return Join(what, took, joiner.cpu_s, carried.get("home", 0), carried.get(name, 0)), joiner


def measure(orders: int) -> Result:
    """One home with that many orders, and a joiner over each of the links."""
    network = VirtualLink(Scheduler())
    before = resident_bytes()
    home = home_of(orders, network)
    home_bytes = resident_bytes() - before
    joins = []
    replica_bytes = 0
    for number, (what, mbit, round_trip_s) in enumerate(LINKS):
        network.bits_per_s, network.round_trip_s = mbit * 1e6, round_trip_s
        before = resident_bytes()
        joined, joiner = join(f"joiner{number}", network, orders, what)
        replica_bytes = replica_bytes or resident_bytes() - before
        joins.append(joined)
        joiner.crash()
        del joiner
        network.clock.run_until(network.clock.now + 1.0)
    assert home.node is not None
    return Result(orders, joins, home_bytes, replica_bytes)


def table(result: Result) -> str:
    """The result as people read it."""
    lines = [
        f"{result.orders:,} open orders: {result.replica_bytes / 1e6:.0f} MB at a peer that holds"
        f" copies, {result.home_bytes / 1e6:.0f} MB at their home",
        f"{'link':<20} {'joined s':>9} {'CPU s':>6} {'received MB':>12} {'sent kB':>8}",
    ]
    lines += [
        f"{j.link:<20} {j.seconds:>9.1f} {j.cpu_s:>6.1f} {j.down_bytes / 1e6:>12.1f}"
        f" {j.up_bytes / 1e3:>8.0f}"
        for j in result.joins
    ]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--orders", type=int, default=100_000)
    chosen: Any = options.parse_args()
    print(table(measure(chosen.orders)))


if __name__ == "__main__":
    main()
