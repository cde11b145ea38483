"""
A machine's clock was hours ahead and is put right: nothing waits for the hours to pass again.

Deadlines are wall time, and one that is much further ahead than it was ever set is over.
"""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.peers.clones import CloneCheck
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import Mesh
from grenache_py.exchange.peers.scores import HALF_LIFE_S, Scores
from grenache_py.exchange.peers.undelivered import Message, Undelivered
from grenache_py.exchange.replication.catch_up_session import CatchUpSession
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Verifier
from tests.exchange.fills.test_taker import silent_makers
from tests.support.peers import Network

HOURS_S = 3 * 3600.0
AHEAD = 1_790_000_000.0 + HOURS_S
RIGHT = AHEAD - HOURS_S


def link(number: int) -> PeerLink:
    return PeerLink(number, True, f"b:{number}", AHEAD, cast(Any, None), None, "k")  # type: ignore[arg-type]


def put_right(net: Network) -> None:
    net.now -= HOURS_S


def test_an_address_that_failed_is_dialled_again() -> None:
    me = Identity.from_seed(b"\x01" * 32).key
    places = AddressBook(me, Verifier(Ed25519(), "main"), random.Random(1), ["me"])
    places.name(["a:1", "b:1"])
    for address in ("a:1", "b:1"):
        assert places.dial(address, AHEAD)
    places.failed("a:1", AHEAD)
    assert places.waiting("a:1", AHEAD) and not places.due({}, AHEAD)
    assert not places.waiting("a:1", RIGHT)
    assert sorted(places.due({}, RIGHT)) == ["a:1", "b:1"]
    assert places.dial("b:1", RIGHT)


def test_a_handshake_that_hangs_is_given_up() -> None:
    net = Network(1)
    net[0].link_opened(9, True, "10.0.0.9:7071", "", net.now)
    put_right(net)
    net.run(6)
    assert 9 not in net[0].peering.links


def test_a_neighbour_that_went_silent_is_given_up() -> None:
    net = Network(2)
    net.link(0, 1)
    net.run(3)
    net._ends.clear()  # what is sent from now on is lost
    put_right(net)
    net.run(60)
    assert not net[0].peering.ready()


def test_a_ban_and_a_bad_name_end() -> None:
    scores = Scores()
    scores.ban("k", 600, AHEAD)
    scores.add("k", -10, AHEAD)
    assert scores.banned("k", AHEAD)
    assert not scores.banned("k", RIGHT)
    assert scores.of("k", RIGHT) == -10
    assert scores.of("k", RIGHT + HALF_LIFE_S) == -5


def test_a_link_that_a_newer_one_contests_ends() -> None:
    check = CloneCheck(lambda *sent: None, lambda *asked: None, lambda *both: None)
    old, new = link(1), link(2)
    check.begin(old, new, AHEAD)
    assert not check.ended(old, AHEAD)
    assert [ended for ended, _ in check.ended(old, RIGHT)] == [old]


def test_what_waits_for_a_peer_is_answered() -> None:
    waiting, answers = Undelivered(), []
    waiting.put("k", Message("fill.query", {}, lambda *answer: answers.append(answer)), AHEAD)
    waiting.expire(AHEAD)
    assert not answers
    waiting.expire(RIGHT)
    assert answers == [(None, None, RIGHT)]


def test_this_peers_address_is_told_anew() -> None:
    net = Network(2)
    net.link(0, 1)
    net.run(3)
    put_right(net)
    before = net.counts["peer.addresses"]
    net.run(3)
    assert net.counts["peer.addresses"] > before


def test_a_pruned_link_may_be_grafted_within_the_hour() -> None:
    mesh, pruned = Mesh(random.Random(1)), link(1)
    mesh.pruned(pruned, 60, AHEAD)
    mesh.heartbeat([pruned], 1, RIGHT)
    assert mesh.grafted(pruned, [pruned], RIGHT + 3600) is None


def test_a_fill_is_asked_for_again() -> None:
    net = silent_makers(1)
    net.lost = {"fill.request", "result"}
    net.place(0, "buy", 5, 110)
    assert net[0].taker.intents
    net.lost = set()
    put_right(net)
    net.run(5)
    assert not net[0].taker.intents


def test_an_order_that_was_refused_is_asked_for_again() -> None:
    net = Network(1)
    net[0].taker._avoid["an order"] = net.now + 2
    net.run(1)
    assert net[0].taker._avoid
    put_right(net)
    net.run(1)
    assert not net[0].taker._avoid


@pytest.mark.parametrize("adopted", [0, 1])
def test_a_catch_up_that_brings_nothing_is_too_slow(adopted: int) -> None:
    session = cast(Any, CatchUpSession.__new__(CatchUpSession))
    session._adopted_at = session._window_at = AHEAD
    session.adopted = session._window_from = adopted
    assert not session.slow(AHEAD) and not session.too_slow(AHEAD)
    assert session.slow(RIGHT) and session.too_slow(RIGHT)
