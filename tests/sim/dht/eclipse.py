"""
An attacker who wants to be all that one node sees, and how much of it he gets.

``python -m tests.sim.dht.eclipse`` prints the table of docs/dht.rst (some minutes).
"""

from __future__ import annotations

import itertools
import random
import sys
from typing import Any

import attrs

from grenache_py.dht.lookup import Lookup
from grenache_py.dht.node_id import key_number
from grenache_py.wire import bencode, krpc
from grenache_py.wire.krpc import Address, Query, compact_address
from tests.sim.dht.network import SimNetwork, SimNode

__all__ = ["Outcome", "eclipse"]

#: What the attacker wants to hide.
KEY = b"rest:util:net"
HONEST_PORT = 1337


class AttackNode:
    """One address of the attacker's: answers everything, and refers to his others only."""

    def __init__(self, network: SimNetwork, gang: Gang, address: Address, node_id: bytes) -> None:
        self.network = network
        self.gang = gang
        self.address = address
        self.node_id = node_id
        self.compact = node_id + compact_address(address)
        network.nodes[address] = self  # type: ignore[assignment]

    def receive(self, data: bytes, source: Address) -> None:
        """Answer a query; answers to his own queries do not matter."""
        message = krpc.decode(data)
        if not isinstance(message, Query):
            return
        args = b"2:id20:%b" % self.node_id
        if message.method != b"ping":
            nodes = self.gang.referrals()
            args += b"5:nodes%d:%b5:token1:t" % (len(nodes), nodes)
        self.network.carry(krpc.response(args, message.txid), self.address, source)

    def knock(self, target: Address) -> None:
        """Ask ``target`` something, so that it takes this node up."""
        query = {b"t": b"kk", b"y": b"q", b"q": b"ping", b"a": {b"id": self.node_id}}
        self.network.carry(bencode.encode(query), self.address, target)


class Gang:
    """The attacker: ``size`` nodes spread evenly over ``networks`` networks of 256 addresses."""

    def __init__(
        self, network: SimNetwork, size: int, networks: int, near: bytes, *, spread: bool
    ) -> None:
        self.rng = random.Random(network.seed)
        number = key_number(near)
        self.nodes = []
        for index in range(size):
            which, place = index % networks, index // networks
            host = f"200.{which // 256}.{which % 256}.{place % 250 + 1}"
            # Ids nearer to the aim than any honest one, or one for each of its buckets.
            differing = 159 - (index % 120) if spread else 100
            offset = self.rng.getrandbits(differing) | 1 << differing
            node_id = (number ^ offset).to_bytes(20, "big")
            self.nodes.append(AttackNode(network, self, (host, 6000 + place // 250), node_id))

    def referrals(self) -> bytes:
        """Twenty of them, by chance."""
        chosen = self.rng.sample(self.nodes, min(20, len(self.nodes)))
        return b"".join(node.compact for node in chosen)


@attrs.frozen
class Outcome:
    """
    What the attacker got. Shares are from 0 to 1.

    Attributes:
        table: of the victim's routing table.
        closest: of the 20 nodes that the victim's lookup of the key ended with.
        stored: of the nodes that took an honest node's announcement.
        found: whether the victim found the honest service.
    """

    table: float
    closest: float
    stored: float
    found: bool


def eclipse(
    size: int, networks: int, *, near_victim: bool, honest: int = 50, seed: int = 1
) -> Outcome:
    """Let a victim join an honest ring, each node in a network of its own, under attack."""
    network = SimNetwork(seed)
    ring: list[SimNode] = []
    for index in range(honest):
        address = (f"60.{index // 256}.{index % 256}.1", 20001)
        ring.append(network.add(address=address, bootstrap=[node.address for node in ring[:1]]))
        network.run_for(0.2)
    network.run_for(60)
    # As far from the key as can be, so that it does not store what it looks for.
    victim_id = (~key_number(KEY) % 2**160 ^ network.rng.getrandbits(140)).to_bytes(20, "big")
    gang = Gang(network, size, networks, victim_id if near_victim else KEY, spread=near_victim)
    members = {node.address for node in gang.nodes}
    for node in ring:
        for attacker in gang.nodes:
            attacker.knock(node.address)
        network.run_for(2)
    victim = network.add(
        address=("70.1.1.1", 20001), bootstrap=[ring[0].address], node_id=victim_id
    )
    for _ in range(12):
        for attacker in gang.nodes:
            attacker.knock(victim.address)
        network.run_for(10)
    announce = ring[-1].run(ring[-1].core.announce(KEY, HONEST_PORT, network.scheduler.now))
    network.finish(announce)
    lookup = victim.run(victim.core.lookup(KEY, network.scheduler.now))
    found = network.finish(lookup)
    contacts = [contact.address for contact in victim.core.table]
    return Outcome(
        _share(contacts, members),
        _share([each.address for each in _lookup_of(lookup).responders(20)], members),
        _share(list(_accepted(announce)), members),
        f"{ring[-1].address[0]}:{HONEST_PORT}" in found,
    )


def _lookup_of(operation: Any) -> Lookup:
    lookup: Lookup = operation.lookup
    return lookup


def _accepted(operation: Any) -> dict[Address, None]:
    accepted: dict[Address, None] = operation.accepted
    return accepted


def _share(addresses: list[Address], members: set[Address]) -> float:
    return sum(address in members for address in addresses) / max(1, len(addresses))


def main() -> None:
    """Print every outcome."""
    sizes = [int(text) for text in sys.argv[1:]] or [10, 100, 1000]
    for near_victim, size, networks in itertools.product((False, True), sizes, (1, 10, 100)):
        if networks > size:
            continue
        outcome = eclipse(size, networks, near_victim=near_victim)
        print(
            f"{'victim' if near_victim else 'key':7} {size:5} {networks:4} "
            f"table {outcome.table:4.0%}  closest {outcome.closest:4.0%}  "
            f"stored {outcome.stored:4.0%}  found {outcome.found}",
            flush=True,
        )


if __name__ == "__main__":
    main()
