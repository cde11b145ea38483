"""What a client reads of its orders: trades, prices, ids and names, now and after a restart."""

from __future__ import annotations

import msgspec
import pytest

from grenache_py.exchange.errors import (
    ALREADY_CLOSED,
    BUSY,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    OrderError,
)
from grenache_py.exchange.home import ledger as ledger_module
from grenache_py.exchange.home.expiries import Expiries
from grenache_py.exchange.home.transition import ORDER_TRADES_MAX
from grenache_py.exchange.market.order import NewOrder, Trade
from grenache_py.exchange.signed_log.entries import Entry, check_order_id
from tests.support.peers import BTC, Network


@pytest.fixture
def net() -> Network:
    return Network(1)


def test_the_newest_trades_of_an_order_are_kept(net: Network) -> None:
    sell = net.place(0, "sell", ORDER_TRADES_MAX + 5, 100)
    buys = [net.place_only(0, "buy", 1, 100) for _ in range(ORDER_TRADES_MAX + 2)]
    net.settle()
    trades = net[0].trades_of(sell.order_id)
    assert [trade.taker_order for trade in trades] == [buy.order_id for buy in buys[2:]]
    assert [trade.maker_order for trade in net[0].trades_of(buys[0].order_id)] == [sell.order_id]
    net.restart(0)
    again = net[0].trades_of(sell.order_id)
    assert [trade.trade_id for trade in again] == [trade.trade_id for trade in trades]


def test_the_average_price_of_an_order_counts_every_trade(net: Network) -> None:
    for price in (100, 102, 105):
        net.place(0, "sell", 2, price)
    buy = net.place(0, "buy", 5, 110)
    assert (buy.filled, buy.value) == (5, 2 * 100 + 2 * 102 + 105)
    [last] = list(net[0].open_orders())
    assert (last.filled, last.value) == (1, 105)
    net.restart(0)
    [last] = list(net[0].open_orders())
    assert (last.filled, last.value) == (1, 105)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"post_only": True},
        {"type": "stop_limit", "stop_ticks": 120},
        {"time_in_force": "gtd", "expires_ms": 1_790_000_060_000},
    ],
)
def test_a_published_order_says_all_that_was_asked_for(
    net: Network, more: dict[str, object]
) -> None:
    live = net.place(0, "buy", 3, 99, **more)
    if "stop_ticks" in more:
        net.place(0, "sell", 1, 120)
        net.place(0, "buy", 1, 120)  # trades at the stop
    own = net[0].ledger.own[live.order_id]
    assert own.order_entry is not None
    body = Entry.decode(own.order_entry.payload).order
    assert body is not None
    check_order_id(body, net[0].key)
    assert (body.market, body.side, body.quantity, body.price) == (
        "BTC-USD",
        "buy",
        "0.0003",
        "0.99",
    )
    assert body.post_only == bool(more.get("post_only"))
    assert body.expires == more.get("expires_ms")
    assert body.stop == ("1.2" if "stop_ticks" in more else None)
    assert body.type == more.get("type", "limit")


def test_two_orders_that_are_alike_have_two_ids(net: Network) -> None:
    assert net.place(0, "buy", 3, 99).order_id != net.place(0, "buy", 3, 99).order_id


def test_an_order_that_is_not_here_is_named_in_the_error(net: Network) -> None:
    for ask in (net[0].cancel, net[0].replace):
        with pytest.raises(OrderError) as caught:
            ask("0" * 32, net.now)
        assert (caught.value.code, caught.value.data["order_id"]) == (UNKNOWN_ORDER, "0" * 32)
    live = net.place(0, "buy", 3, 99)
    net[0].cancel(live.order_id, net.now)
    for ask in (net[0].cancel, net[0].replace):
        with pytest.raises(OrderError) as caught:
            ask(live.order_id, net.now)
        assert caught.value.code == ALREADY_CLOSED
        assert caught.value.data["order_id"] == live.order_id


