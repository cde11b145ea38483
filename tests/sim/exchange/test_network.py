"""Small networks of exchange peers, one story each, on a virtual clock."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import attrs
import pytest

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.replication import sync_responder as supply
from tests.sim.exchange.network import Disk, Faults, Peer
from tests.sim.exchange.world import MARKETS, World

BTC = MARKETS[0].symbol


def quiet_world(peers: int, seed: int = 5, **settings: object) -> World:
    """Peers that are up and linked, and nothing wrong with anything."""
    world = World(seed, peers=peers, faults=(), **settings)  # type: ignore[arg-type]
    for peer in world.peers:
        peer.start()
    for peer in world.peers:  # everybody knows everybody
        for other in world.peers:
            if other is not peer:
                peer.do(lambda node, now, a=other.address: node.connect(a, now))
    world.clock.run_until(10.0)
    return world


def world_with_another_tick(far_tick: str = "0.05") -> World:
    """Three peers in a line: the middle one lacks BTC, the last one has another tick there."""
    world = World(5, peers=3, faults=())
    for peer, markets in zip(
        world.peers,
        (MARKETS, MARKETS[1:], (Market.parse(f"{BTC}:tick={far_tick},lot=0.0001"), MARKETS[1])),
        strict=True,
    ):
        peer.config = attrs.evolve(peer.config, markets=markets)
        peer.start()
    for peer in world.peers:
        peer.do(lambda node, now: node.connect(world.peers[1].address, now))
    world.clock.run_until(10.0)
    return world


def place(peer: Peer, side: str, lots: int, price: int) -> str:
    order = NewOrder(BTC, side, lots, price, account=peer.name)  # type: ignore[arg-type]
    live = peer.do(lambda node, now: node.place(order, now))
    return str(live.order_id)


def test_a_buy_that_cancels_a_hundred_own_sells_is_followed_by_everybody() -> None:
    world = quiet_world(2)
    one, two = world.peers
    for _ in range(100):
        place(one, "sell", 1, 1000)
    order = NewOrder(BTC, "buy", 5, 1000, account=one.name, self_trade="oldest")
    one.do(lambda node, now: node.place(order, now))
    world.clock.run_until(world.clock.now + 2.0)
    assert digest(one) == digest(two)
    one.crash()
    one.start()
    world.clock.run_until(world.clock.now + 10.0)
    assert digest(one) == digest(two)
    assert [len(list(peer.node.books[BTC].levels("buy", 9))) for peer in (one, two)] == [1, 1]  # type: ignore[union-attr]


def test_orders_of_a_home_with_another_tick_are_neither_shown_nor_traded_with() -> None:
    """The homes are no neighbours; price and quantity are multiples of both ticks and lots."""
    world = world_with_another_tick()
    one, _, far = world.peers
    mine, theirs = place(one, "buy", 7, 1005), place(far, "sell", 5, 200)
    stop = NewOrder(BTC, "sell", 1, 1000, type="stop_limit", stop_ticks=1000)
    stop_id = one.do(lambda node, now: node.place(stop, now)).order_id
    buy = NewOrder(BTC, "buy", 5, 200)  # trades there, at a price at which the stop waits here
    far.do(lambda node, now: node.place(buy, now))
    world.clock.run_until(world.clock.now + 20.0)
    theirs = place(far, "sell", 5, 200)
    world.clock.run_until(world.clock.now + 20.0)
    for peer, own, other in ((one, mine, theirs), (far, theirs, mine)):
        node = peer.node
        assert node is not None
        assert node.replica.records.find(other) is not None, "it is held, and passed on"
        assert [len(list(node.books[BTC].levels(side, 9))) for side in ("buy", "sell")] in (
            [1, 0],
            [0, 1],
        )
        assert node.order(own).reserved == 0  # type: ignore[union-attr]
        assert node.taker.requested == 0
        assert node.status(peer.wall())["hidden"][BTC]["orders"] == 1
    assert one.node is not None
    assert not one.node.tape(BTC)
    assert not one.node.order(stop_id).triggered  # type: ignore[union-attr]
    assert one.node.status(one.wall())["hidden"][BTC] == {
        "orders": 1,
        "home": far.identity.key,
        "tick": "0.05",
        "lot": "0.0001",
    }
    for peer in (one, far):  # what the store holds says the same
        peer.crash()
        peer.start()
    world.clock.run_until(world.clock.now + 10.0)
    assert one.node.status(one.wall())["hidden"][BTC]["orders"] == 1
    far.do(lambda node, now: node.cancel(theirs, now))
    world.clock.run_until(world.clock.now + 2.0)
    assert one.node.status(one.wall())["hidden"] == {}
    world.checker.quiet(world.peers)


def test_a_home_that_begins_again_with_the_common_tick_is_shown() -> None:
    """Each order names its own: nothing that was known of its home has to be forgotten."""
    world = world_with_another_tick()
    one, _, far = world.peers
    place(far, "sell", 5, 200)
    world.clock.run_until(world.clock.now + 5.0)
    far.crash()
    far.disk = Disk(lambda: 0.001)  # another directory with the same key
    far.config = attrs.evolve(far.config, markets=MARKETS, new_epoch=True)
    world.checker.amnesia.add(far.identity.key)
    far.start()
    world.clock.run_until(world.clock.now + 10.0)
    place(far, "sell", 5, 1001)
    world.clock.run_until(world.clock.now + 5.0)
    assert one.node is not None
    assert one.node.status(one.wall())["hidden"] == {}
    assert one.node.books[BTC].best_ask() == 1001


def test_who_joins_late_hides_what_it_takes_from_a_neighbours_live_set() -> None:
    world = world_with_another_tick()
    one, _, far = world.peers
    one.crash()
    for _ in range(400):
        order_id = place(far, "sell", 10, 200)
        far.do(lambda node, now, o=order_id: node.cancel(o, now))
        place(far, "sell", 10, 200)
    world.clock.run_until(world.clock.now + 10.0)
    one.start()
    world.clock.run_until(world.clock.now + 10.0)
    assert one.node is not None
    assert one.node.sync.catchup.adopted
    assert one.node.status(one.wall())["hidden"][BTC]["orders"] == 400
    assert one.node.books[BTC].best_ask() is None


def digest(peer: Peer) -> bytes:
    assert peer.node is not None
    live = peer.node.live.set
    return live.fingerprint(0, len(live))


def test_three_peers_in_a_full_mesh_pass_an_entry_on_and_fall_silent() -> None:
    """
    Each entry crosses each link once each way at most (docs/failure-modes.rst#f1), then it is
    quiet.
    """
    world = quiet_world(3)
    pushes: Counter[str] = Counter()
    other_lines: Counter[str] = Counter()

    def tap(source: Peer, target: Peer, line: bytes) -> None:
        message = json.loads(line)
        if message.get("method") != "gossip.publish":
            other_lines[message.get("method", "answer")] += 1
            return
        for signed in message["params"]["entries"]:
            if '"order":' in signed["payload"]:
                pushes[signed["payload"]] += 1

    world.network.tap = tap
    for i in range(5):
        place(world.peers[i % 3], "buy", 10, 900 + i)
    world.clock.run_until(14.0)
    assert len(pushes) == 5
    # Origin to both others, and each of those perhaps to the other: 2 to 4 sends.
    assert all(2 <= count <= 4 for count in pushes.values()), pushes
    assert other_lines["sync.range"] == 0
    before = sum(pushes.values())
    world.clock.run_until(180.0)
    assert sum(pushes.values()) == before
    assert len({digest(peer) for peer in world.peers}) == 1


def test_a_late_joiner_gets_the_whole_open_book() -> None:
    """
    Logs are long gone from memory, so it reconciles live sets, once (docs/failure-modes.rst#f13).
    """
    world = quiet_world(2)
    old = world.peers[0]
    for i in range(600):  # far more entries than any peer keeps or a joiner would replay
        order_id = place(old, "sell", 10, 1100 + i % 50)
        if i % 3:
            old.do(lambda node, now, o=order_id: node.cancel(o, now))
        if i % 50 == 0:
            world.clock.run_until(world.clock.now + 0.5)
    world.clock.run_until(world.clock.now + 6.0)
    late = world.add_peer("late", 2)
    late.start()
    world.clock.run_until(world.clock.now + 8.0)
    assert late.node is not None
    assert late.node.sync.synced
    assert digest(late) == digest(old)
    assert len(late.node.live.set) == 200
    assert late.node.sync.catchup.sessions == 1
    assert late.node.books[BTC].best_ask() == 1100
    # It must not have cost much more than the orders themselves.
    assert late.node.sync.catchup.adopted == 200


def test_what_a_joiner_lacks_altogether_it_takes_by_ranges_of_bounded_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It asks for places in the order, not for 300 ids; what does not fit a line it asks again."""
    monkeypatch.setattr(supply, "LINE_BYTES", 10_000)
    world = quiet_world(2)
    old = world.peers[0]
    for _ in range(15):
        ids = [place(old, "sell", 10, 1100 + i) for i in range(20)]
        world.clock.run_until(world.clock.now + 0.5)
        for order_id in ids:
            old.do(lambda node, now, o=order_id: node.replace(o, now, 9))  # two entries a record
    world.clock.run_until(world.clock.now + 6.0)
    asked: list[bytes] = []
    answers: list[bytes] = []

    def tap(source: Peer, target: Peer, line: bytes) -> None:
        if b'"sync.re' in line:
            asked.append(line)
        elif b'"records"' in line and b"result" in line:
            answers.append(line)

    world.network.tap = tap
    late = world.add_peer("late", 2)
    late.start()
    world.clock.run_until(world.clock.now + 3.0)
    assert late.node is not None
    assert late.node.sync.catchup.adopted == 300
    assert digest(late) == digest(old)
    assert any(b'"next"' in line for line in answers)
    assert max(map(len, answers)) <= 10_000
    assert not any(b'"ids"' in line for line in asked)


def test_a_joiner_fetches_all_that_followed_the_last_heartbeat_at_once() -> None:
    """It takes several lines; waiting for a heartbeat after each would take minutes."""
    world = quiet_world(2)
    old = world.peers[0]
    for i in range(400):
        place(old, "buy", 10, 500 + i)
    world.clock.run_until(world.clock.now + 0.1)
    late = world.add_peer("late", 2)
    late.start()
    world.clock.run_until(world.clock.now + 3.0)
    assert late.node is not None
    assert old.node is not None
    assert late.node.replica.origins[old.identity.key].seq == old.node.ledger.log.seq
    world.clock.run_until(world.clock.now + 6.0)
    assert late.node.sync.synced


def test_a_heartbeat_that_comes_while_a_joiner_catches_up_does_not_keep_it_waiting() -> None:
    """Over a slow link a catch-up outlasts heartbeats; what came early follows at once."""
    world = quiet_world(1)
    old = world.peers[0]
    for i in range(200):
        place(old, "buy", 10, 500 + i)
    world.clock.run_until(world.clock.now + 6.0)
    world.network.latency = lambda source, target: 1.2
    late = world.add_peer("late", 2)
    late.start()
    while late.node is None or len(late.node.live.set) < 200:
        world.clock.run_until(world.clock.now + 0.1)
        assert world.clock.now < 60.0
    world.clock.run_until(world.clock.now + 0.5)
    assert late.node.sync.catchup.sessions == 1
    assert late.node.sync.synced


def test_an_unsynced_peer_says_so() -> None:
    world = World(3, peers=2, faults=())
    first = world.peers[0]
    first.start()
    world.clock.run_until(5.0)
    assert first.node is not None
    assert not first.node.sync.synced, "alone, nobody can know"
    world.peers[1].start()
    world.clock.run_until(20.0)
    assert first.node.sync.synced


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_peers_agree_over_a_lossy_network(seed: int) -> None:
    """Issue 2, point 9. The seed is in the test's name."""
    world = World(seed, peers=10, orders=40, faults=("loss", "delay"), outbound_target=2)
    report = world.run()
    assert report.trades > 5


def test_an_order_is_everywhere_within_a_second() -> None:
    """
    By gossip alone: no period of any repair is that short (docs/design/distributed-core.rst#l1).
    """
    world = quiet_world(12, outbound_target=3)
    world.clock.run_until(10.3)  # the next heartbeat, which mends what was lost, is far away
    order_id = place(world.peers[0], "buy", 5, 950)
    world.clock.run_until(10.8)
    for peer in world.peers[1:]:
        assert peer.node is not None
        assert peer.node.replica.records.find(order_id) is not None, peer.name


def test_a_dead_homes_orders_leave_the_books_and_return_with_it() -> None:
    """Lease 20 s, skew 5 s, sweep 1 s (docs/design/distributed-core.rst#l5)."""
    world = quiet_world(3)
    dying, watching = world.peers[0], world.peers[1]
    place(dying, "sell", 7, 1200)
    world.clock.run_until(world.clock.now + 2.0)
    assert watching.node is not None
    book = watching.node.books[BTC]
    assert book.best_ask() == 1200
    dying.crash()
    world.clock.run_until(world.clock.now + 26.0)
    assert book.best_ask() is None
    assert watching.node.sync.synced, "a dead home is no reason not to be synced"
    dying.start()
    world.clock.run_until(world.clock.now + 10.0)
    assert book.best_ask() == 1200


def test_the_last_entries_of_a_dead_home_that_nobody_can_show_are_not_asked_for_for_ever() -> None:
    """Its neighbours were restarted: they know how far the log went, and hold live orders only."""
    world = quiet_world(5)
    dying, *neighbours, behind = world.peers
    place(dying, "sell", 1, 1200)
    world.clock.run_until(world.clock.now + 6.0)
    world.network.cut = {(peer.name, behind.name) for peer in world.peers}
    world.network.cut |= {(behind.name, peer.name) for peer in world.peers}
    order_id = place(dying, "sell", 1, 1201)
    world.clock.run_until(world.clock.now + 1.0)
    dying.crash()
    for peer in neighbours:
        peer.crash()
        peer.start()
    world.clock.run_until(world.clock.now + 6.0)
    world.network.cut = set()
    world.network.heal()
    for _ in range(20):  # who delivers most is asked first
        place(neighbours[0], "buy", 1, 900)
        world.clock.run_until(world.clock.now + 2.0)
    assert behind.node is not None
    assert behind.node.replica.records.find(order_id) is not None
    assert behind.node.sync.synced
    sessions = behind.node.sync.catchup.sessions
    world.clock.run_until(world.clock.now + 60.0)
    assert behind.node.sync.catchup.sessions == sessions


def test_both_halves_of_a_partition_trade_on_and_agree_afterwards() -> None:
    """2.8: nothing is filled twice, because each home is on one side only."""
    world = quiet_world(4)
    left, right = world.peers[:2], world.peers[2:]
    names = [peer.name for peer in world.peers]
    sides = {peer.name for peer in left}
    world.network.cut = {(a, b) for a in names for b in names if (a in sides) != (b in sides)}
    for side in (left, right):
        place(side[0], "sell", 10, 1000)
    world.clock.run_until(world.clock.now + 1.0)
    for side in (left, right):
        place(side[1], "buy", 4, 1000)
    world.clock.run_until(world.clock.now + 40.0)
    for side in (left, right):
        assert side[0].node is not None
        assert [trade.quantity_lots for trade in side[0].node.tape(BTC)] == [4]
    world.network.cut = set()
    world.network.heal()
    world.clock.run_until(world.clock.now + 60.0)
    world.checker.quiet(world.peers)
    assert len(digest(world.peers[0])) == 16


def test_two_machines_with_one_key_are_noticed() -> None:
    """2.1, 2.9: a copy of a data directory, started elsewhere while the first still runs."""
    world = quiet_world(3)
    original, neighbour = world.peers[0], world.peers[1]
    copy = world.add_peer("copy", 3)
    copy.identity = original.identity
    world.checker.amnesia.add(original.identity.key)  # it contradicts itself, of course
    copy.start()
    copy.do(lambda node, now: node.connect(neighbour.address, now))
    copy.do(lambda node, now: node.connect(original.address, now))
    world.clock.run_until(world.clock.now + 10.0)
    assert neighbour.node is not None
    assert original.identity.key in neighbour.node.peering.admission.clones
    assert original.node is not None
    assert original.node.alarms(), "the original must stop serving as well"


def test_a_restarted_peer_is_no_clone() -> None:
    world = quiet_world(3)
    for _ in range(3):
        world.peers[0].crash()
        world.clock.run_until(world.clock.now + 0.2)
        world.peers[0].start()
        world.clock.run_until(world.clock.now + 12.0)
    for peer in world.peers:
        assert peer.node is not None
        assert not peer.node.peering.admission.clones
        assert len(peer.node.peering.by_key) == 2


def test_an_old_disk_is_noticed_before_it_lies() -> None:
    """2.9: the network remembers what a home forgot, and the home refuses to serve."""
    world = quiet_world(3)
    forgetful = world.peers[0]
    place(forgetful, "sell", 5, 1300)
    place(forgetful, "sell", 5, 1301)
    world.clock.run_until(world.clock.now + 6.0)
    forgetful.crash()
    forgetful.disk.forget(3)
    world.checker.amnesia.add(forgetful.identity.key)
    forgetful.start()
    for number in range(60):  # its clients do not wait
        world.clock.after(number * 0.1, lambda: world.place(forgetful))
    world.clock.run_until(world.clock.now + 10.0)
    assert forgetful.node is not None
    assert forgetful.node.alarms()
    for peer in world.peers[1:]:
        assert peer.node is not None
        origin = peer.node.replica.origins[forgetful.identity.key]
        assert not origin.frozen, "it noticed in time and signed nothing else"


def test_an_old_disk_is_noticed_by_a_neighbour_that_was_restarted_meanwhile() -> None:
    """It has no log in memory to prove anything with, but orders, with their signed entries."""
    world = quiet_world(2)
    forgetful, neighbour = world.peers
    place(forgetful, "sell", 5, 1300)
    world.clock.run_until(world.clock.now + 2.0)
    kept = len(forgetful.disk.batches)
    place(forgetful, "sell", 5, 1301)
    world.clock.run_until(world.clock.now + 11.0)
    forgetful.crash()
    forgetful.disk.forget(len(forgetful.disk.batches) - kept)
    world.checker.amnesia.add(forgetful.identity.key)
    neighbour.crash()
    neighbour.start()
    forgetful.start()
    world.clock.run_until(world.clock.now + 10.0)
    assert forgetful.node is not None
    assert "an old copy" in forgetful.node.alarms()[0]


def test_links_between_the_same_two_peers_come_down_to_one() -> None:
    """Both dial, again and again: one link stays, and stays."""
    world = quiet_world(2)
    a, b = world.peers
    for _ in range(3):
        a.do(lambda node, now: node.connect(b.address, now))
        b.do(lambda node, now: node.connect(a.address, now))
        world.clock.run_until(world.clock.now + 5.0)
    assert len(a.ends) == len(b.ends) == 1


def test_a_peer_that_dials_itself_hardly_does_so_any_more() -> None:
    """Somebody between may have led the dial back; so what the operator named is tried again."""
    world = quiet_world(2)
    peer = world.peers[0]
    peer.do(lambda node, now: node.connect(peer.address, now))
    world.clock.run_until(world.clock.now + 5.0)
    assert peer.node is not None
    dials = peer.node.peering.dialling.dials
    world.clock.run_until(world.clock.now + 60.0)
    assert 0 < peer.node.peering.dialling.dials - dials <= 6
    world.clock.run_until(world.clock.now + 600.0)
    assert peer.node.peering.dialling.dials - dials <= 6 + 600 / (0.75 * 60)
    assert not peer.node.alarms()


def test_peers_are_found_through_others_and_ghosts_are_forgotten() -> None:
    """
    docs/failure-modes.rst#f21: one address is enough to meet everybody; what nobody answers at is
    dropped.
    """
    world = World(9, peers=6, faults=())
    for peer in world.peers:
        peer.start()
        peer.do(lambda node, now: node.discovered(["ghost1:1", "ghost2:2"], now))
    world.clock.run_until(120.0)
    for peer in world.peers:
        assert peer.node is not None
        assert len(peer.node.peering.by_key) >= 2
        assert not peer.node.peering.addresses.waiting("ghost1:1", peer.wall())


def test_a_peer_in_a_bad_network_keeps_trying_for_ever() -> None:
    """Back-off has a ceiling, not an end (docs/failure-modes.rst#f13)."""
    world = World(4, peers=2, faults=())
    world.network.cut = {("p0", "p1"), ("p1", "p0")}
    for peer in world.peers:
        peer.start()
    world.clock.run_until(1000.0)
    assert all(peer.node is not None and not peer.node.peering.by_key for peer in world.peers)
    world.network.cut = set()
    world.clock.run_until(1080.0)
    assert all(peer.node is not None and peer.node.peering.by_key for peer in world.peers)


def test_bytes_may_be_cut_anywhere() -> None:
    world = World(6, peers=2, faults=())
    rng = random.Random(6)

    def crumbs(line: bytes) -> list[tuple[int, bytes]]:
        cuts = sorted(rng.sample(range(1, len(line)), min(5, len(line) - 1)))
        edges = [0, *cuts, len(line)]
        return [(i, line[a:b]) for i, (a, b) in enumerate(itertools.pairwise(edges))]

    world.network._parts = crumbs  # type: ignore[method-assign]
    world.network.faults = Faults()
    for peer in world.peers:
        peer.start()
    world.clock.run_until(5.0)
    place(world.peers[0], "sell", 5, 1000)
    world.clock.run_until(6.0)
    place(world.peers[1], "buy", 5, 1000)
    world.clock.run_until(10.0)
    for peer in world.peers:
        assert peer.node is not None
        assert len(peer.node.tape(BTC)) == 1
