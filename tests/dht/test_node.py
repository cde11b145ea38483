"""The node as a caller and its neighbours see it: lookups, announces, puts, company, bounds."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from nacl.signing import SigningKey

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.errors import AllQueriesFailed, DHTOverloaded, NoNodesToQuery
from grenache_py.dht.items import GetResult, PutItem, StoredItem, signed_bytes
from grenache_py.errors import LocalProtocolError
from grenache_py.wire import bencode
from grenache_py.wire.krpc import Address, compact_address
from tests.support.dht_nodes import ALICE, CLIENT_ID, NOW, OWN_ID, Conversation, make_node

BOB: Address = ("10.0.0.2", 7002)
CAROL: Address = ("10.0.0.3", 7003)
ALICE_ID, BOB_ID, CAROL_ID = b"A" * 20, b"B" * 20, b"C" * 20
NAME = b"rest:util:net"
PEER = compact_address(("10.5.5.5", 1337))
OTHER_PEER = compact_address(("10.6.6.6", 1338))

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)


def talk_with(*contacts: tuple[bytes, Address], **config: Any) -> Conversation:
    talk = Conversation(make_node(DHTConfig(**config)))
    for node_id, address in contacts:
        talk.meet(node_id, address)
    talk.settle()
    return talk


def queries(talk: Conversation, method: bytes) -> dict[Address, dict[bytes, Any]]:
    """What the node asked just now, by address."""
    return {
        address: message
        for message, address in talk.sent()
        if message[b"y"] == b"q" and message[b"q"] == method
    }


# --- lookup ---------------------------------------------------------------------------------


def test_a_lookup_asks_all_of_a_small_ring_and_unites_what_they_say() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    lookup = talk.node.lookup(NAME, talk.now)
    asked = queries(talk, b"get_peers")
    assert set(asked) == {ALICE, BOB}
    assert all(query[b"a"] == {b"id": OWN_ID, b"info_hash": NAME} for query in asked.values())
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, token=b"t", values=[PEER])
    assert not lookup.done, "Bob may know another"
    talk.reply(asked[BOB], BOB, id=BOB_ID, token=b"t", values=[OTHER_PEER, PEER])
    assert sorted(lookup.result) == ["10.5.5.5:1337", "10.6.6.6:1338"]
    assert talk.node.take_effects().finished == [lookup]


def test_equal_lookups_that_overlap_are_one_and_later_ones_are_not() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    first, second = talk.node.lookup(NAME, talk.now), talk.node.lookup(NAME, talk.now)
    assert first is second
    asked = queries(talk, b"get_peers")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, values=[PEER])
    assert first.result == ["10.5.5.5:1337"]
    third = talk.node.lookup(NAME, talk.now)
    assert third is not first, "what was found is not kept: it may be gone"
    asked = queries(talk, b"get_peers")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, nodes=b"")
    assert third.result == []


def test_referrals_are_followed() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    lookup = talk.node.lookup(NAME, talk.now)
    talk.reply(
        queries(talk, b"get_peers")[ALICE],
        ALICE,
        id=ALICE_ID,
        nodes=BOB_ID + compact_address(BOB) + OWN_ID + compact_address(CAROL),
    )
    asked = queries(talk, b"get_peers")
    assert set(asked) == {BOB}, "and never to a node that has the own id"
    talk.reply(asked[BOB], BOB, id=BOB_ID, values=[PEER])
    assert lookup.result == ["10.5.5.5:1337"]
    assert lookup.lookup.hops == 2


def test_peers_announced_here_are_part_of_the_answer() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    token = talk.token(BOB)
    talk.ok("announce_peer", BOB, info_hash=NAME, port=9, token=token)
    lookup = talk.node.lookup(NAME, talk.now)
    talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=ALICE_ID, values=[PEER])
    assert sorted(lookup.result) == ["10.0.0.2:9", "10.5.5.5:1337"]


def test_peers_on_loopback_are_told_to_this_machine_only() -> None:
    talk = talk_with()
    here = ("127.0.0.1", 7009)
    token = talk.token(here)
    talk.ok("announce_peer", here, info_hash=NAME, port=9, token=token)
    assert talk.ok("get_peers", here, info_hash=NAME)[b"values"] == [
        compact_address(("127.0.0.1", 9))
    ]
    assert b"values" not in talk.ok("get_peers", BOB, info_hash=NAME)


def test_a_lookup_alone_in_the_world_ends_at_once() -> None:
    talk = talk_with()
    assert talk.node.lookup(NAME, talk.now).result == []


def test_at_most_100_peers_are_answered_a_random_choice() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    lookup = talk.node.lookup(NAME, talk.now)
    many = [compact_address(("10.7.7.7", 1 + n)) for n in range(1000)]
    talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=ALICE_ID, values=many)
    assert len(set(lookup.result)) == 100


def test_a_dead_contact_costs_one_short_wait_and_then_nothing() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    for _ in range(20):  # round trips of a millisecond
        lookup = talk.node.lookup(b"x", talk.now)
        asked = queries(talk, b"get_peers")
        talk.now += 0.001
        for address, node_id in ((ALICE, ALICE_ID), (BOB, BOB_ID)):
            talk.reply(asked[address], address, id=node_id, values=[PEER])
        assert lookup.done
    lookup = talk.node.lookup(NAME, talk.now)
    started = talk.now
    asked = queries(talk, b"get_peers")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, values=[PEER])
    while not lookup.done:
        talk.wait(0.01)
    assert talk.now - started < 0.1
    talk.wait(3.0)  # the pings that follow go unanswered
    talk.sent()
    assert talk.node.status().contacts_total <= 1
    lookup = talk.node.lookup(NAME, talk.now)
    assert BOB not in queries(talk, b"get_peers")


def test_silence_from_everybody_ends_in_time() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    for operation in (
        talk.node.lookup(NAME, talk.now),
        talk.node.announce(NAME, 1, talk.now),
        talk.node.get(b"t" * 20, talk.now),
        talk.node.put(PutItem(v=b"x"), talk.now),
    ):
        operation.context = type(operation).__name__
    started = talk.now
    ended = {}
    while talk.now < started + 3:
        talk.wait(0.05)
        for operation in talk.node.take_effects().finished:
            if operation.context is not None:
                ended[operation.context] = talk.now - started
    assert set(ended) == {"PeersLookup", "Announce", "ItemLookup", "Put"}
    assert max(ended.values()) < 2.0


def test_in_a_small_ring_a_slow_node_is_waited_for_when_nothing_was_found() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    lookup = talk.node.lookup(NAME, talk.now)
    asked = queries(talk, b"get_peers")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, nodes=b"")
    talk.wait(0.4)  # long after the question was repeated
    assert not lookup.done, "Bob may be the one who knows"
    talk.reply(asked[BOB], BOB, id=BOB_ID, values=[PEER])
    assert lookup.result == ["10.5.5.5:1337"]


def test_an_address_that_was_silent_is_not_asked_again_soon_whoever_names_it() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    dead = BOB_ID + compact_address(BOB)
    for name, asked_for in ((b"first", True), (b"second", False)):
        lookup = talk.node.lookup(name, talk.now)
        talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=ALICE_ID, nodes=dead)
        assert (BOB in queries(talk, b"get_peers")) is asked_for
        talk.wait(2.0)
        talk.sent()
        assert lookup.done
    talk.ask("ping", BOB, sender=None)  # a sign of life
    talk.node.lookup(b"third", talk.now)
    talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=ALICE_ID, nodes=dead)
    assert BOB in queries(talk, b"get_peers")


def test_an_answer_from_the_wrong_port_or_with_an_unknown_id_is_nobodys() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    lookup = talk.node.lookup(NAME, talk.now)
    query = queries(talk, b"get_peers")[ALICE]
    talk.reply(query, (ALICE[0], 9), id=ALICE_ID, values=[PEER])
    talk.reply(query | {b"t": b"zzzz"}, ALICE, id=CAROL_ID, values=[PEER])
    assert not lookup.done
    assert CAROL_ID not in talk.node.table.by_id, "an unasked answer enters nobody"
    assert talk.node.counters.answers_unmatched == 2


def test_a_restarted_neighbour_is_one_contact_under_its_new_id() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    lookup = talk.node.lookup(NAME, talk.now)
    talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=BOB_ID, values=[PEER])
    assert lookup.result == ["10.5.5.5:1337"], "what it says counts"
    assert [contact.node_id for contact in talk.node.table] == [BOB_ID]


# --- announce -------------------------------------------------------------------------------


def announce_to_alice(talk: Conversation, port: int = 1337, token: bytes = b"tok") -> Any:
    announce = talk.node.announce(NAME, port, talk.now)
    talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=ALICE_ID, token=token, nodes=b"")
    return announce


def test_an_announce_looks_for_tokens_and_then_writes() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    announce = announce_to_alice(talk)
    write = queries(talk, b"announce_peer")[ALICE]
    assert write[b"a"] == {
        b"id": OWN_ID,
        b"implied_port": 0,
        b"info_hash": NAME,
        b"port": 1337,
        b"token": b"tok",
    }
    talk.reply(write, ALICE, id=ALICE_ID)
    assert announce.result == 1


def test_the_next_announce_writes_at_once() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    announce_to_alice(talk)
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    announce = talk.node.announce(NAME, 1338, talk.now)
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    assert announce.result == 1


def test_in_a_small_ring_the_tokens_of_one_name_serve_for_all() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    announce_to_alice(talk)
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    talk.node.announce(b"another", 1, talk.now)
    write = queries(talk, b"announce_peer")[ALICE]
    assert (write[b"a"][b"info_hash"], write[b"a"][b"token"]) == (b"another", b"tok")
    # A node that gives a token per name, as libtorrent does, is not asked like this again.
    talk.refuse(write, ALICE, 203, "bad token")
    look = queries(talk, b"get_peers")[ALICE]
    talk.reply(look, ALICE, id=ALICE_ID, token=b"own", nodes=b"")
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    talk.node.announce(b"third", 1, talk.now)
    assert ALICE in queries(talk, b"get_peers")


def test_a_ring_that_is_not_known_whole_is_looked_at_for_each_name() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    talk.node.announce(NAME, 1, talk.now)
    asked = queries(talk, b"get_peers")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, token=b"tok", nodes=b"")
    talk.reply(asked[BOB], BOB, id=BOB_ID, nodes=b"")  # gives no token
    talk.node.announce(b"another", 1, talk.now)
    assert set(queries(talk, b"get_peers")) == {ALICE, BOB}


def test_a_node_that_joined_since_is_written_to_as_well() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    announce_to_alice(talk)
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    talk.meet(BOB_ID, BOB)
    talk.node.announce(NAME, 1337, talk.now)
    assert set(queries(talk, b"get_peers")) == {ALICE, BOB}


def test_a_restarted_neighbour_does_not_fail_the_announce() -> None:
    """It refuses the token of its former life; a Node grape would fail for five minutes."""
    talk = talk_with((ALICE_ID, ALICE))
    announce_to_alice(talk)
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    announce = talk.node.announce(NAME, 1337, talk.now)
    refused = queries(talk, b"announce_peer")[ALICE]
    talk.refuse(refused, ALICE, 203, "cannot `announce_peer` with bad token")
    look = queries(talk, b"get_peers")[ALICE]
    talk.reply(look, ALICE, id=ALICE_ID, token=b"new", nodes=b"")
    write = queries(talk, b"announce_peer")[ALICE]
    assert write[b"a"][b"token"] == b"new"
    talk.reply(write, ALICE, id=ALICE_ID)
    assert announce.result == 1


def test_one_restarted_neighbour_among_others_is_written_to_again() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    both = {ALICE: ALICE_ID, BOB: BOB_ID}

    def reply_all(method: bytes, **members: Any) -> None:
        for address, query in queries(talk, method).items():
            talk.reply(query, address, id=both[address], **members)

    talk.node.announce(NAME, 1337, talk.now)
    reply_all(b"get_peers", token=b"old", nodes=b"")
    reply_all(b"announce_peer")
    announce = talk.node.announce(NAME, 1337, talk.now)
    asked = queries(talk, b"announce_peer")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID)
    talk.refuse(asked[BOB], BOB, 203, "bad token")
    assert not announce.done
    reply_all(b"get_peers", token=b"new", nodes=b"")
    asked = queries(talk, b"announce_peer")
    assert set(asked) == {BOB}, "Alice has it already"
    talk.reply(asked[BOB], BOB, id=BOB_ID)
    assert announce.result == 2


def test_a_late_answer_to_an_abandoned_round_does_not_end_the_next_one() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    both = {ALICE: ALICE_ID, BOB: BOB_ID}
    talk.node.announce(NAME, 1337, talk.now)
    for method in (b"get_peers", b"announce_peer"):
        for address, query in queries(talk, method).items():
            talk.reply(query, address, id=both[address], token=b"old", nodes=b"")
    announce = talk.node.announce(NAME, 1337, talk.now)
    first = queries(talk, b"announce_peer")
    talk.refuse(first[ALICE], ALICE, 203, "bad token")
    looks: dict[Address, dict[bytes, Any]] = {}
    while not looks:  # until Bob is slow, and both are looked for again
        talk.wait(0.01)
        looks = queries(talk, b"get_peers")
    talk.reply(first[BOB], BOB, id=BOB_ID)
    assert not announce.done, "Alice has not been written to with her new token"
    for address in (ALICE, BOB):
        talk.reply(looks[address], address, id=both[address], token=b"new", nodes=b"")
    second = queries(talk, b"announce_peer")
    assert set(second) == {ALICE}
    talk.reply(second[ALICE], ALICE, id=ALICE_ID)
    assert announce.result == 2


def test_nobody_who_gives_a_token_and_nobody_who_takes_it_are_two_errors() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    refused = talk.node.announce(NAME, 1, talk.now)
    talk.reply(queries(talk, b"get_peers")[ALICE], ALICE, id=ALICE_ID, nodes=b"")
    assert isinstance(refused.error, NoNodesToQuery)
    announce = announce_to_alice(talk)
    talk.refuse(queries(talk, b"announce_peer")[ALICE], ALICE, 301, "moved")
    assert isinstance(announce.error, AllQueriesFailed)
    assert announce.error.krpc_error == (301, "moved")


def test_a_node_alone_stores_what_it_is_given_and_finds_it() -> None:
    for host, recorded in ((None, "127.0.0.1:1337"), ("10.8.8.8", "10.8.8.8:1337")):
        talk = talk_with(host=host)
        assert talk.node.announce(NAME, 1337, talk.now).result == 1
        assert talk.node.lookup(NAME, talk.now).result == [recorded]
        told = talk.ok("get_peers", BOB, info_hash=NAME, sender=None).get(b"values", [])
        assert told == ([] if host is None else [compact_address((host, 1337))])
        assert not talk.sent()


def test_a_node_alone_judges_items_as_any_other_does() -> None:
    talk = talk_with()
    assert talk.node.put(PutItem(v=b"fixed"), talk.now).error is None
    target = talk.node.put(signed(b"two", 2), talk.now).result
    assert isinstance(target, bytes)
    found = talk.node.get(target, talk.now).result
    assert isinstance(found, GetResult)
    assert (found.id, found.v, found.seq) == (OWN_ID, b"two", 2)
    for item, code in ((signed(b"one", 1), 302), (signed(b"three", 3, cas=1), 301)):
        refused = talk.node.put(item, talk.now).error
        assert isinstance(refused, AllQueriesFailed)
        assert refused.krpc_error is not None
        assert refused.krpc_error[0] == code
    assert talk.node.put(signed(b"three", 3, cas=2), talk.now).error is None


@pytest.mark.parametrize("bootstrap", [[ALICE], []])
def test_a_survivor_serves_alone(bootstrap: list[Address]) -> None:
    """Its only neighbour dies; the bootstrap list names that one, or nobody."""
    talk = talk_with((ALICE_ID, ALICE))
    talk.node.bootstrap(bootstrap, talk.now)
    announce_to_alice(talk)
    talk.reply(queries(talk, b"announce_peer")[ALICE], ALICE, id=ALICE_ID)
    for _ in range(3):  # with the token remembered, with a contact left, with none
        announce, put = talk.node.announce(NAME, 7, talk.now), talk.node.put(PutItem(v=1), talk.now)
        talk.wait(2.0)
        assert announce.result == 1
        assert put.error is None
        lookup = talk.node.lookup(NAME, talk.now)
        talk.wait(2.0)
        assert lookup.result == ["127.0.0.1:7"]


def test_a_node_whose_bootstrap_list_names_itself_learns_its_address() -> None:
    talk = Conversation(make_node())
    here: Address = ("10.8.8.8", 20001)
    talk.node.bootstrap([here], talk.now)

    def deliver() -> None:
        while datagrams := talk.node.take_effects().datagrams:
            for data, address in datagrams:
                assert address == here
                answer = talk.node.receive_datagram(data, here, talk.now)
                if answer is not None:
                    talk.node.receive_datagram(answer, here, talk.now)

    deliver()
    assert len(talk.node.table) == 0, "it is no contact of its own"
    announce, put = talk.node.announce(NAME, 7, talk.now), talk.node.put(PutItem(v=1), talk.now)
    deliver()
    assert announce.result == 1
    assert put.error is None
    lookup = talk.node.lookup(NAME, talk.now)
    deliver()
    assert lookup.result == ["10.8.8.8:7"]


def test_what_was_stored_alone_goes_to_whoever_comes() -> None:
    talk = talk_with()
    talk.node.announce(NAME, 7, talk.now)
    item = signed(b"one", 1)
    talk.node.put(item, talk.now)
    talk.meet(ALICE_ID, ALICE)
    seen: dict[bytes, dict[bytes, Any]] = {}
    for _ in range(120):
        talk.wait(0.05)
        for query, address in talk.sent():
            method = query[b"q"]
            seen[method] = query[b"a"]
            talk.reply(query, address, id=ALICE_ID, token=b"tok", nodes=b"")
    assert (seen[b"announce_peer"][b"info_hash"], seen[b"announce_peer"][b"port"]) == (NAME, 7)
    assert (seen[b"put"][b"v"], seen[b"put"][b"seq"]) == (b"one", 1)


def test_company_is_not_flooded_with_what_was_stored_alone() -> None:
    talk = talk_with()
    for port in range(1, 121):
        talk.node.announce(NAME, port, talk.now)
    assert len(talk.node.lone_writes) == 120
    talk.meet(ALICE_ID, ALICE)
    before = talk.node.counters.queries_sent
    while len(talk.node.lone_writes) == 120:
        talk.wait(0.1)
    assert len(talk.node.lone_writes) == 70
    assert talk.node.counters.queries_sent - before < 100
    talk.wait(60)  # Alice never answers: nothing that was stored is stored anew
    assert talk.node.lookup(NAME, talk.now).lookup.found
    talk.wait(70)
    lookup = talk.node.lookup(NAME, talk.now)
    talk.wait(2)
    assert lookup.result == [], "it expires as any other announcement"


def test_own_announcements_are_kept_when_the_own_address_is_known() -> None:
    talk = talk_with(host="10.8.8.8")
    talk.node.announce(NAME, 1337, talk.now)
    assert talk.node.lookup(NAME, talk.now).result == ["10.8.8.8:1337"]


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_is_none_is_refused_before_anything_is_sent(port: int) -> None:
    talk = talk_with((ALICE_ID, ALICE), host="10.8.8.8")
    with pytest.raises(LocalProtocolError):
        talk.node.announce(NAME, port, talk.now)
    assert not talk.sent()


def test_the_source_address_is_what_is_announced() -> None:
    talk = talk_with()
    token = talk.token(BOB)
    talk.ok("announce_peer", BOB, info_hash=NAME, port=9, token=token)
    talk.ok("announce_peer", BOB, info_hash=NAME, port=9, implied_port=1, token=token)
    values = talk.ok("get_peers", info_hash=NAME)[b"values"]
    assert sorted(values) == [compact_address(("10.0.0.2", 9)), compact_address(BOB)]


def test_an_ipv6_neighbour_is_served_in_its_own_compact_form() -> None:
    talk = talk_with()
    six: Address = ("2001:db8::1", 7006)
    talk.meet(CAROL_ID, six)
    talk.ok("announce_peer", six, info_hash=NAME, port=9, token=talk.token(six))
    (peer,) = talk.ok("get_peers", six, info_hash=NAME)[b"values"]
    assert peer == compact_address(("2001:db8::1", 9))
    assert len(peer) == 18
    assert len(talk.ok("find_node", ALICE, target=NAME, sender=None)[b"nodes"]) % 26 == 0
    lookup = talk.node.lookup(NAME, talk.now)
    talk.reply(queries(talk, b"get_peers")[six], six, id=CAROL_ID, nodes=b"")
    assert lookup.result == ["[2001:db8::1]:9"]


# --- put and get ----------------------------------------------------------------------------


def signed(v: Any, seq: int, salt: bytes = b"", cas: int | None = None) -> PutItem:
    signature = KEY.sign(signed_bytes(bencode.encode(v), seq, salt)).signature
    return PutItem(v=v, k=PUBLIC, sig=signature, seq=seq, salt=salt, cas=cas)


def put_members(item: PutItem, token: bytes) -> dict[str, Any]:
    members: dict[str, Any] = {"v": item.v, "token": token}
    if item.k is not None:
        members |= {"k": item.k, "sig": item.sig, "seq": item.seq}
        if item.salt:
            members["salt"] = item.salt
        if item.cas is not None:
            members["cas"] = item.cas
    return members


def test_an_immutable_value_is_kept_here_and_written_there() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    put = talk.node.put(PutItem(v="Hello World!"), talk.now)
    talk.reply(queries(talk, b"get")[ALICE], ALICE, id=ALICE_ID, token=b"tok", nodes=b"")
    write = queries(talk, b"put")[ALICE]
    assert write[b"a"] == {b"id": OWN_ID, b"token": b"tok", b"v": b"Hello World!"}
    talk.reply(write, ALICE, id=ALICE_ID)
    assert isinstance(put.result, bytes)
    assert put.result.hex() == "e5f96f6f38320f0f33959cb4d3d656452117aadb"
    found = talk.node.get(put.result, talk.now).result
    assert found == GetResult(OWN_ID, b"Hello World!")


def test_a_mutable_value_travels_with_key_seq_salt_and_signature() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    item = signed(b"one", 1, b"salt", cas=0)
    put = talk.node.put(item, talk.now)
    talk.reply(queries(talk, b"get")[ALICE], ALICE, id=ALICE_ID, token=b"tok", nodes=b"")
    write = queries(talk, b"put")[ALICE]
    assert write[b"a"] == {
        b"cas": 0,
        b"id": OWN_ID,
        b"k": PUBLIC,
        b"salt": b"salt",
        b"seq": 1,
        b"sig": item.sig,
        b"token": b"tok",
        b"v": b"one",
    }
    talk.reply(write, ALICE, id=ALICE_ID)
    assert put.error is None
    assert talk.node.items.get(put.result) is None, "the writer keeps immutable ones only"  # type: ignore[arg-type]


def test_a_signature_that_does_not_hold_fails_without_a_datagram() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    good = signed(b"one", 1)
    put = talk.node.put(PutItem(v=b"two", k=good.k, sig=good.sig, seq=1), talk.now)
    assert isinstance(put.error, AllQueriesFailed)
    assert put.error.krpc_error == (206, "invalid signature")
    assert not talk.sent()


@pytest.mark.parametrize(
    "item",
    [
        PutItem(v=None),
        PutItem(v=b"x" * 1001),
        PutItem(v=b"x", k=b"short", sig=b"s" * 64, seq=1),
        PutItem(v=b"x", k=PUBLIC, seq=1),
        PutItem(v=b"x", k=PUBLIC, sig=b"s" * 64),
        PutItem(v=b"x", k=PUBLIC, sig=b"s" * 64, seq=2**63),
        PutItem(v=b"x", k=PUBLIC, sig=b"s" * 64, seq=1, salt=b"s" * 65),
    ],
)
def test_an_item_that_cannot_be_is_the_callers_error(item: PutItem) -> None:
    with pytest.raises(LocalProtocolError):
        talk_with().node.put(item, NOW)


def test_a_refused_seq_is_no_reason_to_look_again() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    talk.node.put(signed(b"one", 1), talk.now)
    talk.reply(queries(talk, b"get")[ALICE], ALICE, id=ALICE_ID, token=b"tok", nodes=b"")
    talk.reply(queries(talk, b"put")[ALICE], ALICE, id=ALICE_ID)
    put = talk.node.put(signed(b"one", 1), talk.now)
    talk.refuse(queries(talk, b"put")[ALICE], ALICE, 302, "sequence number less than current")
    assert isinstance(put.error, AllQueriesFailed)
    assert put.error.krpc_error == (302, "sequence number less than current")
    assert not talk.sent()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": b"x" * 20}, 203),
        ({"token": b"x"}, 203),
        ({"v": b"x" * 1001}, 205),
        ({"v": b"two"}, 206),
        ({"sig": b"s" * 64}, 206),
        ({"salt": b"s" * 65}, 207),
        ({"k": b"short"}, 203),
        ({"k": 5}, 203),
        ({"sig": 5}, 203),
        ({"salt": 5}, 203),
        ({"seq": b"1"}, 203),
        ({"seq": 2**63}, 203),
    ],
)
def test_what_is_wrong_with_a_put_is_said_with_its_code(change: dict[str, Any], code: int) -> None:
    talk = talk_with()
    members = put_members(signed(b"one", 1), talk.token()) | change
    assert talk.error("put", **members)[0] == code


def test_seq_and_cas_are_checked_against_what_is_stored() -> None:
    talk = talk_with()
    token = talk.token()
    talk.ok("put", **put_members(signed(b"one", 1), token))
    talk.ok("put", **put_members(signed(b"two", 2, cas=1), token))
    stale = put_members(signed(b"two", 2), token)
    assert talk.error("put", **stale) == (302, b"sequence number less than current")
    mismatch = put_members(signed(b"three", 3, cas=1), token)
    assert talk.error("put", **mismatch) == (301, b"CAS mismatch, re-read and try again")
    target = StoredItem(b"", PUBLIC).target()
    found = talk.ok("get", target=target)
    assert (found[b"v"], found[b"seq"], found[b"k"]) == (b"two", 2, PUBLIC)
    assert b"salt" not in found
    assert b"nodes" not in found
    known = talk.ok("get", target=target, seq=2)
    assert b"v" not in known, "the asker has it already"
    assert known[b"seq"] == 2


def test_the_first_valid_immutable_value_ends_a_get() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    target = StoredItem(b"5:value").target()
    get = talk.node.get(target, talk.now)
    asked = queries(talk, b"get")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, token=b"tok", v=b"forged")
    assert not get.done
    talk.reply(asked[BOB], BOB, id=BOB_ID, token=b"tok", v=b"value")
    assert get.result == GetResult(BOB_ID, b"value", b"tok")


def test_the_highest_seq_with_a_signature_that_holds_wins() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB), (CAROL_ID, CAROL))
    target = StoredItem(b"", PUBLIC).target()
    get = talk.node.get(target, talk.now)
    asked = queries(talk, b"get")
    for address, node_id, item in (
        (ALICE, ALICE_ID, signed(b"two", 2)),
        (BOB, BOB_ID, signed(b"one", 1)),
        (CAROL, CAROL_ID, PutItem(v=b"forged", k=PUBLIC, sig=b"s" * 64, seq=9)),
    ):
        talk.reply(asked[address], address, id=node_id, **put_members(item, b"tok"))
    assert isinstance(get.result, GetResult)
    assert (get.result.v, get.result.seq, get.result.id) == (b"two", 2, ALICE_ID)


def hold(talk: Conversation, item: PutItem) -> bytes:
    """Have the node keep ``item``, as after a restart from its state file; the target."""
    stored = item.checked()
    talk.node.restore([], [stored], talk.now)
    return stored.target()


def test_a_mutable_item_held_here_shadows_no_newer_one() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB))
    target = hold(talk, signed(b"old", 1))
    get = talk.node.get(target, talk.now)
    assert not get.done, "it may have been updated meanwhile"
    asked = queries(talk, b"get")
    for address, node_id, item in (
        (ALICE, ALICE_ID, signed(b"new", 2)),
        (BOB, BOB_ID, signed(b"old", 1)),
    ):
        talk.reply(asked[address], address, id=node_id, **put_members(item, b"tok"))
    assert isinstance(get.result, GetResult)
    assert (get.result.v, get.result.id) == (b"new", ALICE_ID)
    repaired = queries(talk, b"put")
    assert set(repaired) == {BOB}, "who had the old one is given the new one"
    assert repaired[BOB][b"a"] == {b"id": OWN_ID} | {
        name.encode(): value for name, value in put_members(signed(b"new", 2), b"tok").items()
    }
    talk.reply(repaired[BOB], BOB, id=BOB_ID)
    assert talk.ok("get", target=target)[b"seq"] == 2, "and so is this node"


def test_a_mutable_item_held_here_is_the_answer_where_others_have_none_newer() -> None:
    here = GetResult(OWN_ID, b"one", None, PUBLIC, 1, signed(b"one", 1).sig)
    talk = talk_with()
    target = hold(talk, signed(b"one", 1))
    assert talk.node.get(target, talk.now).result == here, "alone it asks nobody"
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB), (CAROL_ID, CAROL))
    hold(talk, signed(b"one", 1))
    get = talk.node.get(target, talk.now)
    asked = queries(talk, b"get")
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID, token=b"t", nodes=b"")
    talk.reply(asked[BOB], BOB, id=BOB_ID, **put_members(signed(b"one", 1), b"t"))
    started = talk.now
    while not get.done:  # Carol is dead
        talk.wait(0.01)
    assert get.result == here
    assert talk.now - started < 0.5
    assert not queries(talk, b"put")


def test_a_salted_item_held_here_is_compared_under_its_own_salt() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    target = hold(talk, signed(b"old", 1, b"salt"))
    get = talk.node.get(target, talk.now)
    newer = put_members(signed(b"new", 2, b"salt"), b"tok")
    del newer["salt"]  # an answer never says it
    talk.reply(queries(talk, b"get")[ALICE], ALICE, id=ALICE_ID, **newer)
    assert isinstance(get.result, GetResult)
    assert get.result.v == b"new"


def test_what_is_written_from_here_replaces_the_old_version_here() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    target = hold(talk, signed(b"old", 1))
    talk.node.put(signed(b"new", 2), talk.now)
    talk.reply(queries(talk, b"get")[ALICE], ALICE, id=ALICE_ID, token=b"tok", nodes=b"")
    talk.reply(queries(talk, b"put")[ALICE], ALICE, id=ALICE_ID)
    assert talk.ok("get", target=target)[b"seq"] == 2


def test_what_no_node_would_store_is_not_kept() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    target = hold(talk, signed(b"old", 1))
    for too_much in (signed(b"x" * 1001, 2), signed(b"new", 2**63)):
        talk.node.get(target, talk.now)
        query = queries(talk, b"get")[ALICE]
        talk.reply(query, ALICE, id=ALICE_ID, **put_members(too_much, b"tok"))
        assert talk.ok("get", target=target)[b"seq"] == 1


def test_a_higher_seq_is_found_beyond_the_nearest_eight() -> None:
    """A writer reaches 20 nodes; those nearest to the key may have missed the last write."""
    target = StoredItem(b"", PUBLIC).target()
    number = int.from_bytes(target, "big")
    ring = {
        ("10.4.0.1", 1 + distance): (number ^ (distance << 80)).to_bytes(20, "big")
        for distance in range(12)
    }
    talk = talk_with(*((node_id, address) for address, node_id in ring.items()))
    get = talk.node.get(target, talk.now)
    while asked := queries(talk, b"get"):
        for address, query in asked.items():
            item = signed(b"new", 2) if address[1] == 11 else signed(b"old", 1)
            talk.reply(query, address, id=ring[address], **put_members(item, b"tok"))
    assert isinstance(get.result, GetResult)
    assert get.result.v == b"new"


def test_a_salted_item_is_found_with_its_salt_only() -> None:
    for salt, expected in ((b"salt", b"one"), (b"", None), (b"other", None)):
        talk = talk_with((ALICE_ID, ALICE))
        item = signed(b"one", 1, b"salt")
        get = talk.node.get(StoredItem(b"", PUBLIC, salt=b"salt").target(), talk.now, salt=salt)
        members = put_members(item, b"tok")
        del members["salt"]
        talk.reply(queries(talk, b"get")[ALICE], ALICE, id=ALICE_ID, **members)
        assert (get.result.v if isinstance(get.result, GetResult) else None) == expected


def test_the_own_copy_can_be_passed_over() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    target = talk.node.items.put(StoredItem(b"5:value"))
    get = talk.node.get(target, talk.now, use_cache=False)
    assert not get.done
    assert ALICE in queries(talk, b"get")


# --- company --------------------------------------------------------------------------------


def test_alone_it_wants_its_bootstrap_addresses_again_and_again_with_growing_pauses() -> None:
    talk = Conversation(make_node(DHTConfig(bootstrap_retry_min_s=0.5, bootstrap_retry_max_s=8)))
    wanted = []
    while talk.now < NOW + 100:
        talk.wait(0.1)
        if talk.node.take_effects().bootstrap_wanted:
            wanted.append(talk.now)
            talk.node.bootstrap([ALICE], talk.now)
    pauses = [later - earlier for earlier, later in pairwise(wanted)]
    assert len(wanted) > 10, "for ever"
    assert pauses[0] < 2
    assert max(pauses) < 11
    assert pauses[-1] > 5


def test_bootstrapping_asks_for_the_own_neighbourhood() -> None:
    talk = Conversation(make_node())
    talk.node.bootstrap([ALICE], talk.now)
    query = queries(talk, b"find_node")[ALICE]
    assert query[b"a"] == {b"id": OWN_ID, b"target": OWN_ID}
    talk.reply(query, ALICE, id=ALICE_ID, nodes=BOB_ID + compact_address(BOB))
    talk.reply(queries(talk, b"find_node")[BOB], BOB, id=BOB_ID, nodes=b"")
    assert talk.node.status().contacts_good == 2


def test_an_asker_is_pinged_and_so_becomes_company() -> None:
    talk = Conversation(make_node())
    talk.ask("ping", BOB, sender=BOB_ID)
    talk.reply(queries(talk, b"ping")[BOB], BOB, id=BOB_ID)
    assert talk.node.status().bootstrapped


def test_a_read_only_node_is_answered_and_not_entered() -> None:
    node = make_node()
    datagram = b"d1:ad2:id20:%be1:q4:ping2:roi1e1:t2:aa1:y1:qe" % CLIENT_ID
    assert node.receive_datagram(datagram, ALICE, NOW) is not None
    assert len(node.table) == 0
    assert not node.take_effects().datagrams


def test_contacts_unheard_of_are_pinged_and_dropped_when_silent() -> None:
    talk = talk_with((ALICE_ID, ALICE), (BOB_ID, BOB), node_liveness_s=60)
    talk.wait(58)
    assert not queries(talk, b"ping")
    asked: dict[Address, Any] = {}
    while not asked:
        talk.wait(0.1)
        asked = queries(talk, b"ping")
    assert talk.now < NOW + 67
    assert set(asked) == {ALICE, BOB}
    talk.reply(asked[ALICE], ALICE, id=ALICE_ID)
    talk.wait(10)
    assert [contact.address for contact in talk.node.table] == [ALICE]


def test_with_its_table_lost_it_asks_whom_it_knew_last() -> None:
    talk = talk_with((ALICE_ID, ALICE), node_liveness_s=10)
    talk.wait(30)
    assert len(talk.node.table) == 0
    assert talk.node.take_effects().bootstrap_wanted
    talk.node.bootstrap([], talk.now)
    assert ALICE in queries(talk, b"find_node")


def test_a_stale_bucket_is_refreshed() -> None:
    talk = talk_with((ALICE_ID, ALICE), node_liveness_s=1e6, bucket_refresh_s=100)
    talk.wait(110)
    assert ALICE in queries(talk, b"find_node")


# --- bounds ---------------------------------------------------------------------------------


def test_more_operations_than_allowed_are_refused_at_once() -> None:
    talk = talk_with((ALICE_ID, ALICE), operations_max=3)
    for number in range(3):
        talk.node.lookup(b"%d" % number, talk.now)
    with pytest.raises(DHTOverloaded):
        talk.node.lookup(b"3", talk.now)
    talk.node.lookup(b"0", talk.now)  # shared with one under way
    talk.wait(2.5)
    talk.node.lookup(b"3", talk.now)


def test_a_busy_stranger_is_asked_whether_it_is_there_and_then_served() -> None:
    talk = talk_with(stranger_rate_max=5)
    served = [talk.ask("ping", BOB, sender=None) is not None for _ in range(20)]
    assert served == [True] * 5 + [False] * 15
    pings = [(query, address) for query, address in talk.sent() if address == BOB]
    assert len(pings) == 1, "once a second"
    disguised = b"d1:ad2:id20:%be1:q4:ping1:t2:aa1:y1:q2:zz7:1:y1:ree" % CLIENT_ID
    assert talk.node.receive_datagram(disguised + b"1:y1:re", BOB, talk.now) is None
    talk.reply(*pings[0], id=BOB_ID)
    assert all(talk.ask("ping", BOB, sender=None) is not None for _ in range(1000))


@pytest.mark.parametrize("sources_max", [256, 10**6], ids=["limited", "behind the rate limit"])
def test_a_flood_leaves_the_node_small_and_in_service(sources_max: int) -> None:
    """Tens of thousands of datagrams of every kind from forged addresses."""
    config = DHTConfig(
        names_max=500,
        peers_max=1000,
        items_max=100,
        tables_max=100,
        sources_max=sources_max,
        rate_exempt_loopback=False,
    )
    talk = Conversation(make_node(config))
    talk.meet(ALICE_ID, ALICE)
    rng = random.Random(4)

    def flood(count: int) -> None:
        for _ in range(count):
            talk.now += 0.0001
            forged = (f"10.{rng.randrange(256)}.{rng.randrange(256)}.1", rng.randrange(1, 65536))
            node_id, name = rng.randbytes(20), rng.randbytes(rng.randrange(1, 200))
            match rng.randrange(5):
                case 0:
                    talk.ask("find_node", forged, sender=node_id, target=name)
                case 1:
                    answer = talk.ask("get_peers", forged, sender=node_id, info_hash=name)
                    if answer is not None:
                        token = answer[b"r"][b"token"]
                        port = rng.randrange(1, 65536)
                        talk.ask("announce_peer", forged, info_hash=name, port=port, token=token)
                        talk.ask("put", forged, v=name, token=token)
                case 2:
                    talk.node.receive_datagram(rng.randbytes(100), forged, talk.now)
                case 3:
                    talk.reply({b"t": rng.randbytes(4)}, forged, id=node_id)
                case _:
                    talk.ask("get", forged, sender=node_id, target=rng.randbytes(20))
            if rng.random() < 0.05:
                talk.wait(0.0)
                talk.node.take_effects()

    flood(10_000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    flood(10_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    status = talk.node.status()
    assert grown < 3_000_000
    assert status.names <= 500
    assert status.peers <= 1000
    assert status.items <= 100
    assert status.sources <= 2 * sources_max
    assert status.contacts_total <= 200
    assert status.queries_pending <= 2000
    assert ALICE_ID in talk.node.table.by_id, "no forged asker displaced a node that answers"
    assert talk.ok("ping", ALICE, sender=ALICE_ID) == {b"id": OWN_ID}


@pytest.mark.parametrize(
    "monster", [b"i" + b"9" * 4200 + b"e", b"i" + b"9" * 9000 + b"e"]
    + [b"l" * depth + b"e" * depth for depth in (60, 200, 300, 450, 480, 490, 497, 900, 4000)]
)  # fmt: skip
def test_numbers_and_nesting_beyond_what_python_can_write_are_survived(monster: bytes) -> None:
    """Where bencode2 has no wheel, its Python form reads more than it can write."""
    talk = talk_with((ALICE_ID, ALICE))
    token = talk.token()
    echo = b"d1:ad2:id20:%be1:q4:ping1:t%b1:y1:qe" % (CLIENT_ID, monster)
    put = b"d1:ad2:id20:%b5:token20:%b1:v%be1:q3:put1:t2:aa1:y1:qe" % (CLIENT_ID, token, monster)
    for datagram in (echo, put):
        answer = talk.node.receive_datagram(datagram, ALICE, talk.now)
        assert answer is None or bencode.decode(answer) is not None
    get = talk.node.get(b"t" * 20, talk.now)
    for query, address in talk.sent():
        body = b"d1:rd2:id20:%b1:v%be1:t4:%b1:y1:re" % (ALICE_ID, monster, query[b"t"])
        talk.node.receive_datagram(body, address, talk.now)
    talk.wait(2.0)
    assert get.result is None
    assert talk.ok("ping") == {b"id": OWN_ID}


def test_no_answer_is_larger_than_a_datagram_nor_much_larger_than_its_question() -> None:
    talk = talk_with(stranger_rate_max=10_000)
    for number in range(60):
        talk.meet(random.Random(number).randbytes(20), ("10.3.0.1", 1000 + number))
    token = talk.token(BOB)
    for port in range(1, 1000):
        talk.ask("announce_peer", BOB, info_hash=NAME, port=port, token=token)
    talk.ok("put", BOB, **put_members(signed(b"x" * 1000, 1, b"s" * 64), token))
    target = StoredItem(b"", PUBLIC, salt=b"s" * 64).target()
    largest = 0
    for method, args in (
        (b"find_node", b"6:target20:" + target),
        (b"get_peers", b"9:info_hash%d:%b" % (len(NAME), NAME)),
        (b"get_peers", b"9:info_hash1:x"),
        (b"get", b"6:target20:" + target),
    ):
        question = b"d1:ad2:id20:%b%be1:q%d:%b1:t2:aa1:y1:qe" % (
            CLIENT_ID,
            args,
            len(method),
            method,
        )
        answer = talk.node.receive_datagram(question, BOB, talk.now)
        assert answer is not None
        assert len(answer) <= 1400
        assert len(answer) <= 16 * len(question)
        largest = max(largest, len(answer))
    assert largest > 900, "the case was worth measuring"


# --- memory ---------------------------------------------------------------------------------


def test_what_a_node_remembers_makes_it_the_same_node() -> None:
    talk = talk_with((ALICE_ID, ALICE))
    talk.node.items.put(StoredItem(b"5:value"))
    token = talk.token(BOB)
    state = talk.node.state()
    assert state.node_id == OWN_ID
    assert state.contacts == [ALICE]
    again = Conversation(make_node(), talk.now + 5)
    again.node.restore(state.contacts, state.items, again.now)
    again.ok("announce_peer", BOB, info_hash=NAME, port=5, token=token)
    assert again.node.get(StoredItem(b"5:value").target(), again.now).result is not None
    again.sent()
    again.node.bootstrap([], again.now)
    assert ALICE in queries(again, b"find_node"), "no bootstrap list needed"


def test_a_node_is_light() -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    nodes = [make_node(seed=number) for number in range(20)]
    each = (tracemalloc.get_traced_memory()[0] - before) / len(nodes)
    tracemalloc.stop()
    assert each < 50_000
