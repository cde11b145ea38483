"""Who is pushed to, who is only told, and how the mesh keeps its size."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import (
    D_HIGH,
    D_LOW,
    FLOOD_PEERS_MAX,
    LINE_BYTES,
    SAID_BYTES_MAX,
    SAID_LINES_MAX,
    USELESS_S,
    D,
    Mesh,
    pack,
)
from grenache_py.exchange.signed_log.merkle import Signed


def links(count: int, **more: Any) -> list[PeerLink]:
    nothing: Any = None
    return [
        PeerLink(n, n % 2 == 0, "", 0.0, nothing, nothing, key=str(n), **more) for n in range(count)
    ]


def entry(size: int = 10) -> Signed:
    return Signed("x" * size, b"", 0, 1, b"")


def gossip() -> Mesh:
    return Mesh(random.Random(1))


def test_an_entry_goes_to_everybody_but_its_sender_and_those_that_have_it() -> None:
    everybody, talk = links(4), gossip()
    everybody[2].told["home"] = (1, 7, "")
    talk.relay(entry(), "home", (1, 7, ""), source=0)
    assert [link for link, _ in talk.lines_for(everybody)] == [1, 3]
    assert talk.lines_for(everybody) == [], "and only once"


def test_a_copy_of_what_was_passed_on_is_known_without_reading_it() -> None:
    everybody, talk = links(3), gossip()
    talk.relay(entry(), "home", (1, 7, ""), source=0)
    (_, line), _ = talk.lines_for(everybody)
    copy, *other = bytes(line[:-1]), bytes(line[:-2]), line.replace(b"x", b"y", 1)[:-1]
    assert talk.repeats(copy) and talk.repeats(copy)
    assert not any(map(talk.repeats, other))
    assert talk.repeated == 2
    talk.forget("home")
    assert not talk.repeats(copy), "its home was forgotten"


def test_what_waits_of_a_home_that_is_forgotten_is_not_passed_on() -> None:
    everybody, talk = links(2), gossip()
    talk.relay(entry(), "home", (1, 7, ""), source=0)
    talk.relay(entry(), "other", (1, 3, ""), source=0)
    talk.forget("home")
    assert [(link, talk.published) for link, _ in talk.lines_for(everybody)] == [(1, 1)]
    assert talk.moved_heads() == {"other": (1, 3, "")}


def test_the_lines_that_are_remembered_are_few_and_short() -> None:
    everybody, talk = links(1), gossip()
    sent = []
    for seq in range(SAID_LINES_MAX + 1):
        talk.relay(entry(10 + seq), "home", (1, seq + 1, ""), source=-1)
        sent += [line[:-1] for _, line in talk.lines_for(everybody)]
    assert not talk.repeats(sent[0])
    assert all(map(talk.repeats, sent[1:]))
    talk.relay(entry(SAID_BYTES_MAX), "home", (1, 1_000, ""), source=-1)
    ((_, long),) = talk.lines_for(everybody)
    assert not talk.repeats(long[:-1])
    for seq in (1_001, 1_002):
        talk.relay(entry(), "home", (1, seq, ""), source=-1)
    ((_, two),) = talk.lines_for(everybody)
    assert not talk.repeats(two[:-1]), "each counts as one entry"


def test_links_that_get_the_same_share_one_line() -> None:
    everybody, talk = links(5), gossip()
    for seq in (1, 2, 3):
        talk.relay(entry(), "home", (1, seq, ""), source=-1)
    sent = talk.lines_for(everybody)
    assert len(sent) == 5
    assert len({id(line) for _, line in sent}) == 1
    assert len(json.loads(sent[0][1])["params"]["entries"]) == 3


def test_in_a_large_network_only_the_mesh_is_pushed_to_but_own_entries_go_to_all() -> None:
    everybody, talk = links(20), gossip()
    graft, _, lazy = talk.heartbeat(everybody, FLOOD_PEERS_MAX + 1, now=1.0)
    assert len(graft) == D
    assert lazy
    assert not {link.id for link in graft} & {link.id for link in lazy}
    talk.relay(entry(), "another", (1, 1, ""), source=graft[0].id)
    assert {n for n, _ in talk.lines_for(everybody)} == {link.id for link in graft[1:]}
    talk.relay(entry(), "mine", (1, 1, ""), source=-1)
    assert len(talk.lines_for(everybody)) == 20


def test_the_mesh_comes_back_to_its_size_from_below_and_above() -> None:
    everybody, talk = links(20), gossip()
    for link in everybody[: D_LOW - 1]:
        link.mesh = True
    talk.heartbeat(everybody, 1000, now=1.0)
    assert sum(link.mesh for link in everybody) == D
    for link in everybody[: D_HIGH + 3]:
        link.mesh = True
    _, prune, _ = talk.heartbeat(everybody, 1000, now=2.0)
    assert sum(link.mesh for link in everybody) == D
    kept = [link for link in everybody if link.mesh]
    assert sum(link.outbound for link in kept) >= D // 2, "our own dials are kept first"
    assert all(link.mesh_again > 2.0 for link in prune)


def test_who_was_pruned_may_not_come_back_at_once() -> None:
    (link,), talk = links(1), gossip()
    talk.pruned(link, 60, now=0.0)
    assert talk.grafted(link, [link], now=10.0) == pytest.approx(50.0)
    assert not link.mesh
    assert talk.grafted(link, [link], now=61.0) is None
    assert link.mesh


def test_a_full_mesh_refuses_more() -> None:
    everybody, talk = links(30), gossip()
    agreed = [link for link in everybody if talk.grafted(link, everybody, now=0.0) is None]
    assert D_HIGH < len(agreed) < 30


def test_heads_that_moved_are_told_for_two_heartbeats() -> None:
    talk = gossip()
    talk.relay(entry(), "home", (1, 5, "h"), source=3)
    assert talk.moved_heads() == {"home": (1, 5, "h")}
    assert talk.moved_heads() == {"home": (1, 5, "h")}
    assert talk.moved_heads() == {}


def test_lines_stay_below_the_limit_and_nothing_is_lost() -> None:
    sizes = (10, 14_000, 14_000, 14_000, 14_000, 14_000, 10, 10)
    raws = [json.dumps({"payload": "x" * size}).encode() for size in sizes]
    lines = pack(raws)
    assert all(len(line) <= LINE_BYTES + 200 for line in lines)
    together = [e for line in lines for e in json.loads(line)["params"]["entries"]]
    assert together == [json.loads(raw) for raw in raws]


def test_a_link_of_the_mesh_that_is_the_first_with_nothing_for_a_minute_is_replaced() -> None:
    everybody, talk = links(20), gossip()
    homes = FLOOD_PEERS_MAX + 1
    graft, _, _ = talk.heartbeat(everybody, homes, now=100.0)
    *useful, useless = graft
    for link in useful:
        link.delivered_at = 100.0 + USELESS_S - 1.0
    assert talk.heartbeat(everybody, homes, now=99.0 + USELESS_S)[:2] == ([], [])
    graft, prune, _ = talk.heartbeat(everybody, homes, now=100.0 + USELESS_S)
    assert prune == [useless] and not useless.mesh
    assert len(graft) == 1 and graft[0] is not useless and graft[0].mesh
    assert sum(link.mesh for link in everybody) == D
    # The new one has its minute too; and while nothing is said at all, nobody is blamed.
    for link in useful:
        link.delivered_at = 150.0 + USELESS_S
    assert talk.heartbeat(everybody, homes, now=150.0 + USELESS_S)[:2] == ([], [])
    assert talk.heartbeat(everybody, homes, now=1_000.0 + USELESS_S)[:2] == ([], [])
