"""What takes time is observed where it happens: at orders, fills, gossip."""

from __future__ import annotations

from grenache_py.exchange.client_port.gateway import Gateway
from grenache_py.exchange.errors import StoreError
from grenache_py.metrics import Histogram
from tests.support.peer import Peer
from tests.support.peers import Network


def seen(histogram: Histogram) -> tuple[int, float]:
    return sum(histogram.counts), round(histogram.total, 3)


def test_an_order_takes_from_its_line_to_the_disk_and_a_question_is_no_order() -> None:
    peer = Peer()
    client = peer.connect()
    peer.store.held = []
    client.send(b"sell BTC-USD 1 @ 100\n")
    peer.clock.advance(0.25)
    client.send(b"sell BTC-USD 1 @ 101\nbook BTC-USD\n")
    commit, peer.store.held = peer.store.held[0], None
    peer.clock.advance(0.25)
    commit()
    peer.turn()
    # The second one waited for the first one's commit, and was written at once then.
    assert seen(peer.commit_loop.timings.orders) == (2, 0.75)


def test_an_order_that_never_reached_the_disk_is_not_counted() -> None:
    peer = Peer()
    peer.store.broken = StoreError("full", "no space left")
    peer.connect().place("sell", "1", "100")
    peer.store.broken = None
    peer.clock.pump([1] * 40)
    peer.connect().place("sell", "1", "100")
    assert seen(peer.commit_loop.timings.orders) == (1, 0.0)
    gateway: Gateway = peer.gateway
    assert gateway.came == []


def test_a_fill_takes_until_its_outcome_and_news_have_an_age() -> None:
    net = Network(2)
    net.mesh()
    net.place(1, "sell", 10, 100)
    assert seen(net[0].sync.intake.ages) == (1, 0.0)
    net.lost = {"fill.request"}
    net.place(0, "buy", 10, 100)
    net.lost = set()
    net.run(2.5)
    assert net[0].taker.settled == 1
    count, total = seen(net[0].taker.asking.round_trips)
    assert count == 1 and 1.0 <= total <= 2.5
    assert seen(net[1].taker.asking.round_trips) == (0, 0.0)
