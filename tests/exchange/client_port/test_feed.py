"""Subscriptions: nothing missed, nothing twice, and a gap instead of memory."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from grenache_py.exchange.client_port.feed import Feed, Staged
from grenache_py.exchange.client_port.send_queue import NOTES_BYTES_MAX, NOTES_MAX, SendQueue
from grenache_py.exchange.effects.batch import Event, OrderChanged
from grenache_py.trading import Book
from grenache_py.trading.book import BookSnapshot, BookUpdate
from tests.support.peer import START, Peer


class FollowedBook(Book):
    """The book of the clients for programs, told by lines of JSON."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        super().__init__(snapshot["market"], lambda: 0.0)
        self.take(msgspec.convert(snapshot, BookSnapshot))

    def takes(self, params: dict[str, Any]) -> bool:
        return self.apply(msgspec.convert(params, BookUpdate))

    def shown(self) -> dict[str, Any]:
        """In the shape of ``book.get``."""
        bids, asks = (
            [[str(each.price), str(each.quantity), each.orders] for each in levels]
            for levels in (self.bids, self.asks)
        )
        return {"market": self.market, "seq": self.seq, "bids": bids, "asks": asks}


def test_a_follower_of_a_book_has_it_at_every_step() -> None:
    rng = random.Random(7)
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    for _ in range(50):
        _random_order(trader, rng)
    mirror = FollowedBook(watcher.call("book.subscribe", market="BTC-USD"))
    for _ in range(300):
        _random_order(trader, rng)
        for note in watcher.received():
            assert note["method"] == "book.update"
            assert mirror.takes(note["params"]), "prev_seq or checksum does not fit"
        book = trader.call("book.get", market="BTC-USD", depth=500)
        assert {**mirror.shown(), "checksum": mirror.checksum()} == book


def _random_order(trader: object, rng: random.Random) -> None:
    if rng.random() < 0.2:
        trader.call("order.cancel_all", account="")  # type: ignore[attr-defined]
    trader.place(  # type: ignore[attr-defined]
        rng.choice(["buy", "sell"]), str(rng.randint(1, 5)), str(rng.randint(95, 105))
    )


def test_a_snapshot_during_a_commit_and_the_updates_after_it_fit_together() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    peer.store.held = []
    trader.send(b"buy BTC-USD 1 @ 100\n")  # committing
    trader.send(b"buy BTC-USD 2 @ 99\n")  # in memory, for the next batch
    watcher.send(b"watch BTC-USD\n")
    trader.send(b"buy BTC-USD 3 @ 98\n")
    assert watcher.received() == []
    lines = []
    while peer.store.held:
        peer.store.held.pop(0)()
        peer.turn()
        lines += watcher.received()
    snapshot, *updates = lines
    mirror = FollowedBook(snapshot["result"])
    assert all(mirror.takes(note["params"]) for note in updates)
    assert mirror.shown()["bids"] == [["100", "1", 1], ["99", "2", 1], ["98", "3", 1]]


def test_no_update_comes_before_its_snapshot_that_waits_behind_a_slow_answer() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    slow: Deferred[list[object]] = Deferred()
    peer.store.trades = lambda *_: slow
    watcher.send(b'{"jsonrpc":"2.0","id":1,"method":"trades.list","params":{"market":"BTC-USD"}}\n')
    for id in (2, 3):  # the second takes the place of the first
        watcher.send(
            b'{"jsonrpc":"2.0","id":%d,"method":"book.subscribe","params":{"market":"BTC-USD"}}\n'
            % id
        )
        trader.place("buy", "1", "100")
    assert watcher.received() == []
    slow.callback([])
    peer.turn()
    _, first, second, *updates = watcher.received()
    assert (first["id"], second["id"]) == (2, 3)
    mirror = FollowedBook(second["result"])
    assert len(updates) == 1 and mirror.takes(updates[0]["params"])
    assert mirror.shown()["bids"] == [["100", "2", 2]]
    trader.place("buy", "1", "100")
    assert mirror.takes(watcher.received()[0]["params"])


def test_a_gap_does_not_come_before_the_snapshot_either() -> None:
    out = SendQueue()
    out.hold("book:X")
    for number in range(NOTES_MAX):
        assert out.note("book:X", b"%d\n" % number)
    assert not out.note("book:X", b"one too many\n")
    assert out.take(1 << 30) == b""
    out.answer(b"snapshot\n")
    out.open("book:X")
    snapshot, gap = out.take(1 << 30).splitlines()
    assert (snapshot, b'"gap"' in gap, out.size) == (b"snapshot", True, 0)


