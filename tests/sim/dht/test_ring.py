"""
Whole rings of DHT nodes on the virtual clock, with loss, restarts and churn.

Set GRENACHE_SEED to repeat a run; the seed is printed with every failure.
"""

from __future__ import annotations

import os

import pytest

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.items import PutItem
from grenache_py.wire.krpc import Address
from tests.sim.dht.network import SimNetwork, SimNode

SEED = int(os.environ.get("GRENACHE_SEED") or int.from_bytes(os.urandom(4), "big"))


@pytest.fixture(autouse=True)
def printed_seed() -> None:
    print(f"GRENACHE_SEED={SEED}")


def ring(network: SimNetwork, size: int, config: DHTConfig | None = None) -> list[SimNode]:
    """``size`` nodes that all know only the first, started within a second."""
    nodes: list[SimNode] = []
    for _ in range(size):
        bootstrap = [nodes[0].address] if nodes else []
        nodes.append(network.add(config, bootstrap=bootstrap))
        network.run_for(1 / size)
    network.run_for(30)
    return nodes


def where(node: SimNode, port: int) -> str:
    return f"{node.address[0]}:{port}"


def announce(node: SimNode, name: bytes, port: int) -> int:
    network = node.network
    operation = node.core.announce(name, port, network.scheduler.now)
    count: int = network.finish(node.run(operation))
    return count


def lookup(node: SimNode, name: bytes) -> list[str]:
    network = node.network
    found: list[str] = network.finish(node.run(node.core.lookup(name, network.scheduler.now)))
    return found


def test_50_nodes_that_lose_a_twentieth_of_all_datagrams_find_everything() -> None:
    network = SimNetwork(SEED, loss=0.05)
    nodes = ring(network, 50)
    assert all(node.core.table.good() >= 10 for node in nodes)
    homes = {b"rest:service:%d" % number: network.rng.choice(nodes) for number in range(50)}
    for port, (name, home) in enumerate(homes.items(), start=1024):
        assert announce(home, name, port) >= 12
    for port, (name, home) in enumerate(homes.items(), start=1024):
        for asker in network.rng.sample(nodes, 3):
            if asker is not home:
                started = network.scheduler.now
                assert where(home, port) in lookup(asker, name), (SEED, name)
                assert network.scheduler.now - started < 2.0
    for asker in network.rng.sample(nodes, 10):
        assert lookup(asker, b"rest:nobody:announced:this") == []
    assert max(node.datagram_bytes_max for node in nodes) <= 1400


def test_values_are_found_from_everywhere() -> None:
    network = SimNetwork(SEED, loss=0.05)
    nodes = ring(network, 50)
    writer = nodes[7]
    for number in range(10):
        item = PutItem(v=b"value %d" % number)
        put = writer.run(writer.core.put(item, network.scheduler.now))
        target = network.finish(put)
        reader = network.rng.choice(nodes)
        get = reader.core.get(target, network.scheduler.now, use_cache=False)
        found = network.finish(reader.run(get))
        assert found is not None, (SEED, number)
        assert found.v == item.v


def test_the_same_seed_makes_the_same_run() -> None:
    def run() -> tuple[int, list[list[str]]]:
        network = SimNetwork(SEED, loss=0.1)
        nodes = ring(network, 12)
        announce(nodes[3], b"name", 1)
        found = [lookup(node, b"name") for node in nodes]
        return network.datagrams, found

    assert run() == run()


def test_rings_that_start_in_any_order_come_together() -> None:
    """The three grapes of the README, each naming the two others, the first long alone."""
    network = SimNetwork(SEED, latency_s=(0.0001, 0.001))
    places: list[Address] = [("10.9.0.1", 20001), ("10.9.0.2", 20002), ("10.9.0.3", 20003)]
    nodes = []
    for place in network.rng.sample(places, 3):
        others = [other for other in places if other != place]
        nodes.append(network.add(address=place, bootstrap=others))
        network.run_for(100)
    assert [node.core.table.good() for node in nodes] == [2, 2, 2]
    announce(nodes[0], b"rest:util:net", 1337)
    for node in nodes[1:]:
        assert lookup(node, b"rest:util:net") == [where(nodes[0], 1337)]


def test_a_node_nobody_names_joins_through_a_list_that_was_dead_at_first() -> None:
    network = SimNetwork(SEED)
    late: Address = ("10.9.0.9", 20001)
    early = network.add(bootstrap=[late])
    network.run_for(600)
    assert early.core.table.good() == 0
    network.add(address=late)
    network.run_for(90)
    assert early.core.table.good() == 1


