"""What an evil peer can do (docs/design/threat-model.rst#malicious-home), and what holds it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import attrs
import pytest

from grenache_py.exchange.errors import FORGOTTEN
from grenache_py.exchange.fills.messages import Settled, encode, fill_id
from grenache_py.exchange.fills.query import FillQuery, encode_query
from grenache_py.exchange.peers.handshake import HandshakeError
from grenache_py.exchange.signed_log.entries import GENESIS, HeartbeatBody
from tests.sim.exchange.evil import EvilPeer
from tests.sim.exchange.test_network import BTC, digest, place, quiet_world
from tests.sim.exchange.world import World

BEAT = HeartbeatBody(20_000, 0, "0" * 64)


def with_evil(peers: int = 3) -> tuple[World, EvilPeer]:
    """An honest network and one that is not, linked to its first peer."""
    world = quiet_world(peers)
    evil = EvilPeer("evil", world.network)
    evil.dial(world.peers[0])
    world.clock.run_until(world.clock.now + 1.0)
    node = world.peers[0].node
    assert node is not None
    assert evil.identity.key in node.peering.by_key
    return world, evil


def unharmed(world: World) -> None:
    """Honest peers keep their links to each other and still trade."""
    place(world.peers[1], "sell", 3, 1000)
    world.clock.run_until(world.clock.now + 1.0)
    place(world.peers[2], "buy", 3, 1000)
    world.clock.run_until(world.clock.now + 5.0)
    for peer in world.peers:
        assert peer.node is not None
        assert len(peer.node.tape(BTC)) == 1
        assert {other.identity.key for other in world.peers} - {peer.identity.key} <= set(
            peer.node.peering.by_key
        )
    assert len({digest(peer) for peer in world.peers}) == 1


def order_entry(evil: EvilPeer, world: World, quantity: str = "0.001") -> dict[str, Any]:
    """Members of an entry that publishes an order of the evil peer."""
    return evil.order((ms(world), 1), BTC, "sell", quantity, "10")


def ms(world: World) -> int:
    """The right time."""
    return int((1_700_000_000 + world.clock.now) * 1000)


def test_forged_entries_change_nothing_and_are_soon_not_read_any_more() -> None:
    world, evil = with_evil()
    entry, _ = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    victim = world.peers[1].identity.key
    forged = {**entry, "payload": entry["payload"].replace(evil.identity.key, victim)}
    forged["payload"] = forged["payload"].replace('"seq":1,', '"seq":9999,')
    for _ in range(15):
        evil.notify("gossip.publish", entries=[forged])
    world.clock.run_until(world.clock.now + 2.0)
    node = world.peers[0].node
    assert node is not None
    link = node.peering.by_key[evil.identity.key]
    assert node.peering.ignored(link, world.peers[0].wall())
    assert not link.mesh
    unharmed(world)


def test_a_banned_peer_cannot_come_straight_back() -> None:
    world, evil = with_evil()
    for _ in range(15):
        evil.notify("sync.heads", heads="none")
    world.clock.run_until(world.clock.now + 1.0)
    evil.dial(world.peers[0])
    world.clock.run_until(world.clock.now + 2.0)
    node = world.peers[0].node
    assert node is not None
    assert evil.identity.key not in node.peering.by_key


def test_replayed_entries_are_not_forwarded() -> None:
    """What changed nothing goes nowhere: docs/design/gossip.rst#novelty."""
    world, evil = with_evil()
    entry, _ = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    evil.notify("gossip.publish", entries=[entry])
    world.clock.run_until(world.clock.now + 1.0)
    nodes = [peer.node for peer in world.peers if peer.node is not None]
    assert all(evil.identity.key in node.replica.origins for node in nodes)
    published = [node.peering.gossip.published for node in nodes]
    for _ in range(100):
        evil.notify("gossip.publish", entries=[entry] * 20)
    world.clock.run_until(world.clock.now + 1.0)
    beats = 3 * len(nodes)  # their own heartbeats may have come due
    assert sum(n.peering.gossip.published for n in nodes) <= sum(published) + 2 * beats
    unharmed(world)


