"""One HTTP connection: whatever comes, each request is answered once and in order, on time."""

from __future__ import annotations

import json
from types import SimpleNamespace

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from grenache_py.dht.errors import AllQueriesFailed, DHTOverloaded, NoNodesToQuery
from grenache_py.errors import LocalProtocolError
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.messages import DROPPED_BYTES_MAX, KNOWN_HEAD_BYTES_MAX, KNOWN_HEADS_MAX
from grenache_py.grape.site import Site
from grenache_py.wire.http.messages import Page
from tests.support.fake_dht import FakeDHT

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
KEPT = f"Date: {DATE}\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
CLOSED = f"Date: {DATE}\r\nConnection: close\r\n"


HERE = IPv4Address("TCP", "127.0.0.1", 1)


class Client:
    """A client on a transport in memory, whose clock stands still until it is advanced."""

    def __init__(self, site: Site, clock: Clock, address: object = HERE) -> None:
        self.clock = clock
        self.transport = StringTransport()
        self.connection = site.buildProtocol(address)
        self.connection.makeConnection(self.transport)

    def send(self, *pieces: bytes) -> Client:
        for piece in pieces:
            self.connection.dataReceived(piece)
        return self

    def received(self) -> str:
        data = self.transport.value().decode()
        self.transport.clear()
        return data

    @property
    def left(self) -> bool:
        return self.transport.disconnecting or self.transport.disconnected

    def disconnect(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def grape() -> SimpleNamespace:
    return make_grape()


def make_grape(**settings: object) -> SimpleNamespace:
    clock, dht = Clock(), FakeDHT()
    pages = {
        "/health": lambda: Page(b"{}\n", "application/json", 503),
        "/": lambda: Page(b"<h1>", "text/html"),
    }
    config = attrs.evolve(GrapeConfig(), **settings)
    site = Site(dht, config, clock, lambda: 20001, pages)
    return SimpleNamespace(
        clock=clock, dht=dht, site=site, config=config, client=lambda: Client(site, clock)
    )


def post(path: str, data: object, headers: str = "", version: str = "1.1") -> bytes:
    body = json.dumps({"rid": "r", "data": data})
    return (
        f"POST {path} HTTP/{version}\r\nHost: a\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def ok(body: str, head: str = KEPT) -> str:
    return f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"


ERROR_REQUEST = post("/lookup", "")
ERROR_ANSWER = ok('"ERR_GRAPE_LOOKUP"')
BAD_REQUEST = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


# -- what is asked and answered


def test_each_command_asks_the_dht_and_answers_with_what_it_says(grape: SimpleNamespace) -> None:
    client = grape.client()
    item = SimpleNamespace(id=b"\1" * 20, v=b"x", token=None, k=None, seq=None, sig=None)
    for request, result, body in [
        (post("/lookup", "svc"), ["10.0.0.1:5"], '["10.0.0.1:5"]'),
        (post("/announce", ["svc", 1337]), 3, "3"),
        (post("/announce", ["svc", 0]), 1, "1"),
        (post("/put", "x"), b"\2" * 20, f'"{"02" * 20}"'),
        (post("/get", "ab" * 20), item, f'{{"id":"{"01" * 20}","token":null,"v":"x"}}'),
        (post("/get", "ab" * 20), None, ""),
    ]:
        client.send(request)
        assert client.received() == ""
        grape.dht.pending.pop().callback(result)
        assert client.received() == ok(body)
    assert grape.dht.calls[:3] == [
        ("lookup", b"svc"),
        ("announce", b"svc", 1337),
        ("announce", b"svc", 20001),
    ]
    assert grape.dht.calls[3][1].v == b"x"
    assert grape.dht.calls[4] == ("get", b"\xab" * 20, b"", True)
    assert not client.left


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (NoNodesToQuery(), "200 OK", '"No nodes to query"'),
        (AllQueriesFailed(), "200 OK", '"All queries failed"'),
        (AllQueriesFailed((203, "no")), "200 OK", '"All queries failed"'),
        (AllQueriesFailed((301, "cas")), "301 Moved Permanently", '"301 cas"'),
        (AllQueriesFailed((302, "old")), "302 Found", '"302 old"'),
        (AllQueriesFailed((399, "odd")), "399 unknown", '"399 odd"'),
        (LocalProtocolError("sig is not 64 bytes"), "200 OK", '"All queries failed"'),
        (DHTOverloaded(), "503 Service Unavailable", "ERR_GRAPE_BUSY"),
    ],
)
@pytest.mark.parametrize("path", ["/lookup", "/put"])
def test_failures_of_the_dht_are_answers(
    grape: SimpleNamespace, path: str, error: Exception, status: str, body: str
) -> None:
    client = grape.client().send(post(path, "x"))
    grape.dht.pending.pop().errback(error)
    expected = f"HTTP/1.1 {status}\r\n{KEPT}Content-Length: {len(body)}\r\n\r\n{body}"
    assert client.received() == expected


