"""A node starts where the last one stopped: its log, its epoch, its clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import attrs
import pytest

from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.signed_log.keys import Identity
from tests.support.peers import Network


def test_after_a_new_epoch_only_its_own_entries_are_told_and_compared() -> None:
    """The store's newest rows reach back into the log before; their numbers say nothing now."""
    net = Network(2)
    net.link(0, 1)
    for price in range(100, 110):
        net.place(0, "sell", 10, price)
    net.restart(0, new_epoch=True)
    net.link(0, 1)
    net.run(2)
    net.place(0, "sell", 10, 120)
    net.restart(0)
    log = net[0].ledger.log
    assert len(log.tail) == log.seq
    newest = log.range(log.seq, log.seq)
    assert newest is not None and newest[0].hash.hex() == log.hash
    # An own entry of the new epoch comes back: it is what this disk knows.
    net.link(0, 1)
    [(_, first), *_] = log.tail
    [link] = net[1].peering.ready()
    net[1].peering.notify(link, "gossip.publish", {"entries": [first.proof.wire()]})
    net.settle()
    assert not net[0].alarms()


def test_a_new_epoch_is_on_the_disk_with_what_it_closes() -> None:
    """Whoever is killed between the two goes on in the old log, with orders closed behind it."""
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 10, 100)
    net.restart(0, new_epoch=True)
    epoch = net[0].ledger.log.epoch
    net.restart(0)  # killed before a second passed
    assert net[0].ledger.log.epoch == epoch > 1
    net.link(0, 1)
    net.place(0, "sell", 5, 101)
    assert net.book(1) == ([], [(101, 5)])


def test_who_is_to_be_cancelled_when_silent_is_so_after_a_restart_too() -> None:
    net = Network(1)
    orders = [net.place(0, "sell", 10, 100, account=name) for name in ("alice", "bob", "carol")]
    net[0].cancel_after("alice", "BTC-USD", 5_000, net.now)
    net[0].cancel_after("bob", None, 5_000, net.now)
    net.settle()
    net.restart(0)
    net.run(2)
    assert len(net.book(0)[1]) == 1 and net.book(0)[1][0][1] == 30
    net.run(5)
    found = [net[0].order(each.order_id) for each in orders]
    assert [each.reason for each in found if each is not None] == ["cancelled", "cancelled", ""]


def test_a_store_that_lost_the_end_of_its_log_is_refused_by_a_sentence() -> None:
    net = Network(1)
    order = net.place(0, "sell", 10, 100)
    snapshot = net.peers[0].database.load()
    [row] = snapshot.orders
    beyond = row._replace(state_seq=row.state_seq + 1_000)
    damaged = attrs.evolve(snapshot, orders=[beyond])
    says = f"it has order {order.order_id}, but not entry {beyond.state_seq} of"
    with pytest.raises(StoreError, match=says):
        started_from(damaged, net)


def test_twenty_times_the_open_orders_take_twenty_times_the_work() -> None:
    """And not four hundred times: a home that takes over is waited for."""
    work = []
    for count in (400, 8_000):
        net = Network(1)
        for price in range(count):
            net.place_only(0, "sell", 10, 100 + price)
        net.settle()
        snapshot = net.peers[0].database.load()
        assert len(snapshot.orders) == count
        work.append(min(cpu_s(partial(started_from, snapshot, net)) for _ in range(3)))
    assert work[1] < 45 * work[0]


def started_from(snapshot: Snapshot, net: Network) -> ExchangeNode:
    """A node made of what is stored."""
    identity = Identity.from_seed(bytes([1]) * 32)
    return ExchangeNode(net[0].config, identity, snapshot, random.Random(1), net.now)


def cpu_s(work: Callable[[], object]) -> float:
    """How long this process computes for it."""
    began = time.process_time()
    work()
    return time.process_time() - began
