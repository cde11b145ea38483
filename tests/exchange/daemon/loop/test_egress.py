"""What others signed is relayed while the disk works; what a peer says of itself waits for it."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.testing import StringTransport

from grenache_py.exchange.peers.handshake import PROTOCOL
from grenache_py.exchange.peers.link import MESSAGE_RATE
from grenache_py.exchange.replication.intake import KNOWN_POINTS
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Sealer
from tests.exchange.replication.test_replica import ALICE, Author
from tests.support.peer import Peer


def said(transport: StringTransport) -> list[dict[str, Any]]:
    """What came over a link since the last call."""
    data = transport.value()
    transport.clear()
    return [msgspec.json.decode(line) for line in data.splitlines()]


def authors(messages: list[dict[str, Any]]) -> list[str]:
    """Whose entries were pushed."""
    pushed = [each["params"] for each in messages if each.get("method") == "gossip.publish"]
    return [Entry.decode(entry["payload"]).home for one in pushed for entry in one["entries"]]


def pushed(author: Author) -> bytes:
    """A line with a new entry of ``author``."""
    params = {"entries": [author.order().wire()]}
    message = {"jsonrpc": "2.0", "method": "gossip.publish", "params": params}
    return msgspec.json.encode(message) + b"\n"


def two_links() -> tuple[Peer, Any, StringTransport, Author]:
    """A peer whose disk stands still, a link of it, what goes to another link, and a home."""
    peer = Peer()
    (lines, _), (_, other) = peer.link(1), peer.link(2)
    alice = Author(peer.clock.seconds())
    alice.sealer = Sealer(ALICE, "main")
    alice.log._sealer = alice.sealer
    said(other)
    peer.store.held = []
    return peer, lines, other, alice


def test_what_others_signed_goes_on_before_it_is_committed_and_own_words_after() -> None:
    peer, lines, other, alice = two_links()
    client = peer.connect()
    client.lines.dataReceived(
        b'{"jsonrpc":"2.0","id":1,"method":"order.place","params":{"market":"BTC-USD",'
        b'"side":"buy","quantity":"1","price":"1"}}\n'
    )
    lines.dataReceived(pushed(alice))
    peer.turn()
    assert authors(said(other)) == [ALICE.key]
    lines.dataReceived(pushed(alice))  # while the commit is under way
    peer.turn()
    assert authors(said(other)) == [ALICE.key]
    assert len(peer.store.held) == 1 and not client.received()
    for happen in peer.store.held:
        happen()
    assert set(authors(said(other))) == {peer.identity.key}
    assert client.received()
    peer.store.held = None
    peer.turn()
    assert authors(said(other)) == [], "nothing is said twice"


def test_a_copy_of_what_was_passed_on_is_counted_and_asks_for_no_turn() -> None:
    peer, lines, _, alice = two_links()
    back, _ = peer.link(3)
    line = pushed(alice)
    lines.dataReceived(line)
    peer.turn()
    for happen in peer.store.held:
        happen()
    peer.turn()
    node = peer.commit_loop.node
    assert node is not None
    came, commits = node.sync.received, peer.commit_loop.commits
    peer.clock.advance(0.5)
    back.dataReceived(line)
    assert node.sync.received == came + 1
    assert back.unreleased == 0, "there is nothing it waits for"
    assert node.peering.links[3].heard == peer.clock.seconds()
    peer.turn()
    assert peer.commit_loop.commits == commits
    # Another entry is read as ever, and so is the copy when its home was forgotten.
    for each in node.replica.on_forgotten:
        each(ALICE.key)
    back.dataReceived(line)
    assert back.unreleased == 1


def test_a_copy_costs_its_link_as_much_as_a_known_entry_and_counts_against_its_rate() -> None:
    peer, lines, _, alice = two_links()
    peer.link(3)
    line = pushed(alice)
    lines.dataReceived(line)
    peer.turn()
    node = peer.commit_loop.node
    assert node is not None
    now = peer.clock.seconds()
    assert node.peering.link_repeats(3, line[:-1], now) == (KNOWN_POINTS, 0)
    for _ in range(MESSAGE_RATE.burst):
        node.peering.links[3].bucket.take(now)
    assert node.peering.link_repeats(3, line[:-1], now) is None, "the way of every message"
    assert node.peering.link_repeats(9, line[:-1], now) is None, "no such link"


def test_a_link_is_greeted_before_anything_is_relayed_to_it() -> None:
    peer, lines, _, alice = two_links()
    lines.dataReceived(pushed(alice))
    peer.turn()
    assert len(peer.store.held) == 1
    third, transport = peer.connection(3)
    hello = {"boot": f"{3:032x}", "network": "main", "protocol": PROTOCOL}
    message = {"jsonrpc": "2.0", "id": "hello", "method": "peer.hello", "params": hello}
    third.dataReceived(msgspec.json.encode(message) + b"\n")
    lines.dataReceived(pushed(alice))
    peer.turn()
    first, *rest = said(transport)
    assert first["id"] == "hello"
    assert authors(rest) == [ALICE.key]


def test_a_relay_that_is_due_is_forgotten_with_the_node() -> None:
    peer, lines, other, alice = two_links()
    lines.dataReceived(pushed(alice))
    peer.commit_loop._drop_node("a test", [], "")
    peer.turn()
    assert authors(said(other)) == []