def test_a_replacement_that_trades_sets_off_stops(net: Network) -> None:
    net.place(0, "sell", 1, 105)
    stop = net.place(0, "buy", 2, 103, type="stop_limit", stop_ticks=105)
    buy = net.place(0, "buy", 1, 90)
    assert (net[0].order(stop.order_id).triggered) is False  # type: ignore[union-attr]
    net[0].replace(buy.order_id, net.now, price_ticks=105)
    assert (net[0].order(stop.order_id).triggered) is True  # type: ignore[union-attr]
    assert net.book(0) == ([(103, 2)], [])


def test_a_replaced_stop_still_waits_and_expires(net: Network) -> None:
    expires = int(net.now * 1000) + 5_000
    stop = net.place(
        0, "buy", 2, 103, type="stop_limit", stop_ticks=105, time_in_force="gtd", expires_ms=expires
    )
    moved = net[0].replace(stop.order_id, net.now, price_ticks=104)
    assert (moved.triggered, moved.order.stop_ticks, moved.price_ticks) == (False, 105, 104)
    assert net[0].order(stop.order_id).status == "cancelled"  # type: ignore[union-attr]
    assert net[0].home.next_expiry() == expires / 1000
    net.run(6)
    assert moved.status == "expired"
    assert net[0].home.next_expiry() is None


def test_a_trade_from_before_a_stop_was_placed_does_not_set_it_off(net: Network) -> None:
    """A home that was forgotten tells its old trades again when it is heard again."""
    stop = net.place(0, "buy", 2, 103, type="stop_limit", stop_ticks=105)
    tape, placed_ms = net[0].ledger.tape, stop.order.time_ms
    for number, time_ms, triggered in ((1, placed_ms - 5_001, False), (2, placed_ms - 5_000, True)):
        told = Trade(
            f"{number:032x}", BTC.symbol, 105, 1, "buy", "m", "t", "a" * 64, "b" * 64, time_ms
        )
        assert tape.record(told)
        net.settle()
        assert stop.triggered is triggered


def test_a_home_whose_clock_rests_waits_for_it_and_does_not_spin(net: Network) -> None:
    expires_ms = int(net.now * 1000) + 5_000
    net.place(0, "buy", 1, 100, time_in_force="gtd", expires_ms=expires_ms)
    assert net[0].home.next_expiry() == expires_ms / 1000
    net[0].clock.rest()
    assert net[0].home.next_expiry() is None
    net[0].clock.trust(net.now)
    assert net[0].home.next_expiry() == expires_ms / 1000


def test_a_stop_is_not_reached_by_an_old_trade_that_came_last(net: Network) -> None:
    net.place(0, "sell", 1, 100)
    net.place(0, "buy", 1, 100)
    now_ms = int(net.now * 1000)
    told = Trade("1" * 32, BTC.symbol, 105, 1, "buy", "m", "t", "a" * 64, "b" * 64, now_ms - 5_001)
    assert net[0].ledger.tape.record(told)
    net.settle()
    for _ in range(2):
        stop = net.place(0, "buy", 1, 90, type="stop_limit", stop_ticks=101)
        assert not stop.triggered
        net.restart(0)
        assert not net[0].ledger.own[stop.order_id].live.triggered


def test_a_stop_that_is_reached_already_enters_at_once(net: Network) -> None:
    net.place(0, "sell", 1, 100)
    net.place(0, "buy", 1, 100)
    waits = net.place(0, "buy", 1, 90, type="stop_limit", stop_ticks=101)
    enters = net.place(0, "buy", 1, 90, type="stop_limit", stop_ticks=100)
    assert (waits.triggered, enters.triggered) == (False, True)
    assert net.book(0)[0] == [(90, 1)]


def test_old_closed_orders_are_forgotten_and_so_are_their_names(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "CLOSED_KEPT_MAX", 3)
    ids = []
    for number in range(5):
        live = net.place(0, "buy", 1, 50, client_order_id=f"n{number}", account="alice")
        net[0].cancel(live.order_id, net.now)
        ids.append(live.order_id)
    net.settle()
    assert [net[0].order(order_id) is not None for order_id in ids] == [False, False] + [True] * 3
    named = [net[0].by_client_id("alice", f"n{number}") for number in range(5)]
    assert [live is not None for live in named] == [False, False] + [True] * 3
    assert set(net[0].ledger.by_client_id) == {("alice", f"n{number}") for number in (2, 3, 4)}


