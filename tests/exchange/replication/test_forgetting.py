"""What is forgotten of other homes, here and on the disk, and that it does not come back."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.replication import forgetting, forks, origin_table, remote_orders
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.signed_log.entries import StateBody
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.live_set import element
from grenache_py.exchange.signed_log.merkle import Signed
from tests.exchange.replication.test_replica import ALICE, Author
from tests.sim.exchange.flood import flooded
from tests.support.peers import Network

DAY_S = 86_400.0


def made_up(net: Network, number: int) -> Author:
    return Author(net.now, Identity.from_seed(number.to_bytes(32, "big")))


def beat(author: Author, *orders: tuple[str, int]) -> Signed:
    author.clock.read_ms(author.now)
    sum_of = sum(element(*order) for order in orders) % 2**256
    body = {"lease_ms": 20_000, "live": len(orders), "fingerprint": f"{sum_of:064x}"}
    return author.entry(beat=body)


def stored(net: Network, table: str) -> int:
    net.settle()
    found = net.peers[0].database.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0])


def later(net: Network, seconds: float) -> None:
    net.now += seconds
    net[0].replica.tick(net.now)


def test_homes_with_one_heartbeat_do_not_fill_the_table_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(origin_table, "ORIGINS_MAX", 20)
    net = Network(1)
    replica = net[0].replica
    alice = Author(net.now)
    replica.receive(alice.order(), net.now, "honest")
    for number in range(100, 150):
        replica.receive(beat(made_up(net, number)), net.now, "evil")
    assert len(replica.origins) == stored(net, "origins") == 20
    assert ALICE.key in replica.origins
    # They are live. One without orders gives way all the same.
    bob = made_up(net, 7)
    assert replica.receive(bob.order(), net.now, "honest").verdict == "applied"
    assert replica.receive(beat(made_up(net, 200)), net.now, "evil").verdict == "applied"
    assert {ALICE.key, bob.identity.key} <= set(replica.origins)
    later(net, 30)
    carol = made_up(net, 8)  # now they are silent, and any newcomer goes first
    assert replica.receive(beat(carol), net.now, "evil").verdict == "applied"
    assert {ALICE.key, bob.identity.key, carol.identity.key} <= set(replica.origins)
    later(net, forgetting.IDLE_MS / 1000 + 30)
    assert set(replica.origins) == {ALICE.key, bob.identity.key}
    assert stored(net, "origins") == 2


@pytest.mark.parametrize("orders", [False, True])
def test_a_strangers_home_costs_as_much_in_a_full_table_as_in_a_small_one(
    orders: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    for homes in (20, 400):
        monkeypatch.setattr(origin_table, "ORIGINS_MAX", homes)
        net = Network(1)
        replica, calls = net[0].replica, 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        told = [made_up(net, number) for number in range(homes + 1)]
        *first, last = [author.order() if orders else beat(author) for author in told]
        for signed in first:
            replica.receive(signed, net.now, "evil")
        sys.setprofile(count)
        replica.receive(last, net.now, "evil")
        sys.setprofile(None)
        assert len(replica.origins) == homes and told[-1].identity.key in replica.origins
        costs.append(calls)
    assert costs[1] < costs[0] + 100


def test_what_is_forgotten_does_not_come_back_by_itself_but_with_its_home() -> None:
    net = Network(1)
    replica, alice = net[0].replica, Author(net.now)
    placed = alice.order()
    for signed in (placed, beat(alice, (alice.last, 1))):
        replica.receive(signed, net.now)
    assert stored(net, "records") == 1
    later(net, forgetting.DEAD_MS / 1000 - 60)
    assert len(replica.origins) == 1, "its orders are kept for a week"
    later(net, 120)
    assert not replica.origins and stored(net, "origins") == stored(net, "records") == 0
    assert len(net[0].live.set) == 0
    # A neighbour that has not forgotten yet cannot bring it back.
    assert replica.receive(placed, net.now).verdict == "known"
    assert not replica.adoption.adopt_record(placed, placed, net.now)
    assert not replica.origins
    net.restart(0)
    assert not net[0].replica.origins
    # Its home can.
    replica, alice.now = net[0].replica, net.now
    assert replica.receive(beat(alice, (alice.last, 1)), net.now).verdict == "waiting"
    assert replica.receive(placed, net.now).verdict == "applied"


def test_a_neighbours_heads_of_a_forgotten_home_are_not_missed() -> None:
    net = Network(2)
    net.link(0, 1)
    [link] = net[0].peering.ready()
    assert isinstance(link, PeerLink)
    alice = Author(net.now)
    net[0].replica.receive(beat(alice), net.now)
    link.heads[ALICE.key] = Head(1, 1, "0" * 64)
    told = list[str]()
    net[0].replica.on_forgotten.append(told.append)
    later(net, 2 * forgetting.IDLE_MS / 1000)
    net.run(20)  # until its neighbour has told that this leap of the clock is right
    assert ALICE.key not in link.heads
    assert ALICE.key not in net[0].sync.behind()
    assert ALICE.key in told


def test_a_silent_home_is_looked_at_once_in_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be ten thousand of them, and they are not looked at each second."""
    net = Network(1)
    alice, looks = Author(net.now), list[str]()

    def is_over(origin: Origin, now_ms: int) -> bool:
        looks.append(origin.home)
        return forgetting.is_over(origin, now_ms)

    monkeypatch.setattr(origin_table, "is_over", is_over)
    for signed in (alice.order(), beat(alice, (alice.last, 1))):
        net[0].replica.receive(signed, net.now)
    for _ in range(600):
        later(net, 6)
    assert 5 <= len(looks) <= 7, "in an hour"


