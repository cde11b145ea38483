"""Address records in slots that anybody can write: what is signed is found, nothing else counts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from grenache_py.exchange.daemon.address_slots import SLOTS, WRITE_S, AddressSlots
from grenache_py.exchange.peers.address_book import GRAPES, AddressBook, AddressRecord
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed, Verifier, Wire
from grenache_py.link.errors import GrapeRefused, GrapeUnreachable
from grenache_py.link.items import Item, mutable_hash

NOW = 1_790_000_000.0


class Grapes:
    """Stores items as BEP 44 says, for all the peers of a test."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.down = False
        self.puts = 0

    def get(self, target: str, *, fresh: bool) -> Deferred[Item | None]:
        assert fresh
        return (
            fail(GrapeUnreachable("no grape answers", []))
            if self.down
            else succeed(self.items.get(target))
        )

    def put_mutable(self, value: str, key: Any, seq: int, *, cas: int | None) -> Deferred[str]:
        self.puts += 1
        target = mutable_hash(key.public, b"")
        before = self.items.get(target)
        if before is not None and cas != before.seq:
            return fail(GrapeRefused("cas", 301))
        if before is not None and seq <= (before.seq or 0):
            return fail(GrapeRefused("seq", 302))
        self.items[target] = Item(value, target, key.public, seq)
        return succeed(target)


class Peer:
    """One peer: its book of addresses, its record, and its slots on a clock of its own."""

    def __init__(self, number: int, grapes: Grapes, network: str = "test") -> None:
        self.identity = Identity.from_seed(bytes([number]) * 32)
        self.clock = Clock()
        self.clock.advance(NOW)
        verifier = Verifier(Ed25519(), network)
        self.book = AddressBook(
            self.identity.key, verifier, random.Random(number), [], ["10.0.0.1"]
        )
        self.slots = AddressSlots(
            self.clock, random.Random(number), network, self.identity.key, self._take
        )
        self.network, self.address = network, f"10.0.7.{number}:7071"
        link: Any = grapes
        self.tasks = [
            Deferred.fromCoroutine(self.slots.read_on(link, lambda: True)),
            Deferred.fromCoroutine(self.slots.write_on(link, self.record)),
        ]

    def record(self) -> Wire:
        return signed(self.identity, self.address, self.clock.seconds(), self.network).wire()

    def _take(self, found: Signed) -> str:
        signer = self.book.signer(found, self.clock.seconds())
        if signer:
            self.book.learn(found, self.clock.seconds(), GRAPES)
        return signer

    def run(self, seconds: float) -> None:
        self.clock.pump([0.1] * int(seconds * 10))

    def knows(self) -> set[str]:
        return {record.address for record, _ in self.book.records.values()}


def signed(identity: Identity, address: str, now: float, network: str = "test") -> Signed:
    sealer = Sealer(identity, network)
    draft = sealer.add(
        msgspec.json.encode(AddressRecord(identity.key, address, int(now * 1000))).decode()
    )
    sealer.seal()
    return draft.proof


@pytest.fixture
def peers() -> Iterator[Any]:
    """Makes peers, and stops them at the end."""
    made: list[Peer] = []

    def make(number: int, grapes: Grapes, network: str = "test") -> Peer:
        made.append(Peer(number, grapes, network))
        return made[-1]

    yield make
    for peer in made:
        for task in peer.tasks:
            task.addErrback(lambda _: None)
            task.cancel()
        assert not peer.clock.getDelayedCalls()


def test_peers_find_each_other_by_the_networks_name_alone(peers: Any) -> None:
    grapes = Grapes()
    network = [peers(number, grapes) for number in (1, 2, 3)]
    stranger = peers(4, grapes, "another")
    for peer in [*network, stranger]:
        peer.run(30)
    for peer in network:
        peer.run(90)
        assert peer.knows() == {each.address for each in network if each is not peer}
        assert peer.slots.written_at is not None
    assert not stranger.knows()


def test_who_overwrites_a_slot_costs_another_try(peers: Any) -> None:
    grapes = Grapes()
    peer, reader = peers(1, grapes), peers(2, grapes)
    peer.run(10)
    for target, item in list(grapes.items.items()):
        grapes.items[target] = Item("rubbish", target, item.public_key, 10**6)
    reader.run(10)
    assert not reader.knows()
    for one in (peer, reader):
        one.run(WRITE_S * 2)
    assert reader.knows() == {peer.address}


def test_a_slot_that_another_took_is_left_and_the_next_one_used(peers: Any) -> None:
    grapes = Grapes()
    key = Identity.from_seed(bytes([1]) * 32).key
    same = next(
        n for n in range(5, 250)
        if int(Identity.from_seed(bytes([n]) * 32).key[:8], 16) % SLOTS == int(key[:8], 16) % SLOTS
    )  # fmt: skip
    first, second = peers(1, grapes), peers(same, grapes)
    first.run(10)
    second.run(10)
    assert len(grapes.items) == 2


def test_a_network_whose_slots_are_all_taken_locks_nobody_out(peers: Any) -> None:
    grapes = Grapes()
    for number, key in enumerate(peers(9, Grapes()).slots._slots):
        squatter = Identity.from_seed(bytes([100 + number]) * 32)
        text = json.dumps(msgspec.to_builtins(signed(squatter, "10.0.9.9:1", NOW).wire()))
        target = mutable_hash(key.public, b"")
        grapes.items[target] = Item(text, target, key.public, 1)
    late, reader = peers(1, grapes), peers(2, grapes)
    reader.run(30)
    assert late.address in reader.knows()


@pytest.mark.parametrize(
    "value", ["", "{}", "[]", '{"payload":"{}","signature":"AA=="}', "\x00", "9" * 900]
)
def test_what_is_no_record_is_nothing(peers: Any, value: str) -> None:
    grapes = Grapes()
    for key in peers(9, Grapes()).slots._slots:
        target = mutable_hash(key.public, b"")
        grapes.items[target] = Item(value, target, key.public, 1)
    peer = peers(1, grapes)
    peer.run(20)
    assert not peer.knows() and peer.slots.read == 0
    assert peer.slots.written_at is not None


def test_forged_old_and_foreign_records_are_not_believed(peers: Any) -> None:
    peer = peers(1, Grapes())
    other = Identity.from_seed(bytes([7]) * 32)
    good = signed(other, "10.0.7.7:7071", NOW)
    assert peer.book.signer(good, NOW) == other.key
    forged = msgspec.structs.replace(good, payload=good.payload.replace("7.7", "6.6"))
    old = signed(other, "10.0.7.7:7071", NOW - 3_700)
    foreign = signed(other, "10.0.7.7:7071", NOW, "another")
    assert [peer.book.signer(each, NOW) for each in (forged, old, foreign)] == ["", "", ""]


def test_grapes_that_are_down_are_asked_again(peers: Any) -> None:
    grapes = Grapes()
    grapes.down = True
    peer = peers(1, grapes)
    peer.run(60)
    assert peer.slots.written_at is None and grapes.puts == 0
    assert "no grape answers" in peer.slots.error
    grapes.down = False
    peer.run(60)
    assert peer.slots.written_at is not None and not peer.slots.error
