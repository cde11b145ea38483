"""
The DHT at scale, on a virtual clock: does a lookup find, and at what cost?

    python -m benchmarks.dht.ring [--seed N] [--nodes 1000] [--minutes 30] [--svg FILE]

Two measurements with the real node core, five per cent of all datagrams lost:

1.  Rings of 50 to 2000 nodes: hops and queries of a lookup, which should grow with the
    logarithm of the ring's size. ``--svg`` draws them (docs/dht-scaling.svg).
2.  One ring under churn: a fifth of the nodes is replaced every hour; services are
    announced every 40 s from nodes that live, and looked up from others all the time.
    At least 99.9 % must be found.

Everything random comes from the printed seed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from grenache_py.dht.traversals import PeersLookup
from tests.sim.dht.network import SimNetwork, SimNode

LOSS = 0.05
CHURN_PER_HOUR = 0.20
ANNOUNCE_EVERY_S = 40.0
SIZES = (50, 100, 200, 500, 1000, 2000)


def grow(network: SimNetwork, size: int) -> list[SimNode]:
    """A ring of ``size`` nodes, each joined through two that were there."""
    nodes: list[SimNode] = []
    for _ in range(size):
        some = network.rng.sample(nodes, min(2, len(nodes)))
        nodes.append(network.add(bootstrap=[node.address for node in some]))
        network.run_for(0.05)
    network.run_for(30.0)
    return nodes


def scaling(
    seed: int, sizes: tuple[int, ...], lookups: int = 300
) -> list[tuple[int, float, float]]:
    """Mean hops and mean queries of a lookup that finds, by size of the ring."""
    print(f"{'nodes':>6} {'hops':>6} {'queries':>8} {'found':>7} {'p50 ms':>7} {'p99 ms':>7}")
    rows = []
    for size in sizes:
        network = SimNetwork(seed + size, loss=LOSS)
        nodes = grow(network, size)
        hops, queries, delays, found = [], [], [], 0
        for number in range(lookups):
            name = network.rng.randbytes(20)
            home, asker = network.rng.sample(nodes, 2)
            network.finish(home.run(home.core.announce(name, 1024 + number, network.scheduler.now)))
            started = network.scheduler.now
            lookup = asker.core.lookup(name, started)
            peers = network.finish(asker.run(lookup))
            found += f"{home.address[0]}:{1024 + number}" in peers
            hops.append(lookup.lookup.hops)
            queries.append(lookup.lookup.asked)
            delays.append((float(str(lookup.context)) - started) * 1000)
        delays.sort()
        rows.append((size, statistics.mean(hops), statistics.mean(queries)))
        print(
            f"{size:>6} {rows[-1][1]:>6.2f} {rows[-1][2]:>8.1f} {found / lookups:>7.2%}"
            f" {delays[len(delays) // 2]:>7.0f} {delays[int(len(delays) * 0.99)]:>7.0f}",
            flush=True,
        )
    return rows


class Churn:
    """A ring that loses and gains nodes while services are announced and looked up."""

    def __init__(self, network: SimNetwork, nodes: list[SimNode], services: int) -> None:
        self.network = network
        self.nodes = nodes
        self.services: dict[bytes, tuple[SimNode, str]] = {}
        self.lookups: list[tuple[PeersLookup, str, float]] = []
        self.replaced = 0
        for number in range(services):
            home = network.rng.choice(nodes)
            self._announce(b"service:%d" % number, home, 1024 + number)

    def _announce(self, name: bytes, home: SimNode, port: int) -> None:
        """Announce and come back for the next time; a dead home's service moves house."""
        network = self.network
        if not home.alive:
            self.services.pop(name, None)
            home = network.rng.choice(self.nodes)
        announce = home.run(home.core.announce(name, port, network.scheduler.now))
        pause = partial(self._announce, name, home, port)
        network.scheduler.after(ANNOUNCE_EVERY_S, pause)
        where = f"{home.address[0]}:{port}"
        network.scheduler.after(3.0, partial(self._announced, name, home, where, announce))

    def _announced(self, name: bytes, home: SimNode, where: str, announce: object) -> None:
        if home.alive and getattr(announce, "error", True) is None:
            self.services[name] = (home, where)

    def run(self, minutes: float, lookups_per_s: float) -> None:
        """Let it live."""
        rng, scheduler = self.network.rng, self.network.scheduler
        replacements_per_s = len(self.nodes) * CHURN_PER_HOUR / 3600
        end = scheduler.now + minutes * 60
        while scheduler.now < end:
            self.network.run_for(rng.expovariate(lookups_per_s + replacements_per_s))
            if rng.random() < replacements_per_s / (lookups_per_s + replacements_per_s):
                self._replace_one()
            else:
                self._look_one_up()
        self.network.run_for(3.0)

    def _replace_one(self) -> None:
        rng = self.network.rng
        self.nodes.pop(rng.randrange(len(self.nodes))).stop()
        some = rng.sample(self.nodes, 2)
        self.nodes.append(self.network.add(bootstrap=[node.address for node in some]))
        self.replaced += 1

    def _look_one_up(self) -> None:
        rng, scheduler = self.network.rng, self.network.scheduler
        name = rng.choice(list(self.services))
        home, where = self.services[name]
        asker = rng.choice(self.nodes)
        if asker is home or not home.alive:
            return
        lookup = asker.core.lookup(name, scheduler.now)
        asker.run(lookup)
        self.lookups.append((lookup, where, scheduler.now))

    def report(self) -> float:
        """Print what was found; the share that was."""
        missed = [where for lookup, where, _ in self.lookups if not _found(lookup, where)]
        delays = sorted(
            float(str(lookup.context)) - started
            for lookup, _, started in self.lookups
            if lookup.context is not None
        )
        asked = statistics.mean(lookup.lookup.asked for lookup, _, _ in self.lookups)
        share = 1 - len(missed) / len(self.lookups)
        print(
            f"{len(self.lookups)} lookups, {self.replaced} nodes replaced: {share:.3%} found,"
            f" {asked:.1f} queries each, p50 {delays[len(delays) // 2] * 1000:.0f} ms,"
            f" p99 {delays[int(len(delays) * 0.99)] * 1000:.0f} ms,"
            f" longest {delays[-1] * 1000:.0f} ms; {self.network.datagrams} datagrams"
        )
        return share