def test_two_stories_are_proven_to_everybody() -> None:
    """Equivocation: the pair of entries is the proof, and travels further than the liar."""
    world, evil = with_evil()
    one, first_hash = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    honest, _ = evil.entry(2, first_hash, world.clock.now, **order_entry(evil, world))
    other, _ = evil.entry(2, first_hash, world.clock.now + 0.001, beat=BEAT)
    evil.notify("gossip.publish", entries=[one, honest])
    world.clock.run_until(world.clock.now + 1.0)
    last = world.peers[2].node
    assert last is not None
    assert last.books[BTC].best_ask() == 1000
    evil.notify("gossip.publish", entries=[other])
    world.clock.run_until(world.clock.now + 2.0)
    for peer in world.peers:
        assert peer.node is not None
        assert peer.node.replica.origins[evil.identity.key].frozen
        assert peer.node.books[BTC].best_ask() is None, "its orders have left the book"
    unharmed(world)


def test_a_late_joiner_learns_the_proof() -> None:
    world, evil = with_evil()
    one, _ = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    other, _ = evil.entry(1, GENESIS, world.clock.now + 0.001, beat=BEAT)
    evil.notify("gossip.publish", entries=[one, other])
    world.clock.run_until(world.clock.now + 2.0)
    late = world.add_peer("late", 3)
    late.start()
    world.clock.run_until(world.clock.now + 8.0)
    assert late.node is not None
    assert late.node.replica.origins[evil.identity.key].frozen
    assert late.node.sync.synced


def test_heads_of_a_log_that_is_not_believed_any_more_are_not_missed() -> None:
    """The proof may come before the entries; what nobody fetches must not count as missing."""
    world, evil = with_evil()
    one, _ = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    other, _ = evil.entry(1, GENESIS, world.clock.now + 0.001, beat=BEAT)
    evil.notify("gossip.proof", first=one, second=other)
    evil.notify("sync.heads", heads=[[evil.identity.key, 1, 7, "ab" * 32]])
    world.clock.run_until(world.clock.now + 5.0)
    for peer in world.peers:
        assert peer.node is not None
        assert peer.node.replica.origins[evil.identity.key].frozen
        assert peer.node.sync.synced


def test_no_catch_up_is_tried_on_a_log_that_is_not_believed_any_more() -> None:
    """Its last heartbeat was false, then it was caught: no live set can ever agree with it."""
    world, evil = with_evil()
    one, first_hash = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    false, _ = evil.entry(2, first_hash, world.clock.now, beat=HeartbeatBody(20_000, 7, "0" * 64))
    other, _ = evil.entry(2, first_hash, world.clock.now + 0.001, beat=BEAT)
    evil.notify("gossip.publish", entries=[one, false, other])
    world.clock.run_until(world.clock.now + 3.0)
    nodes = [peer.node for peer in world.peers if peer.node is not None]
    sessions = [node.sync.catchup.sessions for node in nodes]
    world.clock.run_until(world.clock.now + 30.0)
    assert [node.sync.catchup.sessions for node in nodes] == sessions
    assert all(node.sync.synced for node in nodes)


def test_heads_that_do_not_exist_cost_the_liar_not_the_network() -> None:
    """Withholding: it says it has more, and delivers nothing."""
    world, evil = with_evil()
    victim = world.peers[1].identity.key
    for step in range(20):
        evil.notify("sync.heads", heads=[[victim, 1, 1000 + step, "ab" * 32]])
        world.clock.run_until(world.clock.now + 1.0)
    world.clock.run_until(world.clock.now + 15.0)
    unharmed(world)
    node = world.peers[0].node
    assert node is not None
    assert node.sync.synced, "a head nobody can show is not believed for ever"


@pytest.mark.parametrize("whose", ["the log asked for", "another log"])
def test_an_old_heartbeat_is_no_answer_for_a_head_that_does_not_exist(whose: str) -> None:
    """It is signed and true, and brings nothing: to ask for it again would never end."""
    world, evil = with_evil()
    victim = world.peers[1].identity.key
    told: list[dict[str, Any]] = []

    def tap(source: Any, target: Any, line: bytes) -> None:
        if source is world.peers[1] and b'"gossip.publish"' in line:
            told.extend(json.loads(line)["params"]["entries"])

    def answer(message: dict[str, Any]) -> dict[str, Any] | None:
        results: dict[str, dict[str, Any]] = {
            "peer.ping": {},
            "sync.range": {"entries": told[:1]},
            "sync.reconcile": {"frame": ""},  # no difference
        }
        method = str(message.get("method"))
        if method not in results:
            return None
        return {"jsonrpc": "2.0", "id": message["id"], "result": results[method]}

    world.network.tap = tap
    world.clock.run_until(world.clock.now + 8.0)
    assert '"beat":' in told[0]["payload"]
    evil.on_message = answer
    key = victim if whose == "the log asked for" else "ab" * 32
    evil.notify("sync.heads", heads=[[key, 1, 9000, "ab" * 32]])
    world.clock.run_until(world.clock.now + 8.0)
    node = world.peers[0].node
    assert node is not None
    assert evil.identity.key in node.peering.by_key
    assert node.sync.synced
    assert node.sync.catchup.sessions == 1
    unharmed(world)