def test_a_name_that_a_replacement_took_over_outlives_its_first_order(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "CLOSED_KEPT_MAX", 1)
    first = net.place(0, "buy", 1, 50, client_order_id="mine")
    second = net[0].replace(first.order_id, net.now, price_ticks=51)
    for _ in range(3):
        other = net.place(0, "buy", 1, 40)
        net[0].cancel(other.order_id, net.now)
    assert net[0].order(first.order_id) is None
    found = net[0].by_client_id("", "mine")
    assert found is not None and found.order_id == second.order_id


def test_limits_are_told_before_anything_happens(net: Network) -> None:
    with pytest.raises(OrderError) as caught:
        net[0].place(NewOrder("ETH-USD", "buy", 1, 1), net.now)
    assert caught.value.code == UNKNOWN_MARKET
    net[0].home.live_orders_max = 1
    net.place(0, "buy", 1, 50)
    with pytest.raises(OrderError) as caught:
        net.place(0, "buy", 1, 50)
    assert caught.value.code == BUSY
    assert len(list(net[0].open_orders())) == 1


def test_expiries_come_due_in_their_order_and_not_before() -> None:
    expiries = Expiries()
    assert (expiries.next_ms(), expiries.due(10**15)) == (None, [])
    for time, name in ((30, "c"), (10, "a"), (20, "b")):
        expiries.add(time, name)
    assert expiries.next_ms() == 10
    assert expiries.due(9) == []
    assert expiries.due(20) == ["a", "b"]
    assert expiries.due(29) == []
    assert expiries.due(30) == ["c"]


def test_every_update_of_an_order_is_a_row_with_its_quantities(net: Network) -> None:
    live = net.place(0, "sell", 10, 100, account="alice")
    net.place(0, "buy", 4, 100)
    net[0].cancel(live.order_id, net.now)
    net.settle()
    cursor = net.peers[0].database.connection.execute(
        "SELECT open, filled, value, reason FROM order_events WHERE account = 'alice' ORDER BY seq"
    )
    assert [(row[0], row[1], int(row[2]), row[3]) for row in cursor] == [
        (10, 0, 0, ""),
        (6, 4, 400, ""),
        (0, 4, 400, "cancelled"),
    ]


def test_a_heartbeat_counts_the_live_orders_and_changes_with_each(net: Network) -> None:
    def beat() -> tuple[int, str]:
        net.run(6)
        for _, draft in reversed(net[0].ledger.log.tail):
            found = Entry.decode(draft.payload).beat
            if found is not None:
                return found.live, found.fingerprint
        raise AssertionError("no heartbeat")

    empty = beat()
    assert empty == (0, "0" * 64)
    live = net.place(0, "sell", 10, 100)
    net.place(0, "buy", 10, 90, type="stop_limit", stop_ticks=120)  # private: not counted
    one = beat()
    net.place(0, "buy", 4, 100)
    partly = beat()
    net[0].cancel(live.order_id, net.now)
    assert one[0] == partly[0] == 1
    assert len({one[1], partly[1], empty[1]}) == 3
    assert beat() == empty
    assert msgspec.json.decode(net[0].ledger.log.tail[-1][1].payload)["beat"]["lease_ms"] == 20_000


def test_a_home_closes_what_expired_before_it_signs_a_heartbeat() -> None:
    """Others drop such an order by themselves, and compare what they hold with the heartbeat."""
    net = Network(1)
    net.run(6)
    expires = int(net.now * 1000) + 3_000
    live = net.place(0, "sell", 10, 100, time_in_force="gtd", expires_ms=expires)
    net.now += 25  # both are due
    net[0].tick(net.now)
    net.settle()
    entries = [Entry.decode(draft.payload) for _, draft in net[0].ledger.log.tail]
    closed = [
        e.seq for e in entries for s in e.states if (s.order_id, s.open) == (live.order_id, "0")
    ]
    beats = [(entry.seq, entry.beat.live) for entry in entries if entry.beat is not None]
    assert beats[-1][0] >= closed[0] and beats[-1][1] == 0
