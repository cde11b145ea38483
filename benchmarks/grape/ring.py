"""
Many grapes in one process: how fast they are ready, announce and look up, and their memory.

    python -m benchmarks.grape.ring SIZE SERVICES

Prints one JSON object of the figures that ``tests/interop/node/ring.js`` prints for Node.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from grenache_py.dht.errors import DHTError
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.service import GrapeService
from tests.interop.node_programs import free_port

RUNNING: Any = reactor


async def measure(size: int, services: int) -> dict[str, float]:
    """Start ``size`` grapes, each knowing one of the first two, and measure them."""
    rng = random.Random(1)
    first = [free_port(), free_port()]
    started = time.perf_counter()
    grapes = []
    for index in range(size):
        config = GrapeConfig(
            host="127.0.0.1",
            dht_port=first[index] if index < 2 else 0,
            api_port=0,
            bootstrap=(f"127.0.0.1:{first[(index + 1) % 2]}",),
        )
        grape = GrapeService(config, RUNNING, random.SystemRandom())
        grape.startService()
        grapes.append(grape)
    while not all(grape.dht.status().bootstrapped for grape in grapes):
        await deferLater(RUNNING, 0.002)
    ready_ms = (time.perf_counter() - started) * 1000
    await deferLater(RUNNING, 3.0)
    announced = found = 0
    started = time.perf_counter()
    for number in range(services):
        try:
            await rng.choice(grapes).dht.announce(b"svc-%d" % number, 3000 + number)
        except DHTError:
            continue
        announced += 1
    announce_ms = (time.perf_counter() - started) * 1000 / services
    times = []
    for number in range(services):
        started = time.perf_counter()
        peers = await rng.choice(grapes).dht.lookup(b"svc-%d" % number)
        times.append((time.perf_counter() - started) * 1000)
        found += any(peer.endswith(f":{3000 + number}") for peer in peers)
    times.sort()
    status = Path("/proc/self/status").read_text()
    return {
        "ready_ms": ready_ms,
        "announce_ms": announce_ms,
        "announced": announced,
        "found": found,
        "lookup_p50_ms": times[services // 2],
        "lookup_p99_ms": times[int(services * 0.99)],
        "rss_mb": int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6,
    }


def main() -> None:
    """Read the command line, run, print."""

    def leave(result: Any) -> None:
        print(json.dumps(result) if isinstance(result, dict) else result, flush=True)
        RUNNING.callFromThread(RUNNING.stop)

    size, services = int(sys.argv[1]), int(sys.argv[2])
    RUNNING.callWhenRunning(lambda: Deferred.fromCoroutine(measure(size, services)).addBoth(leave))
    RUNNING.run()


if __name__ == "__main__":
    main()
