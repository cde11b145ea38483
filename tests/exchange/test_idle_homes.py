"""What idle homes cost a peer, counted as work: no clock is asked."""

from __future__ import annotations

from benchmarks.exchange.idle_homes import Crowd
from grenache_py.exchange.peers.mesh import D_HIGH

HOMES, LINKS = 100, 12


def crowd_of(homes: int, links: int) -> Crowd:
    """A peer with links to neighbours that told it of so many homes, all silent by now."""
    crowd = Crowd(homes, links, real=False)
    crowd.gather(beats=2)
    return crowd


def test_a_heartbeat_is_pushed_over_the_mesh_and_announced_to_some_others() -> None:
    crowd = crowd_of(HOMES, LINKS)
    crowd.live(10)
    gossip, before = crowd.node.peering.gossip, crowd.node.peering.gossip.published
    _, sent = crowd.spent(10)
    beats = 10 * HOMES / crowd.period_s
    assert gossip.published - before < beats * D_HIGH
    assert sent < 100_000
    assert all(origin.visible for origin in crowd.node.replica.origins.values())
    crowd.fall_silent()
    assert 25 <= crowd.until_hidden() <= 27, "the lease, and what clocks may differ by"