def _found(lookup: PeersLookup, where: str) -> bool:
    return isinstance(lookup.result, list) and where in lookup.result


def main() -> int:
    """Run both; exit code 1 when too little was found."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    options.add_argument("--seed", type=int, default=20240601)
    options.add_argument("--nodes", type=int, default=1000)
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--svg", type=Path)
    options.add_argument("--skip-scaling", action="store_true")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}, {LOSS:.0%} of datagrams lost, one-way delay 5 to 50 ms")
    started = time.perf_counter()
    if not chosen.skip_scaling:
        rows = scaling(chosen.seed, tuple(size for size in SIZES if size <= 2 * chosen.nodes))
        if chosen.svg is not None:
            chosen.svg.write_text(svg(rows, chosen.seed))
        print(f"({time.perf_counter() - started:.0f} s)")
    print(f"\nchurn: {chosen.nodes} nodes, {CHURN_PER_HOUR:.0%} replaced an hour")
    network = SimNetwork(chosen.seed, loss=LOSS)
    churn = Churn(network, grow(network, chosen.nodes), services=100)
    network.run_for(5.0)
    churn.run(chosen.minutes, lookups_per_s=10.0)
    share = churn.report()
    print(f"({time.perf_counter() - started:.0f} s)")
    return 0 if share >= 0.999 else 1


def svg(rows: list[tuple[int, float, float]], seed: int) -> str:
    """Hops and queries over the logarithm of the ring's size, as a picture."""
    width, height, left, bottom, top = 560, 320, 56, 48, 40
    low, high = math.log2(rows[0][0]), math.log2(rows[-1][0])

    def x(size: int) -> float:
        return left + (math.log2(size) - low) / (high - low) * (width - left - 64)

    def y(value: float, most: float) -> float:
        return height - bottom - value / most * (height - bottom - top)

    most = (
        math.ceil(max(row[1] for row in rows) + 0.5),
        math.ceil(max(row[2] for row in rows) / 5) * 5 + 5,
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-size="13">A lookup that finds: hops and queries over the'
        f" number of nodes (log scale; 5 % loss, seed {seed})</text>",
        f'<line x1="{left}" y1="{height - bottom}" x2="{width - 56}" y2="{height - bottom}"'
        ' stroke="#444"/>',
    ]
    for size, _, _ in rows:
        parts.append(
            f'<text x="{x(size):.0f}" y="{height - bottom + 18}" text-anchor="middle">{size}</text>'
        )
    for index, colour, word, anchor, at in (
        (1, "#1f6fb4", "hops", "end", left - 8),
        (2, "#c2571a", "queries", "start", width - 52),
    ):
        points = " ".join(f"{x(row[0]):.1f},{y(row[index], most[index - 1]):.1f}" for row in rows)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for row in rows:
            parts.append(
                f'<circle cx="{x(row[0]):.1f}" cy="{y(row[index], most[index - 1]):.1f}" r="3.5"'
                f' fill="{colour}"><title>{row[0]} nodes: {row[index]:.2f} {word}</title></circle>'
            )
        for step in range(5):
            value = most[index - 1] * step / 4
            parts.append(
                f'<text x="{at}" y="{y(value, most[index - 1]) + 4:.0f}" text-anchor="{anchor}"'
                f' fill="{colour}">{value:g}</text>'
            )
        parts.append(
            f'<text x="{at}" y="{top - 6}" text-anchor="{anchor}" fill="{colour}">{word}</text>'
        )
    parts.append(
        f'<text x="{(left + width - 56) / 2:.0f}" y="{height - 8}" text-anchor="middle">'
        "nodes</text>"
    )
    return "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    sys.exit(main())
