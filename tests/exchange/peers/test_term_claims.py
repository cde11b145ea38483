"""A takeover is never mistaken for a copy, nor a copy for a takeover."""

from __future__ import annotations

from typing import Any

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.term_claims import CLAIMS_MAX, TermClaims
from grenache_py.exchange.signed_log.keys import Ed25519
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier
from tests.support.far_ends import ME, OTHERS, FarEnds, claimed

BOOT = "b" * 32


def settle(ends: FarEnds, answer: bool = True) -> None:
    ends.settle(lambda number: answer, close=True)


def claims(term: int = 0) -> TermClaims:
    return TermClaims(ME.key, BOOT, term, Sealer(ME, "test"), Verifier(Ed25519(), "test"))


def farewells(ends: FarEnds, number: int) -> list[dict[str, Any]]:
    return [
        message["params"]
        for message in ends.told.get(number, [])
        if message.get("method") == "peer.goodbye"
    ]


def test_a_higher_term_takes_the_place_of_a_link_that_lives() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=1, outbound=False, term=7)
    settle(ends)
    ends.open(1, 0, boot=2, outbound=False, term=8)
    settle(ends)
    assert [link.id for link in ends.peering.ready()] == [1]
    assert ends.closed == {0: "a newer holder of this identity serves"}
    assert not ends.peering.admission.clones
    assert not ends.peering.scores.banned(OTHERS[0].key, ends.now)
    [said] = farewells(ends, 0)
    assert said["term"] == claimed(OTHERS[0], f"{2:032x}", 8), "it need not believe us"


def test_an_earlier_holder_is_shown_the_term_of_the_newest_and_does_not_replace_it() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=2, outbound=False, term=8)
    settle(ends)
    for number, outbound in ((1, False), (2, True)):
        ends.open(number, 0, boot=1, outbound=outbound, term=7)
        settle(ends)
        assert ends.closed[number] == "a newer holder of this identity serves"
        assert farewells(ends, number)[0]["term"] == claimed(OTHERS[0], f"{2:032x}", 8)
    assert [link.id for link in ends.peering.ready()] == [0]
    assert not ends.peering.admission.clones


def test_an_earlier_holder_is_known_when_the_newest_has_gone() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=2, outbound=False, term=8)
    settle(ends)
    ends.peering.link_closed(0, ends.now)
    ends.open(1, 0, boot=1, outbound=False, term=7)
    settle(ends)
    assert ends.peering.ready() == []


def test_an_equal_term_with_another_boot_is_a_copy_when_both_live() -> None:
    ends = FarEnds()
    for number in (0, 1):
        ends.open(number, 0, boot=number, outbound=False, term=7)
        settle(ends)
    assert ends.peering.ready() == []
    assert OTHERS[0].key in ends.peering.admission.clones


@pytest.mark.parametrize(("old", "new"), [(0, 7), (7, 0)])
def test_without_a_term_on_one_side_it_is_as_before(old: int, new: int) -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=0, outbound=False, term=old)
    settle(ends)
    ends.open(1, 0, boot=1, outbound=False, term=new)
    settle(ends)
    assert OTHERS[0].key in ends.peering.admission.clones


def test_a_home_without_a_term_says_what_it_always_said() -> None:
    ends = FarEnds()
    ends.open(0, 0, boot=1, outbound=False)
    settle(ends)
    assert "term" not in ends.told[0][0]["result"]


@pytest.mark.parametrize("outbound", [True, False])
def test_a_later_holder_of_our_own_key_makes_us_ask_our_database(outbound: bool) -> None:
    ends = FarEnds(term=7)
    ends.open(0, 3, boot=5, outbound=outbound, term=8)
    settle(ends)
    assert ends.peering.claims.rival == 8
    assert not ends.peering.admission.own_clone


def test_an_earlier_holder_of_our_own_key_changes_nothing() -> None:
    ends = FarEnds(term=7)
    ends.open(0, 3, boot=5, outbound=False, term=6)
    settle(ends)
    assert ends.closed == {0: "this is our own key"}
    assert ends.peering.claims.rival == 0
    assert not ends.peering.admission.own_clone


@pytest.mark.parametrize("term", [0, 7])
def test_our_own_key_with_our_own_term_or_none_is_a_copy_of_us(term: int) -> None:
    ends = FarEnds(term=7)
    ends.open(0, 3, boot=5, outbound=False, term=term)
    settle(ends)
    assert ends.peering.admission.own_clone


def test_a_goodbye_shows_us_that_we_are_superseded() -> None:
    ends = FarEnds(term=7)
    for number, term, rival in ((0, 6, 0), (1, 9, 9)):
        ends.open(number, 0, boot=1, outbound=False)
        settle(ends)
        params = {"reason": "…", "term": claimed(ME, BOOT, term)}
        ends.say(number, {"jsonrpc": "2.0", "method": "peer.goodbye", "params": params})
        settle(ends)
        assert ends.peering.claims.rival == rival


def test_a_neighbour_cannot_make_up_that_we_are_superseded() -> None:
    ends = FarEnds(term=7)
    ends.open(0, 0, boot=1, outbound=False)
    settle(ends)
    forged = claimed(OTHERS[0], BOOT, 9)
    forged["payload"] = forged["payload"].replace(OTHERS[0].key, ME.key)
    for term in (forged, claimed(OTHERS[0], BOOT, 9), "9", None):
        with pytest.raises(RemoteProtocolError):
            ends.peering.claims.shown(term)  # type: ignore[arg-type]
    assert ends.peering.claims.rival == 0


def test_a_claim_is_its_peers_and_its_processs() -> None:
    mine = claims()
    claim = claimed(OTHERS[0], BOOT, 9)
    for key, boot in ((OTHERS[1].key, BOOT), (OTHERS[0].key, "c" * 32)):
        with pytest.raises(RemoteProtocolError):
            mine.take(claim, key, boot)
    padded = {**claim, "payload": claim["payload"].replace(",", ", ")}
    with pytest.raises(RemoteProtocolError, match="canonical"):
        mine.take(padded, OTHERS[0].key, BOOT)
    assert mine.newest(OTHERS[0].key) == 0
    assert mine.take(claim, OTHERS[0].key, BOOT) == 9


def test_a_hello_with_a_bad_claim_ends_the_link() -> None:
    ends = FarEnds()
    hello = {"boot": BOOT, "network": "test", "protocol": [3, 4], "term": {"payload": "{}"}}
    ends.open(0, 0, boot=1, outbound=True)
    ends.say(0, {"jsonrpc": "2.0", "id": "hello", "result": hello})
    settle(ends)
    assert "bad signed payload" in ends.closed[0]


def test_so_many_claims_are_remembered_and_never_the_own_one_forgotten() -> None:
    mine = claims(7)
    wire = claimed(OTHERS[0], BOOT, 9)
    mine._newest.update({f"{n:064x}": (1, {}) for n in range(CLAIMS_MAX - 1)})
    mine.take(wire, OTHERS[0].key, BOOT)
    assert len(mine._newest) == CLAIMS_MAX
    assert mine.newest(OTHERS[0].key) == 9
    assert mine.newest(ME.key) == 7


def test_a_record_with_a_term_is_told_to_those_who_understand_it() -> None:
    ends = FarEnds(term=7)
    for number, version in ((0, 3), (1, 4)):
        ends.open(number, number, boot=1, outbound=False, version=version)
        settle(ends)
    records = {
        number: [m for m in ends.told[number] if m.get("method") == "peer.addresses"]
        for number in (0, 1)
    }
    assert not records[0]
    assert '"term":7' in records[1][0]["params"]["records"][0]["payload"]