def test_a_krpc_error_304_has_no_body(grape: SimpleNamespace) -> None:
    client = grape.client().send(post("/put", "x"))
    grape.dht.pending.pop().errback(AllQueriesFailed((304, "same")))
    assert client.received() == f"HTTP/1.1 304 Not Modified\r\n{KEPT}\r\n"


def test_a_bug_is_logged_and_answered(grape: SimpleNamespace, logged_failures: list) -> None:
    client = grape.client().send(post("/announce", ["x", 1]))
    grape.dht.pending.pop().errback(ZeroDivisionError())
    assert "500 Internal Server Error" in client.received()
    grape.dht.lookup = lambda name: 1 / 0
    assert "500 Internal Server Error" in grape.client().send(post("/lookup", "x")).received()
    assert len(logged_failures.flush(ZeroDivisionError)) == 2


def test_lookups_of_one_name_at_a_time_share_one_traversal(grape: SimpleNamespace) -> None:
    clients = [grape.client() for _ in range(4)]
    clients[0].send(post("/lookup", "svc"))
    clients[1].send(post("/lookup", "svc", "Connection: close\r\n"))
    clients[2].send(post("/lookup", "svc").replace(b"POST", b"HEAD"))
    clients[3].send(post("/lookup", "other"))
    assert grape.dht.calls == [("lookup", b"svc"), ("lookup", b"other")]
    grape.dht.pending[0].callback(["10.0.0.1:5"])
    late = grape.client().send(post("/lookup", "svc"))
    assert len(grape.dht.calls) == 2, "it came in the turn that the traversal ended in"
    grape.clock.advance(0)
    assert late.received() == clients[0].received() == ok('["10.0.0.1:5"]')
    assert clients[1].received() == ok('["10.0.0.1:5"]', CLOSED)
    assert clients[2].received() == f"HTTP/1.1 200 OK\r\n{KEPT}\r\n"
    assert clients[3].received() == ""
    clients[0].send(post("/lookup", "svc"))
    assert grape.dht.calls[2:] == [("lookup", b"svc")], "an answer was kept beyond its traversal"


def test_a_client_that_left_gets_nothing_and_disturbs_nobody(grape: SimpleNamespace) -> None:
    gone, stays = grape.client(), grape.client()
    gone.send(post("/lookup", "svc"))
    stays.send(post("/lookup", "svc"))
    gone.disconnect()
    grape.dht.pending[0].callback([])
    grape.clock.advance(0)
    assert gone.received() == ""
    assert stays.received() == ok("[]")
    assert grape.site.clients.connections == {stays.connection}


def test_pages_have_a_content_type_and_only_get_finds_them(grape: SimpleNamespace) -> None:
    client = grape.client().send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.received() == (
        f"HTTP/1.1 503 Service Unavailable\r\n{KEPT}Content-Type: application/json\r\n"
        "Content-Length: 3\r\n\r\n{}\n"
    )
    client.send(post("/health", "x"))
    assert client.received() == ok('"ERR_REQ_NOTFOUND"')


