"""Whose network an address lies in, and that nobody has others dial into it."""

from __future__ import annotations

import random

import msgspec
import pytest

from grenache_py.exchange.peers.address_book import AddressBook, AddressRecord
from grenache_py.exchange.peers.networks import LOOPBACK, NOWHERE, crowd_of, inner_network
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed, Verifier

NOW = 1_790_000_000.0
INNER = [
    "127.0.0.1:22",
    "10.1.2.3:80",
    "172.16.9.9:80",
    "192.168.1.1:80",
    "100.64.0.1:80",
    "169.254.169.254:80",
    "[::1]:22",
    "[fd00::1]:80",
    "[fe80::1%eth0]:80",
    "[::ffff:10.1.2.3]:80",
    "[2002:a01:203::1]:80",
    "router:80",
    "db.internal:5432",
    "LOCALHOST:22",
    "a.localhost.:22",
]
NEVER = ["0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "127.1:22",
         "0x7f.0.0.1:22", "2130706433:22", "10.1:80", "240.0.0.1:1", ":1"]  # fmt: skip
OUTSIDE = ["8.8.8.8:1", "[2600::1]:1", "peer.example.org:7071"]


def book(*local: str, grapes: tuple[str, ...] = ()) -> AddressBook:
    return AddressBook("", Verifier(Ed25519(), "main"), random.Random(1), local, grapes)


def record(address: str, number: int = 1, at: float = NOW) -> Signed:
    who = Identity.from_seed(number.to_bytes(32, "big"))
    sealer = Sealer(who, "main")
    body = AddressRecord(who.key, address, int(at * 1000))
    draft = sealer.add(msgspec.json.encode(body).decode())
    sealer.seal()
    return draft.proof


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_dialled_for_neighbours_of_the_same_network_only(address: str) -> None:
    assert inner_network(address) not in (None, NOWHERE)
    places = book()
    places.hint([address], NOW)
    for told_at in ("8.8.8.8:9", "10.9.0.1:1", "192.168.7.7:9", "peer.example.org:7071"):
        signed = record(address) if "%" not in address else None
        if signed is not None:
            assert places.learn(signed, NOW, told_at) is None
            assert places.address_of(Identity.from_seed((1).to_bytes(32, "big")).key, NOW) is None
    assert places.due({}, NOW) == []
    if "%" not in address:
        assert places.learn(record(address), NOW, address) is not None
        assert places.due({}, NOW) == [address]


@pytest.mark.parametrize("address", NEVER)
def test_what_is_no_host_is_never_dialled(address: str) -> None:
    assert inner_network(address) == NOWHERE
    places = book(grapes=("10.0.0.1",))
    places.hint([address], NOW)
    assert places.due({}, NOW) == []


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_internet_is_dialled_whoever_told_it(address: str) -> None:
    assert inner_network(address) is None
    places = book()
    places.hint([address], NOW)
    assert places.due({}, NOW) == [address]


@pytest.mark.parametrize("address", [*INNER, "0.0.0.0:1"])
def test_the_operator_may_name_what_it_likes(address: str) -> None:
    places = book()
    places.name([address])
    assert places.due({}, NOW) == [address]


def test_a_public_name_may_lie_where_the_operator_named_something_or_named_it() -> None:
    places = book("10.1.0.1")
    places.hint(["peer.example.org:7071"], NOW)
    places.name(["own.example.org:7071", "192.168.1.1:7071"])
    inside = frozenset({"10.1.0.0/16", "192.168.1.0/24"})
    assert places.may_lie_in("peer.example.org:7071") == inside
    assert places.may_lie_in("own.example.org:7071") is None


def test_grapes_inside_a_private_network_are_believed_about_it() -> None:
    """Containers: the grape has a name that only their network knows, and answers addresses."""
    for grapes, expected in (
        (("peer-a",), ["10.77.0.2:7071"]),
        (("10.77.0.9",), ["10.77.0.2:7071"]),
        (("10.77.0.9", "grape.example.org"), ["10.77.0.2:7071"]),  # its own network all the same
        (("peer-a", "grape.example.org"), []),
        (("grape.example.org",), []),
        ((), []),
    ):
        places = book(grapes=grapes)
        places.hint(["10.77.0.2:7071"], NOW)
        assert places.due({}, NOW) == expected, grapes
    places = book(grapes=("peer-a",))
    places.hint(["127.0.0.1:22"], NOW)
    assert places.due({}, NOW) == [], "this machine is nobody else's network"
    places = book(grapes=("127.0.0.1",))
    places.hint(["127.0.0.1:7071"], NOW)
    assert places.due({}, NOW) == ["127.0.0.1:7071"]
    assert inner_network("127.0.0.1:1") == LOOPBACK


def test_networks_of_one_hand_are_one_crowd() -> None:
    assert crowd_of("8.8.8.8:1") == crowd_of("8.8.8.99:2") != crowd_of("8.8.9.8:1")
    assert crowd_of("a.evil.example:1") == crowd_of("b.c.evil.example:1")
    assert crowd_of("[2600:1:2:3::1]:1") == crowd_of("[2600:1:2:9::1]:1")
