"""Places for networks: what is counted, who comes first, and what a table does about a crowd."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.dht.buckets import REPLACEMENTS_MAX
from grenache_py.dht.diversity import NETWORK_PLACES, network_of, spread
from grenache_py.dht.lookup import CANDIDATES_MAX, Lookup
from grenache_py.dht.routing_table import NETWORK_CONTACTS_MAX, RoutingTable
from grenache_py.wire.krpc import Address, compact_address, pack_host
from tests.dht.test_routing_table import NOW, OWN, near

#: Ids of one bucket that does not split: they share no bit with OWN.
FAR = [near(0, tail) for tail in range(400)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("60.1.2.3", "60.1.2.200", True),
        ("60.1.2.3", "60.1.3.3", False),
        ("172.15.0.1", "172.15.0.2", True),
        ("192.167.1.1", "192.167.1.2", True),
        ("100.63.0.1", "100.63.0.1", True),
        ("2001:db8:0:1::5", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::5", "2001:db8:0:2::5", False),
    ],
)
def test_a_network_is_a_24_or_a_64(one: str, other: str, same: bool) -> None:
    first, second = network_of(pack_host(one)), network_of(pack_host(other))
    assert first is not None
    assert (first == second) is same


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.9.9",
        "192.168.0.7",
        "169.254.1.1",
        "100.64.0.1",
        "100.127.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
    ],
)
def test_loopback_and_private_networks_are_not_counted(host: str) -> None:
    assert network_of(pack_host(host)) is None


@attrs.frozen
class Node:
    distance: int
    network: bytes | None


@given(st.lists(st.sampled_from([None, b"a", b"b", b"c"]), max_size=40), st.integers(1, 20))
def test_the_first_of_each_network_comes_before_the_rest(networks: list, count: int) -> None:
    nodes = [Node(distance, network) for distance, network in enumerate(networks)]
    firsts, rest = [], []
    for node in nodes:
        known = sum(each.network == node.network for each in firsts)
        (firsts if node.network is None or known < NETWORK_PLACES else rest).append(node)
    assert spread(nodes, count) == (firsts + rest)[:count]


def crowd(count: int, net: str = "200.0.0") -> list[Address]:
    return [(f"{net}.{number % 250 + 1}", 6000 + number // 250) for number in range(count)]


def enter(table: RoutingTable, ids: list[bytes], addresses: list[Address]) -> None:
    for node_id, address in zip(ids, addresses, strict=False):
        table.heard_answer(node_id, address, 0.01, NOW)


def test_in_a_full_bucket_a_crowd_gives_way_to_other_networks() -> None:
    table = RoutingTable(OWN, 20, NOW)
    enter(table, FAR[:20], crowd(20))
    assert len(table) == 20, "who is alone has all the places"
    others: list[Address] = [(f"60.0.{number}.1", 20001) for number in range(30)]
    enter(table, FAR[20:50], others)
    held = [contact.address for contact in table]
    assert len(held) == 20
    assert sum(address in others for address in held) == 20 - NETWORK_PLACES
    assert table.by_address[crowd(1)[0]], "those that were here first stay longest"


def test_a_crowd_takes_no_place_in_a_full_bucket() -> None:
    table = RoutingTable(OWN, 20, NOW)
    others: list[Address] = [(f"60.0.{number}.1", 20001) for number in range(20)]
    enter(table, FAR[:20], others)
    enter(table, FAR[20:60], crowd(40))
    assert {contact.address for contact in table} == set(others)
    newcomer: Address = ("70.1.1.1", 1)
    enter(table, [FAR[70]], [newcomer])
    replacements = table.buckets[0].replacements
    assert len(replacements) == REPLACEMENTS_MAX
    assert FAR[70] in replacements
    enter(table, FAR[71:90], crowd(19, "200.0.1"))
    assert FAR[70] in replacements, "a crowd pushes only its own out of the waiting room"
    gone = table.by_id[FAR[0]]
    table.fell_silent(gone)
    table.fell_silent(gone)
    heirs = [contact.address for contact in table if contact.address not in others]
    assert len(heirs) == 1
    assert heirs[0] in [newcomer, *crowd(19, "200.0.1")]


def test_one_network_has_a_hundred_contacts_at_most() -> None:
    table = RoutingTable(OWN, 20, NOW)
    ids = [near(depth, tail) for depth in range(20) for tail in range(1, 20)]
    enter(table, ids, crowd(len(ids)))
    for node_id, address in zip(ids, crowd(len(ids)), strict=True):
        table.heard_query(node_id, address, NOW)
    assert len(table) == NETWORK_CONTACTS_MAX
    for contact in list(table)[:3]:
        table.fell_silent(contact)
        table.fell_silent(contact)
    enter(table, [near(30, 1)], [("200.0.0.251", 1)])
    assert near(30, 1) in table.by_id, "and a new one when one of them has gone"


def test_private_networks_are_entered_without_a_limit() -> None:
    table = RoutingTable(OWN, 20, NOW)
    ids = [near(depth, tail) for depth in range(20) for tail in range(1, 20)]
    enter(table, ids, crowd(len(ids), "192.168.7"))
    assert len(table) > 300


def lookup_of(width: int = 20) -> Lookup:
    return Lookup(b"\xff" * 20, OWN, width=width, width_max=20, concurrency=64)


def nodes(ids: list[bytes], addresses: list[Address]) -> bytes:
    return b"".join(
        node_id + compact_address(address) for node_id, address in zip(ids, addresses, strict=False)
    )


def test_a_lookup_asks_others_before_the_rest_of_a_crowd() -> None:
    lookup = lookup_of()
    closest = [bytes([0xFF] * 18 + [tail >> 8, tail & 255]) for tail in range(90)]
    lookup.learn(nodes(closest, crowd(90)), 1, {})
    others: list[Address] = [(f"60.0.{number}.1", 20001) for number in range(12)]
    lookup.learn(nodes(FAR, others), 1, {})
    asked = [candidate.address for candidate in lookup.to_ask()]
    assert len(asked) == 20
    assert set(others) < set(asked)
    for candidate in list(lookup.to_ask()):
        lookup.failed(candidate)


def test_referrals_that_draw_nearer_without_end_do_not_keep_a_lookup_going() -> None:
    lookup = lookup_of()
    others: list[Address] = [(f"60.0.{number}.1", 20001) for number in range(30)]
    lookup.learn(nodes(FAR, others), 1, {})
    attackers = iter(crowd(200))
    lookup.learn(nodes([b"\xfe" * 20], [next(attackers)]), 1, {})
    rounds = 0
    while chosen := lookup.to_ask():
        rounds += 1
        for candidate in chosen:
            lookup.answered(candidate, candidate.node_id, b"t")
            if candidate.address[0].startswith("200."):
                nearer = b"\xff" * 10 + bytes([rounds]) * 10
                lookup.learn(nodes([nearer], [next(attackers)]), rounds, {})
    assert lookup.settled()
    assert rounds <= 5
    asked = [candidate.address for candidate in lookup.responders(20)]
    assert sum(address in others for address in asked) >= 19


def test_a_crowd_does_not_use_up_the_candidates() -> None:
    lookup = lookup_of()
    for part in range(0, 2000, 100):
        ids = [b"\xff" * 18 + (part + each).to_bytes(2, "big") for each in range(100)]
        lookup.learn(nodes(ids, crowd(2000)[part : part + 100]), 1, {})
    honest: Address = ("60.0.0.1", 20001)
    lookup.learn(nodes(FAR, [honest]), 1, {})
    assert honest in [candidate.address for candidate in lookup.to_ask()]
    many: list[Address] = [(f"61.{n // 250}.{n % 250}.1", 1) for n in range(3 * CANDIDATES_MAX)]
    for part in range(0, len(many), 100):
        ids = [near(0, 10_000 + part + each) for each in range(100)]
        lookup.learn(nodes(ids, many[part : part + 100]), 1, {})
    last: Address = ("62.0.0.1", 20001)
    lookup.learn(nodes([b"\xff" * 20], [last]), 1, {})
    assert last not in [candidate.address for candidate in lookup.to_ask()], "there is an end"