def test_trades_are_told_once_per_batch_and_not_after_unsubscribing() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    trader.place("sell", "1", "100")
    trader.place("sell", "1", "101")
    assert watcher.call("trades.subscribe", market="BTC-USD")["trades"] == []
    trader.place("buy", "2", "101")
    (note,) = watcher.received()
    assert note["method"] == "trades.update"
    assert [trade["price"] for trade in note["params"]["trades"]] == ["100", "101"]
    again = watcher.call("trades.subscribe", market="BTC-USD")
    assert [trade["price"] for trade in again["trades"]] == ["100", "101"]
    assert watcher.call("trades.unsubscribe", market="BTC-USD")["ended"]
    trader.place("sell", "1", "100")
    trader.place("buy", "1", "100")
    assert watcher.received() == []


def test_own_orders_are_numbered_without_gaps_and_by_account() -> None:
    peer = Peer()
    alice, bob, watcher = peer.connect(), peer.connect(), peer.connect()
    first = alice.place("sell", "2", "100", account="alice")
    began = watcher.call("orders.subscribe", account="alice")
    assert [order["order_id"] for order in began["orders"]] == [first["order_id"]]
    assert (began["seq"], began["complete"]) == (1, True)
    bob.place("buy", "0.5", "100", account="bob")
    bob.place("buy", "0.5", "100", account="bob")
    alice.call("order.cancel", order_id=first["order_id"])
    notes = [note["params"] for note in watcher.received()]
    assert [note["seq"] for note in notes] == [2, 3, 4]
    assert [note["order"]["filled"] for note in notes] == ["0.5", "1", "1"]
    assert [len(note["order"]["trades"]) for note in notes] == [1, 2, 2]
    assert notes[-1]["order"]["status"] == "cancelled"


def test_who_comes_back_with_its_last_number_misses_nothing() -> None:
    peer = Peer()
    trader = peer.connect()
    order = trader.place("sell", "3", "100", account="a")
    for _ in range(3):
        trader.place("buy", "0.5", "100", account="b")
    trader.call("order.cancel", order_id=order["order_id"])
    watcher = peer.connect()
    watcher.send(
        b'{"jsonrpc":"2.0","id":1,"method":"orders.subscribe","params":'
        b'{"account":"a","from_seq":2}}\n'
    )
    answer, *notes = watcher.received()
    assert (answer["result"]["seq"], answer["result"]["orders"]) == (2, None)
    assert [note["params"]["seq"] for note in notes] == [3, 4, 5]
    reports = [note["params"]["order"] for note in notes]
    assert [report["filled"] for report in reports] == ["1", "1.5", "1.5"]
    assert [len(report["trades"]) for report in reports] == [2, 3, 3]
    assert [report["status"] for report in reports] == [
        "partially_filled", "partially_filled", "cancelled",
    ]  # fmt: skip
    trader.place("sell", "1", "105", account="a")
    (note,) = watcher.received()
    assert note["params"]["seq"] == 6


@pytest.mark.parametrize("from_seq", [0, 1, 2])
def test_updates_under_way_while_catching_up_come_once_and_in_order(from_seq: int) -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    trader.place("buy", "1", "100", account="a")
    trader.place("buy", "1", "99", account="a")
    peer.store.held = []
    trader.send(b"buy BTC-USD 1 @ 98 account=a\n")
    watcher.send(
        b'{"jsonrpc":"2.0","id":1,"method":"orders.subscribe","params":{"account":"a","from_seq":'
        + str(from_seq).encode()
        + b"}}\n"
    )
    trader.send(b"buy BTC-USD 1 @ 97 account=a\n")
    while peer.store.held:
        peer.store.held.pop(0)()
        peer.turn()
    answer, *notes = watcher.received()
    assert answer["result"]["seq"] == from_seq
    assert [note["params"]["seq"] for note in notes] == list(range(from_seq + 1, 5))


def test_who_was_away_for_long_is_told_all_of_it_as_fast_as_it_reads() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    for _ in range(12):  # 100 orders placed and cancelled at once: 2,400 updates
        trader.send(b"buy BTC-USD 1 @ 90 account=a\n" * 100)
        trader.received()
        assert trader.call("order.cancel_all", account="a") == {"cancelled": 100}
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"orders.subscribe","params":'
    watcher.lines.pauseProducing()  # its socket takes no more
    watcher.send(subscribe + b'{"account":"a","from_seq":7}}\n')
    for _ in range(20):
        trader.send(b"sell BTC-USD 1 @ 110 account=a\n")
        peer.clock.advance(0.01)
    assert watcher.lines.send_queue.size < 500_000, "what was missed waits on the disk"
    watcher.lines.resumeProducing()
    told: list[int] = []
    while len(told) < 2413 and peer.clock.seconds() < START + 60:
        told += [each["params"]["seq"] for each in watcher.received() if "method" in each]
        peer.clock.advance(0.01)
        peer.turn()
    assert told == list(range(8, 2421))
    trader.send(b"sell BTC-USD 1 @ 111 account=a\n")
    assert [note["params"]["seq"] for note in watcher.received()] == [2421]