def test_a_restart_under_a_new_id_leaves_no_ghost_and_no_gap() -> None:
    network = SimNetwork(SEED, latency_s=(0.0001, 0.001))
    nodes = ring(network, 5)
    for port, node in enumerate(nodes, start=1):
        announce(node, b"name", port)
    gone = nodes.pop(2)
    gone.stop()
    network.run_for(0.5)
    again = network.add(address=gone.address, bootstrap=[nodes[0].address])
    network.run_for(1.0)
    for port, node in enumerate(nodes, start=11):
        assert announce(node, b"another", port) == 4, "its new life takes announcements"
        ids = [contact.node_id for contact in node.core.table]
        assert again.core.own_id in ids
        assert gone.core.own_id not in ids
    assert len(lookup(again, b"another")) == 4


def test_half_of_a_ring_dies_and_the_other_half_goes_on() -> None:
    network = SimNetwork(SEED, latency_s=(0.0001, 0.002))
    nodes = ring(network, 40)
    for port, node in enumerate(nodes[:20], start=1000):
        announce(node, b"service:%d" % port, port)
    for dead in nodes[20:]:
        dead.stop()
    delays = []
    for port, node in enumerate(nodes[:20], start=1000):
        for asker in nodes[:20]:
            if asker is node:
                continue
            started = network.scheduler.now
            assert where(node, port) in lookup(asker, b"service:%d" % port), SEED
            delays.append(network.scheduler.now - started)
    delays.sort()
    assert delays[int(len(delays) * 0.99)] < 0.5
    assert delays[-1] < 2.0


def test_a_ring_that_was_cut_to_pieces_comes_together_again() -> None:
    """Two minutes without a single datagram: everybody loses everybody."""
    network = SimNetwork(SEED)
    nodes = ring(network, 15)
    network.loss = 1.0
    network.run_for(120)
    announcing = [node.core.announce(b"name", 1, network.scheduler.now) for node in nodes]
    for node, operation in zip(nodes, announcing, strict=True):
        node.run(operation)
    network.run_for(600)
    assert all(operation.done for operation in announcing)
    assert sum(node.core.table.good() for node in nodes) == 0
    network.loss = 0.0
    network.run_for(90)
    assert all(node.core.table.good() == 14 for node in nodes)
    announce(nodes[3], b"name", 1337)
    for node in nodes[4:]:
        assert lookup(node, b"name") == [where(nodes[3], 1337)]


def test_a_ring_that_was_parted_for_an_hour_is_one_again_without_bootstrap_nodes() -> None:
    network = SimNetwork(SEED)
    nodes = ring(network, 14)
    for node in nodes:
        node.bootstrap = []
    network.island = {node.address for node in nodes[:7]}
    network.run_for(3600)
    assert {node.core.table.good() for node in nodes} == {6}
    network.island = set()
    network.run_for(120)
    assert {node.core.table.good() for node in nodes} == {13}


def test_two_rings_that_name_each_other_late_become_one() -> None:
    network = SimNetwork(SEED)
    bridge: Address = ("10.9.9.9", 20001)
    left = ring(network, 6)
    left[0].bootstrap = [bridge]  # nobody is there yet
    network.run_for(200)
    right = network.add(address=bridge)
    network.add(bootstrap=[bridge])
    network.run_for(90)
    announce(right, b"name", 7)
    assert all(lookup(node, b"name") == [where(right, 7)] for node in left)


def test_under_churn_what_is_announced_is_found() -> None:
    """Sixty nodes, a tenth of them replaced every minute: far more than any real ring."""
    network = SimNetwork(SEED, loss=0.05)
    nodes = ring(network, 60)
    homes = nodes[:10]
    asked = missed = 0
    for _ in range(20):
        for port, home in enumerate(homes, start=1000):
            announce(home, b"service:%d" % port, port)
        for _ in range(3):
            victim = network.rng.choice(nodes[10:])
            nodes.remove(victim)
            victim.stop()
            some = network.rng.sample(nodes, 2)
            nodes.append(network.add(bootstrap=[node.address for node in some]))
            network.run_for(10)
            for port, home in enumerate(homes, start=1000):
                asker = network.rng.choice(nodes[10:])
                asked += 1
                missed += where(home, port) not in lookup(asker, b"service:%d" % port)
    assert asked == 600
    assert missed <= 1, SEED


def test_what_is_no_longer_announced_is_forgotten() -> None:
    network = SimNetwork(SEED)
    nodes = ring(network, 10, DHTConfig(peer_max_age_s=60))
    announce(nodes[0], b"name", 1)
    network.run_for(50)
    assert lookup(nodes[5], b"name") == [where(nodes[0], 1)]
    network.run_for(11)
    assert lookup(nodes[5], b"name") == []
    network.run_for(6 * 3600)
    announce(nodes[0], b"name", 1)
    assert lookup(nodes[5], b"name") == [where(nodes[0], 1)]