@pytest.mark.parametrize("stage", ["sync.range", "sync.reconcile", "sync.records"])
def test_a_neighbour_that_answers_a_catch_up_with_nonsense_does_not_block_others(
    stage: str,
) -> None:
    world = quiet_world(2)
    evil = EvilPeer("evil", world.network)
    beat, _ = evil.entry(5000, "ab" * 32, world.clock.now, beat=BEAT)

    def answer(message: dict[str, Any]) -> dict[str, Any] | None:
        nonsense: dict[str, dict[str, Any]] = {
            "sync.range": {"entries": [{}]},
            "sync.reconcile": {"frame": "/////w=="},
            "sync.records": {"records": [[1, 2, 3]], "answered": 1},
        }
        sense: dict[str, dict[str, Any]] = {
            "sync.range": {"entries": [beat]},
            "sync.reconcile": {"frame": b64encode(b"\0\0\2\1" + b"x" * 16).decode()},  # one unknown
        }
        method = str(message.get("method"))
        if method not in nonsense:
            return None
        result = nonsense[method] if method == stage else sense[method]
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    evil.on_message = answer
    evil.dial(world.peers[0])
    world.clock.run_until(world.clock.now + 1.0)
    evil.notify("sync.heads", heads=[[evil.identity.key, 1, 5000, "cd" * 32]])
    world.clock.run_until(world.clock.now + 3.0)
    node = world.peers[0].node
    assert node is not None
    assert stage in {message.get("method") for message in evil.received}
    assert not node.sync.catchup.under_way
    assert node.sync.catchup.broken >= 1


def test_entries_from_the_future_are_not_taken() -> None:
    """False time: forward-dating is refused beyond 5 s, and nobody's clock follows it."""
    world, evil = with_evil()
    entry, _ = evil.entry(1, GENESIS, world.clock.now + 60.0, beat=BEAT)
    evil.notify("gossip.publish", entries=[entry])
    world.clock.run_until(world.clock.now + 2.0)
    for peer in world.peers:
        assert peer.node is not None
        origin = peer.node.replica.origins.get(evil.identity.key)
        assert origin is None or origin.seq == 0
        assert peer.node.clock.ms < (1_700_000_000 + world.clock.now + 6) * 1000
    unharmed(world)


def test_a_maker_that_never_answers_holds_a_bounded_hostage() -> None:
    """2.8: its home is put on hold after the first time-out; the owner sees the doubt."""
    world, evil = with_evil()
    one, first_hash = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    bait, _ = evil.entry(2, first_hash, world.clock.now, **order_entry(evil, world, "1"))
    evil.notify("gossip.publish", entries=[one, bait])
    world.clock.run_until(world.clock.now + 1.0)
    taker = world.peers[0]
    place(taker, "buy", 10, 1000)
    world.clock.run_until(world.clock.now + 4.0)
    assert taker.node is not None
    assert [fill["quantity"] for fill in taker.node.in_doubt()] == ["0.001"]
    assert evil.identity.key in taker.node.taker.on_hold
    place(taker, "buy", 10, 1000)
    world.clock.run_until(world.clock.now + 2.0)
    assert len(taker.node.taker.intents) == 1, "no second order was sent after the first"


def test_a_maker_that_answers_pings_and_no_fill_gets_no_more_fills() -> None:
    """It shows the best price for ever; 12 of 20 orders were held hostage by it."""
    world, evil = with_evil()
    evil.on_message = lambda message: (
        {"jsonrpc": "2.0", "id": message["id"], "result": {}}
        if message.get("method") == "peer.ping"
        else None
    )
    one, head = evil.entry(1, GENESIS, world.clock.now, beat=BEAT)
    bait, head = evil.entry(2, head, world.clock.now, **order_entry(evil, world, "1"))
    evil.notify("gossip.publish", entries=[one, bait])
    world.clock.run_until(world.clock.now + 0.5)
    taker = world.peers[0]
    for number in range(20):
        place(taker, "buy", 10, 1000)
        world.clock.run_until(world.clock.now + 2.0)
        beat, head = evil.entry(3 + number, head, world.clock.now, beat=BEAT)
        evil.notify("gossip.publish", entries=[beat])
    assert taker.node is not None
    assert evil.identity.key in taker.node.peering.by_key
    assert len(taker.node.taker.intents) == 1, "an order was sent to it after the first"


