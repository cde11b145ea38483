"""Peers show each other who lives: over which links, to whom, and what they believe."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from grenache_py.exchange.home import heartbeat
from grenache_py.exchange.home.own_lease import OwnLease
from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.peers import admission
from grenache_py.exchange.replication import replica
from grenache_py.exchange.replication.fetching import Fetching
from grenache_py.exchange.replication.lease_exchange import AGAIN_S, HIGH, WANTED
from grenache_py.exchange.replication.lease_messages import (
    HOMES_MAX,
    PULSES_MAX,
    STATED_MAX,
    read_wanted,
    shown_params,
)
from grenache_py.exchange.replication.leases import Lease, Leases
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.exchange.signed_log.statement import LifeStatement
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import notification_line
from tests.support.peers import Network


@pytest.fixture(autouse=True)
def one_other_is_many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(heartbeat, "BEATING_HOMES_MAX", 0)
    yield


def living(peers: int) -> Network:
    """Peers that are all linked, and each has an order."""
    net = Network(peers)
    net.mesh()
    net.run(6.0)
    for number in range(peers):
        net.place(number, "sell", 1, 100 + number)
    net.run(15.0)
    return net


def says(net: Network, method: str, **params: Any) -> float:
    """Peer 1 says something to peer 0; what it costs peer 1 in points of score."""
    one, other = net[0], net[1]
    before = one.peering.scores.of(other.key, net.now)
    link = one.peering.by_key[other.key]
    one.link_message(link.id, {"jsonrpc": "2.0", "method": method, "params": params}, net.now)
    net.settle()
    return one.peering.scores.of(other.key, net.now) - before


def over(net: Network, number: int) -> list[int]:
    return [way.link.id for way in net[number].sync.signs._ways.values() if way.on]


def test_pulses_go_over_some_of_the_links_and_both_ends_agree() -> None:
    net = living(9)
    for number in range(9):
        assert WANTED - 1 <= len(over(net, number)) <= HIGH
        for other in range(9):
            if other != number:
                there = net[number].peering.by_key[net[other].key].id in over(net, number)
                here = net[other].peering.by_key[net[number].key].id in over(net, other)
                assert here is there
    assert all(len(net[number].sync.leases.homes) == 9 for number in range(9))


def test_who_has_enough_says_no_and_is_not_asked_again_for_a_while() -> None:
    net = living(2)
    assert over(net, 0)
    says(net, "lease.link", on=False)
    assert not over(net, 0)
    asked = net.counts["lease.link"]
    net.run(AGAIN_S - 3.0)
    assert net.counts["lease.link"] == asked
    net.run(6.0)
    assert over(net, 0), "then it is needed again"


def test_an_older_peer_hears_nothing_of_it_and_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PROTOCOL", (3, 4))
    net = Network(2)
    net.link(0, 1)
    net.run(6.0)
    net.place(0, "sell", 1, 100)
    net.run(15.0)
    assert not [name for name in net.counts if name.startswith("lease.")]
    assert net.place(1, "buy", 1, 100).filled == 1


def test_who_lost_a_lease_asks_and_sees_the_home_again() -> None:
    net = living(3)
    net.lost = {"lease.show"}
    net.run(90.0)
    assert net.book(0)[1] == [(100, 1)], "all others seem to be dead"
    net.lost = set()
    wanted = net.counts["lease.want"]
    net.run(12.0)
    assert [price for price, _ in net.book(0)[1]] == [100, 101, 102]
    assert net.counts["lease.want"] > wanted, "who shows a pulse that leads nowhere is asked"


def test_a_value_of_many_homes_is_answered_with_some(monkeypatch: pytest.MonkeyPatch) -> None:
    net = living(2)
    [*_, lease] = net[0].sync.leases.homes.values()
    monkeypatch.setattr(Leases, "of", lambda self, values: [lease] * 5_000)
    link = net[0].peering.by_key[net[1].key]
    before, points = net.counts["lease.show"], link.points
    wanted = {"values": b64encode(lease.value).decode()}
    net[0].peering.methods["lease.want"](link, read_wanted(wanted), net.now)
    net.settle()
    assert net.counts["lease.show"] == before + HOMES_MAX // STATED_MAX
    assert link.points == points + HOMES_MAX


def test_a_dead_home_is_asked_about_at_longer_and_longer_intervals() -> None:
    net = living(3)
    net.cut(2)
    net.run(60.0)
    before = net.counts["lease.want"]
    net.run(600.0)
    assert 0 < net.counts["lease.want"] - before <= 2 * 10


def test_a_forged_statement_costs_its_teller_and_shows_nothing() -> None:
    net = living(3)
    dead = net[2].key
    net.cut(2)
    net.run(30.0)
    assert not net[0].replica.origins[dead].visible
    lease = net[0].sync.leases.homes[dead]
    ms = int(net.now * 1000)
    forged = lease.statement._replace(ms=ms).signed(Sealer(Identity.from_seed(b"x" * 32), "test"))
    text = b64encode(forged).decode()
    assert (
        says(net, "lease.show", stated=[[text, 0, b64encode(lease.statement.anchor).decode()]]) < 0
    )
    later = b64encode(b"12 bytes ago").decode()
    data = b64encode(lease.data).decode()
    assert says(net, "lease.show", stated=[[data, lease.number + 1, later]]) < 0
    replayed = b64encode(lease.value).decode()
    assert says(net, "lease.show", pulses=replayed) == pytest.approx(0.0, abs=0.1)
    assert says(net, "lease.show", pulses=later) == pytest.approx(0.0, abs=0.1)
    assert not net[0].replica.origins[dead].visible


def test_a_statement_of_an_unknown_home_or_another_epoch_takes_no_room() -> None:
    net = living(2)
    held = set(net[0].sync.leases.homes)
    who = Identity.from_seed(b"y" * 32)
    lease = net[0].sync.leases.homes[net[1].key]
    for key, epoch in ((who.key, 1), (net[1].key, 2)):
        said = lease.statement._replace(home=key, epoch=epoch, ms=int(net.now * 1000))
        data = said.signed(Sealer(who if epoch == 1 else _identity(1), "test"))
        text, anchor = b64encode(data).decode(), b64encode(said.anchor).decode()
        assert says(net, "lease.show", stated=[[text, 0, anchor]]) == pytest.approx(0.0, abs=0.1)
    assert set(net[0].sync.leases.homes) == held
    assert net[0].sync.leases.homes[net[1].key] is lease


def _identity(number: int) -> Identity:
    return Identity.from_seed(bytes([number + 1]) * 32)


@pytest.mark.parametrize("statement_first", [True, False])
def test_an_entry_that_was_not_there_by_a_statement_freezes_its_home(
    statement_first: bool,
) -> None:
    net = living(2)
    origin = net[0].replica.origins[net[1].key]
    stamp = origin.time[0]
    sealer = Sealer(_identity(1), "test")
    beat = Entry.decode(origin.tail[-1][2].payload).beat
    entry = Entry(origin.home, 1, origin.seq + 1, origin.hash, (stamp + 1, 0), beat=beat)
    draft = sealer.add(entry.encode())
    sealer.seal()
    lease = net[0].sync.leases.homes[origin.home]
    said = lease.statement._replace(seq=origin.seq, ms=int(net.now * 1000))
    text, anchor = b64encode(said.signed(sealer)).decode(), b64encode(said.anchor).decode()

    def stated() -> None:
        says(net, "lease.show", stated=[[text, 0, anchor]])

    def published() -> None:
        says(net, "gossip.publish", entries=[_wire(draft.proof)])

    for tell in (stated, published) if statement_first else (published, stated):
        assert not origin.frozen
        tell()
    assert "statement" in origin.frozen


def _wire(signed: Any) -> dict[str, Any]:
    wire = signed.wire()
    return {"payload": wire.payload, "signature": b64encode(wire.signature).decode()}


def test_the_fullest_messages_fit_a_line() -> None:
    said = LifeStatement("ab" * 32, 1, 1, 1, 1, 1, 1, b"a" * 12, 0, 0)
    data = said.signed(Sealer(_identity(1), "test"))
    leases = [Lease(said, data, 90, b"v" * 12)] * (STATED_MAX + 1)
    sent = list(shown_params(leases, [b"v" * 12] * (PULSES_MAX + 1)))
    assert len(sent) == 4
    for params in (*sent, {"homes": ["ab" * 32] * HOMES_MAX}):
        assert len(notification_line("lease.show", params)) < LINE_BYTES_MAX


def test_orders_of_a_home_that_stops_are_hidden_at_once_and_return_with_it() -> None:
    net = living(3)
    net[1].goodbye(net.now)
    net.settle()
    assert (101, 1) not in net.book(0)[1]
    assert not net[2].replica.origins[net[1].key].visible
    net.restart(1)
    net.link(1, 0)
    net.run(15.0)
    assert (101, 1) in net.book(0)[1]


def twin_of(net: Network, number: int) -> list[Any]:
    """What another machine with the key of a peer shows, which states a second later."""
    home = net[number]
    shown: list[Any] = []
    clock = HybridClock(home.clock.ms)
    other = OwnLease(home._sealer, clock, home.ledger.writer, lambda *told: shown.append(told))
    other.state(net.now + 1.0)
    return shown


def stated(told: Any) -> list[Any]:
    _, data, number, value = told
    return [b64encode(data).decode(), number, b64encode(value).decode()]


def test_a_home_that_another_process_states_for_stops_and_says_why() -> None:
    net = living(3)
    says(net, "lease.show", stated=[stated(twin_of(net, 0)[0])])
    assert "another process" in net[0].alarms()[0]
    assert not net[1].alarms()


def test_what_a_home_stated_in_an_earlier_life_is_no_other_process() -> None:
    net = living(3)
    before = net[1].sync.leases.homes[net[0].key]
    told = before.statement, before.data, before.number, before.value
    net.restart(0)
    net.link(0, 1)
    says(net, "lease.show", stated=[stated(told)])
    net.run(30.0)
    says(net, "lease.show", stated=[stated(told)])
    assert not net[0].alarms()


@pytest.mark.parametrize("rule", [True, False])
def test_who_takes_over_with_a_clock_behind_is_not_taken_for_a_second_machine(
    rule: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Two daemons share a store. What the one shows is covered by the clock's floor in it, above which
    the other one begins.
    """
    if not rule:
        monkeypatch.setattr(HybridClock, "raise_floor", lambda self: None)
    net = living(3)
    lease = net[0].sync.leases.homes[net[2].key]
    until = lease.number + 2  # the log has no entry of that time
    while lease.number < until:
        net.run(0.5)
    net.now -= 2.0  # the clock of the second machine
    net.restart(2, followed=True)
    net.link(2, 0)
    net.run(4.0)
    origin = net[0].replica.origins[net[2].key]
    assert (origin.twofold, origin.visible) == (not rule, rule)
    assert net[0].sync.leases.homes[net[2].key].former is lease
    assert not net[2].alarms()


