"""The HTTP port: pages, the stream, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
from importlib.resources import files
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.port_turns import PortTurns
from grenache_py.exchange.daemon.http_port.http import IDLE_S, HTTPConnection
from grenache_py.exchange.daemon.http_port.static_pages import static_pages
from grenache_py.wire.http.messages import Page
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from tests.support.peer import Peer

SUBSCRIBE = '{"jsonrpc":"2.0","id":1,"method":"book.subscribe","params":{"market":"BTC-USD"}}'


class Browser:
    """A connection to the HTTP port of a peer."""

    def __init__(self, peer: Peer, host: str = "127.0.0.1") -> None:
        self.peer = peer
        pages = static_pages()
        pages["/health"] = lambda: Page(b"{}\n", "application/json", 503)
        self.connection = HTTPConnection(peer.clock, pages, self._stream, PortTurns(peer.clock))
        self.transport = StringTransport(
            hostAddress=IPv4Address("TCP", host, 7080),
            peerAddress=IPv4Address("TCP", "127.0.0.1", 5),
        )
        self.connection.makeConnection(self.transport)
        self.websocket: ClientProtocol | None = None

    def _stream(self, address: object) -> ClientConnection | None:
        return self.peer.stream(Grant(frozenset({"read", "trade"})))

    def get(self, path: str, *headers: str, method: str = "GET") -> tuple[int, str]:
        lines = [f"{method} {path} HTTP/1.1", *(headers or ("Host: 127.0.0.1:7080",)), "", ""]
        self.connection.dataReceived("\r\n".join(lines).encode())
        self.peer.clock.advance(0)  # two pages were answered in this round
        return self.answer()

    def answer(self) -> tuple[int, str]:
        data = self.transport.value()
        self.transport.clear()
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def upgrade(self, origin: str | None = "http://127.0.0.1:7080") -> None:
        websocket = ClientProtocol(parse_uri("ws://127.0.0.1:7080/ws"), origin=origin)  # type: ignore[arg-type]
        websocket.send_request(websocket.connect())
        self.websocket = websocket
        self._give()
        self.messages()

    def _give(self) -> None:
        assert self.websocket is not None
        self.connection.dataReceived(b"".join(self.websocket.data_to_send()))
        self.peer.turn()

    def send(self, text: str) -> list[Any]:
        assert self.websocket is not None
        self.websocket.send_text(text.encode())
        self._give()
        return self.messages()

    def messages(self) -> list[Any]:
        assert self.websocket is not None
        data = self.transport.value()
        self.transport.clear()
        if data:
            self.websocket.receive_data(data)
        return [
            json.loads(bytes(event.data))
            for event in self.websocket.events_received()
            if isinstance(event, Frame) and event.opcode == 1
        ]


def test_the_page_comes_with_its_parts_and_trusts_nobody_else() -> None:
    browser = Browser(Peer())
    status, page = browser.get("/")
    assert status == 200 and "<title>Exchange</title>" in page
    for path in (*static_pages(), "/app.js?v=2"):
        assert browser.get(path)[0] == 200, "on the same connection"
    browser.connection.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"default-src 'none'" in browser.transport.value()


CHARTS = "/vendor/lightweight-charts-5.2.1.js"


def test_what_never_changes_is_kept_by_the_browser_and_the_rest_is_not() -> None:
    def head(path: str, *headers: str) -> str:
        browser = Browser(Peer())
        lines = [f"HEAD {path} HTTP/1.1", "Host: 127.0.0.1:7080", *headers, "", ""]
        browser.connection.dataReceived("\r\n".join(lines).encode())
        return browser.transport.value().decode()

    assert "immutable" in head(CHARTS) and "no-store" not in head(CHARTS)
    assert "no-store" in head("/app.js") and "no-store" in head("/health")
    assert "Content-Encoding" not in head(CHARTS), "nobody said that it can be read"
    assert "Content-Encoding" not in head(CHARTS, "Accept-Encoding: gzip;q=0")
    assert "Content-Encoding: gzip" in head(CHARTS, "Accept-Encoding: br, gzip")


def test_a_compressed_file_is_the_file() -> None:
    browser = Browser(Peer())
    lines = [f"GET {CHARTS} HTTP/1.1", "Host: 127.0.0.1:7080", "Accept-Encoding: gzip", "", ""]
    browser.connection.dataReceived("\r\n".join(lines).encode())
    _, _, body = browser.transport.value().partition(b"\r\n\r\n")
    assert gzip.decompress(body) == static_pages()[CHARTS]().body
    assert len(body) < 70_000


def test_the_vendored_file_is_the_published_one() -> None:
    """lightweight-charts 5.2.1 of npm, dist/lightweight-charts.standalone.production.mjs."""
    published = "1bb1ee79f9d4dd17261b53d930f7a8995748276f80e7ba0e24412b5068062f5f"
    assert hashlib.sha256(static_pages()[CHARTS]().body).hexdigest() == published
    web = files("grenache_py.exchange.daemon.http_port") / "web" / "vendor"
    assert "Apache License" in (web / "lightweight-charts-5.2.1.LICENSE").read_text()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/", 405), ("GET", "/health", 503), ("GET", "/ws", 426)],
)
def test_what_is_not_there_is_said_so(method: str, path: str, status: int) -> None:
    assert Browser(Peer()).get(path, method=method)[0] == status


def test_head_has_no_body() -> None:
    assert Browser(Peer()).get("/", method="HEAD") == (200, "")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\nnonsense\r\n\r\n"]
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    browser = Browser(Peer())
    browser.connection.dataReceived(data)
    assert browser.answer()[0] == 400
    assert browser.transport.disconnecting


def test_a_head_without_end_is_not_kept() -> None:
    browser = Browser(Peer())
    for _ in range(100):
        if browser.transport.disconnecting or browser.transport.disconnected:
            break
        browser.connection.dataReceived(b"X-Header: " + b"x" * 1000 + b"\r\n")
    assert browser.transport.disconnecting or browser.transport.disconnected


def test_an_idle_connection_is_closed_and_a_stream_is_not() -> None:
    peer = Peer()
    idle, stream = Browser(peer), Browser(peer)
    stream.upgrade()
    peer.clock.advance(IDLE_S)
    assert idle.transport.disconnected
    assert "result" in stream.send("ping")[0]


def test_a_stream_is_the_client_port_message_by_message() -> None:
    peer = Peer()
    browser, trader = Browser(peer), peer.connect()
    browser.upgrade()
    (answer,) = browser.send(
        '{"jsonrpc":"2.0","id":1,"method":"book.subscribe","params":{"market":"BTC-USD"}}'
    )
    assert answer["result"]["bids"] == []
    trader.place("buy", "1", "100")
    (note,) = browser.messages()
    assert note["params"]["changes"] == [["buy", "100", "1", 1]]
    assert len(browser.send("ping\nping")) == 2
    (error,) = browser.send("{")
    assert error["error"]["code"] == -32700


def test_a_stream_that_ends_leaves_nothing() -> None:
    peer = Peer()
    browser = Browser(peer)
    browser.upgrade()
    browser.send(SUBSCRIBE)
    assert browser.websocket is not None
    browser.websocket.send_close(1000)
    browser._give()
    assert browser.transport.disconnecting
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    browser.connection.connectionLost(Failure(ConnectionDone()))
    assert (peer.commit_loop.clients, len(peer.gateway.feed)) == (0, 0)


def test_a_message_that_is_too_long_ends_the_stream() -> None:
    browser = Browser(Peer())
    browser.upgrade()
    browser.send("x" * (LINE_BYTES_MAX + 1))
    assert browser.websocket is not None
    assert browser.websocket.close_rcvd is not None
    assert browser.websocket.close_rcvd.code == 1009
    assert browser.transport.disconnecting


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:7080", "http://127.0.0.1:7080", 101),
        ("localhost:7080", "http://localhost:7080", 101),
        ("127.0.0.1:7080", "", 101),  # no browser
        ("127.0.0.1:7080", "http://evil.example", 403),
        ("127.0.0.1:7080", "http://127.0.0.1:9999", 403),
        ("evil.example:7080", "http://evil.example:7080", 403),  # its name points to 127.0.0.1
        ("127.0.0.1:7080", "null", 403),
    ],
)
def test_pages_from_elsewhere_get_no_stream(host: str, origin: str, status: int) -> None:
    headers = [
        f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    if origin:
        headers.append(f"Origin: {origin}")
    assert Browser(Peer()).get("/ws", *headers)[0] == status


@pytest.mark.parametrize("path", ["/", "/app.js", "/health", "/metrics", "/ws", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        ("Host: 127.0.0.1:7080", "Origin: http://evil.example"),
        ("Host: evil.example:7080",),  # a same-origin GET of a rebound page has no Origin
        ("Host: evil.example:7080", "Origin: http://evil.example:7080"),
    ],
)
def test_every_path_is_refused_to_pages_from_elsewhere(path: str, headers: list[str]) -> None:
    browser = Browser(Peer())
    status, sentence = browser.get(path, *headers)
    assert status == 403 and sentence.endswith(".\n")
    assert browser.transport.disconnecting
    assert Browser(Peer(), host="10.0.0.7").get(path, *headers)[0] == 403, "not only on loopback"


def test_a_name_that_the_operator_gave_is_served() -> None:
    peer = Peer()
    turns = PortTurns(peer.clock)
    connection = HTTPConnection(peer.clock, static_pages(), lambda _: None, turns, {"peer.example"})
    transport = StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(b"GET / HTTP/1.1\r\nHost: peer.example\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host", ["exchange-1:7080", "10.0.0.7:7080", "peer.internal", "[::1]:7080"]
)
def test_prometheus_and_containers_are_served_without_an_option(host: str) -> None:
    assert Browser(Peer()).get("/health", f"Host: {host}")[0] == 503  # which is what it says