def test_a_maker_never_denies_a_trade_that_it_signed() -> None:
    """Its taker settles, waits until the answer may be forgotten, and asks again."""
    world, evil = with_evil()
    maker = world.peers[0]
    maker_order = place(maker, "sell", 10, 1000)
    world.clock.run_until(world.clock.now + 0.5)
    entry = asks(evil, world, "buy", "10")
    order = json.loads(entry["payload"])["order"]["id"]
    deadline = ms(world) + 9_000
    number = evil.ask(entry, maker.identity.key, [(maker_order, "0.001", "10")], 1, "0.001")
    assert len(answer_to(evil, world, number)["trades"]) == 1
    fill = fill_id(order, maker.identity.key, evil.identity.key, 1)
    told = Settled(evil.identity.key, maker.identity.key, (fill,))
    evil.notify("fill.settled", settled=evil.signed(encode(told)))
    for _ in range(100):
        world.clock.run_until(world.clock.now + 1.0)
    assert maker.node is not None
    assert len(maker.node.maker._answers) == 0
    if evil.identity.key not in maker.node.peering.by_key:
        evil.dial(maker)
        world.clock.run_until(world.clock.now + 1.0)
    query = {"fill": fill, "order": order, "fill_seq": 1, "deadline": deadline}
    evil.send({"jsonrpc": "2.0", "id": 9, "method": "fill.query", "params": query})
    world.clock.run_until(world.clock.now + 1.0)
    [message] = [m for m in evil.received if m.get("id") == 9 and "method" not in m]
    assert message.get("error", {}).get("code") == FORGOTTEN, message


def asks(evil: EvilPeer, world: World, side: str, price: str) -> dict[str, Any]:
    """The evil peer publishes an order of ten lots, to ask for fills with."""
    world.checker.evil.add(evil.identity.key)
    time = (ms(world), 1)
    entry, _ = evil.entry_at(time, 1, GENESIS, **evil.order(time, BTC, side, "0.001", price))
    evil.notify("gossip.publish", entries=[entry])
    return entry


def answer_to(evil: EvilPeer, world: World, number: int) -> dict[str, Any]:
    """The decoded answer to its request."""
    world.clock.run_until(world.clock.now + 1.0)
    [message] = [m for m in evil.received if m.get("id") == number]
    return json.loads(message["result"]["answer"]["payload"])  # type: ignore[no-any-return]


def test_who_says_that_he_commits_more_than_he_has_is_refused() -> None:
    """Over-commitment, told: the refusal is final, and the maker's order untouched."""
    world, evil = with_evil()
    maker = world.peers[0]
    sell = place(maker, "sell", 50, 1000)
    world.clock.run_until(world.clock.now + 1.0)
    entry = asks(evil, world, "buy", "10")
    number = evil.ask(entry, maker.identity.key, [(sell, "0.001", "10")], 1, "0.0011")
    assert answer_to(evil, world, number)["why"] == "committed"
    number = evil.ask(entry, maker.identity.key, [(sell, "0.002", "10")], 2, "0.001")
    assert answer_to(evil, world, number)["why"] == "committed", "a fill beyond its own word"
    assert maker.node is not None
    live = maker.node.order(sell)
    assert live is not None
    assert (live.open, live.filled) == (50, 0)


def test_one_order_sold_to_two_homes_harms_nobody_else_and_can_be_shown() -> None:
    """
    Over-commitment, denied: two makers each believe it. Neither trades more than it offered,
    and the trades that both publish, signed, add up to more than the order.
    """
    world, evil = with_evil()
    sells = [(maker, place(maker, "sell", 10, 1000)) for maker in world.peers[:2]]
    world.clock.run_until(world.clock.now + 1.0)
    entry = asks(evil, world, "buy", "10")
    for maker, sell in sells:
        evil.dial(maker)
        world.clock.run_until(world.clock.now + 1.0)
        number = evil.ask(entry, maker.identity.key, [(sell, "0.001", "10")], 1, "0.001")
        assert answer_to(evil, world, number)["why"] == ""
    for maker, sell in sells:
        assert maker.node is not None
        live = maker.node.order(sell)
        assert live is not None
        assert (live.open, live.filled) == (0, 10)
    witness = world.peers[2].node
    assert witness is not None
    bought = [t.quantity_lots for t in witness.tape(BTC) if t.taker_home == evil.identity.key]
    assert bought == [10, 10], "of an order of 10"


