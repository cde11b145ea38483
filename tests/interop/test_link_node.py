"""Our link against real Node grapes, and Node's link against ours."""

from __future__ import annotations

import pytest
import pytest_twisted

from grenache_py.link import GrapeRefused, ItemKey, Link
from tests.interop.node_peer import NodeError, NodePeer
from tests.interop.node_programs import NodeGrape, free_port
from tests.support import rings
from tests.support.rings import REACTOR

pytestmark = [pytest.mark.interop, pytest.mark.network]
KEY = ItemKey.from_seed(bytes(range(32)))


async def node_ring(node_peers, processes, **conf) -> list[NodeGrape]:
    """Two Node grapes that know each other."""
    ports = [free_port(), free_port()]
    grapes = [
        NodeGrape(node_peers, processes, bootstrap=[f"127.0.0.1:{other}"], dht_port=port, **conf)
        for port, other in (ports, ports[::-1])
    ]
    for grape in grapes:
        await grape.started()
    return grapes


@pytest_twisted.ensureDeferred
async def test_our_link_on_node_grapes(node_peers, processes) -> None:
    grapes = await node_ring(node_peers, processes, verifier=True)
    one, two = (Link(f"http://127.0.0.1:{grape.api_port}", REACTOR) for grape in grapes)
    try:
        assert await one.lookup("svc") == []
        assert await one.announce("svc", 1337) == 1
        assert await two.lookup("svc") == ["127.0.0.1:1337"]
        assert await one.announce("dïenst ✓", 80) == 1
        assert await two.lookup("dïenst ✓") == ["127.0.0.1:80"]

        target = await one.put("Hello World!")
        assert target == "e5f96f6f38320f0f33959cb4d3d656452117aadb"
        item = await two.get(target)
        assert item is not None
        assert item.value == "Hello World!"
        assert await two.get("0" * 40) is None

        for n, salt in enumerate(["", "foobar", "[65]", '"q"', b"\xff\x00", "s" * 64]):
            target = await one.put_mutable(f"v{n}", KEY, 5, salt=salt)
            item = await two.get(target, salt=salt)
            assert item is not None, salt
            assert (item.value, item.seq) == (f"v{n}", 5)
        for seq, cas, status in [(4, None, 302), (6, 3, 301)]:
            with pytest.raises(GrapeRefused) as refused:
                await one.put_mutable("again", KEY, seq, cas=cas)
            assert refused.value.status == status
        assert await one.put_mutable("newer", KEY, 6, cas=5)
    finally:
        await one.close()
        await two.close()


@pytest_twisted.ensureDeferred
async def test_our_link_on_a_lonely_node_grape_and_over_its_death(node_peers, processes) -> None:
    lonely = await NodeGrape(node_peers, processes, bootstrap=[]).started()
    ring = await node_ring(node_peers, processes)
    urls = [f"http://127.0.0.1:{grape.api_port}" for grape in (lonely, *ring)]
    alone, link = Link(urls[0], REACTOR), Link(urls, REACTOR)
    try:
        with pytest.raises(GrapeRefused, match=r"No nodes to query") as refused:
            await alone.announce("svc", 1)
        assert refused.value.lonely
        assert await link.announce("svc", 1) == 1, "the next grape has neighbours"
        lonely.kill()
        assert await link.lookup("svc") == ["127.0.0.1:1"]
        ring[0].kill()
        assert await link.lookup("svc", fresh=True) == ["127.0.0.1:1"]
    finally:
        await alone.close()
        await link.close()


@pytest_twisted.ensureDeferred
async def test_nodes_link_on_our_grapes(node_peers, processes) -> None:
    async with rings.ring(2, "node link") as grapes:
        one, two = [
            await NodePeer(node_peers, processes, f"http://127.0.0.1:{grape.api_port}").started()
            for grape in grapes
        ]
        assert await one.ask("link", method="announce", args=["svc", 1337]) == 1
        assert await two.ask("link", method="lookup", args=["svc"]) == ["127.0.0.1:1337"]
        with pytest.raises(NodeError, match=r"ERR_GRAPE_LOOKUP_EMPTY"):
            await two.ask("link", method="lookup", args=["nobody"])
        target = await one.ask("link", method="put", args=[{"v": "from node"}])
        found = await two.ask("link", method="get", args=[target])
        assert found["v"] == "from node"
        assert await two.ask("link", method="get", args=["0" * 40]) is None
        await one.ask("startAnnouncing", name="kept", port=99, interval=1000)
        assert await two.ask("link", method="lookup", args=["kept"]) == ["127.0.0.1:99"]

        ours = Link(f"http://127.0.0.1:{grapes[1].api_port}", REACTOR)
        item = await ours.get(target)
        assert item is not None
        assert item.value == "from node"
        await ours.close()