def test_a_peer_whose_stamps_are_hours_ahead_takes_no_home_again_and_again() -> None:
    """Its wall clock was put right, its stamps never go back: nobody is forgotten by those."""
    net = Network(1)
    alice = Author(net.now)
    replica = net[0].replica
    net[0].clock.resume(int(net.now * 1000) + 3_600_000, 0)
    signed, told = beat(alice), []
    for _ in range(3):
        told.append(replica.receive(signed, net.now).verdict)
        later(net, 1)
    assert told == ["applied", "known", "known"]


def test_a_wall_clock_that_is_not_believed_keeps_no_home_out() -> None:
    net = Network(1)
    alice = Author(net.now)
    net[0].clock.rest()
    assert net[0].replica.receive(beat(alice), net.now + 3_600).verdict == "applied"


def test_a_home_without_orders_is_forgotten_ten_minutes_after_its_last_sign_of_life() -> None:
    net = Network(1)
    replica, alice = net[0].replica, Author(net.now)
    for _ in range(150):  # it lives for longer than that
        later(net, 10)
        alice.now = net.now
        replica.receive(beat(alice), net.now)
    for _ in range(59):
        later(net, 10)
    assert ALICE.key in replica.origins
    for _ in range(4):
        later(net, 10)
    assert ALICE.key not in replica.origins
    received = replica.adoption.adopt_head(beat(alice), net.now)
    assert (received.verdict, received.origin) == ("known", None), "nor is it taken from others"


def test_expired_orders_of_a_silent_home_are_dropped_and_not_taken_again() -> None:
    net = Network(1)
    replica, alice = net[0].replica, Author(net.now)
    expires = int(net.now * 1000) + 10_000
    day, good = alice.order(time_in_force="gtd", expires=expires), alice.order(price="2")
    for signed in (day, good):
        replica.receive(signed, net.now)
    later(net, 20)
    assert stored(net, "records") == 2, "its home lives, and closes them itself"
    later(net, 60)
    assert stored(net, "records") == 1
    assert not replica.adoption.adopt_record(day, day, net.now)
    assert len(replica.origins[ALICE.key].records) == 1


def test_an_order_that_its_living_home_does_not_close_is_over_all_the_same() -> None:
    net = Network(1)
    replica, alice = net[0].replica, Author(net.now)
    expires = int(net.now * 1000) + 10_000
    day, good = alice.order(time_in_force="gtd", expires=expires), alice.order(price="2")
    for signed in (day, good):
        replica.receive(signed, net.now)
    for _ in range(8):
        later(net, 10)
        alice.now = net.now
        replica.receive(beat(alice), net.now)
    assert stored(net, "records") == len(net[0].live.set) == 1
    assert not replica.adoption.adopt_record(day, day, net.now)
    later(net, 30)
    assert not replica.adoption.adopt_record(day, day, net.now)


def test_an_expired_order_in_doubt_is_left_to_its_home_while_that_lives() -> None:
    net = Network(1)
    replica, alice = net[0].replica, Author(net.now)
    expires = int(net.now * 1000) + 10_000
    day = alice.order(time_in_force="gtd", expires=expires)
    in_doubt = alice.entry(states=[StateBody(alice.last, 2, "0", "1", "0", "")])
    for signed in (day, in_doubt):
        replica.receive(signed, net.now)
    for _ in range(20):
        later(net, 10)
        alice.now = net.now
        replica.receive(beat(alice, (alice.last, 2)), net.now)
    assert replica.origins[ALICE.key].complete
    assert stored(net, "records") == 1
    later(net, 90)
    assert stored(net, "records") == 0, "it does not live any more"
    assert not replica.adoption.adopt_record(day, in_doubt, net.now)


