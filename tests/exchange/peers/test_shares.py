"""Who tells most gives way first: nobody pushes others out of the address book."""

from __future__ import annotations

import random

import pytest

from grenache_py.exchange.peers import address_book
from grenache_py.exchange.peers.address_book import PER_NETWORK_MAX, AddressBook
from grenache_py.exchange.peers.shares import Shares
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Verifier
from tests.exchange.peers.eclipse import LINKS, surrounded
from tests.exchange.peers.test_networks import NOW, book, record


def test_the_oldest_row_of_whoever_has_most_gives_way() -> None:
    shares = Shares()
    for number in range(5):
        shares.add("much", f"m{number}")
    shares.add("little", "l0")
    assert shares.gives_way("new") == shares.gives_way("little") == "m0"
    assert shares.gives_way("much") == "m0", "its own"
    shares.add("little", "m0")
    assert shares.teller("m0") == "much", "who told it first keeps it"
    for number in range(5):
        shares.remove(f"m{number}")
    assert (len(shares), shares.count("much"), shares.oldest_of("little")) == (1, 0, "l0")


def test_made_up_keys_with_newer_stamps_do_not_push_out_honest_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_book, "ADDRESSES_MAX", 50)
    places = book()
    for number in range(10):
        assert places.learn(record(f"8.8.{number}.1:1", number + 1), NOW, "9.9.9.9:1")
    for number in range(200):
        made_up = record(f"66.{number}.1.1:1", number + 100, NOW + 30)
        places.learn(made_up, NOW, "66.0.0.1:1")
    assert len(places.records) == 50
    honest = [r for r, _ in places.records.values() if r.address.startswith("8.8.")]
    assert len(honest) == 10
    due = places.due({}, NOW)
    assert sum(address.startswith("8.8.") for address in due) == 10


def test_ghosts_fill_no_book_for_ever_and_new_addresses_are_heard_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_book, "ADDRESSES_MAX", 20)
    places = book()
    places.hint([f"66.{number}.1.1:1" for number in range(100)], NOW)
    places.hint(["8.8.8.8:1"], NOW)
    assert "8.8.8.8:1" in places.due({}, NOW)
    assert len(places.due({}, NOW)) == 20


def test_one_network_has_few_places() -> None:
    places = book()
    places.hint([f"66.6.6.{n % 250}:{n}" for n in range(1, 500)], NOW)
    assert len(places.due({}, NOW)) == PER_NETWORK_MAX


def test_who_claims_the_address_of_another_does_not_keep_it_from_being_dialled() -> None:
    """A record says where its signer is. That others are not there has to be seen by dialling."""
    places = book()
    places.hint(["8.8.8.8:1"], NOW)
    liar = Identity.from_seed((7).to_bytes(32, "big")).key
    places.learn(record("8.8.8.8:1", 7), NOW, "66.0.0.1:50000")
    assert places.due({liar: "66.0.0.1:50000"}, NOW) == ["8.8.8.8:1"]
    assert places.due({liar: "8.8.8.8:50000"}, NOW) == [], "its own host, that is seen"
    places.dial("8.8.8.8:1", NOW)
    places.reached("8.8.8.8:1", "honest", NOW)
    assert places.due({"honest": "8.8.8.8:1"}, NOW + 10) == []


def test_an_address_that_was_reached_is_given_up_after_long() -> None:
    places = AddressBook("", Verifier(Ed25519(), "main"), random.Random(1))
    places.hint(["8.8.8.8:1"], NOW)
    places.dial("8.8.8.8:1", NOW)
    places.reached("8.8.8.8:1", "k", NOW)
    now, tries = NOW + 100, 0
    while places.due({}, now):
        tries += 1
        places.dial("8.8.8.8:1", now)
        places.failed("8.8.8.8:1", now)
        now += 100
    assert tries == address_book.REACHED_FAILURES_MAX


@pytest.mark.parametrize(
    "count,networks",
    [(10, 1), (10, 10), (100, 1), (100, 10), (100, 100), (1_000, 1), (1_000, 10), (1_000, 100)],
)
def test_an_attackers_addresses_surround_nobody_however_many(count: int, networks: int) -> None:
    """At the grapes its networks count, and not its addresses; a neighbour has its own share."""
    for way, links in (("grapes", {1: 1, 10: 4, 100: 7}[networks]), ("neighbour", 2)):
        found = [surrounded(count, networks, way, seed) for seed in range(3)]
        assert max(found) <= links < LINKS, way


def test_who_moves_all_the_time_is_not_followed() -> None:
    places = book()
    taken = [
        places.learn(record(f"8.8.{n}.8:1", 1, NOW + n), NOW + n, "9.9.9.9:1") is not None
        for n in range(30)
    ]
    assert sum(taken) == 3
