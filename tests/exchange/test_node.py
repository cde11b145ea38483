"""Whole peers in one process: gossip that falls silent, late joiners, restarts, equal books."""

from __future__ import annotations

import random

import pytest

from grenache_py.exchange.effects.batch import BookChanged, Send, Traded
from grenache_py.exchange.replication.messages import fitting
from grenache_py.exchange.serving import LISTEN_S
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import result_line
from tests.support.peers import Network, conserved


def test_three_peers_in_a_full_mesh_pass_each_entry_on_and_fall_silent() -> None:
    """The endless broadcast loop: docs/failure-modes.rst#f1."""
    net = Network(3)
    net.mesh()
    net.run(1)
    net.entries_sent = 0
    for number in range(20):
        net.place(number % 3, "sell", 10, 100 + number)
    # Flood over D links a peer: at most (D - 1) copies a peer, plus the origin's own D.
    peers, links = 3, 2
    assert 20 * (peers - 1) <= net.entries_sent <= 20 * (peers * (links - 1) + 1)
    net.counts.clear()
    net.settle()
    assert not net.counts
    # Sent again long after, an entry changes nothing and is not passed on.
    [link] = [x for x in net[0].peering.ready() if x.key == net[1].key]
    [(_, first), *_] = net[0].ledger.log.tail
    net[0].peering.notify(link, "gossip.publish", {"entries": [first.proof.wire()]})
    net.settle()
    assert dict(net.counts) == {"gossip.publish": 1}


def test_a_late_joiner_gets_the_whole_open_book() -> None:
    """A new server that never synchronised: docs/failure-modes.rst#f13."""
    net = Network(4)
    for one, other in ((0, 1), (1, 2)):
        net.link(one, other)
    rng = random.Random(7)
    for _ in range(400):
        net.place(rng.randrange(3), rng.choice(["buy", "sell"]), rng.randint(1, 50),
                  100 + rng.randint(-20, 20))  # fmt: skip
    net.run(30)
    net.link(3, 2)
    net.run(40)
    assert all(peer.node.sync.synced for peer in net.peers)
    hashes = {peer.node.books["BTC-USD"].state_hash() for peer in net.peers}
    assert len(hashes) == 1
    assert net.book(3) != ([], [])


def test_a_late_joiner_is_in_sync_before_the_next_heartbeat() -> None:
    net = Network(3)
    net.link(0, 1)
    for number in range(1_150):  # too many to be fetched one by one
        net.place(0, "buy", 10, 100 + number % 7)
    net.run(6)
    net.place(0, "buy", 10, 200)
    seq = net[0].ledger.log.seq
    net.link(2, 1)
    net.run(1)
    assert net[0].ledger.log.seq == seq, "there was no heartbeat since the last order"
    assert net[2].sync.synced
    assert net.book(2) == net.book(0)


def test_a_restarted_home_hands_its_orders_on_with_their_signatures() -> None:
    net = Network(2)
    for number in range(1_150):  # too many to be fetched one by one
        net.place(0, "buy", 10, 100 + number % 7)
    net.restart(0)
    net.run(LISTEN_S + 1)
    net.link(1, 0)
    net.run(8)
    assert net.book(1) == net.book(0) != ([], [])


def test_an_answer_full_of_large_entries_stays_below_a_line() -> None:
    """Quotes are two bytes each in the JSON text inside JSON, and a trade has forty."""
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 10_000, 100)
    for _ in range(160 * 6):
        net.place_only(1, "buy", 2, 100)
    net.settle()
    log = net[0].ledger.log
    entries = [draft.proof for draft in log.range(log.seq - 59, log.seq) or ()]
    part = fitting(entries)
    answer = result_line(10**9, {"entries": [signed.wire() for signed in part]})
    assert 1 < len(part) < len(entries)
    assert 50_000 < len(answer) < LINE_BYTES_MAX


def test_a_lone_peer_knows_that_it_is_not_in_sync() -> None:
    net = Network(1)
    net.run(5)
    assert net[0].status(net.now)["synced"] is False


