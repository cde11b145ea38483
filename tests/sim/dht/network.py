"""
Any number of DHT nodes on a virtual clock: a heap of events, a lossy network, churn.

Every choice comes from one seeded generator, so a run is repeated exactly by its seed.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.node import DHTNode
from grenache_py.dht.traversals import Operation
from grenache_py.wire.krpc import Address
from tests.support.virtual_clock import Scheduler

__all__ = ["SimNetwork", "SimNode"]


class SimNode:
    """One node, its address and its timer. ``alive`` ends with `stop`."""

    def __init__(self, network: SimNetwork, address: Address, core: DHTNode) -> None:
        self.network = network
        self.address = address
        self.core = core
        self.alive = True
        self.bootstrap: list[Address] = []
        self.datagrams_sent = 0
        self.datagram_bytes_max = 0
        self._timer_due = float("inf")

    def start(self, bootstrap: list[Address]) -> None:
        """Join through ``bootstrap``."""
        self.bootstrap = bootstrap
        self.flush()

    def stop(self) -> None:
        """The process dies: nothing more is sent or received."""
        self.alive = False
        self.network.nodes.pop(self.address, None)

    def run(self, operation: Operation) -> Operation:
        """Let ``operation``, just begun on the core, go its way."""
        self.flush()
        return operation

    def receive(self, data: bytes, source: Address) -> None:
        """A datagram arrives."""
        if not self.alive:
            return
        answer = self.core.receive_datagram(data, source, self.network.scheduler.now)
        if answer is not None:
            self._send(answer, source)
        self.flush()

    def flush(self) -> None:
        """Carry out the core's effects and set the timer."""
        scheduler = self.network.scheduler
        while self.core.has_effects():
            effects = self.core.take_effects()
            for data, target in effects.datagrams:
                self._send(data, target)
            for operation in effects.finished:
                operation.context = scheduler.now
            if effects.bootstrap_wanted:
                self.core.bootstrap(self.bootstrap, scheduler.now)
        due = self.core.next_deadline()
        if due < self._timer_due:
            self._timer_due = due
            scheduler.at(due, partial(self._tick, due))

    def _tick(self, due: float) -> None:
        if not self.alive or due != self._timer_due:
            return
        self._timer_due = float("inf")
        self.core.tick(self.network.scheduler.now)
        self.flush()

    def _send(self, data: bytes, target: Address) -> None:
        self.datagrams_sent += 1
        self.datagram_bytes_max = max(self.datagram_bytes_max, len(data))
        self.network.carry(data, self.address, target)


class SimNetwork:
    """
    Nodes and the network between them.

    Args:
        seed: Of everything random.
        loss: Share of datagrams that get lost.
        latency_s: Bounds of the one-way delay, which is uniform.

    Attributes:
        island: Addresses that only reach each other.
    """

    def __init__(
        self, seed: int, *, loss: float = 0.0, latency_s: tuple[float, float] = (0.005, 0.05)
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.loss = loss
        self.latency_s = latency_s
        self.scheduler = Scheduler()
        self.nodes: dict[Address, SimNode] = {}
        self.island: set[Address] = set()
        self.datagrams = 0
        self._made = 0

    def add(
        self,
        config: DHTConfig | None = None,
        *,
        bootstrap: list[Address] | None = None,
        address: Address | None = None,
        node_id: bytes | None = None,
    ) -> SimNode:
        """Start a node; its address is a new one unless given."""
        self._made += 1
        if address is None:
            number = self._made
            address = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 20001)
        rng = random.Random(self.rng.getrandbits(64))
        core = DHTNode(
            config or DHTConfig(),
            node_id=node_id or rng.randbytes(20),
            token_key=rng.randbytes(32),
            rng=rng,
            now=self.scheduler.now,
        )
        node = self.nodes[address] = SimNode(self, address, core)
        node.start(bootstrap or [])
        return node

    def run_for(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        self.scheduler.run_until(self.scheduler.now + seconds)

    def carry(self, data: bytes, source: Address, target: Address) -> None:
        """Deliver a datagram after its delay, or lose it."""
        self.datagrams += 1
        if self.rng.random() < self.loss or (source in self.island) != (target in self.island):
            return
        self.scheduler.at(
            self.scheduler.now + self.rng.uniform(*self.latency_s),
            partial(self._deliver, data, source, target),
        )

    def _deliver(self, data: bytes, source: Address, target: Address) -> None:
        node = self.nodes.get(target)
        if node is not None:
            node.receive(data, source)

    def finish(self, operation: Operation, within_s: float = 2.5) -> Any:
        """Run until ``operation`` has ended; its result, or its error raised."""
        end = self.scheduler.now + within_s
        while not operation.done and self.scheduler.now < end:
            self.run_for(0.01)
        assert operation.done, f"{type(operation).__name__} never ended (seed {self.seed})"
        if operation.error is not None:
            raise operation.error
        return operation.result