@pytest.mark.parametrize(
    ("side", "price", "why"),
    [("buy", "9.99", "limit"), ("sell", "10", "unknown")],  # the second is of its own side
)
def test_a_fill_that_the_makers_order_does_not_allow_is_refused(
    side: str, price: str, why: str
) -> None:
    world, evil = with_evil()
    maker = world.peers[0]
    sell = place(maker, "sell", 10, 1000)
    world.clock.run_until(world.clock.now + 1.0)
    entry = asks(evil, world, side, price)
    number = evil.ask(entry, maker.identity.key, [(sell, "0.001", "10")], 1, "0.001")
    assert answer_to(evil, world, number)["why"] == why


def test_nobody_can_make_the_fills_of_another_home_impossible() -> None:
    """Their ids can be foretold; asking about one before it comes would poison it for ever."""
    world, evil = with_evil()
    maker, taker = world.peers[0], world.peers[1]
    place(maker, "sell", 5, 1000)
    world.clock.run_until(world.clock.now + 1.0)
    world.network.cut = {(taker.name, maker.name)}
    order = place(taker, "buy", 5, 1000)
    fill = fill_id(order, maker.identity.key, taker.identity.key, 1)
    query = FillQuery(fill, order, maker.identity.key, taker.identity.key, 1, ms(world) + 10_000)
    params = {"query": evil.signed(encode_query(query))}  # by another key than the taker's
    evil.send({"jsonrpc": "2.0", "id": 5, "method": "fill.query", "params": params})
    world.clock.run_until(world.clock.now + 1.0)
    [message] = [m for m in evil.received if m.get("id") == 5]
    assert "signature" in message["error"]["message"]
    world.network.cut = set()
    world.network.heal()
    world.clock.run_until(world.clock.now + 5.0)
    assert taker.node is not None
    live = taker.node.order(order)
    assert live is not None
    assert (live.filled, live.reserved) == (5, 0)


def test_an_older_order_may_not_be_the_taker() -> None:
    """2.5: backdating does not help, the older order is the one that is asked."""
    world, evil = with_evil()
    maker = world.peers[0]
    entry = asks(evil, world, "buy", "10")
    world.clock.run_until(world.clock.now + 1.0)
    sell = place(maker, "sell", 20, 1000)  # takes ten from it, and has ten left
    number = evil.ask(entry, maker.identity.key, [(sell, "0.001", "10")], 1, "0.001")
    assert answer_to(evil, world, number)["why"] == "role"


def test_a_log_that_goes_back_in_time_is_not_believed_any_more() -> None:
    """Backdating: times rise along a log, so a late order cannot claim an early place."""
    world, evil = with_evil()
    one, first = evil.entry_at((ms(world), 1), 1, GENESIS, beat=BEAT)
    early = (ms(world) - 2000, 1)
    two, _ = evil.entry_at(early, 2, first, **evil.order(early, BTC, "sell", "0.001", "10"))
    evil.notify("gossip.publish", entries=[one, two])
    world.clock.run_until(world.clock.now + 2.0)
    for peer in world.peers:
        assert peer.node is not None
        assert peer.node.replica.origins[evil.identity.key].frozen
        assert peer.node.books[BTC].best_ask() is None
    unharmed(world)