def test_the_page_is_for_browsers_and_others_get_what_they_always_got(
    grape: SimpleNamespace,
) -> None:
    asks = "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n"
    client = grape.client()
    for _ in range(2):  # the second time the head is one that the grape has seen
        client.send(asks.format("Accept: text/html,*/*;q=0.8\r\n").encode())
        assert client.received().endswith("\r\n\r\n<h1>")
        for accept in ("", "Accept: */*\r\n"):
            client.send(asks.format(accept).encode())
            assert client.received().startswith("HTTP/1.1 500 ")


# -- the transport protocol


@given(st.lists(st.integers(1, 400), max_size=8))
def test_how_the_bytes_are_cut_into_segments_does_not_matter(cuts: list[int]) -> None:
    grape = make_grape()
    client = grape.client()
    stream = (
        ERROR_REQUEST + b"POST /lookup HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'b\r\n{"data":"",\r\n7;x=y\r\n"rid":1\r\n1\r\n}\r\n0\r\nTrailer: t\r\n\r\n'
        + b"HEAD /nope HTTP/1.1\r\nHost: a\r\n\r\n"
        + post("/nope", 1)
    )
    position = 0
    for cut in [*cuts, len(stream)]:
        if position < len(stream):
            client.send(stream[position : position + cut])
        position += cut
    assert client.received() == (
        ERROR_ANSWER
        + ERROR_ANSWER
        + f"HTTP/1.1 500 Internal Server Error\r\n{KEPT}\r\n"
        + ok('"ERR_REQ_NOTFOUND"')
    )


KNOWN = [
    ERROR_REQUEST,
    post("/lookup", "svc"),
    post("/lookup", "svc", "Connection: close\r\n"),
    post("/lookup", "svc", "Expect: 100-continue\r\n"),
    post("/lookup", "svc", "Expect: nothing\r\n"),
    post("/lookup", "svc", version="1.0"),
    post("/announce", ["svc", 1]),
    post("/announce", "x" * 9000),
    b"\r\n" + ERROR_REQUEST,
    ERROR_REQUEST + b"\r\n",
    ERROR_REQUEST + ERROR_REQUEST,
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"POST /lookup HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n[]\r\n0\r\nTrailer: t\r\n\r\n",
    b"POST /nope HTTP/1.1\r\nHost: a\r\n\r\n",
    b"nonsense\r\n\r\n",
]