def test_who_has_most_early_entries_loses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_table, "WAITING_BYTES_MAX", 10_000)
    net = Network(1)
    replica = net[0].replica
    authors = [made_up(net, number) for number in range(2)]
    for author, count in zip(authors, (3, 40), strict=True):
        author.order()
        for _ in range(count):
            replica.receive(author.order(), net.now)
    little, much = (replica.origins[author.identity.key] for author in authors)
    assert much.waiting_bytes == sum(len(s.payload) for _, s, _ in much.waiting.values()) > 10_000
    later(net, 1)
    assert (len(little.waiting), len(much.waiting), much.waiting_bytes) == (3, 0, 0)


def test_orders_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_orders, "BYTES_PER_ORIGIN_MAX", 4_000)
    net = Network(1)
    replica, alice = net[0].replica, Author(net.now)
    entries = [alice.order() for _ in range(50)]
    for signed in entries:
        replica.receive(signed, net.now)
    origin = replica.origins[ALICE.key]
    held = sum(record.bytes for record in origin.records.values())
    assert origin.record_bytes == replica.records.bytes == held < 4_500
    assert not replica.adoption.adopt_record(entries[-1], entries[-1], net.now)
    bob = made_up(net, 9)
    assert replica.receive(bob.order(), net.now).verdict == "applied"
    assert len(replica.origins[bob.identity.key].records) == 1
    later(net, forgetting.DEAD_MS / 1000 + 60)
    assert replica.records.bytes == 0


def fork(net: Network, number: int) -> tuple[Signed, Signed]:
    one, other = made_up(net, number), made_up(net, number)
    return one.order(price="1"), other.order(price="2")


def test_made_up_homes_with_two_histories_do_not_fill_the_proofs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "PROOFS_MAX", 10)
    net = Network(1)
    replica = net[0].replica
    replica.forks.prove(*fork(net, 1), "honest")
    for number in range(100, 140):
        replica.forks.prove(*fork(net, number), "evil")
    assert len(replica.forks.proofs) == stored(net, "origins") == len(replica.origins) == 10
    assert made_up(net, 1).identity.key in replica.forks.proofs
    held = [len(a.payload) + len(b.payload) for a, b in replica.forks.proofs.values()]
    assert replica.forks.proof_bytes == sum(held)
    later(net, 30 * DAY_S)
    assert len(replica.origins) == 10, "who broke its word stays frozen"
    monkeypatch.setattr(forks, "PROOF_BYTES_MAX", 2 * max(held))
    replica.forks.prove(*fork(net, 200), "evil")
    assert replica.forks.proof_bytes <= 2 * max(held)
    assert made_up(net, 1).identity.key in replica.forks.proofs


def test_of_tellers_that_told_alike_whoever_tells_more_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "PROOFS_MAX", 5)
    net = Network(1)
    held = net[0].replica.forks.proofs
    for number, teller in enumerate(["honest"] * 3 + ["evil"] * 9):
        net[0].replica.forks.prove(*fork(net, 100 + number), teller)
    assert {made_up(net, 100 + number).identity.key for number in range(3)} < set(held)
    assert len(held) == 5


def test_a_home_with_orders_stays_frozen_when_its_proof_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "PROOFS_MAX", 1)
    net = Network(1)
    replica = net[0].replica
    for number in (100, 101, 102):
        one, other = fork(net, number)
        replica.receive(one, net.now)
        replica.forks.prove(one, other, "evil")
    assert len(replica.forks.proofs) == 1
    homes = {made_up(net, number).identity.key for number in (100, 101, 102)}
    assert {home for home, origin in replica.origins.items() if origin.frozen} == homes
    assert stored(net, "records") == 3


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize("orders", [False, True])
def test_a_flood_of_homes_pushes_out_nobody_of_yesterday_and_newcomers_are_seen(
    orders: bool, relayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin_table, "ORIGINS_MAX", 500)
    seen = flooded(3_000, orders, relayed)
    assert (seen.old_lost, seen.late, seen.most) == (0, 0, 500)
    assert seen.newcomers >= 2 and seen.present > 0.7


def test_without_the_hour_a_flood_pushes_out_homes_of_yesterday(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(origin_table, "ORIGINS_MAX", 500)
    monkeypatch.setattr(origin_table, "NEW_MS", 10**12)
    assert flooded(3_000, orders=True, relayed=True).old_lost > 0