def test_random_trading_with_restarts_ends_in_agreement() -> None:
    rng = random.Random(2026)
    net = Network(4)
    net.mesh()
    placed: dict[str, int] = {}
    for turn in range(300):
        at = rng.randrange(4)
        live = net.place_only(
            at, rng.choice(["buy", "sell"]), rng.randint(1, 50), 100 + rng.randint(-6, 6)
        )
        placed[live.order_id] = at
        if rng.random() < 0.7:
            net.settle()
        if turn % 40 == 39:
            dead = rng.randrange(4)
            net.restart(dead)
            for other in range(4):
                if other != dead:
                    net.link(dead, other)
            net.run(LISTEN_S)
        net.run(0.25)
    net.run(60)
    hashes = {peer.node.books["BTC-USD"].state_hash() for peer in net.peers}
    assert len(hashes) == 1
    bids, asks = net.book(0)
    assert not (bids and asks) or bids[0][0] < asks[0][0]
    for peer in net.peers:
        assert not peer.node.taker.intents
        conserved(peer.node)
    # Nothing was filled twice: what each home says was filled is what the trades add up to.
    trades = {t.trade_id: t for peer in net.peers for t in peer.node.tape("BTC-USD")}
    filled: dict[str, int] = {}
    for trade in trades.values():
        for order_id in (trade.maker_order, trade.taker_order):
            filled[order_id] = filled.get(order_id, 0) + trade.quantity_lots
    for order_id, at in placed.items():
        live = net[at].order(order_id)
        if live is not None:
            assert live.filled == filled.get(order_id, 0) <= live.quantity


def test_nothing_leaves_before_the_batch_that_makes_it_durable() -> None:
    net = Network(2)
    net.link(0, 1)
    live = net.place_only(0, "sell", 10, 100)
    assert not net.peers[0].events
    batch = net[0].take_batch(net.now)
    rows = {type(row).__name__ for row in batch.rows}
    assert {"LogRow", "OrderRow", "OrderEventRow"} <= rows
    assert any(isinstance(send, Send) for send in batch.sends)
    assert net[1].replica.records.find(live.order_id) is None
    assert net[0].take_batch(net.now).rows == []


def test_subscribers_hear_of_levels_and_trades_in_sequence() -> None:
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 10, 100)
    net.place(1, "buy", 4, 100)
    changes = [e for e in net.peers[1].events if isinstance(e, BookChanged)]
    assert [(e.prev_seq, e.seq) for e in changes] == [(n, n + 1) for n in range(len(changes))]
    assert changes[-1].changes[-1][1:] == (100, 6, 1)
    assert changes[-1].checksum() == net[1].books["BTC-USD"].checksum()
    assert len([e for e in net.peers[1].events if isinstance(e, Traded)]) == 1


def test_the_node_tells_when_it_has_work_and_a_clock_that_jumps_back_does_not_stop_it() -> None:
    net = Network(2)
    net.link(0, 1)
    net.run(10)
    assert net.now < net[0].next_deadline() <= net.now + 1
    seq = net[0].ledger.log.seq
    for peer in net.peers:
        peer.node.tick(net.now - 100)
    net.now -= 100
    net.run(12)
    assert net[0].ledger.log.seq > seq


@pytest.mark.parametrize("peers", [2, 5])
def test_a_dead_peers_orders_leave_every_book_and_come_back_with_it(peers: int) -> None:
    net = Network(peers)
    net.mesh()
    net.place(0, "sell", 10, 100)
    net.cut(0)
    alive = net.peers[1:]
    end = net.now + 26
    while net.now < end:
        net.now += 0.5
        for peer in alive:
            peer.node.tick(net.now)
            net.turn(peer)
    assert [net.book(peer.number)[1] for peer in alive] == [[]] * len(alive)
    net.restart(0)
    net.link(0, 1)
    net.run(15)
    assert [net.book(peer.number)[1] for peer in alive] == [[(100, 10)]] * len(alive)
