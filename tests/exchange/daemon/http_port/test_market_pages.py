"""Market data over GET: the results of the client port, for who only looks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.rates import Rate
from tests.exchange.daemon.http_port.test_http import Browser
from tests.support.peer import Peer


def get(browser: Browser, path: str, *headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, body (decoded) and headers of one answer."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1:7080", *headers, "", ""]
    browser.connection.dataReceived("\r\n".join(lines).encode())
    browser.peer.turn()
    return parsed(browser)


def parsed(browser: Browser) -> tuple[int, Any, dict[str, str]]:
    data = browser.transport.value()
    browser.transport.clear()
    head, _, body = data.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    named = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), json.loads(body) if body else None, named


@pytest.mark.parametrize(
    ("path", "method", "params"),
    [
        ("markets", "markets.list", {}),
        ("book?market=BTC-USD&depth=1", "book.get", {"market": "BTC-USD", "depth": 1}),
        ("trades?market=BTC-USD&limit=1", "trades.list", {"market": "BTC-USD", "limit": 1}),
        ("ticker?market=BTC-USD", "ticker.get", {"market": "BTC-USD"}),
        (
            "candles?market=BTC-USD&interval=1h&after=0",
            "candles.list",
            {"market": "BTC-USD", "interval": "1h", "after": 0},
        ),
    ],
)
def test_each_path_is_a_method_of_the_client_port(
    path: str, method: str, params: dict[str, Any]
) -> None:
    peer = Peer()
    client = peer.connect()
    for price in ("100", "101"):
        client.place("sell", "2", price)
        client.place("buy", "1", price)
    status, body, headers = get(Browser(peer), f"/api/v1/{path}")
    assert (status, body) == (200, client.call(method, **params))
    assert headers["Content-Type"] == "application/json"


def test_an_etag_saves_what_is_known_already() -> None:
    peer = Peer()
    browser, client = Browser(peer), peer.connect()
    _, _, headers = get(browser, "/api/v1/book?market=BTC-USD")
    assert headers["Cache-Control"] == "no-cache"
    known = f"If-None-Match: {headers['ETag']}"
    assert get(browser, "/api/v1/book?market=BTC-USD", known)[:2] == (304, None)
    client.place("buy", "1", "100")
    status, book, changed = get(browser, "/api/v1/book?market=BTC-USD", known)
    assert (status, book["bids"]) == (200, [["100", "1", 1]])
    assert changed["ETag"] != headers["ETag"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("book", 400, -32602),
        ("book?market=NO", 404, -32000),
        ("book?market=BTC-USD&depth=many", 400, -32602),
        ("book?market=BTC-USD&colour=red", 400, -32602),
        ("book?market=BTC-USD&market=BTC-USD", 400, -32602),
        ("book?%ff", 400, -32602),
        ("trades?market=BTC-USD&after=unknown", 400, -32602),
    ],
)
def test_errors_have_their_status_and_the_clients_code(path: str, status: int, code: int) -> None:
    found, body, headers = get(Browser(Peer()), f"/api/v1/{path}")
    assert (found, body["error"]["code"]) == (status, code)
    assert "ETag" not in headers
    assert Browser(Peer()).get("/api/v1/orders")[0] == 404


def test_one_connection_is_answered_in_order_and_limited_like_any_client() -> None:
    peer = Peer(rate=Rate(1, 2))
    browser = Browser(peer)
    request = b"GET /api/v1/markets HTTP/1.1\r\nHost: 127.0.0.1:7080\r\n\r\n"
    browser.connection.dataReceived(request + request.replace(b"markets", b"nothing") + request * 2)
    peer.turn()
    found = browser.transport.value().decode()
    assert [part.split()[0] for part in found.split("HTTP/1.1 ")[1:]] == [
        "200",
        "404",
        "200",
        "429",
    ]
    assert peer.commit_loop.clients == 1
    browser.connection.connectionLost()
    assert peer.commit_loop.clients == 0


def test_a_daemon_that_asks_for_tokens_shows_nothing() -> None:
    peer = Peer()
    browser = Browser(peer)

    def stream(address: object) -> ClientConnection:
        return peer.stream(Grant(frozenset()))

    browser.connection._make_stream = stream
    status, body, _ = get(browser, "/api/v1/markets")
    assert (status, body["error"]["code"]) == (401, -32006)


def test_nothing_is_shown_before_it_is_durable_and_who_leaves_is_forgotten() -> None:
    peer = Peer()
    browser, client = Browser(peer), peer.connect()
    peer.store.held = []
    client.send(b"buy BTC-USD 1 @ 100\n")
    browser.connection.dataReceived(
        b"GET /api/v1/book?market=BTC-USD HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    peer.turn()
    assert browser.transport.value() == b""
    commit, peer.store.held = peer.store.held[0], None
    commit()
    peer.turn()
    assert parsed(browser)[1]["bids"] == [["100", "1", 1]]
