"""The routing table: nearest contacts, places in buckets, ghosts, and silence."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.dht.node_id import key_number
from grenache_py.dht.routing_table import RoutingTable
from grenache_py.wire.krpc import Address

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "xor_distance.json").read_text())
OWN = bytes(20)
NOW = 1000.0


def address(number: int) -> Address:
    return f"10.1.{number >> 8}.{number & 255}", 7000


def filled(ids: list[bytes], own: bytes = OWN, k: int = 20, verified: bool = True) -> RoutingTable:
    table = RoutingTable(own, k, NOW)
    for number, node_id in enumerate(ids):
        if verified:
            table.heard_answer(node_id, address(number), 0.01, NOW)
        else:
            table.heard_query(node_id, address(number), NOW)
    return table


def near(shared_bits: int, tail: int) -> bytes:
    """An id that shares ``shared_bits`` bits with OWN."""
    return ((1 << (159 - shared_bits)) | tail).to_bytes(20, "big")


# --- nearest --------------------------------------------------------------------------------


def test_order_agrees_with_nodes_distances_up_to_their_rounding() -> None:
    ids = [bytes.fromhex(node_id) for node_id in VECTORS["ids"]]
    for case in VECTORS["targets"]:
        if "Infinity" in case["distances"]:
            continue  # Node cannot tell those apart
        target = bytes.fromhex(case["target_hex"][:40])  # no more than an id's length counts
        distances = [float(text) for text in case["distances"]]
        number = key_number(target)
        exact = sorted(range(len(ids)), key=lambda i: int.from_bytes(ids[i], "big") ^ number)
        rounded = [distances[i] for i in exact]
        assert rounded == sorted(rounded), case["name"]


@given(
    st.lists(st.binary(min_size=20, max_size=20), unique=True, max_size=60),
    st.binary(min_size=20, max_size=20),
    st.binary(max_size=40),
    st.integers(1, 25),
)
def test_closest_is_what_sorting_all_contacts_gives(
    ids: list[bytes], own: bytes, key: bytes, count: int
) -> None:
    table = filled([node_id for node_id in ids if node_id != own], own)
    number = key_number(key)
    everybody = sorted(table, key=lambda contact: contact.number ^ number)
    assert table.closest(key, count) == everybody[:count]


def test_contacts_that_fell_silent_are_not_given_away() -> None:
    table = filled([near(0, 1), near(0, 2)])
    table.fell_silent(table.by_id[near(0, 1)])
    assert [contact.node_id for contact in table.closest(near(0, 1), 8)] == [near(0, 2)]


# --- places ---------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=20, max_size=20), unique=True, max_size=200), st.integers(1, 6))
def test_every_contact_is_in_its_bucket_and_no_bucket_is_too_full(ids: list[bytes], k: int) -> None:
    table = filled(ids, k=k)
    assert set(table.by_id) == {i for bucket in table.buckets for i in bucket.contacts}
    assert {contact.address for contact in table} == set(table.by_address)
    last = len(table.buckets) - 1
    for index, bucket in enumerate(table.buckets):
        assert len(bucket.contacts) <= k
        for contact in bucket.contacts.values():
            shared = 160 - contact.number.bit_length()
            assert shared == index if index < last else shared >= last


def test_only_the_bucket_of_the_own_id_splits() -> None:
    far = filled([near(0, tail) for tail in range(50)], k=4)
    assert len(far) == 4
    close = filled([near(bits, tail) for bits in range(10) for tail in range(4)], k=4)
    assert len(close) == 40


def test_a_small_ring_is_known_whole() -> None:
    ids = [bytes([i * 12 % 256]) + bytes([i]) * 19 for i in range(1, 21)]
    assert len(filled(ids)) == 20


def test_the_own_id_is_never_entered() -> None:
    table = filled([OWN])
    assert table.heard_query(OWN, address(1), NOW) is None
    assert len(table) == 0


# --- who is asked, who makes room -----------------------------------------------------------


def test_an_asker_is_entered_and_to_be_pinged() -> None:
    table = RoutingTable(OWN, 20, NOW)
    contact = table.heard_query(near(0, 1), address(1), NOW)
    assert contact is not None
    assert contact is table.by_id[near(0, 1)]
    assert not contact.verified
    contact.pinged = True
    assert table.heard_query(near(0, 1), address(1), NOW) is None, "one ping is enough"
    table.heard_answer(near(0, 1), address(1), 0.01, NOW)
    assert contact.verified


def test_an_asker_that_never_answers_is_dropped_at_once() -> None:
    table = filled([near(0, 1)], verified=False)
    assert table.fell_silent(table.by_id[near(0, 1)])
    assert len(table) == 0


def test_a_verified_contact_is_dropped_at_the_second_silence() -> None:
    table = filled([near(0, 1)])
    contact = table.by_id[near(0, 1)]
    assert not table.fell_silent(contact)
    assert table.fell_silent(contact)
    assert len(table) == 0


def test_a_full_bucket_has_its_eldest_pinged_and_keeps_it_if_it_answers() -> None:
    table = filled([near(0, tail) for tail in range(4)], k=4)
    eldest = table.by_id[near(0, 0)]
    for tail in range(1, 4):
        table.by_id[near(0, tail)].seen_at = NOW + 30
    suspect = table.heard_query(near(0, 9), address(9), NOW + 60)
    assert suspect is eldest
    table.heard_answer(near(0, 0), address(0), 0.01, NOW + 61)
    assert near(0, 9) not in table.by_id
    assert near(0, 0) in table.by_id


def test_a_silent_contact_is_replaced_by_the_newcomer_heard_of_last() -> None:
    table = filled([near(0, tail) for tail in range(4)], k=4)
    table.heard_query(near(0, 8), address(8), NOW + 60)
    table.heard_query(near(0, 9), address(9), NOW + 61)
    eldest = table.by_id[near(0, 0)]
    table.fell_silent(eldest)
    table.fell_silent(eldest)
    assert near(0, 9) in table.by_id
    assert near(0, 8) not in table.by_id
    assert not table.by_id[near(0, 9)].verified, "it has to answer first"


def test_a_verified_newcomer_takes_the_place_of_one_that_never_answered() -> None:
    table = filled([near(0, tail) for tail in range(4)], k=4, verified=False)
    table.heard_answer(near(0, 9), address(9), 0.01, NOW)
    assert table.by_id[near(0, 9)].verified
    assert len(table) == 4


def test_askers_cannot_push_verified_contacts_out() -> None:
    table = filled([near(0, tail) for tail in range(4)], k=4)
    for tail in range(100, 200):
        table.heard_query(near(0, tail), address(tail), NOW + 1)
    assert {contact.node_id for contact in table} == {near(0, tail) for tail in range(4)}
    assert len(table.buckets[0].replacements) <= 8


# --- ghosts ---------------------------------------------------------------------------------


def test_an_address_that_answers_under_a_new_id_is_one_contact() -> None:
    table = filled([near(0, 1)])
    table.heard_answer(near(0, 2), address(0), 0.01, NOW + 5)
    assert [contact.node_id for contact in table] == [near(0, 2)]
    assert table.by_address[address(0)].node_id == near(0, 2)


def test_a_claim_to_a_known_address_is_checked_before_it_is_believed() -> None:
    table = filled([near(0, 1)])
    doubt = table.heard_query(near(0, 2), address(0), NOW + 5)
    assert doubt is table.by_id[near(0, 1)]
    assert near(0, 2) not in table.by_id, "anyone can send a query in its name"
    doubt.pinged = True
    assert table.heard_query(near(0, 3), address(0), NOW + 5) is None, "one ping is enough"


def test_a_known_id_at_a_new_address_does_not_displace_a_live_contact() -> None:
    table = filled([near(0, 1)])
    table.heard_query(near(0, 1), address(5), NOW + 1)
    table.heard_answer(near(0, 1), address(5), 0.01, NOW + 1)
    assert table.by_id[near(0, 1)].address == address(0)
    table.fell_silent(table.by_id[near(0, 1)])
    table.heard_answer(near(0, 1), address(5), 0.01, NOW + 9)
    assert table.by_id[near(0, 1)].address == address(5)


@given(
    st.lists(
        st.tuples(st.sampled_from("qaf"), st.integers(0, 12), st.integers(0, 12)), max_size=120
    )
)
def test_ids_and_addresses_stay_one_to_one_whatever_happens(
    events: list[tuple[str, int, int]],
) -> None:
    table = RoutingTable(OWN, 3, NOW)
    for step, (kind, who, where) in enumerate(events):
        node_id, now = near(who % 5, who), NOW + step
        if kind == "q":
            table.heard_query(node_id, address(where), now)
        elif kind == "a":
            table.heard_answer(node_id, address(where), 0.01, now)
        elif node_id in table.by_id:
            table.fell_silent(table.by_id[node_id])
        placed = [contact for bucket in table.buckets for contact in bucket.contacts.values()]
        assert len(placed) == len(table.by_id) == len(table.by_address)
        assert all(table.by_address[contact.address] is contact for contact in placed)
