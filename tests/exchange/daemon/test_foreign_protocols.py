"""The client port and programs that speak something else: a page's fetch carries out nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.client_port.foreign import looks_foreign
from grenache_py.exchange.client_port.inline import COMMANDS
from tests.support.peer import Peer

#: What ``fetch("http://127.0.0.1:7070/", {method: "POST", mode: "no-cors", body})`` sends.
HEAD = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:7070\r\nOrigin: http://evil.example\r\n"
    b"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: 60\r\n\r\n"
)
BODY = b'buy BTC-USD 1 @ 100\n{"jsonrpc":"2.0","id":1,"method":"shutdown"}\n'


@pytest.mark.parametrize(
    "pieces", [[HEAD + BODY], [HEAD, BODY], [b"", *HEAD.splitlines(True), BODY]]
)
def test_the_body_of_a_pages_post_is_not_carried_out(pieces: list[bytes]) -> None:
    peer = Peer()
    client = peer.connect()
    for piece in pieces:
        client.lines.dataReceived(piece)
        peer.turn()
    (answer,) = client.received()
    assert "HTTP" in answer["error"]["message"]
    assert client.transport.disconnecting
    assert peer.connect().call("order.list")["orders"] == []


def test_byte_by_byte_is_no_way_around() -> None:
    peer = Peer()
    client = peer.connect()
    for byte in HEAD + BODY:
        client.lines.dataReceived(bytes([byte]))
        peer.turn()
    assert len(client.received()) == 1
    assert peer.connect().call("order.list")["orders"] == []


@pytest.mark.parametrize(
    "line",
    [b"GET /?buy HTTP/1.0", b"PRI * HTTP/2.0", b"get / http/1.1", b"{x / HTTP/1.1",
     b"!m / HTTP/1.1", b"OPTIONS /ws HTTP/1.1", b"CONNECT a:7070 HTTP/1.1", b"GET /  HTTP/1.1 "],
)  # fmt: skip
def test_every_request_line_ends_the_connection(line: bytes) -> None:
    peer = Peer()
    client = peer.connect()
    client.send(b"ping\n" + line + b"\nbuy BTC-USD 1 @ 100\n")
    pong, error = client.received()
    assert "result" in pong and "HTTP" in error["error"]["message"]
    assert client.transport.disconnecting


def test_a_tls_handshake_is_told_so_at_its_first_byte() -> None:
    peer = Peer()
    client = peer.connect()
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # no line ends in it
    (answer,) = client.received()
    assert "TLS" in answer["error"]["message"]
    assert client.transport.disconnecting
    client.send(b"\nbuy BTC-USD 1 @ 100\n")
    assert client.received() == []
    assert peer.connect().call("order.list")["orders"] == []


def test_no_command_looks_like_http() -> None:
    for name, command in COMMANDS.items():
        assert not looks_foreign(name.encode()) and not looks_foreign(command.usage.encode())
    assert not looks_foreign(b"buy BTC-USD 1 @ 100 id=HTTP/1.1x")
    assert not looks_foreign(
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"x y HTTP/1.1"}}'
    )


@given(
    st.from_regex(rb"[!#-'*+.^_|~0-9A-Za-z-]{1,20}", fullmatch=True),
    st.text(min_size=1, max_size=40),
)
def test_whatever_method_and_target_a_page_chooses(method: bytes, target: str) -> None:
    path = "".join(target.split()).encode() or b"/"
    assert looks_foreign(method + b" /" + path + b" HTTP/1.1")
