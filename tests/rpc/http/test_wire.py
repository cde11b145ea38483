"""The HTTP server's side of a connection, bytes in and bytes out, against the recorded Node."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from grenache_py.errors import ConfigError
from grenache_py.rpc.http.server import HTTPServerFactory
from grenache_py.rpc.limits import ServerLimits
from tests.support.rpc_wire import Wire, answering, node_test_handler, wired

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "peer_rpc_http.json").read_text())
PROBES = [probe for probe in VECTORS["server_probes"] if probe["request_hex"]]
#: Where ours differs on purpose: Node indexes any JSON, and never answers what it cannot read.
NODE_INDEXES = {"json_string", "json_number", "json_object", "json_object_numeric_keys"}
#: Node's test handler leaves "echo" out where there was no payload; null is what ours sends.
NO_PAYLOAD = {"array_empty", "array_1"}


class Answers:
    """Reads a stream of HTTP responses."""

    def __init__(self, data: bytes) -> None:
        self.all: list[tuple[int, bytes]] = []
        self._body = b""
        parser = httptools.HttpResponseParser(self)
        self._parser = parser
        parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self.all.append((self._parser.get_status_code(), self._body))
        self._body = b""


def serve(
    handler=node_test_handler, limits: ServerLimits | None = None, clock=None, streams=None
) -> Wire:
    clock = clock or Clock()
    limits = limits or ServerLimits()
    factory = HTTPServerFactory(answering(handler, limits, clock), limits, clock, streams)
    return wired(factory.buildProtocol(None))


def post(frame: bytes, headers: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (
        headers,
        len(frame),
        frame,
    )


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe["name"])
@pytest.mark.parametrize("one_byte_at_a_time", [False, True])
def test_the_answers_of_a_real_server(probe, one_byte_at_a_time: bool) -> None:
    wire = serve()
    request = bytes.fromhex(probe["request_hex"])
    step = 1 if one_byte_at_a_time else len(request)
    for n in range(0, len(request), step):
        piece = request[n : n + step]
        wire.protocol.dataReceived(piece)
    ours = Answers(wire.value()).all
    name = probe["name"]
    if probe["status"] is None or name in NODE_INDEXES:
        [(status, body)] = ours
        rid, err, data = json.loads(body)
        assert status == 400
        assert err.startswith(
            "ERR_REQUEST_INVALID: a request is the JSON array [rid, key, payload]"
        )
        assert data is None
        assert rid == ("R2" if name == "gr_with_empty_body" else None)
    else:
        theirs = Answers(bytes.fromhex(probe["response_hex"])).all
        if not theirs:  # HTTP/1.0: until the end of the connection
            theirs = [(probe["status"], probe["response"].partition("\r\n\r\n")[2].encode())]
        assert len(ours) == (2 if name == "pipelined" else 1), "the recording has only the first"
        for (status, mine), (expected, real) in zip(ours, theirs, strict=False):
            assert status == expected
            if real[:2] == b"\x1f\x8b":
                mine, real = gzip.decompress(mine), gzip.decompress(real)
            if name in NO_PAYLOAD:
                mine = mine.replace(b'"echo":null', b"")
            assert mine == real
    assert wire.over == (name == "http10")


def test_a_megabyte_is_no_problem() -> None:
    wire = serve()
    frame = json.dumps(["r", "k", "x" * 1_000_000], separators=(",", ":")).encode()
    wire.protocol.dataReceived(post(frame))
    [(status, body)] = Answers(wire.value()).all
    assert (status, len(json.loads(body)[2]["echo"])) == (200, 1_000_000)


def test_answers_leave_in_the_order_of_the_requests() -> None:
    waiting: dict[str, Deferred] = {}

    def handler(request):
        waiting[request.rid] = Deferred()
        return waiting[request.rid]

    wire = serve(handler)
    wire.protocol.dataReceived(b"".join(post(b'["%d","k",0]' % n) for n in range(3)))
    waiting["2"].callback("c")
    waiting["1"].callback("b")
    assert wire.value() == b""
    waiting["0"].callback("a")
    assert [json.loads(body) for _, body in Answers(wire.value()).all] == [
        ["0", None, "a"],
        ["1", None, "b"],
        ["2", None, "c"],
    ]


def test_reading_stops_while_too_many_requests_wait() -> None:
    waiting: list[Deferred] = []
    wire = serve(lambda _: waiting.append(Deferred()) or waiting[-1], ServerLimits(pipelined_max=3))
    wire.protocol.dataReceived(post(b'["r","k",0]') * 2)
    assert wire.producerState == "producing"
    wire.protocol.dataReceived(post(b'["r","k",0]'))
    assert wire.producerState == "paused"
    waiting[0].callback(1)
    assert wire.producerState == "producing"


def test_a_client_that_does_not_read_is_not_read() -> None:
    wire = serve()
    wire.producer.pauseProducing()
    assert wire.producerState == "paused"
    wire.producer.resumeProducing()
    assert wire.producerState == "producing"


def test_too_large_a_body_is_refused_while_it_arrives() -> None:
    wire = serve(limits=ServerLimits(body_bytes_max=100))
    wire.protocol.dataReceived(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 101
    )
    [(status, body)] = Answers(wire.value()).all
    assert status == 413
    assert json.loads(body) == [None, "ERR_REQUEST_INVALID: a body of more than 100 bytes", None]
    assert wire.half_closed, "the rest of the body is still read, or the answer would be reset"


def test_a_body_that_inflates_is_refused() -> None:
    wire = serve(limits=ServerLimits(body_bytes_max=1000))
    bomb = gzip.compress(b'["r","k","' + b"x" * 100_000 + b'"]')
    wire.protocol.dataReceived(post(bomb, b"grc-compress: gzip\r\n"))
    [(status, body)] = Answers(wire.value()).all
    assert status == 400
    assert "1000 bytes when decompressed" in json.loads(body)[1]


@pytest.mark.parametrize("line", [b"X: " + b"y" * 20_000 + b"\r\n", b"X: y\r\n" * 4000])
def test_too_many_headers_are_refused(line: bytes) -> None:
    wire = serve()
    wire.protocol.dataReceived(b"POST / HTTP/1.1\r\n" + line + b"\r\n")
    assert Answers(wire.value()).all[0][0] in (400, 431)
    assert wire.over


def test_a_header_that_never_ends_is_refused() -> None:
    wire = serve()
    wire.protocol.dataReceived(b"POST / HTTP/1.1\r\nX: ")
    for _ in range(10):
        wire.protocol.dataReceived(b"y" * 16_384)
    assert Answers(wire.value()).all[0][0] == 431


@pytest.mark.parametrize(
    "noise", [b"HELLO\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_not_http_is_answered_and_closed(noise: bytes) -> None:
    wire = serve()
    wire.protocol.dataReceived(noise)
    assert Answers(wire.value()).all[0][0] == 400
    assert wire.over


def test_an_upgrade_is_told_that_this_is_not_websocket() -> None:
    wire = serve()
    wire.protocol.dataReceived(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    [(status, body)] = Answers(wire.value()).all
    assert status == 400
    assert "this port speaks HTTP/1.1 and not websocket" in body.decode()
    assert wire.over


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    wire = serve()
    wire.protocol.dataReceived(
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
    )
    assert wire.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.protocol.dataReceived(b'["r","k",0]')
    assert Answers(wire.value()).all[0][0] == 200


def test_idle_slow_and_half_closed_clients_are_sent_away() -> None:
    clock = Clock()
    idle, slow, busy = (serve(lambda _: Deferred(), clock=clock) for _ in range(3))
    slow.protocol.dataReceived(b"POST / HTTP/1.1\r\n")
    busy.protocol.dataReceived(post(b'["r","k",0]'))
    for _ in range(14):
        clock.advance(5)
        slow.protocol.dataReceived(b"X: y\r\n")
        for wire in (idle, slow, busy):
            wire.protocol.sweep(clock.seconds())
    assert idle.disconnecting
    assert Answers(slow.value()).all[0][0] == 408
    assert not busy.over, "its request is being handled, which has a deadline of its own"
    clock.advance(70)
    slow.protocol.sweep(clock.seconds())
    assert slow.aborted
    for wire in (idle, slow, busy):
        wire.hang_up()


def test_a_client_that_closes_its_half_still_gets_its_answer() -> None:
    gate: Deferred = Deferred()
    wire = serve(lambda _: gate)
    wire.protocol.dataReceived(post(b'["r","k",0]'))
    wire.protocol.readConnectionLost()
    assert not wire.over
    gate.callback("late")
    assert Answers(wire.value()).all == [(200, b'["r",null,"late"]')]
    assert wire.over


@pytest.mark.parametrize(("sent", "status"), [(b"", None), (b"POST / HTTP/1.1\r\nX: y", 400)])
def test_a_client_that_closes_its_half_too_early(sent: bytes, status: int | None) -> None:
    wire = serve()
    if sent:
        wire.protocol.dataReceived(sent)
    wire.protocol.readConnectionLost()
    assert [one for one, _ in Answers(wire.value()).all] == ([status] if status else [])
    assert wire.over


def test_more_connections_than_allowed_are_refused() -> None:
    limits = ServerLimits(connections_max=2)
    factory = HTTPServerFactory(answering(), limits, Clock(), None)
    wires = [wired(factory.buildProtocol(None)) for _ in range(2)]
    assert factory.buildProtocol(None) is None
    wires[0].hang_up()
    assert factory.buildProtocol(None) is not None


def test_head_has_no_body() -> None:
    wire = serve()
    wire.protocol.dataReceived(
        b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n" + b'["r","k",0]'
    )
    assert wire.value().endswith(b"\r\n\r\n")


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([*b'POST / HTTP/1.1\r\n:[]",{}0aZ\xff\x00 ']), max_size=80).map(bytes)
)
def test_no_bytes_make_it_raise(noise: bytes) -> None:
    for start in (
        b"",
        b"POST / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        wire = serve()
        wire.protocol.dataReceived(start + noise)
        for n in range(len(noise)):
            if not wire.over:
                wire.protocol.dataReceived(noise[n : n + 1])


#: Host, Origin, what is allowed, and whether a request with these is carried out.
CALLERS = [
    ("127.0.0.1:5000", None, {}, True),  # a Node client
    ("calc.example", None, {}, False),  # a name that was made to resolve to this machine
    ("calc.example:80", None, {"allow_hosts": ["Calc.example"]}, True),
    ("127.0.0.1:5000", "http://127.0.0.1:5000", {}, True),
    ("127.0.0.1:5000", "https://evil.example", {}, False),
    ("127.0.0.1:5000", "null", {}, False),
    ("127.0.0.1:5000", "https://app.example", {"allow_origins": ["https://app.example"]}, True),
    ("127.0.0.1:5000", "https://evil.example", {"allow_origins": ["https://app.example"]}, False),
    ("127.0.0.1:5000", "https://evil.example", {"allow_origins": ["*"]}, True),
    ("calc.example", "https://evil.example", {"allow_origins": ["*"]}, False),
]


@pytest.mark.parametrize(("host", "origin", "allowed", "served"), CALLERS)
def test_a_page_of_another_site_calls_nothing(host, origin, allowed, served: bool) -> None:
    called: list[str] = []
    wire = serve(lambda request: called.append(request.key), ServerLimits(**allowed))
    headers = f"Origin: {origin}\r\n".encode() if origin else b""
    request = post(b'["r","k",1]', headers).replace(b"Host: x", f"Host: {host}".encode())
    wire.protocol.dataReceived(request)
    [(status, body)] = Answers(wire.value()).all
    assert (status, called) == ((200, ["k"]) if served else (403, []))
    assert wire.over is not served
    assert served or json.loads(body)[1].startswith("ERR_REQUEST_INVALID: ")


def test_each_request_of_a_connection_says_where_it_comes_from() -> None:
    called: list[str] = []
    wire = serve(lambda request: called.append(request.key))
    foreign = post(b'["2","evil",0]', b"Origin: https://evil.example\r\n")
    wire.protocol.dataReceived(post(b'["1","k",0]') + foreign + post(b'["3","k",0]'))
    assert [status for status, _ in Answers(wire.value()).all] == [200, 403]
    assert called == ["k"]


def test_an_origin_is_a_scheme_and_a_host() -> None:
    assert ServerLimits(allow_origins="HTTPS://App.example").allow_origins == {
        "https://app.example"
    }
    for wrong in ("app.example", "https://app.example/", "https://", ""):
        with pytest.raises(ConfigError, match="an origin is https://HOST"):
            ServerLimits(allow_origins=[wrong])
