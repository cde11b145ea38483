"""The WebSocket server's side of a connection, bytes in and bytes out, against recorded Node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri
from websockets.utils import accept_key

from grenache_py.rpc.connecting import TransportSettings
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.pubsub.connections import PublisherSocket, SubscriberSocket
from grenache_py.rpc.pubsub.subscriber_queue import SubscriberQueue
from grenache_py.rpc.sockets import Connections
from grenache_py.rpc.websocket.server import RPCServerSocket, WebSocketServerFactory
from tests.rpc.http.test_wire import CALLERS
from tests.support.rpc_wire import Wire, answering, node_test_handler, wired

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "peer_rpc_ws.json").read_text())
RPC = [
    one
    for one in VECTORS["connections"]
    if one["server_port"] == 5101 and " 101 " in one["response_head"]
]
PUBSUB = [one for one in VECTORS["connections"] if one["server_port"] == 5102]
HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def handler(request):
    if request.payload == "never":
        return Deferred()
    if request.payload == "bigreply":
        return "y" * 70_000
    return node_test_handler(request)


def serve(limits: ServerLimits | None = None, clock: Clock | None = None) -> Wire:
    clock, limits = clock or Clock(), limits or ServerLimits()
    answers = answering(handler, limits, clock)
    factory = WebSocketServerFactory(lambda: RPCServerSocket(answers, limits, clock), limits)
    return wired(factory.buildProtocol(None))


def subscriber_socket(
    clock: Clock, message_bytes_max: int, on_message: Callable[[str | bytes], None]
) -> SubscriberSocket:
    settings = TransportSettings(None, 3.0, message_bytes_max)
    return SubscriberSocket("192.0.2.1:1", settings, clock, Connections(), on_message)


def opened(wire: Wire) -> Wire:
    wire.protocol.dataReceived(HEAD)
    assert wire.taken().startswith(b"HTTP/1.1 101 ")
    return wire


def text(message: bytes) -> bytes:
    return Frame(Opcode.TEXT, message).serialize(mask=True)


def frames(data: bytes) -> list[Frame]:
    """Read unmasked frames."""
    reader = ClientProtocol(parse_uri("ws://x/"))
    reader.state = reader.state.OPEN
    reader.parser = super(ClientProtocol, reader).parse()
    next(reader.parser)
    reader.receive_data(data)
    return [event for event in reader.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("recorded", RPC, ids=range(len(RPC)))
@pytest.mark.parametrize("one_byte_at_a_time", [False, True])
def test_a_recorded_conversation(recorded, one_byte_at_a_time: bool) -> None:
    wire = serve()
    pieces = [recorded["request_head"].encode()]
    pieces += [bytes.fromhex(one["frame_hex"]) for one in recorded["client_frames"]]
    for piece in pieces:
        for n in range(0, len(piece), 1 if one_byte_at_a_time else len(piece)):
            wire.protocol.dataReceived(piece[n : n + 1] if one_byte_at_a_time else piece)
    head, _, rest = wire.value().partition(b"\r\n\r\n")
    theirs = dict(line.split(": ") for line in recorded["response_head"].split("\r\n")[1:] if line)
    ours = dict(line.split(": ") for line in head.decode().split("\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert {name: ours[name] for name in theirs} == theirs
    answers = [
        (one.opcode.value, one.data.decode() if one.opcode is Opcode.TEXT else bytes(one.data))
        for one in frames(rest)
    ]
    unreadable = [
        one
        for one in recorded["client_frames"]
        if one["payload"] in ("{bad", "null", '"abc"', "{}")
    ]
    if unreadable:  # where Node is silent, or indexes what is no array
        [(opcode, answer)] = answers
        assert opcode == 1
        assert json.loads(answer)[1].startswith("ERR_REQUEST_INVALID: a request is")
        return
    expected = [
        (one["opcode"], one["payload"] if one["opcode"] == 1 else bytes.fromhex(one["payload_hex"]))
        for one in recorded["server_frames"]
    ]
    shown = [
        (opcode, data if len(data) < 9000 else f"({len(data)} bytes)") for opcode, data in answers
    ]
    assert sorted(shown, key=repr) == sorted(expected, key=repr)


def test_every_path_is_a_websocket_and_a_plain_request_is_told_to_upgrade() -> None:
    for path in (b"/", b"/other?x=1"):
        wire = serve()
        wire.protocol.dataReceived(HEAD.replace(b"/ws", path))
        assert wire.value().startswith(b"HTTP/1.1 101 ")
    wire = serve()
    wire.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.value().startswith(b"HTTP/1.1 426 ")
    assert wire.disconnecting


def test_a_message_in_fragments_is_one_request() -> None:
    wire = opened(serve())
    wire.protocol.dataReceived(Frame(Opcode.TEXT, b'["r","k"', fin=False).serialize(mask=True))
    wire.protocol.dataReceived(Frame(Opcode.PING, b"hi").serialize(mask=True))
    wire.protocol.dataReceived(Frame(Opcode.CONT, b',"p', fin=False).serialize(mask=True))
    wire.protocol.dataReceived(Frame(Opcode.CONT, b'"]').serialize(mask=True))
    pong, answer = frames(wire.taken())
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"hi")
    assert bytes(answer.data) == b'["r",null,{"echo":"p"}]'


def test_too_large_a_message_ends_the_connection_with_a_reason() -> None:
    wire = opened(serve(ServerLimits(body_bytes_max=100)))
    wire.protocol.dataReceived(text(b"x" * 101))
    [close] = frames(wire.taken())
    assert close.opcode is Opcode.CLOSE
    assert int.from_bytes(bytes(close.data)[:2], "big") == 1009
    assert wire.disconnecting


@pytest.mark.parametrize("noise", [b"\xff" * 10, Frame(Opcode.TEXT, b"x").serialize(mask=False)])
def test_broken_frames_end_the_connection(noise: bytes) -> None:
    wire = opened(serve())
    wire.protocol.dataReceived(noise)
    assert frames(wire.taken())[0].opcode is Opcode.CLOSE
    assert wire.disconnecting


def test_many_requests_in_one_read_are_answered_in_one_write() -> None:
    wire = opened(serve())
    writes: list[bytes] = []
    wire.write = writes.append  # type: ignore[method-assign]
    wire.protocol.dataReceived(b"".join(text(b'["%d","k",%d]' % (n, n)) for n in range(10)))
    assert len(writes) == 1
    assert len(frames(writes[0])) == 10


def test_a_silent_client_is_pinged_and_then_cut_off() -> None:
    clock = Clock()
    wire = opened(serve(clock=clock))
    clock.advance(66)
    wire.protocol.sweep(66, 65)
    assert frames(wire.taken())[0].opcode is Opcode.PING
    clock.advance(66)
    wire.protocol.sweep(132, 65)
    assert wire.aborted


def test_a_client_that_answers_the_ping_stays() -> None:
    clock = Clock()
    wire = opened(serve(clock=clock))
    for _ in range(5):
        clock.advance(66)
        wire.protocol.sweep(clock.seconds(), 65)
        wire.protocol.dataReceived(Frame(Opcode.PONG, b"").serialize(mask=True))
    assert not wire.over


def test_a_handshake_that_drips_in_is_cut_off() -> None:
    clock = Clock()
    wire = serve(clock=clock)
    for byte in HEAD[:30]:
        wire.protocol.dataReceived(bytes([byte]))
        clock.advance(3)
        wire.protocol.sweep(clock.seconds(), 65)
    assert wire.aborted


def test_a_publisher_that_sends_too_much_and_does_not_hang_up_is_left() -> None:
    clock = Clock()
    socket = subscriber_socket(clock, 100, lambda _: None)
    wire = wired(socket)
    socket.dataReceived(accepted(socket))
    for _ in range(5):
        socket.dataReceived(Frame(Opcode.TEXT, b"x" * 101).serialize(mask=False))
        clock.advance(1)
    assert wire.aborted
    wire.hang_up()
    assert clock.getDelayedCalls() == []


def test_closing_waits_for_the_other_side_but_not_for_ever() -> None:
    clock = Clock()
    polite, rude = opened(serve(clock=clock)), opened(serve(clock=clock))
    for wire in (polite, rude):
        wire.protocol.close(1001, "shutting down")
    polite.protocol.dataReceived(Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True))
    assert polite.disconnecting
    polite.hang_up()
    clock.advance(2)
    assert rude.aborted
    rude.hang_up()
    assert clock.getDelayedCalls() == []


def publisher(outbox: SubscriberQueue) -> Wire:
    limits = ServerLimits()
    factory = WebSocketServerFactory(lambda: PublisherSocket(limits, Clock(), outbox), limits)
    return opened(wired(factory.buildProtocol(None)))


def test_a_slow_subscriber_loses_the_oldest_messages_and_no_others() -> None:
    outbox = SubscriberQueue(frames_max=3)
    wire = publisher(outbox)
    messages = [Frame(Opcode.TEXT, b"%d" % n).serialize(mask=False) for n in range(8)]
    wire.protocol.publish(messages[0])
    wire.producer.pauseProducing()
    for message in messages[1:]:
        wire.protocol.publish(message)
    assert [bytes(one.data) for one in frames(wire.taken())] == [b"0"]
    wire.producer.resumeProducing()
    assert [bytes(one.data) for one in frames(wire.taken())] == [b"5", b"6", b"7"]
    assert outbox.dropped == 4


def accepted(socket: SubscriberSocket) -> bytes:
    """What a server answers to a client's handshake."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(socket._wire.key).encode()
    )


