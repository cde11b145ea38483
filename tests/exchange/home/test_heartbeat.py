"""Among few homes a heartbeat in the log shows that one lives; among many a pulse does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from grenache_py.exchange.home import heartbeat
from grenache_py.exchange.home.own_lease import LEASE_S, SLOT_S, STATED_MS
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.replication.fetching import Fetching
from grenache_py.exchange.signed_log.entries import Entry
from tests.support.peers import Network


@pytest.fixture(autouse=True)
def one_other_is_many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(heartbeat, "BEATING_HOMES_MAX", 1.25)
    yield


def beats(node: ExchangeNode) -> int:
    """Heartbeats among the newest entries of a node's own log."""
    entries = (Entry.decode(draft.payload) for _, draft in node.ledger.log.tail)
    return sum(entry.beat is not None for entry in entries)


def three(mesh: bool = True) -> Network:
    """
    Two other homes are known of: they are many. Each has an order, so none is forgotten.

    Args:
        mesh: else the first and the second meet at the third.
    """
    net = Network(3)
    if mesh:
        net.mesh()
    else:
        net.link(0, 2)
        net.link(1, 2)
    net.run(6.0)
    assert len(net[0].replica.origins) == 2
    net.place(1, "buy", 1, 50)
    net.place(2, "buy", 1, 50)
    return net


def test_two_peers_beat_as_ever_and_say_nothing_of_pulses() -> None:
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 5, 100)
    net.run(60.0)
    assert beats(net[0]) == 12
    assert not [name for name in net.counts if name.startswith("lease.")]
    assert not net[0].sync.leases.homes


def test_a_home_with_an_order_pulses_and_its_log_rests() -> None:
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(12.0)
    before, seq = beats(net[0]), net[0].ledger.log.seq
    net.run(120.0)
    assert beats(net[0]) - before == net[0].ledger.log.seq - seq == 3, "after 10, 20 and 40 s"
    lease = net[1].sync.leases.homes[net[0].key]
    assert lease.number in (12, 13)
    assert net[1].replica.origins[net[0].key].visible
    assert net.book(1)[1] == [(100, 5)]


def test_a_home_without_orders_says_nothing_and_is_forgotten() -> None:
    net = three()
    net.run(700.0)
    seq = net[0].ledger.log.seq
    net.run(700.0)
    assert net[0].ledger.log.seq == seq
    assert list(net[1].replica.origins) == [net[2].key]
    assert net[0].key not in net[1].sync.leases.homes
    net.place(0, "sell", 5, 100)
    assert net.book(1)[1] == [(100, 5)], "its order is there with its entry"


def test_a_dead_home_is_hidden_after_thirty_seconds_and_returns() -> None:
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(61.0)
    net.cut(0)
    hidden_after = 0.0
    while net.book(1)[1]:
        net.now += 0.25
        hidden_after += 0.25
        net[1].tick(net.now)
    assert LEASE_S - SLOT_S < hidden_after <= 30.0
    net.link(0, 1)
    net.link(0, 2)
    net.run(2 * SLOT_S)
    assert net.book(1)[1] == [(100, 5)]
    assert net.book(2)[1] == [(100, 5)]


def test_a_log_that_moved_ends_with_a_heartbeat_and_is_stated_again() -> None:
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(15.0)
    first = net[1].sync.leases.homes[net[0].key].statement
    net.place(0, "sell", 5, 101)
    net.run(SLOT_S + 1.0)
    newest = Entry.decode(net[0].ledger.log.tail[-1][1].payload)
    assert newest.beat is not None and newest.beat.live == 2
    assert net[1].sync.leases.homes[net[0].key].statement == first
    net.run(STATED_MS / 1000)
    again = net[1].sync.leases.homes[net[0].key].statement
    assert (again.seq, again.live) == (net[0].ledger.log.seq, 2)
    assert again.ms >= first.ms + STATED_MS


def test_a_chain_that_ends_is_followed_by_another() -> None:
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(12.0)
    first = net[1].sync.leases.homes[net[0].key].statement
    heads = net[0].ledger.log.seq
    for _ in range(5):
        net.run(300.0, step_s=2.5)
        assert net[1].replica.origins[net[0].key].visible
    after = net[1].sync.leases.homes[net[0].key].statement
    assert after.ms >= first.ms + 1000 * SLOT_S * first.pulses
    assert net[0].ledger.log.seq - heads == 7, "after 10, 20, 40 s and so on"
    net.run(2_400.0, step_s=2.5)
    assert net[0].ledger.log.seq - heads == 8, "it has a heartbeat now and then"


def test_who_missed_the_last_entry_of_a_log_that_rests_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No pulse tells of it; and of a home whose last order closed there is no pulse at all."""
    net = three(mesh=False)
    order = net.place(0, "sell", 5, 100)
    net.run(30.0)
    deaf = net[1].peering
    monkeypatch.setattr(Fetching, "look_again", lambda *told: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deaf, "ignored", lambda link, now: True)
        for link in deaf.ready():
            link.heads_again = net.now + 50.0  # it was asked for something, and nothing came
        net[0].cancel(order.order_id, net.now)
        net.run(45.0)
    held = net[1].replica.origins[net[0].key]
    assert len(held.records) == 1, "it was missed"
    net.run(60.0)
    assert (held.seq, len(held.records)) == (net[0].ledger.log.seq, 0)


def test_who_slept_through_slots_states_anew() -> None:
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(12.0)
    first = net[0].sync.leases.homes[net[0].key].statement
    net.now += 5 * SLOT_S
    net.run(12.0)  # first it asks what time it is
    assert net[0].sync.leases.homes[net[0].key].statement.ms > first.ms


def test_a_restarted_peer_checks_what_it_stored_by_the_statement() -> None:
    """The log of a home that rests brings no heartbeat to check by."""
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(30.0)
    net.restart(1)
    net.link(1, 0)
    net.link(1, 2)
    net.run(2 * SLOT_S)
    assert net[1].replica.origins[net[0].key].visible
    assert net[1].sync.synced


def test_homes_that_became_few_beat_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net = three()
    net.place(0, "sell", 5, 100)
    net.run(30.0)
    seq = net[0].ledger.log.seq
    monkeypatch.setattr(heartbeat, "BEATING_HOMES_MAX", 5)
    net.run(30.0)
    assert net[0].ledger.log.seq >= seq + 4
