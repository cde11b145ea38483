"""``docs/exchange-wire.rst`` is complete, and its examples are what peers really say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sim.exchange.wire_examples import examples
from tests.sim.exchange.world import World

DOCUMENT = Path(__file__).parents[3] / "docs" / "exchange-wire.rst"


def members(value: Any) -> set[str]:
    """All member names in a message, those inside payloads too."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, list):
        return {name for item in value for name in members(item)}
    if isinstance(value, dict):
        return set(value) | members(list(value.values()))
    return set()


def test_every_method_of_the_peer_port_is_documented() -> None:
    world = World(1, peers=2, faults=())
    world.peers[0].start()
    node = world.peers[0].node
    assert node is not None
    text = DOCUMENT.read_text()
    shown = {name.split()[0] for name in examples()}
    for method in node.peering.methods:
        assert f"``{method}``" in text, method
        assert method in shown, method


def test_every_member_a_run_says_is_shown() -> None:
    text = DOCUMENT.read_text()
    for name, lines in examples().items():
        method = name.split()[0]
        assert f'"method": "{method}"' in " ".join(text.split()), method
        for line in lines:
            for member in members(json.loads(line)) if line else ():
                assert f'"{member}"' in text, f"{name}: {member}"
