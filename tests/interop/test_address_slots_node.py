"""Address records of the exchange through real Node grapes."""

from __future__ import annotations

import random

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from grenache_py.exchange.daemon.address_slots import AddressSlots
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Signed
from grenache_py.link import Link
from tests.exchange.daemon.test_address_slots import signed
from tests.interop.test_link_node import node_ring
from tests.support import rings
from tests.support.rings import REACTOR

pytestmark = [pytest.mark.interop, pytest.mark.network]


@pytest_twisted.ensureDeferred
async def test_a_record_that_one_peer_puts_is_read_by_another(node_peers, processes) -> None:
    grapes = await node_ring(node_peers, processes, verifier=True)
    links = [Link(f"http://127.0.0.1:{grape.api_port}", REACTOR) for grape in grapes]
    one, other = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
    found: list[str] = []

    def take(record: Signed) -> str:
        found.append(record.payload)
        return one.key

    def slots(key: str) -> AddressSlots:
        return AddressSlots(REACTOR, random.Random(1), "test", key, take)

    record = signed(one, "10.0.0.9:7071", 1_790_000_000.0).wire()
    tasks = [
        Deferred.fromCoroutine(slots(one.key).write_on(links[0], lambda: record)),
        Deferred.fromCoroutine(slots(other.key).read_on(links[1], lambda: True)),
    ]
    try:
        for _ in range(1200):
            if found:
                break
            await rings.sleep(0.05)
        assert '"address":"10.0.0.9:7071"' in found[0]
    finally:
        for task in tasks:
            task.addErrback(lambda _: None)
            task.cancel()
        for link in links:
            await link.close()
