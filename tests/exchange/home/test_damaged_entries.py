"""Rows of the own log that were damaged on the disk: each costs what it says, and not the home."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.positions import SEQ_MASK
from tests.support.peers import Network

DAMAGE = {
    "another letter": "UPDATE log SET payload = '!' || substr(payload, 2)",
    "no UTF-8": "UPDATE log SET payload = CAST(X'FF' || substr(payload, 2) AS TEXT)",
    "cut off": "UPDATE log SET payload = substr(payload, 1, 20)",
    "another hash": "UPDATE log SET hash = '!' || substr(hash, 2)",
    "missing": "DELETE FROM log",
}


@pytest.fixture
def net() -> Network:
    net = Network(3)
    net.link(0, 1)
    return net


def damage(net: Network, what: str, seq: int) -> None:
    """Damage an entry of the first peer while it is down."""
    statement = f"{DAMAGE[what]} WHERE position & {SEQ_MASK} = {seq}"
    assert net.peers[0].database.connection.execute(statement).rowcount == 1


def damaged(net: Network) -> str:
    return net[0].serving.raised().get("log-damaged", "")


@pytest.mark.parametrize("what", DAMAGE)
def test_the_entry_of_an_order_costs_that_order_and_all_else_goes_on(
    net: Network, what: str
) -> None:
    orders = [net.place(0, "sell", 5, price) for price in (100, 101, 102)]
    epoch, seq = net[0].ledger.log.epoch, net[0].ledger.own[orders[1].order_id].order_seq
    damage(net, what, seq)
    net.restart(0)
    assert f"entry {seq} of this home's own log" in damaged(net)
    assert "1 open order that" in damaged(net)
    net.link(0, 1)
    net.link(2, 0)  # comes anew
    net.run(30)
    found = [net[0].order(each.order_id) for each in orders]
    assert [each and each.reason for each in found] == ["", "cancelled", ""]
    net.place(0, "sell", 5, 103)
    wanted: Any = ([], [(100, 5), (102, 5), (103, 5)])
    assert [net.book(peer) for peer in range(3)] == [wanted] * 3
    assert net[0].ledger.log.epoch == epoch and not net[0].alarms()
    for teller, hearer in itertools.permutations(range(3), 2):
        scores = net[hearer].peering.scores
        assert scores.of(net[teller].key, net.now) >= 0, "nobody is blamed"
    assert net.place(2, "buy", 5, 100).filled == 5


@pytest.mark.parametrize("what", DAMAGE)
def test_the_entry_of_an_orders_newest_state_costs_it_too(net: Network, what: str) -> None:
    live = net.place(0, "sell", 5, 100)
    net.place(0, "sell", 5, 101)
    net.place(1, "buy", 2, 100)
    own = net[0].ledger.own[live.order_id]
    assert own.order_seq < own.state_seq
    net.place(0, "sell", 5, 102)
    damage(net, what, own.state_seq)
    net.restart(0)
    net.link(0, 1)
    net.link(2, 0)
    net.run(30)
    found = net[0].order(live.order_id)
    assert found is not None and (found.reason, found.filled) == ("cancelled", 2)
    assert [net.book(peer)[1] for peer in range(3)] == [[(101, 5), (102, 5)]] * 3


@pytest.mark.parametrize("what", [each for each in DAMAGE if each != "missing"])
def test_the_log_goes_on_behind_its_newest_entry_when_that_is_damaged(
    net: Network, what: str
) -> None:
    kept = net.place(0, "sell", 5, 100)
    net.place(0, "sell", 5, 101)
    net.run(10)
    seq = net[0].ledger.log.seq
    damage(net, what, seq)
    net.restart(0)
    assert not net[0].alarms()
    assert f"entry {seq} of" in damaged(net) and "0 open orders" in damaged(net)  # a heartbeat
    net.link(0, 1)
    net.run(5)
    told = net.counts["gossip.publish"]
    net.place(0, "sell", 5, 102)
    assert net.counts["gossip.publish"] == told + 1, "it follows what the neighbour has"
    assert [net.book(peer)[1] for peer in range(2)] == [[(100, 5), (101, 5), (102, 5)]] * 2
    assert net[1].order(kept.order_id) is None and not net[1].replica.sets.frozen


def test_who_lost_also_the_hash_of_the_newest_entry_begins_a_new_epoch_once(net: Network) -> None:
    net.place(0, "sell", 5, 100)
    seq = net[0].ledger.log.seq
    damage(net, "another letter", seq)
    damage(net, "another hash", seq)
    net.restart(0)
    [alarm] = net[0].alarms()
    assert f"entry {seq}" in alarm and "--new-epoch" in alarm
    assert net[0].serving.silent
    net.restart(0, new_epoch=True)
    assert not net[0].alarms() and not damaged(net)
    net.link(0, 1)
    net.place(0, "sell", 7, 101)
    assert net.book(1) == ([], [(101, 7)])
    net.restart(0)  # the damaged row is still there, of an epoch that is over
    assert not net[0].alarms() and not damaged(net)


def test_lots_in_doubt_are_settled_though_their_orders_entry_is_damaged(net: Network) -> None:
    sell = net.place(1, "sell", 5, 100)
    net.lost = {"fill.request", "result"}
    buy = net.place(0, "buy", 9, 100)
    assert (buy.reserved, buy.open) == (5, 4)
    damage(net, "another letter", net[0].ledger.own[buy.order_id].order_seq)
    net.restart(0)
    net.lost = set()
    net.link(0, 1)
    net.run(60)
    after = net[0].order(buy.order_id)
    assert after is not None and (after.reserved, after.open, after.reason) == (0, 0, "cancelled")
    assert after.filled + net[1].order(sell.order_id).open == 5  # type: ignore[union-attr]
    assert net.book(0) == net.book(1)


def test_a_home_whose_log_lost_its_end_does_not_sign_those_numbers_again(net: Network) -> None:
    net.place(0, "sell", 5, 100)
    live = net.place(0, "sell", 5, 101)
    damage(net, "missing", net[0].ledger.own[live.order_id].order_seq)
    with pytest.raises(StoreError, match=f"has order {live.order_id}, but not entry"):
        net.restart(0)
