"""``docs/exchange-wire.rst`` is complete, and its examples are what peers really say."""

from __future__ import annotations

from pathlib import Path

from tests.sim.exchange_world import World
from tests.sim.wire_examples import examples, shown

DOCUMENT = Path(__file__).parents[2] / "docs" / "exchange-wire.rst"


def test_every_method_of_the_peer_port_is_documented() -> None:
    world = World(1, peers=2, faults=())
    world.peers[0].start()
    node = world.peers[0].node
    assert node is not None
    text = DOCUMENT.read_text()
    for method in node.peering.methods:
        assert f"``{method}``" in text, method


def test_the_examples_are_what_a_run_says() -> None:
    squeezed = "".join(DOCUMENT.read_text().split())
    for method, lines in examples().items():
        for line in lines:
            if line:
                assert "".join(shown(line).split()) in squeezed, f"{method}: print them anew"