@given(st.lists(st.lists(st.sampled_from(KNOWN), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_head_seen_before_means_the_same_again(clients: list[list[bytes]]) -> None:
    """Segment by segment, heads may be remembered; a byte at a time, all is parsed."""
    whole, bytewise = make_grape(), make_grape()
    for pieces in clients:
        answers = []
        for grape, segments in (
            (whole, pieces),
            (bytewise, [bytes([each]) for piece in pieces for each in piece]),
        ):
            client = grape.client()
            for segment in segments:
                client.send(segment)
                for deferred in grape.dht.pending:
                    deferred.callback([] if grape.dht.calls[-1][0] == "lookup" else 1)
                grape.dht.pending.clear()
            answers.append((client.received(), client.left))
        assert answers[0] == answers[1]
    assert not bytewise.site.known_heads


def test_a_refused_head_is_not_taken_for_the_request_before_it(grape: SimpleNamespace) -> None:
    asking = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    nameless = b"GET /health HTTP/1.1\r\n\r\n"
    grape.client().send(asking[:9], asking[9:], nameless)
    assert grape.client().send(nameless).received() == BAD_REQUEST


def test_heads_are_remembered_up_to_a_number_and_a_length(grape: SimpleNamespace) -> None:
    client = grape.client()
    for number in range(KNOWN_HEADS_MAX + 5):
        client.send(post("/lookup", "", f"X-Number: {number}\r\n"))
    client.send(post("/lookup", "", f"X-Long: {'x' * KNOWN_HEAD_BYTES_MAX}\r\n"))
    assert client.received() == ERROR_ANSWER * (KNOWN_HEADS_MAX + 6)
    assert len(grape.site.known_heads) == KNOWN_HEADS_MAX
    assert not any(b"X-Number: 4\r\n" in head for head in grape.site.known_heads)
    assert not any(b"X-Long" in head for head in grape.site.known_heads)


def test_one_byte_at_a_time(grape: SimpleNamespace) -> None:
    client = grape.client().send(*(bytes([each]) for each in ERROR_REQUEST))
    assert client.received() == ERROR_ANSWER


def test_pipelined_requests_are_answered_in_order(grape: SimpleNamespace) -> None:
    client = grape.client()
    client.send(post("/lookup", "slow") + ERROR_REQUEST + post("/announce", ["x", 1]))
    assert client.received() == ""
    grape.dht.pending[0].callback([])
    assert client.received() == ok("[]") + ERROR_ANSWER
    grape.dht.pending[1].callback(2)
    assert client.received() == ok("2")


def test_reading_pauses_while_too_much_is_pipelined() -> None:
    grape = make_grape(pipelined_max=4)
    client = grape.client().send(post("/lookup", "slow"))
    for _ in range(3):
        client.send(ERROR_REQUEST)
    assert client.transport.producerState == "producing"
    client.send(ERROR_REQUEST)
    assert client.transport.producerState == "paused"
    grape.dht.pending[0].callback([])
    assert client.received() == ok("[]") + 4 * ERROR_ANSWER
    assert client.transport.producerState == "producing"


def test_nothing_is_worked_on_while_an_answer_is_not_taken(grape: SimpleNamespace) -> None:
    client = grape.client()
    client.connection.pauseProducing()
    client.send(post("/lookup", "svc"))
    assert grape.dht.calls == []
    client.connection.resumeProducing()
    assert grape.dht.calls == [("lookup", b"svc")]


@pytest.mark.parametrize("headers", ["", "Connection: keep-alive\r\n"])
def test_http_1_0_is_answered_without_a_length_and_closed(
    grape: SimpleNamespace, headers: str
) -> None:
    client = grape.client().send(post("/lookup", "", headers, "1.0"))
    assert client.received() == f'HTTP/1.1 200 OK\r\n{CLOSED}\r\n"ERR_GRAPE_LOOKUP"'
    assert client.left


def test_connection_close_is_honoured_and_what_follows_it_is_dropped(
    grape: SimpleNamespace,
) -> None:
    client = grape.client()
    client.send(post("/lookup", "", "Connection: close\r\n") + ERROR_REQUEST)
    assert client.received() == ok('"ERR_GRAPE_LOOKUP"', CLOSED)
    assert client.left


def test_expect_100_continue_is_met_before_the_body(grape: SimpleNamespace) -> None:
    head, _, body = post("/lookup", "", "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    client = grape.client().send(head + b"\r\n\r\n")
    assert client.received() == "HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body)
    assert client.received() == ERROR_ANSWER


def test_an_interim_answer_never_follows_the_last_one(grape: SimpleNamespace) -> None:
    refused = post("/lookup", "", "Expect: gold\r\n")
    client = grape.client().send(refused + post("/lookup", "", "Expect: 100-continue\r\n"))
    assert client.received() == "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\n\r\n"


def test_an_interim_answer_never_comes_between_two_others(grape: SimpleNamespace) -> None:
    client = grape.client().send(post("/lookup", "slow"))
    head, _, body = post("/lookup", "", "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.received() == ""
    grape.dht.pending[0].callback([])
    client.send(body)
    assert client.received() == ok("[]") + ERROR_ANSWER


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"HELLO\r\n\r\n", BAD_REQUEST),
        (b"FOO /lookup HTTP/1.1\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"post /lookup HTTP/1.1\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"POST lookup HTTP/1.1\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"POST /lookup HTTP/1.1\r\n\r\n", BAD_REQUEST),
        (b"POST /lookup HTTP/1.1\nHost: a\n\n", BAD_REQUEST),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", BAD_REQUEST),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            BAD_REQUEST,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: gold\r\n\r\n",
            "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "HTTP/1.1 501 Not Implemented\r\nConnection: close\r\n\r\n"
            "this server upgrades to nothing",
        ),
        (
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 501 Not Implemented\r\nConnection: close\r\n\r\n"
            "this server upgrades to nothing",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 17_000 + b"\r\n\r\n",
            "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n",
        ),
    ],
)
def test_what_is_no_request_is_refused_after_the_answers_before_it(
    grape: SimpleNamespace, request_: bytes, answer: str
) -> None:
    client = grape.client().send(ERROR_REQUEST + request_ + ERROR_REQUEST)
    assert client.received() == ERROR_ANSWER + answer
    assert client.left
    client.send(ERROR_REQUEST)
    assert client.received() == ""


# -- limits


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("length", [100, 101, 5000])
def test_the_payload_limit_is_exact_and_keeps_the_connection(chunked: bool, length: int) -> None:
    grape = make_grape(payload_bytes_max=100)
    client = grape.client()
    body = b'{"data":"' + b"x" * (length - 11) + b'"}'
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (length, body)
    else:
        framed = b"Content-Length: %d\r\n\r\n%b" % (length, body)
    client.send(b"POST /nope HTTP/1.1\r\nHost: a\r\n" + framed)
    if length <= 100:
        assert client.received() == ok('"ERR_REQ_NOTFOUND"')
    else:
        assert client.received() == (
            f"HTTP/1.1 413 Payload Too Large\r\n{KEPT}Content-Length: 22\r\n\r\n"
            "ERR_GRAPE_PAYLOAD_SIZE"
        )
    client.send(ERROR_REQUEST)
    assert client.received() == ERROR_ANSWER


def test_too_large_a_body_is_refused_before_it_is_sent(grape: SimpleNamespace) -> None:
    client = grape.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nxxx")
    assert client.received().startswith("HTTP/1.1 413 ")
    assert not client.left
    client = grape.client()
    client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n"
    )
    assert client.received() == (
        "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\n\r\nERR_GRAPE_PAYLOAD_SIZE"
    )
    assert client.left, "whether the body still comes is unknown, so nothing can follow it"


def test_a_body_too_large_to_wait_for_ends_the_connection(grape: SimpleNamespace) -> None:
    client = grape.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % 2**33)
    assert client.received().endswith("ERR_GRAPE_PAYLOAD_SIZE")
    assert client.left


