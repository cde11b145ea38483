"""The books of what is stored are those that the home has, as long as it goes on."""

from __future__ import annotations

import pytest

from grenache_py.exchange.daemon.role.stored_markets import StoredMarkets
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.home import heartbeat
from grenache_py.exchange.storage import snapshot
from tests.support.peers import BTC, Network


def seen(net: Network) -> tuple[str, str]:
    """The book of peer 1, and the one that its store gives."""
    found = snapshot.books(net.peers[1].database.connection)
    stored = StoredMarkets.of({BTC.symbol: BTC}, found.meta).with_books(found, net[1].key, net.now)
    books = stored.books[BTC.symbol], net[1].books[BTC.symbol]
    assert books[0].checksum() == books[1].checksum()
    last = net[1].last_trades.get(BTC.symbol)
    assert stored.last_trades.get(BTC.symbol) == last
    return books[0].state_hash(), books[1].state_hash()


def test_the_stored_book_has_others_orders_while_their_leases_hold() -> None:
    net = Network(2)
    net.link(0, 1)
    for price in range(5):
        net.place(0, "sell", 3, 100 + price)
        net.place(1, "buy", 2, 50 + price)
    stored, held = seen(net)
    assert stored == held
    net.place(1, "buy", 4, 101)  # takes one whole order of the other, and a part of the next
    net.place(1, "sell", 1, None, type="stop", stop_ticks=40)
    net.run(3)
    stored, held = seen(net)
    assert stored == held
    net.cut(0)
    for _ in range(30):
        net.now += 1
        net[1].tick(net.now)
        net.turn(net.peers[1])
    asks = net.book(1)[1]
    assert not asks, "the lease of the other is over"
    stored, held = seen(net)
    assert stored == held


def test_a_book_is_refused_where_pulses_that_nobody_stores_show_who_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "BEATING_HOMES_MAX", 0)
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 3, 100)
    net.run(60.0)
    assert net.book(1)[1] == [(100, 3)], "its log rests"
    with pytest.raises(StoreError, match="ask the daemon that serves"):
        seen(net)
