"""A book is made ready to be shown once for each state of it, and no old state is shown."""

from __future__ import annotations

import pytest

from grenache_py.exchange.client_port.reports import SNAPSHOT_LEVELS_MAX, book_snapshot
from grenache_py.exchange.market.book import Book
from tests.support.peers import BTC, Network


@pytest.fixture
def net() -> Network:
    net = Network(1)
    for price in range(1, 101):
        net.place(0, "buy", 10_000, price)
    return net


def test_a_hundred_who_ask_as_deep_as_they_like_cost_two_looks_at_the_levels(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, levels = [], Book.levels
    monkeypatch.setattr(
        Book, "levels", lambda book, *args: looked.append(args) or levels(book, *args)
    )
    book = net[0].books["BTC-USD"]
    for depth in range(1, SNAPSHOT_LEVELS_MAX + 1):
        bids = book_snapshot(book, BTC, depth)["bids"]
        assert [bid[0] for bid in bids[:2]] == ["1", "0.99"][: len(bids)]
        assert len(bids) == min(depth, 100)
    assert len(looked) == 2 * 4, "both sides and the checksum, as deep as most ask and as all may"


def test_who_asks_after_a_change_sees_it_committed_or_not(net: Network) -> None:
    book = net[0].books["BTC-USD"]
    before = book_snapshot(book, BTC, 5)
    net.place_only(0, "buy", 10_000, 200)
    assert book_snapshot(book, BTC, 5)["bids"][0][0] == "2"
    net.place_only(0, "buy", 10_000, 300)
    assert book_snapshot(book, BTC, 5)["bids"][0][0] == "3"
    net.settle()
    after = book_snapshot(book, BTC, 5)
    assert after["bids"][:2] == [["3", "1", 1], ["2", "1", 1]]
    assert after["seq"] > before["seq"] and after["checksum"] == book.checksum()
    assert before["bids"][0][0] == "1", "what was shown stays as it was"
