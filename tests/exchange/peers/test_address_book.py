"""Addresses are hints: tried, put off, forgotten, and believed only when signed."""

from __future__ import annotations

import random

import msgspec
import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.address_book import (
    ADDRESSES_MAX,
    BACKOFF_MAX_S,
    FAILURES_MAX,
    OWN_S,
    RECORD_AGE_MS_MAX,
    AddressBook,
    AddressRecord,
)
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed, Verifier

ME, PEER, LIAR = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
NOW = 1_700_000_000.0


def book() -> AddressBook:
    return AddressBook(ME.key, Verifier(Ed25519(), "main"), random.Random(1), ["me"])


def record(
    who: Identity, address: str, at: float = NOW, signer: Identity | None = None, term: int = 0
) -> Signed:
    sealer = Sealer(signer or who, "main")
    text = msgspec.json.encode(AddressRecord(who.key, address, int(at * 1000), term)).decode()
    draft = sealer.add(text)
    sealer.seal()
    return draft.proof


def test_a_named_address_is_tried_for_ever_with_growing_pauses_up_to_a_ceiling() -> None:
    places, now, pauses = book(), NOW, []
    places.name(["a:1"])
    for _ in range(40):
        assert places.due({}, now) == ["a:1"]
        assert places.dial("a:1", now)
        places.failed("a:1", now)
        failed = now
        while places.waiting("a:1", now):
            now += 0.05
        pauses.append(now - failed)
    assert pauses[0] < 2.0
    assert BACKOFF_MAX_S * 0.7 < pauses[-1] < BACKOFF_MAX_S * 1.3


def test_a_ghost_is_forgotten_and_may_be_named_again() -> None:
    """A ghost: docs/failure-modes.rst#f21."""
    places, now = book(), NOW
    places.hint(["ghost:1"], now)
    for _ in range(FAILURES_MAX):
        places.dial("ghost:1", now)
        places.failed("ghost:1", now)
        now += 2 * BACKOFF_MAX_S
    assert places.due({}, now) == []
    places.hint(["ghost:1"], now)
    assert places.due({}, now) == ["ghost:1"]


def test_a_linked_peer_is_not_dialled_again_until_the_link_is_gone() -> None:
    places = book()
    places.name(["a:1"])
    places.dial("a:1", NOW)
    places.reached("a:1", PEER.key, NOW)
    assert places.due({PEER.key: "a:9"}, NOW + 100) == []
    assert places.due({}, NOW + 100) == ["a:1"]


def test_an_address_that_led_to_ourselves_is_not_dialled_for_ten_minutes() -> None:
    """Not for ever: a relay may have led that one dial back."""
    places = book()
    places.hint(["me:1"], NOW)
    places.is_own("me:1", NOW)
    places.hint(["me:1"], NOW)
    assert places.due({}, NOW) == []
    places.hint(["me:1"], NOW + OWN_S)
    assert places.due({}, NOW + OWN_S) == ["me:1"]


def test_an_address_the_operator_named_is_tried_again_though_it_led_to_ourselves() -> None:
    places = book()
    places.name(["b:1"])
    places.dial("b:1", NOW)
    places.is_own("b:1", NOW)
    assert places.due({}, NOW) == []
    assert places.due({}, NOW + 2.0) == ["b:1"]


def test_addresses_that_led_to_ourselves_are_bounded() -> None:
    places = book()
    for port in range(ADDRESSES_MAX + 10):
        places.is_own(f"me:{port}", NOW)
    assert len(places._own) == ADDRESSES_MAX


def test_news_is_passed_on_once() -> None:
    places = book()
    assert places.learn(record(PEER, "p:1"), NOW, "n:1") is not None
    assert places.learn(record(PEER, "p:1"), NOW, "n:1") is None, "known"
    assert places.learn(record(PEER, "p:1", NOW + 10), NOW + 10, "n:1") is None, "hardly newer"
    assert places.learn(record(PEER, "q:2", NOW + 20), NOW + 20, "n:1") is not None, "moved"
    assert places.address_of(PEER.key, NOW + 20) == "q:2"
    assert places.learn(record(PEER, "p:1", NOW + 10), NOW + 20, "n:1") is None, "an older record"
    assert places.address_of(PEER.key, NOW + 20) == "q:2"


def test_a_record_nobody_renews_grows_stale() -> None:
    places = book()
    places.learn(record(PEER, "p:1"), NOW, "n:1")
    later = NOW + RECORD_AGE_MS_MAX / 1000 + 1
    assert places.address_of(PEER.key, later) is None
    assert places.sample(10, later) == []
    assert places.learn(record(PEER, "p:1"), later, "n:1") is None


def test_a_record_signed_by_another_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="not that of the peer"):
        book().learn(record(PEER, "p:1", signer=LIAR), NOW, "n:1")


def test_nonsense_is_refused_by_name() -> None:
    with pytest.raises(RemoteProtocolError, match="address record"):
        book().learn(Signed('{"peer": 1}', b"", 0, 1, b"0" * 64), NOW)


def test_a_higher_term_moves_a_peer_though_its_clock_is_behind_and_a_lower_one_never() -> None:
    places, peer = book(), PEER
    assert places.learn(record(peer, "9.9.9.1:1", NOW, term=7), NOW)
    assert places.learn(record(peer, "9.9.9.2:1", NOW - 40.0, term=8), NOW)
    assert places.address_of(peer.key, NOW) == "9.9.9.2:1"
    for term, address in ((7, "9.9.9.1:1"), (0, "9.9.9.3:1")):
        assert places.learn(record(peer, address, NOW + 50.0, term=term), NOW) is None
    assert places.address_of(peer.key, NOW) == "9.9.9.2:1"


def test_who_does_not_know_terms_is_told_records_without() -> None:
    places = book()
    places.learn(record(PEER, "9.9.9.2:1", term=8), NOW)
    assert len(places.sample(10, NOW)) == 1
    assert places.sample(10, NOW, terms=False) == []


def test_a_record_without_a_term_is_written_as_it_always_was() -> None:
    assert "term" not in record(PEER, "a:1").payload
