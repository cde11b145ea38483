"""What an attacker with many addresses gets of a node's sight (docs/dht.rst has the figures)."""

from __future__ import annotations

import pytest

from tests.sim.dht.eclipse import eclipse
from tests.sim.dht.network import SimNetwork
from tests.sim.dht.test_ring import SEED, announce, lookup, where


@pytest.mark.parametrize(("size", "networks"), [(60, 1), (60, 6)])
def test_an_attacker_gets_one_place_for_each_network(size: int, networks: int) -> None:
    outcome = eclipse(size, networks, near_victim=False, honest=30)
    assert outcome.found
    assert outcome.stored <= networks / 20 + 0.01


def test_ids_near_the_victim_hide_nothing_from_it() -> None:
    outcome = eclipse(60, 6, near_victim=True, honest=30)
    assert outcome.found
    assert outcome.closest < 0.4


def test_a_ring_in_one_public_network_is_a_ring_like_any_other() -> None:
    """Also on one public address, with as many ports."""
    for host in ("60.1.1.{}", "60.1.1.1"):
        network = SimNetwork(SEED)
        first = (host.format(1), 20001)
        ring = [network.add(address=first)]
        for number in range(2, 31):
            ring.append(
                network.add(address=(host.format(number), 20000 + number), bootstrap=[first])
            )
            network.run_for(0.1)
        network.run_for(60)
        for port, node in enumerate(ring[:5], start=1000):
            assert announce(node, b"name:%d" % port, port) == 20
            for asker in ring[10:20]:
                assert lookup(asker, b"name:%d" % port) == [where(node, port)]