def test_a_page_that_was_forgotten_meanwhile_is_a_gap() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    for number in range(1, 400):
        trader.place("buy", "0.01", f"{number}", account="a")
    watcher.lines.pauseProducing()
    watcher.send(
        b'{"jsonrpc":"2.0","id":1,"method":"orders.subscribe","params":{"account":"a",'
        b'"from_seq":1}}\n'
    )
    peer.store._c.execute("DELETE FROM order_events WHERE seq BETWEEN 200 AND 300")
    watcher.lines.resumeProducing()
    peer.clock.advance(1)
    *notes, last = watcher.received()[1:]
    assert [note["params"]["seq"] for note in notes] == list(range(2, 202))[: len(notes)]
    assert last["method"] == "gap" and last["params"] == {"subscription": "orders:a"}
    error = watcher.call("orders.subscribe", account="a", from_seq=250)
    assert error["code"] == -32602 and "not kept" in error["message"]


def test_a_number_from_the_future_gets_a_snapshot() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    for _ in range(3):
        trader.place("buy", "1", "100")
    ahead = watcher.call("orders.subscribe", from_seq=99)
    assert (ahead["seq"], len(ahead["orders"])) == (3, 3)


def test_a_client_that_does_not_read_gets_one_gap_and_others_are_served() -> None:
    peer = Peer()
    trader, slow, quick = peer.connect(), peer.connect(), peer.connect()
    slow.call("book.subscribe", market="BTC-USD")
    quick.call("book.subscribe", market="BTC-USD")
    slow.lines.pauseProducing()
    for number in range(NOTES_MAX + 50):
        trader.place("buy", "0.0001", f"{100 + number % 50}")
        assert slow.lines.send_queue.size <= NOTES_BYTES_MAX
    assert slow.received() == []
    assert len(quick.received()) == NOTES_MAX + 50
    slow.lines.resumeProducing()
    (gap,) = slow.received()
    assert gap == {
        "jsonrpc": "2.0", "method": "gap", "params": {"subscription": "book:BTC-USD"},
    }  # fmt: skip
    trader.place("buy", "1", "90")
    assert slow.received() == [], "the subscription has ended"
    assert slow.call("book.subscribe", market="BTC-USD")["bids"]


def test_a_gap_leaves_other_subscriptions_and_answers_alone() -> None:
    send_queue = SendQueue()
    send_queue.answer(b"one\n")
    for _ in range(NOTES_MAX):
        assert send_queue.note("book:A", b"a\n")
    assert send_queue.note("book:B", b"b\n")
    send_queue.answer(b"two\n")
    assert not send_queue.note("book:A", b"a\n")
    lines = send_queue.take(10**9).splitlines()
    assert lines[:3] == [b"one", b"b", b"two"]
    assert b"gap" in lines[3] and len(lines) == 4
    assert send_queue.size == 0


def test_a_deep_book_is_told_completely() -> None:
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    node = peer.commit_loop.node
    assert node is not None
    for number in range(1200):
        trader.lines.dataReceived(f"buy BTC-USD 1 @ {number + 1}\n".encode())
    peer.turn(100)
    watcher.send(b"watch BTC-USD\n")
    answer, *rest = watcher.received()
    mirror = FollowedBook(answer["result"])
    assert len(answer["result"]["bids"]) == 500
    assert all(mirror.takes(note["params"]) for note in rest)
    assert len(mirror.bids) == 1200


def test_a_client_that_leaves_is_forgotten() -> None:
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    peer = Peer()
    watcher, trader = peer.connect(), peer.connect()
    watcher.send(b"watch BTC-USD\n")
    assert len(peer.gateway.feed) == 2
    watcher.lines.connectionLost(Failure(ConnectionDone()))
    assert len(peer.gateway.feed) == 0
    assert peer.commit_loop.clients == 1
    trader.place("buy", "1", "100")


def test_no_copy_is_made_of_an_order_that_nobody_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []

    def stage(feed: Feed, events: Collection[Event]) -> Staged:
        copied.extend(event.account for event in events if isinstance(event, OrderChanged))
        return staged(feed, events)

    staged = Feed.stage
    monkeypatch.setattr(Feed, "stage", stage)
    peer = Peer()
    trader, watcher = peer.connect(), peer.connect()
    trader.place("sell", "1", "100", account="alice")
    assert copied == []
    watcher.call("orders.subscribe", account="alice")
    trader.place("sell", "1", "100", account="alice")
    trader.place("sell", "1", "100", account="bob")
    assert copied == ["alice"]
    assert [note["params"]["seq"] for note in watcher.received()] == [2]