def test_who_begins_a_new_epoch_with_a_clock_behind_is_seen_at_once() -> None:
    """A failover lost the clock's floor, and neighbours hold a statement of before it."""
    net = living(3)
    old = net.peers[2].copy_of_disk()
    net.run(5.0)
    says(net, "lease.show", stated=[stated(twin_of(net, 2)[0])])
    net.peers[2].lose_since(old)
    before = net[0].sync.leases.homes[net[2].key].statement
    net.restart(2, new_epoch=True)
    net.link(2, 0)
    net.place(2, "sell", 1, 102)
    net.run(3.0)
    shown = net[0].sync.leases.homes[net[2].key].statement
    assert shown.epoch > before.epoch and shown.ms < before.ms
    assert net[0].replica.origins[net[2].key].visible
    assert not net[2].alarms(), "what was stated in the old epoch is no second machine"


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("statement_first", [True, False])
def test_two_machines_with_one_key_are_held_back_by_everybody(
    statement_first: bool, rule: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one goes on with its pulses after the other has stated."""
    if not rule:
        monkeypatch.setattr(Lease, "twofold", False)
    net = living(3)
    net[2].sync.signs.on_other_self = lambda epoch: None  # it does not notice
    twin = stated(twin_of(net, 2)[0])
    if not statement_first:
        net.run(12.0)
    says(net, "lease.show", stated=[twin])
    net.run(12.0)
    for number in (0, 1):
        origin = net[number].replica.origins[net[2].key]
        assert (origin.twofold, origin.visible) == (rule, not rule)
    net.run(10.0)
    assert net[0].replica.origins[net[2].key].visible is not rule
    assert net[0].replica.origins[net[1].key].visible


def test_a_home_that_was_forgotten_is_learned_again_by_its_pulses() -> None:
    net = living(3)
    table = net[0].replica._table
    table.forget(table.origins[net[1].key])
    net.run(45.0)
    assert table.origins[net[1].key].visible
    assert (101, 1) in net.book(0)[1]


@pytest.mark.parametrize("rule", [True, False])
def test_an_order_with_an_old_stamp_queues_as_if_it_were_ten_seconds_old(
    rule: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a home that rests says for minutes what time it is not."""
    if not rule:
        monkeypatch.setattr(replica, "LATE_MS", 10**9)
    net = living(3)
    net.run(120.0, step_s=1.0)
    net.place(2, "sell", 1, 90)
    net.run(20.0)
    liar = net[1]
    last = Entry.decode(liar.ledger.log.tail[-1][1].payload).time
    stamps = iter(range(1, 1_000))
    monkeypatch.setattr(liar.clock, "stamp", lambda now: (last[0], last[1] + next(stamps)))
    liar.place(NewOrder("BTC-USD", "sell", 1, 90), net.now)
    net.settle()
    queue = [live.home for live in net[0].books["BTC-USD"].crossing("buy", 90)]
    honest_first = [net[2].key, net[1].key]
    assert queue == (honest_first if rule else honest_first[::-1])
    monkeypatch.undo()
    taken = net.place(0, "buy", 1, 90)
    assert taken.filled == 1
    left = [live.home for live in net[0].books["BTC-USD"].crossing("buy", 90)]
    assert left == [queue[1]]


def test_who_was_absent_takes_what_it_missed_by_its_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    net = living(3)
    net.run(90.0, step_s=1.0)
    for number in (0, 1, 2):
        net.cut(number)
    net.place_only(2, "sell", 1, 90)
    net.run(5.0)
    net.place_only(1, "sell", 1, 90)
    net.run(30.0)
    net.link(0, 1)
    net.run(5.0)
    net.link(0, 2)
    net.run(10.0)
    queue = [live.home for live in net[0].books["BTC-USD"].crossing("buy", 90)]
    assert queue == [net[2].key, net[1].key]


@pytest.mark.parametrize("rule", [True, False])
def test_a_log_whose_newest_entries_nobody_tells_of_again_is_looked_at(
    rule: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rule:
        monkeypatch.setattr(Fetching, "look_again", lambda *told: None)
    net = living(3)
    net.run(30.0)
    held = net[0].replica.origins[net[1].key]
    missed = held.seq
    with monkeypatch.context() as deaf:
        deaf.setattr(net[0].peering, "ignored", lambda link, now: True)
        deaf.setattr(Fetching, "look_again", lambda *told: None)
        for link in net[0].peering.ready():
            link.heads_again = net.now + 30.0  # it broke a promise
        net.place(1, "sell", 1, 120)
        net.run(12.0)
    assert held.seq == missed and held.visible
    for link in net[0].peering.ready():
        link.heads.clear()
    monkeypatch.setattr(net[1]._heartbeat, "show", lambda now: None)
    net.run(4.0)
    assert (held.seq > missed) is rule
