"""A client, or a subscriber, that does not read costs a bounded number of bytes, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from websockets.frames import Frame, Opcode

from grenache_py.rpc.connecting import TransportSettings
from grenache_py.rpc.http.reading import PIECE_BYTES
from grenache_py.rpc.http.server import HTTPServerFactory
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.pubsub.connections import PublisherSocket
from grenache_py.rpc.pubsub.subscriber_queue import SubscriberQueue
from grenache_py.rpc.sockets import Connections
from grenache_py.rpc.websocket.client import RPCClientSocket
from grenache_py.rpc.websocket.connection import FRAGMENTS_MAX, GATHERED_BYTES_MAX
from grenache_py.rpc.websocket.server import RPCServerSocket, WebSocketServerFactory
from tests.rpc.websocket.test_wire import HEAD, frames, text
from tests.support.rpc_wire import answering
from tests.support.undrained import BUFFER_BYTES, Undrained, pour

ANSWER_BYTES = 100_000
CHUNK = 65_536
BODY = b'["r","svc","x"]'
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
REQUESTS = CHUNK // len(POST)


def big(_: Any) -> str:
    return "y" * ANSWER_BYTES


def http(handler: Any = big) -> tuple[Any, Undrained]:
    limits = ServerLimits()
    factory = HTTPServerFactory(answering(handler, limits), limits, Clock(), None)
    return _made(factory.buildProtocol(None))


def websocket(handler: Any = big, clock: Clock | None = None) -> tuple[Any, Undrained]:
    limits, clock = ServerLimits(), clock or Clock()
    answers = answering(handler, limits, clock)
    factory = WebSocketServerFactory(lambda: RPCServerSocket(answers, limits, clock), limits)
    connection, transport = _made(factory.buildProtocol(None))
    connection.dataReceived(HEAD)
    transport.drain()
    return connection, transport


def _made(connection: Any) -> tuple[Any, Undrained]:
    transport = Undrained()
    connection.makeConnection(transport)
    return connection, transport


def test_pipelined_http_requests_wait_in_the_socket() -> None:
    connection, transport = http()
    assert pour(connection, transport, POST * REQUESTS, pieces=20) == 1
    most = BUFFER_BYTES + (PIECE_BYTES // len(POST) + 2) * (ANSWER_BYTES + 200)
    assert transport.unread < most
    answers = transport.drain().count(b"HTTP/1.1 200 ")
    while transport.unread:
        assert transport.unread < most
        answers += transport.drain().count(b"HTTP/1.1 200 ")
    assert answers == REQUESTS, "each is answered once it is read"
    assert transport.reads


def test_requests_over_websocket_wait_in_the_socket() -> None:
    connection, transport = websocket()
    asking = text(BODY)
    count = CHUNK // len(asking)
    assert pour(connection, transport, asking * count, pieces=20) == 1
    most = BUFFER_BYTES + GATHERED_BYTES_MAX + 2 * ANSWER_BYTES
    assert transport.unread < most
    answers = 0
    while transport.unread:
        assert transport.unread < most
        answers += len(frames(transport.drain()))
    assert answers == count
    assert transport.reads


def test_requests_under_way_are_bounded_for_each_websocket_and_the_others_are_taken_later() -> None:
    under_way: list[Deferred[str]] = []

    def slow(_: Any) -> Deferred[str]:
        under_way.append(Deferred())
        return under_way[-1]

    clock = Clock()
    connection, transport = websocket(slow, clock)
    asking = text(BODY)
    pour(connection, transport, asking * 300, pieces=20)
    assert len(under_way) == ServerLimits().pipelined_max
    assert not transport.reads
    for now in range(0, 600, 20):
        clock.rightNow = float(now)
        connection.sweep(clock.seconds(), 30.0)
    assert not transport.aborted, "it is us that it waits for"
    answered = 0
    while under_way:
        under_way.pop(0).callback("done")
        answered += 1
    assert answered == 300
    assert len(frames(transport.drain())) == 300 and transport.reads


def _socket(kind: str) -> tuple[Any, Undrained]:
    limits, clock = ServerLimits(), Clock()
    if kind == "server":
        return websocket()
    if kind == "client":
        settings = TransportSettings(None, 3.0, 1_048_576)
        connection: Any = RPCClientSocket("192.0.2.1:1", settings, clock, Connections())
        connection, transport = _made(connection)
        key = connection._wire.connect  # the handshake was sent
        assert key
        from websockets.protocol import State

        transport.clear()
        connection._wire.state = State.OPEN
        connection._wire.parser = super(type(connection._wire), connection._wire).parse()
        next(connection._wire.parser)
        return connection, transport
    factory = WebSocketServerFactory(
        lambda: PublisherSocket(limits, clock, SubscriberQueue()), limits
    )
    connection, transport = _made(factory.buildProtocol(None))
    connection.dataReceived(HEAD)
    transport.drain()
    return connection, transport


@pytest.mark.parametrize("kind", ["server", "publisher", "client"])
def test_pings_whose_pongs_are_not_read_wait_in_the_socket(kind: str) -> None:
    connection, transport = _socket(kind)
    ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=kind != "client")
    pour(connection, transport, ping * (CHUNK // len(ping)), pieces=100)
    assert transport.unread < BUFFER_BYTES + 2 * CHUNK
    assert not transport.reads
    transport.drain()
    assert transport.reads


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_message_has_a_bounded_number_of_fragments(payload: bytes) -> None:
    connection, transport = websocket()
    connection.dataReceived(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True))
    one = Frame(Opcode.CONT, payload, fin=False).serialize(mask=True)
    pour(connection, transport, one * 1_000, pieces=50)
    assert transport.disconnecting
    (close,) = frames(transport.value())
    assert close.data[:2] == (1009).to_bytes(2, "big")
    assert not connection._parts


def test_a_message_in_as_many_fragments_as_may_be_is_taken() -> None:
    connection, transport = websocket(lambda request: request.payload)
    pieces = [b'["r","svc","', *[b"x"] * (FRAGMENTS_MAX - 2), b'"]']
    for number, piece in enumerate(pieces):
        opcode = Opcode.CONT if number else Opcode.TEXT
        fin = number == len(pieces) - 1
        connection.dataReceived(Frame(opcode, piece, fin=fin).serialize(mask=True))
    (answer,) = frames(transport.value())
    assert bytes(answer.data) == b'["r",null,"%b"]' % (b"x" * (FRAGMENTS_MAX - 2))


def test_what_is_published_to_a_subscriber_that_does_not_read_is_bounded() -> None:
    connection, transport = _socket("publisher")
    frame = Frame(Opcode.TEXT, b"x" * 10_000).serialize(mask=False)
    for _ in range(5_000):
        connection.publish(frame)
    assert transport.unread < BUFFER_BYTES + 2 * len(frame)
    assert connection.outbox._bytes <= connection.outbox.bytes_max
    assert connection.outbox.dropped > 4_000
