"""Neighbours that promise what they do not have (docs/design/sync.rst#distrust)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.exchange.evil import EvilPeer
from tests.sim.exchange.network import Peer
from tests.sim.exchange.test_network import digest, place, quiet_world
from tests.sim.exchange.world import World

#: Orders that a joiner has to learn of.
ORDERS = 3_000
PROMISERS = 4
#: Homes that do not exist; they promise more logs than anybody honest.
MADE_UP = [f"{number:064x}" for number in range(20)]


class Promiser(EvilPeer):
    """Tells once a second of heads far beyond those that exist, and answers nothing but pings."""

    def __init__(self, world: World, number: int, homes: list[str]) -> None:
        super().__init__(f"evil{number}", world.network, number)
        self.homes = homes
        self.on_message = self._answer

    def promise(self) -> None:
        """Say it, now and every second."""
        self.notify("sync.heads", heads=[[home, 1, 10**6, "ab" * 32] for home in self.homes])
        self.network.clock.after(1.0, self.promise)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        if message.get("method") != "peer.ping":
            return None
        return {"jsonrpc": "2.0", "id": message["id"], "result": {}}


def joined_after(promisers: int, *, dials: bool) -> tuple[World, Peer, float]:
    """
    How long a joiner takes to hold every order, 50 s at most.

    Args:
        promisers: how many are linked to it before the first honest peer is.
        dials: the joiner dials the honest peer, or is dialled by it.
    """
    world = quiet_world(2, seed=1)
    old = world.peers[0]
    for i in range(ORDERS):
        place(old, "sell", 10, 1100 + i % 50)
        if i % 50 == 0:
            world.clock.run_until(world.clock.now + 0.1)
    world.clock.run_until(world.clock.now + 6.0)
    late = world.add_peer("late", 0)
    late.start()
    homes = [peer.identity.key for peer in world.peers]
    for number in range(promisers):
        evil = Promiser(world, number, homes + MADE_UP)
        evil.dial(late)
        world.clock.after(0.5, evil.promise)
    world.clock.run_until(world.clock.now + 1.0)
    assert late.node is not None
    assert len(late.node.peering.by_key) == promisers
    began = world.clock.now
    dialler, dialled = (late, old) if dials else (old, late)
    dialler.do(lambda node, now: node.connect(dialled.address, now))
    while world.clock.now < began + 50.0 and len(late.node.live.set) < ORDERS:
        world.clock.run_until(world.clock.now + 0.1)
    held, seconds = len(late.node.live.set), world.clock.now - began
    print(f"{promisers} promisers: {held} orders after {seconds:.1f} s")
    return world, late, seconds


def held_up(*, dials: bool) -> None:
    """Four promisers hold a joiner up for seconds, and then not at all."""
    world, late, seconds = joined_after(PROMISERS, dials=dials)
    assert seconds < (3.5 if dials else 10.0), "it was 50"
    assert digest(late) == digest(world.peers[0])
    # What they go on promising does not make it doubt what it has.
    world.clock.run_until(world.clock.now + 20.0)
    assert late.node is not None
    for _ in range(40):
        assert late.node.sync.synced
        world.clock.run_until(world.clock.now + 1.0)


@pytest.mark.parametrize("dials", [True, False])
def test_four_neighbours_that_promise_and_never_answer_hold_a_joiner_up_for_seconds(
    dials: bool,
) -> None:
    held_up(dials=dials)