def test_an_earlier_epoch_of_a_home_cannot_be_brought_back() -> None:
    """
    docs/design/distributed-core.rst#i11: what a home signed before it began anew changes nothing,
    however it is repeated.
    """
    world, evil = with_evil()
    old = world.peers[0]
    kept: list[Any] = []

    def tap(source: Any, target: Any, line: bytes) -> None:
        if source is old and b"gossip.publish" in line:
            kept.extend(json.loads(line)["params"]["entries"])

    world.network.tap = tap
    for ticks in (1100, 1101):
        place(old, "sell", 5, ticks)
    world.clock.run_until(world.clock.now + 6.0)
    world.network.tap = lambda *args: None
    old.crash()
    old.config = attrs.evolve(old.config, new_epoch=True)
    old.start()
    world.clock.run_until(world.clock.now + 8.0)
    other = world.peers[1]
    assert other.node is not None
    origin = other.node.replica.origins[old.identity.key]
    epoch, seq = origin.epoch, origin.seq
    assert epoch > 1
    assert other.node.books[BTC].best_ask() is None, "its old orders are closed"
    evil.dial(other)
    world.clock.run_until(world.clock.now + 1.0)
    evil.notify("gossip.publish", entries=kept)
    world.clock.run_until(world.clock.now + 1.0)
    assert (origin.epoch, origin.frozen) == (epoch, "")
    assert origin.seq >= seq
    assert other.node.books[BTC].best_ask() is None
    unharmed(world)


def test_an_answer_that_was_not_asked_for_settles_nothing() -> None:
    world, evil = with_evil()
    taker = world.peers[0]
    place(world.peers[1], "sell", 5, 1000)
    world.clock.run_until(world.clock.now + 1.0)
    evil.send({"jsonrpc": "2.0", "id": 1, "result": {"answer": {"payload": "{}"}}})
    evil.send({"jsonrpc": "2.0", "id": "x", "result": [1, 2]})
    order = place(taker, "buy", 5, 1000)
    world.clock.run_until(world.clock.now + 3.0)
    assert taker.node is not None
    live = taker.node.order(order)
    assert live is not None
    assert live.filled == 5


def test_a_clone_of_a_neighbours_key_cannot_be_faked() -> None:
    """A handshake with somebody else's key fails at the proof."""
    world = quiet_world(2)
    evil = EvilPeer("evil", world.network)
    real = evil.identity
    evil.identity = type(real)(world.peers[1].identity.key, b"\0" * 32, real.scheme)
    evil.dial(world.peers[0])
    with pytest.raises(HandshakeError, match="did not prove its key"):
        world.clock.run_until(world.clock.now + 8.0)
    node = world.peers[0].node
    assert node is not None
    assert not node.peering.admission.clones


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": 5},
        {"jsonrpc": "2.0", "method": "gossip.publish"},
        {"jsonrpc": "2.0", "method": "gossip.publish", "params": {"entries": [1]}},
        {"jsonrpc": "2.0", "method": "gossip.publish", "params": {"entries": [{}]}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.range", "params": {"origin": 7}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.range", "params": []},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.reconcile", "params": {"frame": "%%"}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.reconcile", "params": {"frame": "/////w=="}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.records", "params": {"ids": ["zz"]}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.records", "params": {"range": [None]}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.records", "params": {"range": [[-1, ""], 7]}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.records", "params": {"range": [[1, "zz"], 7]}},
        {"jsonrpc": "2.0", "id": 77, "method": "sync.records", "params": {"range": [0, [1, "00"]]}},
        {"jsonrpc": "2.0", "id": 77, "method": "fill.request", "params": {"fill": {}}},
        {"jsonrpc": "2.0", "id": 77, "method": "fill.query", "params": {"fill": "ab" * 16}},
        {"jsonrpc": "2.0", "method": "gossip.prune", "params": {"backoff_s": "long"}},
        {"jsonrpc": "2.0", "method": "peer.addresses", "params": {"records": [{}]}},
        {"jsonrpc": "2.0", "method": "gossip.proof", "params": {}},
        {"jsonrpc": "2.0", "id": None, "method": "no.such.method", "params": {}},
        {"jsonrpc": "2.0", "id": {"a": 1}, "method": "peer.ping", "params": {}},
        {"jsonrpc": "2.0"},
    ],
    ids=str,
)
def test_nonsense_is_answered_and_survived(message: dict[str, Any]) -> None:
    """An error object says what is wrong, and life goes on (docs/failure-modes.rst#f33)."""
    world, evil = with_evil(peers=1)
    evil.send(message)
    world.clock.run_until(world.clock.now + 1.0)
    node = world.peers[0].node
    assert node is not None
    assert evil.identity.key in node.peering.by_key, "one mistake does not end a link"
    if "method" in message and message.get("id") == 77:
        errors = [m["error"] for m in evil.received if m.get("id") == 77]
        assert len(errors) == 1
        assert errors[0]["code"] < 0
        assert errors[0]["message"]
