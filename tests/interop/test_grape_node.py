"""Our grapes and Node's in one ring: each finds, keeps and forgets what the other says."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from nacl.signing import SigningKey

from grenache_py.dht.items import signed_bytes
from grenache_py.grape.service import GrapeService
from tests.interop.node_programs import NodeGrape, Processes, free_port
from tests.support import rings
from tests.support.rings import make_grape, post, until

pytestmark = [pytest.mark.interop, pytest.mark.network]
KEY = SigningKey(b"\x07" * 32)


@asynccontextmanager
async def running(*grapes: GrapeService) -> AsyncIterator[None]:
    """Our grapes, started and in the end stopped."""
    for grape in grapes:
        grape.startService()
    try:
        yield
    finally:
        for grape in grapes:
            if grape.running:
                await grape.stopService()


def contact(grape: Any) -> str:
    return f"127.0.0.1:{grape.dht_port}"


def signed(value: str, seq: int, salt: str = "", **more: object) -> dict[str, object]:
    """The data of a put of a mutable item."""
    bencoded = f"{len(value)}:{value}".encode()
    sig = KEY.sign(signed_bytes(bencoded, seq, salt.encode())).signature
    fields = {"v": value, "k": KEY.verify_key.encode().hex(), "sig": sig.hex(), "seq": seq}
    return fields | ({"salt": salt} if salt else {}) | more


@asynccontextmanager
async def mixed_ring(folder: Path, processes: Processes) -> AsyncIterator[list[Any]]:
    """Two of each, started in turns, all with the first two as bootstrap nodes."""
    first_port, second_port = free_port(), free_port()
    known = [f"127.0.0.1:{first_port}", f"127.0.0.1:{second_port}"]
    ours = [make_grape(1, dht_port=second_port, bootstrap=tuple(known))]
    ours.append(make_grape(2, bootstrap=tuple(known)))
    theirs = [NodeGrape(folder, processes, bootstrap=known, command=True, dht_port=first_port)]
    await theirs[0].started()
    async with running(ours[0]):
        theirs.append(await NodeGrape(folder, processes, bootstrap=known, verifier=True).started())
        async with running(ours[1]):
            await until(lambda: all(each.dht.status().contacts_good == 3 for each in ours))
            yield [theirs[0], ours[0], theirs[1], ours[1]]


@pytest_twisted.ensureDeferred
async def test_what_one_announces_all_find(node_peers: Path, processes: Processes) -> None:
    async with mixed_ring(node_peers, processes) as grapes:
        for number, (here, there) in enumerate(itertools.product(grapes, grapes)):
            name, port = f"{number}:rest:util", 4000 + number
            assert await post(here.api_port, "announce", [name, port]) == 3
            assert await post(there.api_port, "lookup", name) == [f"127.0.0.1:{port}"]


@pytest_twisted.ensureDeferred
async def test_several_services_of_one_name_are_all_found(
    node_peers: Path, processes: Processes
) -> None:
    async with mixed_ring(node_peers, processes) as grapes:
        for number, grape in enumerate(grapes):
            assert await post(grape.api_port, "announce", ["svc", 4000 + number]) == 3
        everywhere = {f"127.0.0.1:{4000 + number}" for number in range(4)}
        for grape in grapes:
            assert set(await post(grape.api_port, "lookup", "svc")) == everywhere


@pytest.mark.parametrize("name", ["a", "sërvicé-日本", "n" * 21, "n" * 300, "a\0b", " blank "])
@pytest_twisted.ensureDeferred
async def test_names_of_any_length_and_script_are_the_same_key(
    node_peers: Path, processes: Processes, name: str
) -> None:
    node = await NodeGrape(node_peers, processes, bootstrap=[]).started()
    ours = make_grape(bootstrap=(contact(node),))
    async with running(ours):
        await until(lambda: ours.dht.status().contacts_good)
        assert await post(ours.api_port, "announce", [name, 5]) == 1
        assert await post(node.api_port, "announce", [name, 6]) == 1
        for grape in (ours, node):
            found = await post(grape.api_port, "lookup", name)
            assert set(found) == {"127.0.0.1:5", "127.0.0.1:6"}


@pytest_twisted.ensureDeferred
async def test_what_one_stores_all_can_get(node_peers: Path, processes: Processes) -> None:
    async with mixed_ring(node_peers, processes) as grapes:
        values: list[Any] = ["Hello World!", "", "wörld", -5, ["a", 1, ["b"]], {"b": 1, "a": "x"}]
        for number, value in enumerate(values):
            here = grapes[number % 4]
            hash = await post(here.api_port, "put", {"v": value})
            assert len(hash) == 40, hash
            shown = {str: value, int: "-5", list: "a,1,b", dict: "[object Object]"}[type(value)]
            for there in grapes:
                for cache in (True, False):
                    data = {"hash": hash, "cache": cache}
                    assert (await post(there.api_port, "get", data))["v"] == shown


@pytest_twisted.ensureDeferred
async def test_mutable_items_pass_between_nodes_that_verify(
    node_peers: Path, processes: Processes
) -> None:
    async with mixed_ring(node_peers, processes) as grapes:
        _, ours, node, other = grapes  # the first has no verifier
        writers = itertools.cycle([ours, node])
        for seq, salt in itertools.product((1, 2, 3), ("", "a salt")):
            value, writer = f"version {seq}", next(writers)
            hash = await post(writer.api_port, "put", signed(value, seq, salt))
            assert len(hash) == 40, hash
            for reader in (ours, node, other):
                # Asked with cache false for an item it has, a Node grape damages its own copy.
                data = {"hash": hash, "salt": salt, "cache": reader is node}
                found = await post(reader.api_port, "get", data)
                assert (found["v"], found["seq"]) == (value, seq)
        for seq, grape in ((4, ours), (5, node)):
            assert len(await post(grape.api_port, "put", signed("newer", seq))) == 40
            refused = await post(grape.api_port, "put", signed("old", 2))
            assert refused == "302 sequence number less than current"
            refused = await post(grape.api_port, "put", signed("new", 9, cas=1))
            assert refused == "301 CAS mismatch, re-read and try again"
            forged = signed("forged", 9) | {"sig": "00" * 64}
            assert await post(grape.api_port, "put", forged) == "All queries failed"


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("knows", ["ours", "theirs"])
@pytest_twisted.ensureDeferred
async def test_they_join_whichever_starts_first(
    node_peers: Path, processes: Processes, first: str, knows: str
) -> None:
    """One of the two knows the other. (Node, alone at first, tries again only when asked.)"""
    node_port, our_port = free_port(), free_port()
    node_knows = [f"127.0.0.1:{our_port}"] if knows == "theirs" else []
    we_know = (f"127.0.0.1:{node_port}",) if knows == "ours" else ()
    ours = make_grape(dht_port=our_port, bootstrap=we_know)

    async def start_node() -> NodeGrape:
        node = NodeGrape(node_peers, processes, bootstrap=node_knows, dht_port=node_port)
        return await node.started()

    if first == "theirs":
        node = await start_node()
        await rings.sleep(0.3)
    async with running(ours):
        if first == "ours":
            await rings.sleep(0.3)
            node = await start_node()
        if knows == "theirs":
            await post(node.api_port, "lookup", "anything")
        await until(lambda: ours.dht.status().contacts_good == 1)
        assert await post(ours.api_port, "announce", ["svc", 5]) == 1
        assert await post(node.api_port, "lookup", "svc") == ["127.0.0.1:5"]


@pytest_twisted.ensureDeferred
async def test_a_service_that_stops_announcing_is_forgotten_by_all(
    node_peers: Path, processes: Processes
) -> None:
    node = await NodeGrape(node_peers, processes, bootstrap=[], dht_peer_maxAge=1500).started()
    ours = make_grape(bootstrap=(contact(node),), dht_peer_max_age_s=1.5)
    async with running(ours):
        await until(lambda: ours.dht.status().contacts_good)
        for grape, port in ((ours, 5), (node, 6)):
            assert await post(grape.api_port, "announce", ["svc", port]) == 1
        both = {"127.0.0.1:5", "127.0.0.1:6"}
        for grape in (ours, node):
            assert set(await post(grape.api_port, "lookup", "svc")) == both
        await rings.sleep(4.5)
        for grape in (ours, node):
            assert await post(grape.api_port, "lookup", "svc") == []


@pytest_twisted.ensureDeferred
async def test_a_restarted_grape_of_ours_is_known_at_once(
    node_peers: Path, processes: Processes, tmp_path: Path
) -> None:
    """Restarted, a Node grape leaves its neighbours with five minutes of "All queries failed"."""
    node = await NodeGrape(node_peers, processes, bootstrap=[]).started()
    identity = {"bootstrap": (contact(node),), "node_id_file": str(tmp_path / "grape.key")}
    before = make_grape(1, dht_port=free_port(), **identity)
    async with running(before):
        await until(lambda: before.dht.status().contacts_good)
        for name in rings.names("svc", 20):
            assert await post(node.api_port, "announce", [name, 5]) == 1
    after = make_grape(2, dht_port=before.dht_port, **identity)
    async with running(after):
        await until(lambda: after.dht.status().contacts_good)
        for name in rings.names("svc", 20):
            assert await post(node.api_port, "announce", [name, 5]) == 1
            assert await post(after.api_port, "lookup", name) == ["127.0.0.1:5"]


@pytest_twisted.ensureDeferred
async def test_killed_members_slow_nobody_down_and_come_back(
    node_peers: Path, processes: Processes
) -> None:
    async with mixed_ring(node_peers, processes) as (first, ours, second, other):
        for name in rings.names("svc", 5):
            assert await post(other.api_port, "announce", [name, 5]) == 3
        second.kill()
        for name in rings.names("svc", 5):
            # Node's Link gives up after 2.5 s.
            assert await post(ours.api_port, "lookup", name, 2.0) == ["127.0.0.1:5"]
            assert await post(ours.api_port, "announce", [name, 6], 2.0) >= 2
        back = NodeGrape(
            node_peers, processes, bootstrap=[contact(first), contact(ours)],
            dht_port=second.dht_port, api_port=second.api_port, verifier=True,
        )  # fmt: skip
        await back.started()
        for name in rings.names("svc", 5):
            assert await post(ours.api_port, "announce", [name, 6], 2.0) >= 2
            found = await post(back.api_port, "lookup", name)
            assert set(found) == {"127.0.0.1:5", "127.0.0.1:6"}
