"""Which links are kept: one for each pair of peers, not too many, nobody who is banned."""

from __future__ import annotations

import pytest

from grenache_py.exchange.peers.link import LinkState
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
    for number in (0, 1):
        ends.open(number, number, boot=1, outbound=False)
        settle(ends)
    assert ends.closed == {1: "this peer has all the links it takes"}
    methods = [message.get("method") for message in ends.told[1]]
    assert methods[-2:] == ["peer.addresses", "peer.goodbye"]


def test_connections_beyond_twice_the_links_it_takes_are_not_even_judged() -> None:
    ends = FarEnds(inbound_max=1)
    for number in range(3):
        ends.open(number, number, boot=1, outbound=False)
    assert ends.known[2].state is LinkState.CLOSING
    assert ends.known[1].state is LinkState.HANDSHAKING
