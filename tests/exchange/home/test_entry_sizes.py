"""What this home writes, everybody can read: entries of steps of any size."""

from __future__ import annotations

from contextlib import ExitStack
from unittest import mock

import pytest

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.home import entry_writer
from grenache_py.exchange.signed_log import merkle, own_log
from grenache_py.exchange.signed_log.entries import STATES_PER_ENTRY_MAX, Entry
from grenache_py.exchange.signed_log.merkle import PAYLOAD_BYTES_MAX
from tests.support.peers import Network, conserved


@pytest.fixture
def net() -> Network:
    net = Network(2)
    net.link(0, 1)
    return net


@pytest.mark.parametrize("sells", [63, 64, 65, 100, 200])
def test_a_buy_that_cancels_many_own_sells_is_read_by_neighbours_and_after_a_restart(
    net: Network, sells: int
) -> None:
    for _ in range(sells):
        net.place(0, "sell", 1, 100, account="alice")
    before = net[0].ledger.log.seq
    buy = net.place(0, "buy", 5, 100, account="alice", self_trade="oldest")
    told = list[int]()
    for seq, draft in net[0].ledger.log.tail:
        entry = Entry.decode(draft.payload)
        assert len(draft.payload) <= PAYLOAD_BYTES_MAX
        if seq > before:
            told.append(len(entry.states))
    assert sum(told) == sells + 1, "each state once"
    assert len(told) == -(-sum(told) // STATES_PER_ENTRY_MAX), "in no more entries than it takes"
    assert net.book(0) == net.book(1) == ([(100, 5)], [])
    net.restart(0)
    assert net[0].order(buy.order_id).open == 5  # type: ignore[union-attr]
    assert not net[0].alarms()
    net.link(0, 1)
    net.settle()
    conserved(net[0])
    assert net.book(1) == ([(100, 5)], [])


@pytest.mark.parametrize("sells", [16, 17, 40])
def test_what_is_left_of_a_buy_that_traded_with_many_is_shown_to_neighbours(
    net: Network, sells: int
) -> None:
    for _ in range(sells):
        net.place(0, "sell", 1, 100, account="alice")
    buy = net.place(0, "buy", sells + 5, 100, account="bob")
    assert (buy.filled, buy.open) == (sells, 5)
    assert net.book(0) == net.book(1) == ([(100, 5)], [])
    assert len({trade.trade_id for trade in net[1].tape("BTC-USD")}) == sells
    conserved(net[0])


def unlimited(entries: int) -> list[object]:
    """The writer as it was: whatever a step touched is one entry, whoever reads it."""
    return [
        mock.patch.object(entry_writer, "room_for_states", lambda trades: entries),
        mock.patch.object(own_log, "READ_AGAIN_BYTES", 10**9),
        mock.patch.object(merkle, "PAYLOAD_BYTES_MAX", 10**9),
    ]


@pytest.mark.parametrize("later", [0, 3])
def test_an_entry_that_nobody_can_read_costs_its_order_and_a_warning(
    net: Network, later: int
) -> None:
    for _ in range(80):
        net.place(0, "sell", 1, 100, account="alice")
    with ExitStack() as stack:
        for patch in unlimited(1_000):
            stack.enter_context(patch)  # type: ignore[arg-type]
        buy = net.place(0, "buy", 5, 100, account="alice", self_trade="oldest")
    for _ in range(later):
        net.place(0, "buy", 1, 99)
    bad = net[0].ledger.log.seq - later
    net.restart(0)
    assert not net[0].alarms()
    assert f"entry {bad} of this home's own log" in net[0].serving.raised()["log-damaged"]
    net.link(0, 1)
    net.run(30)
    assert net[0].order(buy.order_id).reason == "cancelled"  # type: ignore[union-attr]
    net.place(0, "sell", 7, 100)
    bids = [(99, later)] if later else []
    assert net.book(0) == net.book(1) == (bids, [(100, 7)])


def test_without_the_split_a_step_is_refused_before_it_is_acknowledged(net: Network) -> None:
    for _ in range(80):
        net.place(0, "sell", 1, 100, account="alice")
    seq = net[0].ledger.log.seq
    unsplit = mock.patch.object(entry_writer, "room_for_states", lambda trades: 1_000)
    with unsplit, pytest.raises(LocalProtocolError):
        net.place(0, "buy", 5, 100, account="alice", self_trade="oldest")
    assert net[0].ledger.log.seq == seq
    net.restart(0)  # as the commit loop does after such an error
    assert len(list(net[0].open_orders())) == 80


@pytest.mark.parametrize("column", ["order_payload", "state_payload"])
def test_a_damaged_copy_of_anothers_order_is_fetched_again(net: Network, column: str) -> None:
    for price in (100, 101, 102):
        net.place(0, "sell", 1, price)
    net.peers[1].database.connection.execute(f"UPDATE records SET {column} = '{{' WHERE number = 2")
    net.restart(1)
    net.link(0, 1)
    net.run(30)
    assert net.book(1) == net.book(0)
    net.restart(1)
    net.link(0, 1)
    net.run(1)
    assert net.book(1) == net.book(0)