def test_a_subscriber_hears_what_a_real_publisher_sent() -> None:
    for recorded in PUBSUB:
        heard: list[str | bytes] = []
        socket = subscriber_socket(Clock(), 1000, heard.append)
        wire = wired(socket)
        assert wire.taken().startswith(b"GET /ws HTTP/1.1\r\n")
        socket.dataReceived(accepted(socket))
        socket.dataReceived(
            b"".join(bytes.fromhex(one["frame_hex"]) for one in recorded["server_frames"])
        )
        assert heard == [
            one["payload"] if one["opcode"] == 1 else bytes.fromhex(one["payload_hex"])
            for one in recorded["server_frames"]
            if one["opcode"] in (1, 2)
        ]


def test_text_that_is_not_utf8_ends_a_subscription() -> None:
    clock = Clock()
    socket = subscriber_socket(clock, 1000, lambda _: None)
    wire = wired(socket)
    socket.dataReceived(accepted(socket))
    wire.clear()
    socket.dataReceived(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=False))
    assert wire.value()[:1] == b"\x88"
    wire.hang_up()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(("host", "origin", "allowed", "served"), CALLERS)
def test_a_page_of_another_site_gets_no_socket(host, origin, allowed, served: bool) -> None:
    limits = ServerLimits(**allowed)
    publisher = PublisherSocket(limits, Clock(), SubscriberQueue(10, 1000))
    publisher.factory = WebSocketServerFactory(lambda: publisher, limits)
    for wire in (serve(limits), wired(publisher)):
        head = HEAD.replace(b"Host: x", f"Host: {host}".encode())
        if origin:
            head = head.replace(b"Upgrade: w", f"Origin: {origin}\r\nUpgrade: w".encode())
        wire.protocol.dataReceived(head)
        assert wire.value().startswith(b"HTTP/1.1 101 " if served else b"HTTP/1.1 403 ")
        assert wire.disconnecting is not served
        assert wire.protocol.is_open is served
