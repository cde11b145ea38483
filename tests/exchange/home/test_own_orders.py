"""A home's own orders: what a client may ask for, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from grenache_py.exchange.effects.batch import Executed, OrderChanged
from grenache_py.exchange.effects.rows import ExecutionRow
from grenache_py.exchange.errors import (
    ALREADY_CLOSED,
    BUSY,
    DUPLICATE_CLIENT_ID,
    INVALID_PARAMS,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    WOULD_CROSS,
    OrderError,
)
from grenache_py.exchange.home import own_orders
from grenache_py.exchange.home.own_orders import IDLE_MATCHES_MAX
from grenache_py.exchange.market.matching import match
from grenache_py.exchange.market.order import LiveOrder, NewOrder
from grenache_py.exchange.signed_log.entries import Entry
from tests.support.peers import BTC, Network, conserved


@pytest.fixture
def net() -> Network:
    return Network(1)


def refused(net: Network, code: int, *args: object, **more: object) -> OrderError:
    """Place an order that is refused, and see that nothing else happened."""
    seq, own = net[0].ledger.log.seq, len(net[0].ledger.own)
    with pytest.raises(OrderError) as caught:
        net.place(0, *args, **more)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert (net[0].ledger.log.seq, len(net[0].ledger.own)) == (seq, own)
    return caught.value


def test_a_crossing_order_trades_at_the_makers_price_and_the_rest_stands(net: Network) -> None:
    sell = net.place(0, "sell", 15_000, 10_000)
    buy = net.place(0, "buy", 20_000, 10_100)
    assert (sell.status, buy.status, buy.filled, buy.open) == (
        "filled",
        "partially_filled",
        15_000,
        5_000,
    )
    [trade] = net[0].tape("BTC-USD")
    assert (trade.price_ticks, trade.side) == (10_000, "buy")
    assert net.book(0) == ([(10_100, 5_000)], [])
    conserved(net[0])


def test_one_entry_brings_the_order_its_trades_and_all_states(net: Network) -> None:
    for price in (100, 101, 102):
        net.place(0, "sell", 10, price)
    before = net[0].ledger.log.seq
    net.place(0, "buy", 25, 102)
    assert net[0].ledger.log.seq == before + 1
    entry = Entry.decode(net[0].ledger.log.tail[-1][1].payload)
    assert [trade.price for trade in entry.trades] == ["1", "1.01", "1.02"]
    assert len(entry.states) == 4


def test_a_large_step_is_split_over_entries_that_each_fit_a_line(net: Network) -> None:
    for _ in range(50):
        net.place(0, "sell", 1, 100)
    before = net[0].ledger.log.seq
    net.place(0, "buy", 50, 100)
    entries = [Entry.decode(draft.payload) for seq, draft in net[0].ledger.log.tail if seq > before]
    assert [len(entry.trades) for entry in entries] == [16, 16, 16, 2]
    assert all(len(draft.payload) < 14_000 for _, draft in net[0].ledger.log.tail)
    states = [state.order_id for entry in entries for state in entry.states]
    assert len(states) == len(set(states)) == 51


def test_placing_again_under_one_client_id_returns_the_first_order(net: Network) -> None:
    first = net.place(0, "sell", 10, 100, client_order_id="a", account="alice")
    assert net.place(0, "sell", 10, 100, client_order_id="a", account="alice") is first
    net.restart(0)
    again = net.place(0, "sell", 10, 100, client_order_id="a", account="alice")
    assert again.order_id == first.order_id
    error = refused(net, DUPLICATE_CLIENT_ID, "sell", 11, 100, client_order_id="a", account="alice")
    assert error.data == {"field": "client_order_id", "order_id": first.order_id}
    other = net.place(0, "sell", 10, 100, client_order_id="a", account="bob")
    assert other.order_id != first.order_id


def test_a_cancelled_order_is_gone_and_stays_gone(net: Network) -> None:
    live = net.place(0, "sell", 10, 100, account="alice")
    with pytest.raises(OrderError) as caught:
        net[0].cancel(live.order_id, net.now, account="bob")
    assert caught.value.code == UNKNOWN_ORDER
    assert net[0].cancel(live.order_id, net.now, account="alice").status == "cancelled"
    with pytest.raises(OrderError) as caught:
        net[0].cancel(live.order_id, net.now)
    assert caught.value.code == ALREADY_CLOSED
    assert net.book(0) == ([], [])
    net.settle()
    net.restart(0)
    assert net.book(0) == ([], [])


def test_cancel_all_is_per_market_and_account(net: Network) -> None:
    for number in range(70):
        net.place(0, "sell", 10, 100 + number, account="alice" if number % 2 else "bob")
    assert len(net[0].cancel_all(net.now, account="alice")) == 35
    assert len(list(net[0].open_orders())) == 35
    assert net[0].cancel_all(net.now, market="ETH-USD") == []
    assert len(net[0].cancel_all(net.now)) == 35
    assert list(net[0].open_orders()) == []


def test_less_quantity_keeps_the_place_in_the_queue_and_anything_else_loses_it(
    net: Network,
) -> None:
    first = net.place(0, "sell", 10, 100)
    net.place(0, "sell", 10, 100)
    assert net[0].replace(first.order_id, net.now, quantity_lots=4) is first
    net.place(0, "buy", 1, 100)
    assert first.filled == 1
    moved = net[0].replace(first.order_id, net.now, price_ticks=101)
    assert (moved.order_id != first.order_id, moved.open) == (True, 3)
    assert (first.status, moved.status) == ("cancelled", "new")
    assert net.book(0)[1] == [(100, 10), (101, 3)]
    conserved(net[0])


def test_a_refused_replacement_leaves_the_order_as_it_was(net: Network) -> None:
    live = net.place(0, "sell", 10, 100, post_only=True)
    net.place(0, "buy", 10, 90)
    with pytest.raises(OrderError) as caught:
        net[0].replace(live.order_id, net.now, price_ticks=90)
    assert caught.value.code == WOULD_CROSS
    with pytest.raises(OrderError) as caught:
        net[0].replace(live.order_id, net.now, quantity_lots=0)
    assert caught.value.code == INVALID_PARAMS
    assert (live.status, net.book(0)[1]) == ("new", [(100, 10)])


def test_an_order_expires_by_the_homes_clock(net: Network) -> None:
    expires = int(net.now * 1000) + 3_000
    live = net.place(0, "sell", 10, 100, time_in_force="gtd", expires_ms=expires)
    net.run(2.5)
    assert live.status == "new"
    net.restart(0)
    net.run(1)
    found = net[0].order(live.order_id)
    assert found is not None
    assert found.status == "expired"
    assert net.book(0) == ([], [])


def test_an_order_does_not_trade_after_its_time_although_no_tick_came_between() -> None:
    """Its home may be busy, or its clock may have followed a neighbour's forward."""
    net = Network(2)
    net.mesh()
    expires = int(net.now * 1000) + 3_000
    live = net.place(0, "sell", 10, 100, time_in_force="gtd", expires_ms=expires)
    elsewhere = net.place_only(1, "buy", 4, 100)
    assert elsewhere.reserved == 4
    net.now += 3.0
    net.settle()  # only now the fill arrives
    assert net.place(0, "buy", 4, 100).filled == 0
    assert (live.status, live.filled) == ("expired", 0)
    assert (elsewhere.reserved, elsewhere.filled) == (0, 0)


