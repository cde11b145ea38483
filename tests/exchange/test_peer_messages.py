"""One table of peer messages: complete, shown to people, and true."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange import node as node_module
from grenache_py.exchange.effects.batch import CloseLink, Send
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peer_messages import PEER_MESSAGES, table_rst
from grenache_py.exchange.peers.link import LINK
from grenache_py.exchange.peers.message_table import (
    SIGNATURE_POINTS,
    Cost,
    MessageTable,
    PeerMessage,
)
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.replication.intake import ENTRY_POINTS
from grenache_py.exchange.signed_log.keys import Identity
from tests.support.peers import BTC, Network

DOCUMENT = Path(__file__).parents[2] / "docs" / "exchange-wire.rst"
NOW = 1_790_000_000.0
NAMES = [row.name for row in PEER_MESSAGES]


def node() -> ExchangeNode:
    config = NodeConfig(PeeringConfig("test", strict=True), (BTC,))
    identity = Identity.from_seed(bytes(32))
    return ExchangeNode(config, identity, Snapshot(), random.Random(1), NOW)


def test_the_wire_page_shows_the_table_and_the_states_as_the_code_has_them() -> None:
    text = DOCUMENT.read_text()
    assert table_rst() in text, "write it anew: print(peer_messages.table_rst())"
    assert LINK.rst() in text, "write it anew: print(LINK.rst())"


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_its_part_of_the_wire_page(name: str) -> None:
    text = DOCUMENT.read_text().replace(table_rst(), "")
    assert f"``{name}``" in text
    assert f'"method": "{name}"' in " ".join(text.split()), "and an example"


def test_the_wire_page_names_no_message_without_a_row() -> None:
    found = re.findall(r"``((?:peer|gossip|lease|sync|fill)\.[a-z]+)``", DOCUMENT.read_text())
    assert set(found) == set(NAMES)


def test_names_are_unique_and_each_has_a_method() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert list(node().peering.methods.keys() ^ set(NAMES)) == []


def test_a_method_without_a_row_cannot_be_registered() -> None:
    with pytest.raises(LocalProtocolError, match=r"gossip\.shout is not in the table"):
        node().peering.method("gossip.shout", lambda link, params, now: None)


def test_a_name_means_one_thing() -> None:
    """docs/failure-modes.rst#f3."""
    with pytest.raises(LocalProtocolError, match=r"two methods are named sync\.heads"):
        node().peering.method("sync.heads", lambda link, params, now: None)


def test_a_row_without_a_method_makes_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    more = (PeerMessage("gossip.shout", Cost(1), answered=False),)
    monkeypatch.setattr(node_module, "PEER_MESSAGES", PEER_MESSAGES + more)
    with pytest.raises(LocalProtocolError, match=r"no method carries out gossip\.shout"):
        node()


def test_all_rows_without_a_method_are_named_at_once() -> None:
    rows = [PeerMessage(name, Cost(1), answered=True) for name in ("a", "b", "c")]
    table = MessageTable(rows)
    table.method("b", lambda link, params, now: None)
    with pytest.raises(LocalProtocolError, match="a, c"):
        table.check_complete()


@pytest.mark.parametrize("row", PEER_MESSAGES, ids=NAMES)
def test_who_has_not_said_hello_is_answered_nothing_else(row: PeerMessage) -> None:
    one = node()
    one.link_opened(1, False, "10.0.0.9:50000", "ab" * 32, NOW)
    message = {"jsonrpc": "2.0", "id": 1, "method": row.name, "params": {}}
    one.link_message(1, message, NOW)
    sends = one.take_batch(NOW).sends
    [error] = [msgspec.json.decode(s.line)["error"] for s in sends if isinstance(s, Send)]
    [closed] = [send for send in sends if isinstance(send, CloseLink)]
    no_hello = "whose first message is peer.hello" in closed.reason
    assert no_hello is row.proven, error


@pytest.mark.parametrize("row", [row for row in PEER_MESSAGES if row.decode], ids=lambda r: r.name)
def test_params_of_the_wrong_shape_are_refused_by_name_and_counted(row: PeerMessage) -> None:
    net = Network(2)
    net.link(0, 1)
    [link] = net[0].peering.ready()
    for params in ({}, dict.fromkeys(("records", "backoff_s", "fill", "fills"), 7.5)):
        before = net[0].peering.scores.of(link.key, net.now)
        message = {"jsonrpc": "2.0", "id": "x", "method": row.name, "params": params}
        net[0].link_message(link.id, message, net.now)
        lines = [send.line for send in net[0].take_batch(net.now).sends if isinstance(send, Send)]
        [error] = [e for line in lines if (e := msgspec.json.decode(line).get("error"))]
        assert error["code"] == -32602
        assert net[0].peering.scores.of(link.key, net.now) == pytest.approx(before - 10.0)


def test_requests_have_an_id_and_notifications_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = {row.name: row.answered for row in PEER_MESSAGES}
    seen: set[str] = set()
    link_message = ExchangeNode.link_message

    def watching(self: ExchangeNode, link: int, message: dict[str, Any], now: float) -> None:
        name = message.get("method")
        if name is not None:
            seen.add(name)
            assert ("id" in message) is answered[name], message
        link_message(self, link, message, now)

    monkeypatch.setattr(ExchangeNode, "link_message", watching)
    net = Network(4)
    for one, other in ((0, 1), (1, 2), (2, 0)):
        net.link(one, other)
    net.place(0, "sell", 10, 100)
    net.place(1, "buy", 4, 100)
    net.lost = {"fill.request"}
    net.place(1, "buy", 4, 100)
    net.restart(1)  # or the maker's log would be the answer
    for other in (0, 2):
        net.link(1, other)
    net.run(40)  # it did not arrive: it is asked about
    net.lost = set()
    net.place(3, "sell", 1, 90)
    net.link(3, 2)
    net.place(1, "buy", 1, 90)  # 3 is no neighbour of 1: 2 passes it on
    net.run(1)
    net.cut(3)
    for number in range(1_150):
        net.place(0, "sell", 10, 101 + number % 7)
    net.run(6)
    net.link(3, 2)
    net.run(10)
    for peer in net.peers:
        peer.node.goodbye(net.now)
    net.settle()
    seldom = {"gossip.have", "gossip.want", "gossip.prune", "gossip.proof"}
    assert seen >= {name for name in NAMES if not name.startswith("lease.")} - seldom


def test_a_signature_is_paid_for_when_it_has_to_be_checked() -> None:
    net = Network(2)
    net.link(0, 1)
    [link] = net[1].peering.ready()
    bills = []
    for batch in (3, 1):
        for _ in range(batch):
            net.place_only(0, "sell", 10, 100)
        lines = [send.line for send in net[0].take_batch(net.now).sends if isinstance(send, Send)]
        [entries] = [line for line in lines if b"gossip.publish" in line]
        bills.append(net[1].link_message(link.id, msgspec.json.decode(entries), net.now))
    assert bills == [(3 * ENTRY_POINTS + SIGNATURE_POINTS, 0), (ENTRY_POINTS + SIGNATURE_POINTS, 0)]


def test_a_cost_reads_like_a_sentence() -> None:
    assert str(Cost(2)) == "2"
    assert str(Cost(0, 15, 1, "record")) == "15 for each record"
    assert str(Cost(0, 40, 1000, "fills")) == "40 for each 1,000 fills"
    assert str(Cost(100, 1, 50, "orders held")) == "100, and 1 for each 50 orders held"
