"""Which links are kept: one for each pair of peers, not too many, nobody who is banned."""

from __future__ import annotations

import pytest

from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.signed_log.merkle import Sealer
from tests.support.far_ends import ME, OTHERS, FarEnds


def settle(ends: FarEnds) -> None:
    ends.settle(lambda number: True, close=True)


@pytest.mark.parametrize("who", range(3))
@pytest.mark.parametrize("first_outbound", [True, False])
def test_of_two_links_both_sides_keep_the_one_that_the_smaller_key_dialled(
    who: int, first_outbound: bool
) -> None:
    ends = FarEnds()
    ends.open(0, who, boot=1, outbound=first_outbound)
    settle(ends)
    ends.open(1, who, boot=1, outbound=not first_outbound)
    settle(ends)
    [kept] = ends.peering.ready()
    assert kept.outbound is (ME.key < OTHERS[who].key)
    assert len(ends.closed) == 1


def test_a_second_link_of_the_same_direction_replaces_the_first() -> None:
    ends = FarEnds()
    for number in (0, 1):
        ends.open(number, 0, boot=1, outbound=False)
        settle(ends)
    assert [link.id for link in ends.peering.ready()] == [1]
    assert ends.closed == {0: "replaced by a newer link"}


def test_two_live_machines_with_one_key_are_both_closed_and_banned() -> None:
    ends = FarEnds()
    for number in (0, 1):
        ends.open(number, 0, boot=number, outbound=False)
        settle(ends)
    assert ends.peering.ready() == []
    assert set(ends.closed) == {0, 1}
    assert ends.peering.scores.banned(OTHERS[0].key, ends.now)
    assert OTHERS[0].key in ends.peering.admission.clones


def test_a_restarted_peer_takes_its_own_place() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=0, outbound=False)
    settle(ends)
    ends.open(1, 0, boot=1, outbound=False)
    ends.settle(lambda number: number == 1, close=True)  # the older machine is dead
    assert ends.known[0].state is LinkState.CONTESTED
    ends.now += 6.0
    ends.peering.tick(ends.now)
    settle(ends)
    assert [link.id for link in ends.peering.ready()] == [1]
    assert not ends.peering.admission.clones


def test_our_own_key_with_another_boot_is_a_second_machine_of_ours() -> None:
    ends = FarEnds()
    ends.open(0, 3, boot=7, outbound=True)
    settle(ends)
    assert ends.closed == {0: "this is our own key"}
    assert ends.peering.admission.own_clone


def test_a_banned_peer_proves_its_key_in_vain_until_it_is_let_back() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=1, outbound=False)
    settle(ends)
    ends.peering.ban(OTHERS[0].key, 60.0, ends.now)
    settle(ends)
    ends.open(1, 0, boot=1, outbound=False)
    settle(ends)
    assert ends.closed == {0: "banned", 1: "banned"}
    ends.peering.scores.unban(OTHERS[0].key)
    ends.open(2, 0, boot=1, outbound=False)
    settle(ends)
    assert len(ends.peering.ready()) == 1


def test_who_finds_no_room_is_told_addresses_and_goodbye() -> None:
    ends = FarEnds(inbound_max=1)
    text = f'{{"peer":"{OTHERS[2].key}","address":"c:3","time":{int(ends.now * 1000)}}}'
    sealer = Sealer(OTHERS[2], "test")
    draft = sealer.add(text)
    sealer.seal()
    ends.peering.addresses.learn(draft.proof, ends.now, "c:1")
    for number in (0, 1):
        ends.open(number, number, boot=1, outbound=False)
        settle(ends)
    assert ends.closed == {1: "this peer has all the links it takes"}
    methods = [message.get("method") for message in ends.told[1]]
    assert methods[-2:] == ["peer.addresses", "peer.goodbye"]


def test_links_that_say_no_hello_make_room_for_newcomers() -> None:
    """The oldest silent one of the network that has most of them goes, and no newcomer."""
    ends = FarEnds(inbound_max=1)
    for number, address in enumerate(["9.9.9.9:1", "8.8.8.8:1", "8.8.8.9:1"]):
        ends.peering.link_opened(number, False, address, OTHERS[number].key, ends.now)
    links = ends.peering.links
    assert [link.closing for link in links.values()] == [False, True, False]
    ends.peering.link_opened(3, False, "8.8.8.4:1", OTHERS[0].key, ends.now)
    assert [link.closing for link in links.values()] == [False, True, True, False]


def test_a_banned_key_is_told_so_before_it_says_anything() -> None:
    ends = FarEnds()
    ends.peering.ban(OTHERS[0].key, 60.0, ends.now)
    ends.open(0, 0, boot=1, outbound=False)
    settle(ends)
    [told] = ends.told[0]
    assert "banned" in told["error"]["message"]


def test_a_first_line_that_is_no_message_ends_the_link_and_costs_points() -> None:
    ends = FarEnds()
    ends.peering.link_opened(0, False, "a:1", OTHERS[0].key, ends.now)
    ends.peering.not_a_message(0, ends.now)
    ends.peering.not_a_message(0, ends.now)
    assert ends.peering.links[0].state is LinkState.CLOSING
    assert ends.peering.scores.of(OTHERS[0].key, ends.now) == -10.0


def test_a_million_lines_that_are_no_messages_cost_what_ten_malformed_ones_do() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=1, outbound=False)
    settle(ends)
    for _ in range(11):
        ends.peering.not_a_message(0, ends.now)
    assert ends.known[0].closing
    assert ends.peering.scores.banned(OTHERS[0].key, ends.now)


def sees(ends: FarEnds, number: int, address: str, seen: str) -> str:
    """A dialled peer says where it sees this one; the address that is signed then."""
    ends.peering.peer_exchange.seen_from(peer_link(ends, number, address), seen)
    return ends.peering.peer_exchange.own_address()


def peer_link(ends: FarEnds, number: int, address: str) -> PeerLink:
    ends.peering.link_opened(number, True, address, OTHERS[0].key, ends.now)
    return ends.peering.links[number]


def test_where_a_neighbour_says_that_it_listens_is_shown_and_neither_dialled_nor_told() -> None:
    """It names a victim; nobody signed that, and nobody saw it."""
    ends = FarEnds()
    ends.open(0, 0, boot=1, outbound=False, address="9.9.9.9:50", listen="8.8.8.8:22")
    ends.open(1, 1, boot=1, outbound=False, address="7.7.7.7:51")
    settle(ends)
    assert ends.known[0].listen == "8.8.8.8:22"
    for _ in range(120):
        ends.now += 1.0
        ends.peering.tick(ends.now)
        settle(ends)
    assert ends.dialled == []
    said = [each for each in ends.told[1] if each.get("method") == "peer.addresses"]
    assert "8.8.8.8" not in str(said)


def test_one_neighbour_cannot_say_where_this_peer_is() -> None:
    ends = FarEnds()
    ends.peering.peer_exchange._listen = ":7071"
    assert sees(ends, 1, "9.9.9.9:1", "6.6.6.6:50") == ""
    assert sees(ends, 2, "9.9.9.8:1", "6.6.6.6:51") == "", "the same network"
    assert sees(ends, 3, "8.8.8.8:1", "5.5.5.5:52") == "", "they do not agree"
    assert sees(ends, 4, "7.7.7.7:1", "5.5.5.5:53") == "5.5.5.5:7071"
    assert sees(ends, 5, "9.9.9.9:1", "6.6.6.6:50") == "5.5.5.5:7071"