def test_a_stop_is_private_until_it_triggers_and_then_takes_its_place_in_time(
    net: Network,
) -> None:
    stop = net.place(0, "sell", 5, 90, type="stop_limit", stop_ticks=95)
    assert (net.book(0), stop.status, net[0].ledger.writer.live_set.count) == (([], []), "new", 0)
    net.restart(0)
    net.place(0, "buy", 10, 95)
    net.place(0, "sell", 5, 95)  # trades at 95: the stop enters, and meets what is left
    found = net[0].order(stop.order_id)
    assert found is not None
    assert (found.status, found.value) == ("filled", 5 * 95)
    assert found.key[0] > 0
    assert net.book(0) == ([], [])


def test_a_stop_enters_after_restarts_that_was_reached_while_its_home_listened() -> None:
    net = Network(2)
    net.link(0, 1)
    for number in (0, 1):  # both have a log, and each knows the other's
        net.place(number, "buy", 1, 10)
    stop = net.place(0, "sell", 5, 90, type="stop_limit", stop_ticks=95)
    net.restart(0)
    net.link(0, 1)
    assert net[0].serving.listening, "it may sign nothing"
    net.place(1, "buy", 1, 95)
    net.place(1, "sell", 1, 95)
    assert [trade.price_ticks for trade in net[0].tape("BTC-USD")] == [95]
    assert not net[0].order(stop.order_id).triggered  # type: ignore[union-attr]
    net.restart(0)
    net.link(0, 1)
    net.run(6)
    assert net.book(0) == net.book(1) == ([(10, 2)], [(90, 5)])


