"""A client of the HTTP port that does not read costs a bounded number of bytes, and no more."""

from __future__ import annotations

import os
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.client_port.send_queue import QUEUE_BYTES_MAX, SendQueue
from grenache_py.exchange.daemon.connections import connection_sets
from grenache_py.exchange.daemon.connections.admission import PAGE_CONNECTIONS_MAX, HTTPPort
from grenache_py.exchange.daemon.connections.client_connection import UNREAD_BYTES_MAX
from grenache_py.exchange.daemon.connections.line_connection import STALLED_S
from grenache_py.exchange.daemon.connections.port_turns import PortTurns
from grenache_py.exchange.daemon.http_port.http import IDLE_S, HTTPConnection
from grenache_py.exchange.daemon.http_port.static_pages import static_pages
from tests.support.peer import Peer
from tests.support.undrained import BUFFER_BYTES, Undrained, pour

LARGEST = max(static_pages(), key=lambda path: len(static_pages()[path]().body))
GET = f"GET {LARGEST} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
#: What one connection may make the daemon hold: a transport's buffer, and the answers to one piece.
HELD_BYTES_MAX = BUFFER_BYTES + 250_000
CHUNK = 65_536


def connect(peer: Peer) -> tuple[HTTPConnection, Undrained]:
    read = Grant(frozenset({"read"}))
    turns = PortTurns(peer.clock)
    connection = HTTPConnection(peer.clock, static_pages(), lambda _: peer.stream(read), turns)
    transport = Undrained()
    connection.makeConnection(transport)
    return connection, transport


def test_pipelined_requests_whose_answers_are_not_read_wait_in_the_socket() -> None:
    peer = Peer()
    connection, transport = connect(peer)
    requests = GET * (CHUNK // len(GET))
    assert pour(connection, transport, requests, pieces=50) == 1
    assert transport.unread < HELD_BYTES_MAX
    answers = transport.drain().count(b"HTTP/1.1 200 ")
    peer.clock.advance(0)
    while transport.unread:
        assert transport.unread < HELD_BYTES_MAX
        answers += transport.drain().count(b"HTTP/1.1 200 ")
        peer.clock.advance(0)  # the next round
    assert answers == CHUNK // len(GET), "each is answered once it is read"
    assert transport.reads


def test_who_never_reads_is_cut_off() -> None:
    peer = Peer()
    connection, transport = connect(peer)
    pour(connection, transport, GET * 1000, pieces=2)
    peer.clock.advance(IDLE_S)
    assert transport.aborted


def test_a_close_does_not_wait_for_who_never_reads() -> None:
    connection, transport = connect(Peer())
    connection.dataReceived(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert transport.disconnecting and transport.producer is None


def stream(peer: Peer) -> tuple[HTTPConnection, Undrained, ClientProtocol]:
    connection, transport = connect(peer)
    websocket = ClientProtocol(parse_uri("ws://127.0.0.1:7080/ws"))
    websocket.send_request(websocket.connect())
    connection.dataReceived(b"".join(websocket.data_to_send()))
    assert transport.drain().startswith(b"HTTP/1.1 101 ")
    return connection, transport, websocket


def masked(opcode: int, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)  # type: ignore[arg-type]


def test_pings_whose_pongs_are_not_read_wait_in_the_socket() -> None:
    peer = Peer()
    connection, transport, _ = stream(peer)
    pings = masked(9, b"x" * 125) * (CHUNK // 131)
    assert pour(connection, transport, pings, pieces=50) <= 2
    assert transport.unread < BUFFER_BYTES + CHUNK
    for _ in range(20):  # rounds, which read more of it each time
        transport.drain()
        peer.turn()
    assert transport.reads


def test_requests_of_a_stream_that_does_not_read_wait_too_and_then_it_is_cut_off() -> None:
    peer = Peer()
    connection, transport, _ = stream(peer)
    asking = masked(1, b"help") * 500
    delivered = 0
    for _ in range(60):
        delivered += pour(connection, transport, asking, pieces=1)
        peer.turn()
    assert delivered < 10
    assert transport.unread + connection._stream.send_queue.size < UNREAD_BYTES_MAX + 500_000  # type: ignore[union-attr]
    peer.clock.advance(STALLED_S)
    assert transport.aborted


def test_empty_fragments_and_fragments_of_one_byte_are_no_way_to_fill_memory() -> None:
    peer = Peer()
    connection, transport, _ = stream(peer)
    connection.dataReceived(Frame(1, b"", fin=False).serialize(mask=True))  # type: ignore[arg-type]
    one = Frame(0, b"x", fin=False).serialize(mask=True)  # type: ignore[arg-type]
    for _ in range(20):
        pour(connection, transport, one * 9_000, pieces=1)
        peer.turn(50)
    assert transport.disconnecting, "no more than a line may have, whatever its pieces"


def test_the_connections_that_ask_for_pages_are_bounded_and_streams_are_not_among_them() -> None:
    peer = Peer()
    read = Grant(frozenset({"read"}))
    port = HTTPPort(peer.clock, static_pages(), lambda _: peer.stream(read), ())
    made: list[Any] = []
    for _ in range(PAGE_CONNECTIONS_MAX):
        made.append(port.buildProtocol(None))
        made[-1].makeConnection(Undrained())
    assert port.buildProtocol(None) is None
    key = os.urandom(16).hex()[:22].encode() + b"=="
    made[0].dataReceived(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    assert port.pages_asked == PAGE_CONNECTIONS_MAX - 1
    for connection in made:
        connection.connectionLost(Failure(ConnectionDone()))
    assert port.pages_asked == 0


def test_what_waits_for_all_links_together_is_bounded_and_the_fullest_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_sets, "LINKS_UNREAD_BYTES_MAX", 100_000)
    peer = Peer()
    links = [peer.link(number) for number in range(1, 6)]
    for lines, _ in links:
        lines.pauseProducing()  # what a transport does whose buffer is full
    sets = peer.commit_loop._connections
    for size, (lines, _) in zip((10_000, 90_000, 20_000, 30_000, 5_000), links, strict=True):
        lines.send(b"x" * size)
    sets.bound_links()
    gone = [transport.disconnected or transport.disconnecting for _, transport in links]
    assert gone == [False, True, False, False, False]
    assert sum(lines.send_queue.size for lines, _ in links) <= 100_000


def test_what_waits_for_all_clients_together_is_bounded_and_the_fullest_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_sets, "CLIENTS_UNREAD_BYTES_MAX", 100_000)
    peer = Peer()
    clients = [peer.connect() for _ in range(4)]
    for client, asks in zip(clients, (60, 2, 30, 0), strict=True):
        client.lines.pauseProducing()  # what a transport does whose buffer is full
        client.send(b"help\n" * asks)
        peer.turn(100)
    assert [client.lines.aborted for client in clients] == [True, False, False, False]
    assert sum(client.lines.send_queue.size for client in clients) <= 100_000


def test_the_notifications_of_all_subscriptions_of_a_connection_are_bounded() -> None:
    queue = SendQueue()
    gaps = 0
    for number in range(100):
        for _ in range(20):
            gaps += not queue.note(f"book:{number}", b"x" * 50_000)
    assert gaps > 0
    assert queue.size <= QUEUE_BYTES_MAX + gaps * 200
