"""
A taste of ``make evil`` in the suite: what a daemon stands up to.

How long an order takes is judged by ``make evil`` only; no test depends on speed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import to_builtins

from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.handshake import PROTOCOL
from grenache_py.exchange.signed_log.entries import GENESIS, Entry
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.wire.jsonrpc import decode_message
from tests.evil.__main__ import Row, Scene, main
from tests.evil.attacks import ATTACKS, MARKER, PLACE
from tests.evil.links import LINK_ATTACKS, Home
from tests.support.peer import Peer
from tests.support.peers import Network

#: Those over links that are in the suite, because each costs 4 s: one of each kind.
OVER_LINKS = ("stamps", "false-heads", "reconcile", "unread-link", "junk-link")


@pytest.mark.network
def test_a_daemon_stands_up_to_who_has_only_sockets(tmp_path: Path) -> None:
    """One after the other on one daemon, 1 s each; how long orders take is `make evil`'s."""
    with Scene(tmp_path) as scene:
        peace = scene.place(1.0, 1)
        short = [name for name in ATTACKS if name not in LINK_ATTACKS or name in OVER_LINKS]
        rows = [scene.attacked(name, 1.0, peace) for name in short]
    assert [str(row) for row in rows if row.faults] == []
    assert all(row.orders for row in rows)


def test_a_row_says_what_is_wrong() -> None:
    assert str(Row("silent-peer", 9, 1.0, 2.9, 3.0, ())).endswith("holds")
    slow = str(Row("silent-peer", 9, 1.0, 3.1, 3.0, ("the daemon died",)))
    assert slow.endswith("FAILED: the daemon died; p99 above 3 times that in peace")


def test_what_the_page_sends_is_an_order_that_a_daemon_takes() -> None:
    """Otherwise the row would hold whatever the daemon does."""
    client = Peer().connect()
    assert client.ask(PLACE.rstrip())["result"]["client_order_id"] == MARKER


def test_what_links_say_is_what_a_peer_reads() -> None:
    """Otherwise a row over links would hold because nothing of it gets past the decoder."""
    for name, attack in LINK_ATTACKS.items():
        if name in {"junk-link", "lists", "no-hello"}:
            continue
        says = attack.says(Home(), Home().key)
        message = decode_message(next(says))
        row = {each.name: each for each in PEER_MESSAGES}[message["method"]]
        if row.decode is not None:
            row.decode(message["params"])


def test_a_strangers_order_is_one_that_peers_show() -> None:
    net, home = Network(1), Home()
    key, now = home.key, net.now
    net[0].link_opened(1, False, "10.0.0.9:1", key, now)
    hello = {"boot": "0" * 32, "network": "test", "protocol": PROTOCOL}
    net[0].link_message(
        1, {"jsonrpc": "2.0", "id": 1, "method": "peer.hello", "params": hello}, now
    )
    body = home.order(int(now * 1000), 1, "buy", "1")
    payload = Entry(key, 1, 1, GENESIS, (int(now * 1000), 1), **body).encode()
    sealer = Sealer(home.identity, "test")
    draft = sealer.add(payload)
    sealer.seal()
    entries = {"entries": [to_builtins(draft.proof.wire())]}
    net[0].link_message(1, {"jsonrpc": "2.0", "method": "gossip.publish", "params": entries}, now)
    assert net.book(0)[0] == [(100, 10_000)]


def test_an_attack_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-attack"])