def test_a_cascade_of_stops_runs_to_its_end(net: Network) -> None:
    for price in range(90, 100):
        net.place(0, "buy", 1, price)
        net.place(0, "sell", 1, 1, type="stop_limit", stop_ticks=price)
    net.place(0, "sell", 1, 99)
    assert net.book(0) == ([], [(1, 1)])
    assert [trade.price_ticks for trade in net[0].tape("BTC-USD")] == list(range(99, 89, -1))
    conserved(net[0])


def test_limits_and_unknown_markets_are_errors_that_name_what_is_wrong(net: Network) -> None:
    with pytest.raises(OrderError) as caught:
        net[0].place(NewOrder("DOGE-USD", "buy", 1, 1), net.now)
    assert caught.value.code == UNKNOWN_MARKET
    assert "BTC-USD" in caught.value.message
    assert refused(net, INVALID_PARAMS, "buy", 0, 100).data["field"] == "quantity"
    assert refused(net, INVALID_PARAMS, "buy", 1, None).data["field"] == "price"
    net[0].home.live_orders_max = 2
    net.place(0, "buy", 1, 1)
    net.place(0, "buy", 1, 1)
    assert "2 open orders" in refused(net, BUSY, "buy", 1, 1).message


def test_updates_of_own_orders_are_numbered_without_gaps_over_a_restart(net: Network) -> None:
    net.place(0, "sell", 10, 100, account="alice")
    net.restart(0)
    net.place(0, "buy", 4, 100, account="alice2")
    net[0].cancel_all(net.now, account="alice")
    net.settle()
    updates = [e for e in net.peers[0].events if isinstance(e, OrderChanged)]
    seqs = [event.seq for event in updates if event.account == "alice"]
    assert seqs == [1, 2, 3]
    assert net[0].order_seq("alice") == 3
    assert [e.order.status for e in updates if e.account == "alice"] == [
        "new",
        "partially_filled",
        "cancelled",
    ]


def test_what_was_not_committed_never_happened(net: Network) -> None:
    kept = net.place(0, "sell", 10, 100)
    net.place_only(0, "sell", 10, 101)
    net.restart(0)
    assert [live.order_id for live in net[0].open_orders()] == [kept.order_id]
    assert net.book(0)[1] == [(100, 10)]


def test_a_restart_keeps_books_trades_log_and_fingerprint(net: Network) -> None:
    for number in range(30):
        net.place(0, "sell", 10 + number, 100 + number % 7)
    net.place(0, "buy", 77, 103)
    net[0].cancel(next(iter(net[0].open_orders())).order_id, net.now)
    net.settle()
    ledger, live_set = net[0].ledger, net[0].ledger.writer.live_set
    before = (
        net.book(0),
        net[0].tape("BTC-USD"),
        (ledger.log.seq, ledger.log.hash, live_set.fingerprint, live_set.count),
        net[0].books["BTC-USD"].state_hash(),
    )
    net.restart(0)
    ledger, live_set = net[0].ledger, net[0].ledger.writer.live_set
    after = (
        net.book(0),
        net[0].tape("BTC-USD"),
        (ledger.log.seq, ledger.log.hash, live_set.fingerprint, live_set.count),
        net[0].books["BTC-USD"].state_hash(),
    )
    # The restart itself publishes a heartbeat; everything before it is as it was.
    assert after[2][0] in (before[2][0], before[2][0] + 1)
    assert (before[0], before[1], before[2][2:], before[3]) == (
        after[0],
        after[1],
        after[2][2:],
        after[3],
    )


def test_another_tick_over_a_restart_is_refused_with_a_sentence(net: Network) -> None:
    net.place(0, "sell", 10, 100)
    net.peers[0].markets = (type(BTC).parse("BTC-USD:tick=0.05,lot=0.0001"),)
    with pytest.raises(Exception, match="another tick or lot"):
        net.peers[0].start(net.now)
    net.peers[0].markets = (type(BTC).parse("ETH-USD:tick=0.01,lot=0.0001"),)
    with pytest.raises(Exception, match="open orders in market BTC-USD"):
        net.peers[0].start(net.now)


