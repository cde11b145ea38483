"""No answer is longer than a line that every client reads, whatever there is to tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.client_port.methods.peers import FILLS_LISTED_MAX
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from tests.support.peer import Connection, Peer

#: A client's own id, as long as it may be.
LONG = "x" * 64
#: Links of a peer by default: dialled and accepted.
LINKS = 8 + 40


@pytest.fixture(scope="module")
def client() -> Connection:
    """Of a peer with more of everything than one answer has room for."""
    peer = Peer()
    client = peer.connect()
    account = "y" * 64
    for number in range(620):
        for side, price in (("buy", 500_000 - number), ("sell", 500_001 + number)):
            client.place(
                side,
                "1234567.1234",
                f"{price}.01",
                client_order_id=f"{side}{number}{LONG}"[:64],
                account=account,
            )
    for number in range(250):
        client.place("buy", "0.0001", "900000", account=f"{number}{LONG}"[:64])
    return client


def longest(client: Connection, name: str, params: dict[str, Any]) -> int:
    """Bytes of the longest line that comes of one question."""
    question = {"jsonrpc": "2.0", "id": 7, "method": name, "params": params}
    client.send(json.dumps(question).encode() + b"\n")
    client.peer.turn(400)
    written = client.transport.value()
    client.transport.clear()
    lines = written.splitlines(keepends=True)
    assert b'"result"' in lines[0], lines[0]
    return max(map(len, lines))


MARKET, ALL, OWN = {"market": "BTC-USD"}, {"limit": 1000}, {"account": "y" * 64}
QUESTIONS: dict[str, dict[str, Any]] = {
    "book.get": {**MARKET, "depth": 500},
    "book.subscribe": MARKET,
    "trades.list": {**MARKET, **ALL},
    "trades.subscribe": {**MARKET, **ALL},
    "ticker.get": MARKET,
    "candles.list": {**MARKET, **ALL},
    "order.list": {"status": "all", **ALL, **OWN},
    "orders.subscribe": {"from_seq": 1, **OWN},
    "executions.list": {**ALL, **OWN},
    "executions.subscribe": OWN,
    "positions.list": OWN,
    "order.get": {"client_order_id": f"sell0{LONG}"[:64], **OWN},
}
#: Their questions need nothing; each is asked as it is.
PLAIN = ("rpc.discover", "markets.list", "hello", "ping", "status", "help", "status.subscribe")


@pytest.mark.parametrize("name", [*QUESTIONS, *PLAIN])
def test_an_answer_fits_a_line(client: Connection, name: str) -> None:
    assert longest(client, name, QUESTIONS.get(name, {})) <= LINE_BYTES_MAX


def test_links_with_the_longest_addresses_fit_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    client = peer.connect()
    peer.link()
    [link] = client.call("peers.list")["peers"]
    link |= {"address": "1" * 45 + ":65535", "listen": "h" * 253 + ":65535", "connected_s": 10**9}
    monkeypatch.setattr(peer.commit_loop.node, "peers", lambda now: [link] * LINKS)
    assert longest(client, "peers.list", {}) <= LINE_BYTES_MAX


def test_fills_in_doubt_with_the_longest_names_fit_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    doubt = {
        "fill": "f" * 32,
        "order": "o" * 32,
        "maker_home": "h" * 64,
        "market": "M" * 32,
        "quantity": "9007.199254740991000001",
        "deadline": 10**13,
    }
    many = [doubt] * (FILLS_LISTED_MAX + 1)
    monkeypatch.setattr(peer.commit_loop.node, "in_doubt", lambda: many)
    assert longest(peer.connect(), "fills.list", {}) <= LINE_BYTES_MAX


def test_every_method_that_tells_something_is_asked() -> None:
    commands = {"order.place", "order.cancel", "order.cancel_all", "order.cancel_after"}
    commands |= {"order.replace", "peers.connect", "peers.ban", "peers.unban", "fills.decide"}
    commands |= {"log.level", "backup", "promote", "demote", "shutdown"}
    ends = {name for name in METHODS if name.endswith(".unsubscribe")}
    lists = {"peers.list", "fills.list"}
    assert set(METHODS) == {*QUESTIONS, *PLAIN} | commands | ends | lists