def test_a_refusal_inside_a_body_already_refused_adds_no_second_answer(
    grape: SimpleNamespace,
) -> None:
    client = grape.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
    assert client.received().startswith("HTTP/1.1 413 ")
    client.send(b"nonsense\r\n")
    assert client.received() == ""
    assert client.left


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_what_never_ends_is_cut_off(grape: SimpleNamespace, start: bytes) -> None:
    client = grape.client().send(start)
    filler = b"x: y\r\n" * 100 if start.endswith(b"\n") else b"x" * 1000
    for _ in range(2 * DROPPED_BYTES_MAX // 1000):
        client.send(filler)
        if client.left:
            break
    assert client.left
    assert client.received().split()[1] in ("431", "413", "400")


def test_one_connection_too_many_is_told_so() -> None:
    grape = make_grape(connections_max=2)
    first, second, third = (grape.client() for _ in range(3))
    assert third.received() == (
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\ntoo many connections"
    )
    assert third.left
    assert grape.site.clients.refused == 1
    third.disconnect()
    first.disconnect()
    fourth = grape.client().send(ERROR_REQUEST)
    assert fourth.received() == ERROR_ANSWER
    assert second.send(ERROR_REQUEST).received() == ERROR_ANSWER


# -- time


@pytest.mark.parametrize(
    ("hosts", "counted_as_one"),
    [
        (["10.0.0.1", "10.0.0.1"], True),
        (["10.0.0.1", "::ffff:10.0.0.1"], True),
        (["2001:db8::1", "2001:db8::2:1"], True),
        (["fe80::1%eth0", "fe80::2"], True),
        (["10.0.0.1", "10.0.0.2"], False),
        (["2001:db8::1", "2001:db8:0:1::1"], False),
    ],
)
def test_one_address_may_ask_only_so_much_a_second(hosts: list[str], counted_as_one: bool) -> None:
    grape = make_grape(requests_a_second_max=3)
    clients = [Client(grape.site, grape.clock, IPv4Address("TCP", host, 1)) for host in hosts]
    refused = f"HTTP/1.1 429 Too Many Requests\r\n{KEPT}Content-Length: 14\r\n\r\nERR_GRAPE_RATE"
    assert clients[0].send(*[ERROR_REQUEST] * 4).received() == 3 * ERROR_ANSWER + refused
    assert clients[1].send(ERROR_REQUEST).received() == (
        refused if counted_as_one else ERROR_ANSWER
    )
    assert clients[0].send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").received().endswith("{}\n")
    grape.clock.advance(1)
    clients[0].send(ERROR_REQUEST)
    assert clients[0].received().startswith("HTTP/1.1 200 "), "the next second has begun"


@pytest.mark.parametrize(
    "address",
    [
        HERE,
        IPv6Address("TCP", "::1", 1),
        IPv6Address("TCP", "::ffff:127.0.0.2", 1),
        UNIXAddress(None),
        None,
    ],
)
def test_this_machine_may_ask_as_much_as_it_likes(address: object) -> None:
    grape = make_grape(requests_a_second_max=3)
    client = Client(grape.site, grape.clock, address)
    assert client.send(*[ERROR_REQUEST] * 10).received() == ERROR_ANSWER * 10


def test_0_requests_a_second_is_no_limit() -> None:
    grape = make_grape(requests_a_second_max=0)
    client = Client(grape.site, grape.clock, IPv4Address("TCP", "10.0.0.1", 1))
    assert client.send(*[ERROR_REQUEST] * 10).received() == ERROR_ANSWER * 10


def test_an_idle_connection_is_closed(grape: SimpleNamespace) -> None:
    client = grape.client().send(ERROR_REQUEST)
    grape.clock.pump([1] * 5)
    assert not client.left
    grape.clock.pump([1] * 2)
    assert client.left
    client.disconnect()
    grape.clock.pump([1] * 2)
    assert grape.clock.getDelayedCalls() == [], "the timer outlives the last client"


def test_a_client_that_says_nothing_is_closed(grape: SimpleNamespace) -> None:
    client = grape.client()
    grape.clock.pump([1] * 11)
    assert client.left
    assert client.received() == ""


@pytest.mark.parametrize(
    "start", [b"P", ERROR_REQUEST[:30], ERROR_REQUEST[:-1], ERROR_REQUEST + b"POST"]
)
def test_a_request_that_trickles_in_is_given_up_after_its_deadline(
    grape: SimpleNamespace, start: bytes
) -> None:
    client = grape.client().send(start)
    client.received()
    grape.clock.pump([1] * 9)
    assert not client.left
    grape.clock.pump([1] * 2)
    assert client.received() == "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
    assert client.left


def test_a_refused_client_that_stays_is_cut_off(grape: SimpleNamespace) -> None:
    client = grape.client().send(b"HELLO\r\n\r\n")
    assert not client.transport.disconnected
    grape.clock.pump([1] * 8)
    assert client.transport.disconnected


def test_an_answer_that_is_not_taken_ends_the_connection(grape: SimpleNamespace) -> None:
    client = grape.client().send(ERROR_REQUEST)
    client.connection.pauseProducing()
    grape.clock.pump([1] * 8)
    assert client.transport.disconnected


def test_a_dht_that_never_answers_does_not_hang_the_client(grape: SimpleNamespace) -> None:
    client = grape.client().send(post("/lookup", "svc") + ERROR_REQUEST)
    grape.clock.pump([1] * 11)
    assert client.received() == (
        f"HTTP/1.1 504 Gateway Timeout\r\n{CLOSED}Content-Length: 17\r\n\r\nERR_GRAPE_TIMEOUT"
    ).replace("00:00:00", "00:00:10")
    assert client.left
    grape.dht.pending[0].callback([])
    assert client.received() == ""


def test_the_date_is_renewed(grape: SimpleNamespace) -> None:
    client = grape.client()
    for second in range(3):
        client.send(ERROR_REQUEST)
        assert f"00:00:0{second} GMT" in client.received()
        grape.clock.advance(1)


# -- half-open, and stopping


def test_a_client_that_half_closes_still_gets_its_answers(grape: SimpleNamespace) -> None:
    client = grape.client().send(post("/lookup", "svc") + ERROR_REQUEST)
    client.connection.readConnectionLost()
    assert not client.left
    grape.dht.pending[0].callback([])
    assert client.received() == ok("[]") + ERROR_ANSWER
    assert client.left


def test_half_closing_inside_a_request_is_a_bad_request(grape: SimpleNamespace) -> None:
    client = grape.client().send(ERROR_REQUEST[:-5])
    client.connection.readConnectionLost()
    assert client.received() == BAD_REQUEST
    assert client.left


def test_half_closing_when_all_is_answered_closes(grape: SimpleNamespace) -> None:
    client = grape.client().send(ERROR_REQUEST)
    client.connection.readConnectionLost()
    assert client.left


def test_stopping_answers_what_is_asked_and_sends_the_rest_away(grape: SimpleNamespace) -> None:
    busy, idle = grape.client(), grape.client()
    busy.send(post("/lookup", "svc") + ERROR_REQUEST)
    gone = []
    grape.site.clients.finish().addCallback(gone.append)
    assert idle.left
    assert not busy.left
    grape.dht.pending[0].callback([])
    assert busy.received() == ok("[]", CLOSED)
    assert busy.left
    late = grape.client()
    assert "503 Service Unavailable" in late.received()
    assert gone == []
    for client in (busy, idle, late):
        client.disconnect()
    assert gone == [None]
    assert grape.clock.getDelayedCalls() == []


def test_stopping_does_not_wait_for_ever(grape: SimpleNamespace) -> None:
    busy = grape.client().send(post("/lookup", "svc"))
    stopping = grape.site.clients.finish()
    stopping.addErrback(lambda _: None)
    stopping.cancel()
    assert busy.transport.disconnected
    busy.disconnect()


def test_requests_and_statuses_are_counted(grape: SimpleNamespace) -> None:
    client = grape.client().send(ERROR_REQUEST, post("/lookup", "a"))
    grape.dht.pending[0].callback([])
    client.send(b"HELLO\r\n\r\n")
    assert grape.site.requests == {"invalid": 1, "lookup": 1}
    assert grape.site.clients.statuses == {200: 2, 400: 1}


def test_the_connection_is_a_half_closeable_producer() -> None:
    from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
    from zope.interface.verify import verifyObject

    connection = make_grape().site.buildProtocol(HERE)
    assert verifyObject(IHalfCloseableProtocol, connection)
    assert verifyObject(IPullProducer, connection)


@pytest.mark.parametrize(
    "headers",
    [
        b"Host: 127.0.0.1:30001\r\nOrigin: http://evil.example\r\n",
        b"Host: evil.example:30001\r\n",  # its name points to 127.0.0.1
        b"Host: evil.example:30001\r\nOrigin: http://evil.example:30001\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/announce", b"/lookup", b"/put", b"/health", b"/metrics"])
def test_pages_from_elsewhere_are_refused_before_the_dht_is_asked(
    headers: bytes, path: bytes
) -> None:
    grape = make_grape()
    body = b'{"rid":"r","data":"svc"}'
    asking = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (path, headers, len(body))
    for _ in range(2):  # the second time from what is remembered of heads
        client = grape.client().send(asking + body)
        assert client.received().startswith("HTTP/1.1 403 Forbidden\r\n")
        assert client.left
    assert not grape.site.requests


def test_a_name_that_the_operator_gave_is_served() -> None:
    client = make_grape(api_names=frozenset({"grape.example"})).client()
    client.send(b"POST /nope HTTP/1.1\r\nHost: grape.example:30001\r\n\r\n")
    assert "HTTP/1.1 403" not in client.received()
