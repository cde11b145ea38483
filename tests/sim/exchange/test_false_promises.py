"""Neighbours that promise what they do not have (docs/design/sync.rst#distrust)."""

from __future__ import annotations

from typing import Any

from tests.sim.exchange.evil import EvilPeer
from tests.sim.exchange.network import Peer
from tests.sim.exchange.test_network import digest, place, quiet_world
from tests.sim.exchange.world import World

#: Orders that a joiner has to learn of.
ORDERS = 3_000
PROMISERS = 4


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


def joined_after(promisers: int) -> tuple[World, Peer, float]:
    """How long a joiner takes to hold every order, 50 s at most."""
    world = quiet_world(2)
    old = world.peers[0]
    for i in range(ORDERS):
        place(old, "sell", 10, 1100 + i % 50)
        if i % 50 == 0:
            world.clock.run_until(world.clock.now + 0.1)
    world.clock.run_until(world.clock.now + 6.0)
    late = world.add_peer("late", 2)
    late.start()
    homes = [peer.identity.key for peer in world.peers]
    for number in range(promisers):
        evil = Promiser(world, number, homes)
        evil.dial(late)
        world.clock.after(0.3, evil.promise)
    began = world.clock.now
    world.clock.run_until(began + 0.3)
    assert late.node is not None
    assert len([key for key in late.node.peering.by_key if key not in homes]) == promisers
    while world.clock.now < began + 50.0:
        if len(late.node.live.set) == ORDERS:
            break
        world.clock.run_until(world.clock.now + 0.1)
    print(
        f"{promisers} promisers: {len(late.node.live.set)} orders after {world.clock.now - began:.1f} s"
    )
    return world, late, world.clock.now - began


def test_four_neighbours_that_promise_and_never_answer_hold_a_joiner_up_for_seconds() -> None:
    world, late, seconds = joined_after(PROMISERS)
    assert seconds < 10.0
    assert digest(late) == digest(world.peers[0])
    # What they go on promising does not make it doubt what it has.
    world.clock.run_until(world.clock.now + 20.0)
    assert late.node is not None

    assert late.node.sync.synced
    assert joined_after(0)[2] > seconds / 10
