"""In which order the addresses of a service are tried."""

from __future__ import annotations

import random

from grenache_py.rpc.destinations import Destinations


def test_dead_addresses_are_tried_last_and_forgiven() -> None:
    addresses = [f"h:{n}" for n in range(1, 9)]
    destinations = Destinations(random.Random(1), cool_down_s=1)
    first = {destinations.order(addresses, 0)[0] for _ in range(200)}
    assert first == set(addresses), "every address has its turn"
    for address in addresses[:7]:
        destinations.failed(address, 0)
    assert destinations.order(addresses, 0.5)[0] == "h:8"
    assert sorted(destinations.order(addresses, 0.5)) == addresses
    destinations.succeeded("h:1")
    assert {one for _ in range(99) for one in destinations.order(addresses, 0.5)[:2]} == {
        "h:1",
        "h:8",
    }
    assert {destinations.order(addresses, 1)[0] for _ in range(200)} == set(addresses)


def test_suspects_are_bounded() -> None:
    destinations = Destinations(random.Random(1), suspects_max=3)
    for n in range(100):
        destinations.failed(f"h:{n}", 0)
    assert len(destinations._suspects) == 3