def test_an_account_is_told_each_of_its_executions_from_its_own_side() -> None:
    net = Network(2)
    net.link(0, 1)
    sell = net.place(0, "sell", 3, 100, account="alice", client_order_id="mine")
    net.place(0, "buy", 1, 100, account="bob")
    net.place(1, "buy", 2, 100, account="carol")
    ours = [event.row for event in net.peers[0].events if isinstance(event, Executed)]
    theirs = [event.row for event in net.peers[1].events if isinstance(event, Executed)]

    def told(row: ExecutionRow) -> tuple[object, ...]:
        return row.account, row.seq, row.side, row.quantity_lots, row.role, row.counterparty

    here, there = net[0].key, net[1].key
    assert sorted(map(told, ours)) == [
        ("alice", 1, "sell", 1, "maker", here),
        ("alice", 2, "sell", 2, "maker", there),
        ("bob", 1, "buy", 1, "taker", here),
    ]
    assert [told(row) for row in theirs] == [("carol", 1, "buy", 2, "taker", here)]
    assert {(row.order_id, row.client_order_id) for row in ours if row.account == "alice"} == {
        (sell.order_id, "mine")
    }
    assert {(row.market, row.price_ticks) for row in (*ours, *theirs)} == {("BTC-USD", 100)}
    assert ours[-1].trade_id == theirs[0].trade_id


def test_a_price_between_two_ticks_is_told_as_the_price() -> None:
    with pytest.raises(OrderError, match=r"the nearest is 1\.01 or 1\.02") as caught:
        BTC.tick.count("1.015", "price")
    assert caught.value.data == {"field": "price"}


def test_a_stop_that_fires_has_one_place_in_time_here_and_at_its_neighbours() -> None:
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 1, 100)
    stop = net.place(0, "buy", 5, 99, type="stop_limit", stop_ticks=100)
    net.place(0, "buy", 1, 100)
    assert stop.triggered
    [copy] = net[1].replica.origins[net[0].key].records.values()
    assert copy.live is not None
    assert (copy.order_id, copy.live.key) == (stop.order_id, stop.key)


def test_a_new_log_says_nothing_of_the_orders_of_the_old_one(net: Network) -> None:
    """Nobody who follows it has ever seen them there."""
    old = [net.place(0, "sell", 1, 100 + number, account="alice") for number in range(3)]
    net.restart(0, new_epoch=True)
    net.run(6)
    new = net.place(0, "sell", 1, 200)
    log = net[0].ledger.log
    entries = [Entry.decode(draft.payload) for _, draft in log.tail]
    assert {entry.epoch for entry in entries} == {log.epoch}
    states = {state.order_id for entry in entries for state in entry.states}
    assert states == {new.order_id}
    assert {net[0].order(live.order_id).status for live in old} == {"cancelled"}  # type: ignore[union-attr]


def test_updates_are_told_of_accounts_that_somebody_follows(net: Network) -> None:
    net[0].outbox.followed = lambda account: account == "alice"
    for account in ("alice", "bob", ""):
        net.place(0, "sell", 1, 100, account=account)
    told = [event for event in net.peers[0].events if isinstance(event, OrderChanged)]
    assert [event.account for event in told] == ["alice"]
    assert [net[0].order_seq(account) for account in ("alice", "bob")] == [1, 1], "all are stored"


def test_a_sweep_ends_when_so_many_orders_found_nothing_and_leaves_them_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One late order of another home would have thousands of own ones matched, for nothing."""
    matched: list[str] = []

    def counted(book: Any, live: LiveOrder, *args: Any, **more: Any) -> Any:
        matched.append(live.order_id)
        return match(book, live, *args, **more)

    net = Network(2)
    net.link(0, 1)
    net.lost = {"gossip.publish"}
    sell = net.place(1, "sell", 1, 100)
    net.now += 0.1
    buys = [net.place(0, "buy", 1, 100) for _ in range(3 * IDLE_MATCHES_MAX)]
    monkeypatch.setattr(own_orders, "match", counted)
    [draft] = net[1].ledger.log.range(1, 1) or []
    net[0].replica.receive(draft.proof, net.now)
    net[0].home.sweep("BTC-USD", net.now)
    assert matched == [buy.order_id for buy in buys[: 1 + IDLE_MATCHES_MAX]]
    assert [buy.version for buy in buys] == [2] + [1] * (len(buys) - 1)
    net.lost = set()
    net.run(10)
    assert (sell.filled, buys[0].filled) == (1, 1)
    assert sum(buy.filled for buy in buys) == 1
