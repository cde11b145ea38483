"""Servers, clients, publishers and subscribers over loopback, with grapes in memory."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from grenache_py.deferreds import deadline
from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.link.client import Link
from grenache_py.rpc import (
    BadFrame,
    Methods,
    NoPeerFound,
    NotSendable,
    PeerLost,
    PeerUnreachable,
    Publisher,
    RequestTimedOut,
    RPCClient,
    RPCFailure,
    RPCServer,
    ServerLimits,
    Subscriber,
    TooManyRequests,
)
from tests.support.fake_grape import FakeGrapes

pytestmark = pytest.mark.network
LOOPBACK = "tcp:0:interface=127.0.0.1"
both = pytest.mark.parametrize("transport", ["http", "ws"])


class Network:
    """One Link to grapes in memory, and everything that was started on it."""

    def __init__(self) -> None:
        self.grapes = FakeGrapes()
        self.link = Link("http://grape:1", reactor, http=self.grapes)
        self._stop: list[Callable[[], Any]] = []

    async def server(self, handler: Any, transport: Any, name: str = "svc", **options: Any):
        server = RPCServer(
            self.link, name, handler, reactor, endpoint=LOOPBACK, transport=transport, **options
        )
        await server.start()
        await server.when_announced()
        self._stop.append(server.stop)
        return server

    def client(self, transport: Any, **options: Any) -> RPCClient:
        options.setdefault("timeout_s", 5.0)
        client = RPCClient(self.link, reactor, transport=transport, **options)
        self._stop.append(client.close)
        return client

    async def publisher(self, name: str = "feed", **options: Any) -> Publisher:
        publisher = Publisher(self.link, name, reactor, endpoint=LOOPBACK, **options)
        await publisher.start()
        await publisher.when_announced()
        self._stop.append(publisher.stop)
        return publisher

    def subscriber(self, heard: list[Any], name: str = "feed", **options: Any) -> Subscriber:
        subscriber = Subscriber(self.link, name, heard.append, reactor, **options)
        subscriber.start()
        self._stop.append(subscriber.stop)
        return subscriber

    def announce(self, address: str, name: str = "svc") -> None:
        self.grapes.peers.setdefault(name, []).append(address)
        self.link.forget(name)

    async def stop(self) -> None:
        for stop in reversed(self._stop):
            await deadline(stop(), 10, reactor, "stopping")
        await self.link.close()


@pytest.fixture
def network():
    network = Network()
    yield network
    pytest_twisted.blockon(Deferred.fromCoroutine(network.stop()))


def echo(request: Any) -> Any:
    return {"echo": request.payload}


def dead_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


async def wait(seconds: float) -> None:
    await deferLater(reactor, seconds)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return
        await wait(0.01)
    raise AssertionError("it did not come true in time")


@both
@pytest_twisted.ensureDeferred
async def test_a_request_is_answered(network: Network, transport: str) -> None:
    seen: list[Any] = []
    await network.server(lambda request: seen.append(request) or echo(request), transport)
    client = network.client(transport)
    payload = {"hello": "wörld", "n": [1, 2.5, None, True]}
    assert await client.request("svc", payload) == {"echo": payload}
    assert (seen[0].key, seen[0].payload) == ("svc", payload)
    assert seen[0].peer.startswith("127.0.0.1:")
    assert await client.request("svc", None) == {"echo": None}


@both
@pytest_twisted.ensureDeferred
async def test_handlers_may_be_coroutines_or_return_deferreds(network, transport) -> None:
    async def later(request: Any) -> Any:
        await wait(0.01)
        return request.payload + 1

    await network.server(later, transport)
    await network.server(lambda r: deferLater(reactor, 0.01, lambda: r.payload), transport, "d")
    client = network.client(transport)
    assert await client.request("svc", 1) == 2
    assert await client.request("d", 1) == 1


@both
@pytest_twisted.ensureDeferred
async def test_errors_of_a_handler_reach_the_caller(network, transport, logged_failures) -> None:
    async def handler(request: Any) -> Any:
        if request.payload == "refuse":
            raise RPCFailure("not today", {"retry_after_s": 3})
        if request.payload == "unsendable":
            return object()
        raise ZeroDivisionError("secret detail")

    await network.server(handler, transport)
    client = network.client(transport)
    with pytest.raises(RPCFailure, match="not today") as caught:
        await client.request("svc", "refuse")
    assert caught.value.data == {"retry_after_s": 3}
    with pytest.raises(RPCFailure, match=r"^ERR_INTERNAL$"):
        await client.request("svc", "crash")
    assert len(logged_failures.flush(ZeroDivisionError)) == 1
    with pytest.raises(RPCFailure, match=r"^ERR_REPLY_ENCODING$"):
        await client.request("svc", "unsendable")


@both
@pytest_twisted.ensureDeferred
async def test_many_requests_at_once_find_their_own_answers(network, transport) -> None:
    async def handler(request: Any) -> Any:
        await wait(0.001 * (request.payload % 7))
        return request.payload

    await network.server(handler, transport)
    client = network.client(transport)
    answers = await gatherResults([client.request("svc", n) for n in range(300)])
    assert answers == list(range(300))


@both
@pytest_twisted.ensureDeferred
async def test_nobody_announced(network, transport) -> None:
    with pytest.raises(NoPeerFound, match="nobody is announced as 'svc'"):
        await network.client(transport).request("svc", 1)


@both
@pytest_twisted.ensureDeferred
async def test_dead_addresses_are_passed_over_and_forgotten(network, transport) -> None:
    dead = [dead_address() for _ in range(5)]
    for address in dead:
        network.announce(address)
    await network.server(echo, transport)
    client = network.client(transport)
    for n in range(20):
        assert await client.request("svc", n) == {"echo": n}
    addresses = await network.link.lookup("svc")
    assert len(addresses) < 6, "an address found dead is out of the cache"


@both
@pytest_twisted.ensureDeferred
async def test_only_dead_addresses(network, transport) -> None:
    address = dead_address()
    network.announce(address)
    with pytest.raises(PeerUnreachable, match=f"{address}: connection refused"):
        await network.client(transport).request("svc", 1)


@both
@pytest_twisted.ensureDeferred
async def test_a_new_address_is_looked_up_when_the_known_ones_are_dead(network, transport) -> None:
    network.announce(dead_address())
    await network.link.lookup("svc")  # now cached
    server = await network.server(echo, transport, name="other")
    network.grapes.peers["svc"] = [f"127.0.0.1:{server.port}"]
    assert await network.client(transport).request("svc", 1) == {"echo": 1}


@both
@pytest_twisted.ensureDeferred
async def test_odd_addresses_are_passed_over(network, transport) -> None:
    network.grapes.peers["svc"] = ["127.0.0.1:0", "0.0.0.0:99999"]
    await network.server(echo, transport)
    assert await network.client(transport).request("svc", 1) == {"echo": 1}


@both
@pytest_twisted.ensureDeferred
async def test_time_outs_are_kept_to_the_millisecond(network, transport) -> None:
    await network.server(lambda _: Deferred(), transport, limits=ServerLimits(stop_grace_s=0.1))
    client = network.client(transport)
    begun = reactor.seconds()
    with pytest.raises(RequestTimedOut, match=r"no answer to 'svc' from 127.0.0.1:\d+ in 0.05 s"):
        await client.request("svc", 1, timeout_s=0.05)
    taken = reactor.seconds() - begun
    assert taken >= 0.05
    assert taken < 1.0, "Node's client would take 10 s"


@both
@pytest_twisted.ensureDeferred
async def test_a_server_that_accepts_and_says_nothing_is_not_asked_again_soon(
    network, transport
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        network.announce(f"127.0.0.1:{silent.getsockname()[1]}")
        await network.server(echo, transport)
        client = network.client(transport, timeout_s=0.2, connect_timeout_s=0.1)
        failures = 0
        for n in range(10):
            try:
                assert await client.request("svc", n) == {"echo": n}
            except RequestTimedOut:
                failures += 1
        assert failures <= 1


@both
@pytest_twisted.ensureDeferred
async def test_retries_go_to_another_peer(network, transport) -> None:
    asked: list[str] = []

    def silent(request: Any) -> Any:
        asked.append("silent")
        return Deferred()

    limits = ServerLimits(stop_grace_s=0.1)
    await network.server(silent, transport, limits=limits)
    await network.server(echo, transport)
    client = network.client(transport, timeout_s=0.1)
    for n in range(6):
        assert await client.request("svc", n, retries=1) == {"echo": n}
    assert len(asked) <= 2


@both
@pytest_twisted.ensureDeferred
async def test_a_lost_connection_is_noticed_at_once_and_not_repeated(network, transport) -> None:
    handled: list[Any] = []
    server: list[Any] = []

    def handler(request: Any) -> Any:
        handled.append(request.rid)
        for connection in server[0]._factory.connections:
            connection.transport.abortConnection()
        return Deferred()

    server.append(await network.server(handler, transport, limits=ServerLimits(stop_grace_s=0.1)))
    with pytest.raises(PeerLost, match=r"the connection to 127.0.0.1:\d+ was lost"):
        await network.client(transport, timeout_s=30).request("svc", 1)
    assert len(handled) == 1
    with pytest.raises(PeerLost):
        await network.client(transport, timeout_s=30).request("svc", 1, retries=2)
    assert len(handled) == 4


@both
@pytest_twisted.ensureDeferred
async def test_a_server_that_restarts_is_found_again(network, transport) -> None:
    client = network.client(transport)
    for n in range(3):
        server = await network.server(echo, transport)
        assert await client.request("svc", n) == {"echo": n}
        await server.stop()


@both
@pytest_twisted.ensureDeferred
async def test_a_stopping_server_finishes_what_it_began(network, transport) -> None:
    async def slow(request: Any) -> str:
        await wait(0.1)
        return "done"

    server = await network.server(slow, transport)
    client = network.client(transport)
    waiting = client.request("svc", 1)
    await until(lambda: len(server._answering._running) == 1)
    await server.stop()
    assert await waiting == "done"


@both
@pytest_twisted.ensureDeferred
async def test_a_handler_has_a_deadline_too(network, transport) -> None:
    cancelled: list[bool] = []
    limits = ServerLimits(handler_timeout_s=0.05)
    await network.server(
        lambda _: Deferred(lambda _: cancelled.append(True)), transport, limits=limits
    )
    with pytest.raises(RPCFailure, match=r"^ERR_TIMEOUT$"):
        await network.client(transport).request("svc", 1)
    assert cancelled == [True]


@both
@pytest_twisted.ensureDeferred
async def test_a_server_says_when_it_is_busy(network, transport) -> None:
    gate: Deferred[None] = Deferred()

    async def handler(request: Any) -> str:
        await gate
        return "ok"

    server = await network.server(handler, transport, limits=ServerLimits(requests_max=1))
    client = network.client(transport)
    first = client.request("svc", 1)
    await until(lambda: len(server._answering._running) == 1)
    with pytest.raises(RPCFailure, match=r"^ERR_BUSY$"):
        await client.request("svc", 2)
    gate.callback(None)
    assert await first == "ok"


@both
@pytest_twisted.ensureDeferred
async def test_map_asks_everybody_and_one_dead_peer_spoils_nothing(network, transport) -> None:
    for n in range(3):
        await network.server(lambda _, n=n: n, transport)
    dead = dead_address()
    network.announce(dead)
    client = network.client(transport)
    outcomes = await client.map("svc", None)
    assert sorted(one.value for one in outcomes if one.error is None) == [0, 1, 2]
    [failed] = [one for one in outcomes if one.error is not None]
    assert failed.address == dead
    assert isinstance(failed.error, PeerUnreachable)
    assert len(await client.map("svc", None, limit=2)) == 2
    with pytest.raises(NoPeerFound):
        await client.map("nobody", None)


@both
@pytest_twisted.ensureDeferred
async def test_cancelling_and_closing_leave_nothing_behind(network, transport) -> None:
    await network.server(lambda _: Deferred(), transport, limits=ServerLimits(stop_grace_s=0.1))
    client = network.client(transport)
    waiting = client.request("svc", 1)
    await wait(0.02)
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    left = client.request("svc", 2)
    await client.close()
    with pytest.raises(CancelledError):
        await left
    with pytest.raises(LocalProtocolError, match="closed"):
        await client.request("svc", 3)


@both
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_sent_is_refused_before(network, transport) -> None:
    client = network.client(transport, requests_max=1)
    with pytest.raises(NotSendable):
        await client.request("svc", object())
    for name in ("", None, ["svc"]):
        with pytest.raises(LocalProtocolError, match="a service name is text"):
            await client.request(name, 1)
    network.grapes.silent = {"grape"}
    waiting = client.request("svc", 1)
    with pytest.raises(TooManyRequests):
        await client.request("svc", 2)
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting


@both
@pytest_twisted.ensureDeferred
async def test_too_large_a_request_fails_readably(network, transport) -> None:
    await network.server(echo, transport, limits=ServerLimits(body_bytes_max=10_000))
    with pytest.raises((RPCFailure, PeerLost)):
        await network.client(transport).request("svc", "x" * 3_000_000)
    assert await network.client(transport).request("svc", 1) == {"echo": 1}


@both
@pytest_twisted.ensureDeferred
async def test_too_large_a_reply_is_refused(network, transport) -> None:
    await network.server(lambda _: "x" * 100_000, transport)
    with pytest.raises((BadFrame, PeerLost)):
        await network.client(transport, reply_bytes_max=10_000).request("svc", 1)


@pytest_twisted.ensureDeferred
async def test_compression_goes_both_ways(network) -> None:
    server = await network.server(echo, "http")
    client = network.client("http", compress=True)
    text = "repetition " * 10_000
    assert await client.request("svc", text) == {"echo": text}
    assert server.answered == 1
    with pytest.raises(LocalProtocolError, match="HTTP"):
        RPCClient(network.link, reactor, transport="ws", compress=True)


@pytest_twisted.ensureDeferred
async def test_addresses_that_are_gone_leave_nothing_in_the_client(network) -> None:
    client = network.client("http")
    for _ in range(5):
        network.grapes.peers["svc"] = [dead_address()]
        network.link.forget("svc")
        with pytest.raises(PeerUnreachable):
            await client.request("svc", 1)
    assert client._http._hosts == {}
    server = await network.server(echo, "http", name="other")
    await client.request("other", 1)
    assert len(client._http._hosts) == 1
    await server.stop()
    with pytest.raises(PeerUnreachable):
        await client.request("other", 1)
    assert client._http._hosts == {}


@pytest_twisted.ensureDeferred
async def test_idle_http_connections_are_closed(network) -> None:
    await network.server(echo, "http")
    client = network.client("http")
    await client.request("svc", 1)
    assert len(client._http._connections) == 1
    await until(lambda: len(client._http._connections) == 0, timeout_s=8)
    assert client._http._hosts == {} or await wait(1.1) or client._http._hosts == {}


class Chatter(Protocol):
    """Says one thing to everybody."""

    line = b""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.factory.line)
        if self.factory.hang_up:
            self.transport.loseConnection()


@pytest.mark.parametrize(
    ("line", "hang_up", "problem"),
    [
        (b"SSH-2.0-OpenSSH\r\n", False, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", False, "HTTP 200: a reply is"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", False, "HTTP 502: a reply is"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n["other",null]', False, "another request"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", True, "was lost"),
        (b"", True, "was lost"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_servers_that_make_no_sense(network, line, hang_up, problem) -> None:
    factory = Factory.forProtocol(Chatter)
    factory.line, factory.hang_up = line, hang_up
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    network.announce(f"127.0.0.1:{port.getHost().port}")
    with pytest.raises((BadFrame, PeerLost), match=problem):
        await network.client("http").request("svc", 1)
    with pytest.raises(PeerUnreachable):
        await network.client("ws", connect_timeout_s=0.3).request("svc", 1)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_an_answer_until_the_end_of_the_connection_is_complete(network) -> None:
    class OldServer(Protocol):
        def dataReceived(self, data: bytes) -> None:
            rid = data.split(b'["')[1].split(b'"')[0]
            self.transport.write(b'HTTP/1.0 200 OK\r\n\r\n["%b",null,"old"]' % rid)
            self.transport.loseConnection()

    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        Factory.forProtocol(OldServer)
    )
    network.announce(f"127.0.0.1:{port.getHost().port}")
    assert await network.client("http").request("svc", 1) == "old"
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_used_port_is_one_readable_line(network) -> None:
    server = await network.server(echo, "http")
    again = RPCServer(
        network.link, "svc", echo, reactor, endpoint=f"tcp:{server.port}:interface=127.0.0.1"
    )
    with pytest.raises(ConfigError, match=r"cannot listen on .*in use"):
        await again.start()
    with pytest.raises(ConfigError, match="cannot listen"):
        again.startService()
    with pytest.raises(ConfigError, match="not an endpoint"):
        await RPCServer(network.link, "svc", echo, reactor, endpoint="nonsense:1").start()
    with pytest.raises(LocalProtocolError, match="transport"):
        RPCServer(network.link, "svc", echo, reactor, transport="zmq")  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_server_without_a_link_is_a_server_all_the_same() -> None:
    server = RPCServer(None, [], echo, reactor, endpoint=LOOPBACK)
    port = await server.start()
    assert port == server.port > 0
    await server.stop()
    assert server.port == 0


@pytest_twisted.ensureDeferred
async def test_what_is_refused_is_read_to_the_end_and_then_forgotten(network) -> None:
    limits = ServerLimits(body_bytes_max=1000)
    server = await network.server(echo, "http", limits=limits)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
    answer = await deferToThread(raw_exchange, server.port, head + b"x" * 3_000_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"a body of more than 1000 bytes" in answer
    await until(lambda: len(server._factory.connections) == 0)


def raw_exchange(port: int, request: bytes) -> bytes:
    """Send everything, close our half, and return everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


@both
@pytest_twisted.ensureDeferred
async def test_methods_are_called_as_bitfinexs_workers_are(network, transport) -> None:
    methods = Methods()

    @methods.method
    def add(a: int, b: int = 0) -> int:
        return a + b

    @methods.method
    async def later(value: Any) -> Any:
        await wait(0)
        return value

    with pytest.raises(LocalProtocolError, match="private"):
        methods.method(type(methods).__init__)
    with pytest.raises(LocalProtocolError, match="already"):
        methods.method(add)
    assert repr(methods) == "<Methods add, later>"
    await network.server(methods, transport)
    client = network.client(transport)
    assert await client.call("svc", "add", 1, 2) == 3
    assert await client.call("svc", "later", {"x": 1}) == {"x": 1}
    assert await client.request("svc", {"action": "add", "args": [5]}) == 5
    for wrong in ("__init__", "nothing", "", None):
        with pytest.raises(RPCFailure, match=r"^ERR_API_ACTION_NOTFOUND$"):
            await client.request("svc", {"action": wrong, "args": []})
    with pytest.raises(RPCFailure, match=r"^ERR_API_ACTION_NOTFOUND$"):
        await client.request("svc", ["add", 1])
    with pytest.raises(RPCFailure, match=r"^ERR_ARGS: too many positional arguments$"):
        await client.call("svc", "add", 1, 2, 3)
    with pytest.raises(RPCFailure, match=r"^ERR_ARGS: missing a required argument: 'a'$"):
        await client.request("svc", {"action": "add"})
    with pytest.raises(RPCFailure, match=r"^ERR_ARGS: args is an array$"):
        await client.request("svc", {"action": "add", "args": {"a": 1}})


@pytest_twisted.ensureDeferred
async def test_a_handler_sees_the_headers_as_nodes_does(network) -> None:
    seen: list[Any] = []
    server = await network.server(seen.append, "http")
    body = b'["r","svc",1]'
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Trace: 7\r\n_a: find\r\n_ar: [1, {}]\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for request in (whole, chunks):
        await deferToThread(raw_exchange, server.port, request)
    assert [(one.action, one.args, one.headers["x-trace"]) for one in seen] == [
        ("find", [1, {}], "7"),
        ("find", [1, {}], "7"),
    ]
    assert [one.is_stream for one in seen] == [False, True]
    await network.server(seen.append, "ws", "quick")
    await network.client("ws").request("quick", 1)
    last = seen[-1]
    assert (last.headers, last.action, last.args, last.is_stream) == ({}, None, {}, False)


@pytest_twisted.ensureDeferred
async def test_everything_says_what_it_is(network) -> None:
    server = await network.server(echo, "http")
    publisher = await network.publisher()
    subscriber = network.subscriber([])
    assert repr(subscriber) == "<Subscriber 'feed', not connected>"
    address = await subscriber.when_connected()
    assert repr(subscriber) == f"<Subscriber 'feed', {address}>"
    assert repr(publisher) == f"<Publisher 'feed', port {publisher.port}>"
    assert repr(server) == f"<RPCServer 'svc', port {server.port}>"
    assert repr(network.client("ws")) == "<RPCClient ws, 0 requests in flight>"
    assert repr(network.link) == "<Link http://grape:1, 2 announced>"
    announcement = network.link.announcements[0]
    assert repr(announcement) == f"<Announcement 'svc' port {server.port}, recorded by 1>"
    await server.stop()
    assert repr(server) == "<RPCServer 'svc', not listening>"
    assert repr(announcement) == f"<Announcement 'svc' port {announcement.port}, stopped>"


# publish and subscribe


@pytest_twisted.ensureDeferred
async def test_messages_reach_every_subscriber_as_they_were_sent(network) -> None:
    publisher = await network.publisher()
    heard: list[list[Any]] = [[], [], []]
    for one in heard:
        await network.subscriber(one).when_connected()
    await until(lambda: publisher.subscribers == 3)
    assert publisher.publish("text ✓") == 3
    publisher.publish(b"\x00\xff")
    publisher.publish("")
    await until(lambda: all(len(one) == 3 for one in heard))
    assert heard == [["text ✓", b"\x00\xff", ""]] * 3


@pytest_twisted.ensureDeferred
async def test_what_is_no_message_is_refused(network) -> None:
    publisher = await network.publisher()
    for message in (5, None, {"n": object()}, [float("nan")], "\ud800"):
        with pytest.raises(NotSendable):
            publisher.publish(message)


@pytest_twisted.ensureDeferred
async def test_objects_travel_as_json(network) -> None:
    publisher = await network.publisher()
    heard: list[Any] = []
    await network.subscriber(heard, json=True).when_connected()
    await until(lambda: publisher.subscribers == 1)
    for message in ({"n": 1}, "not JSON", b"\xff", ["x", None], "2.5"):
        publisher.publish(message)
    await until(lambda: len(heard) == 3)
    assert heard == [{"n": 1}, ["x", None], 2.5]


@pytest_twisted.ensureDeferred
async def test_a_subscriber_finds_the_publisher_that_comes_later(network) -> None:
    heard: list[Any] = []
    subscriber = network.subscriber(heard)
    await wait(0.1)
    assert subscriber.address is None
    publisher = await network.publisher()
    assert await subscriber.when_connected() == f"127.0.0.1:{publisher.port}"
    await until(lambda: publisher.subscribers == 1)
    publisher.publish("at last")
    await until(lambda: heard == ["at last"])


@pytest_twisted.ensureDeferred
async def test_a_subscriber_goes_to_another_publisher_when_its_own_is_gone(network) -> None:
    heard: list[Any] = []
    first = await network.publisher()
    subscriber = network.subscriber(heard)
    await subscriber.when_connected()
    await first.stop()
    await until(lambda: subscriber.address is None)
    second = await network.publisher()
    assert await deadline(subscriber.when_connected(), 5, reactor, "reconnecting") == (
        f"127.0.0.1:{second.port}"
    )
    await until(lambda: second.subscribers == 1)
    second.publish("hello again")
    await until(lambda: heard == ["hello again"])


@pytest_twisted.ensureDeferred
async def test_a_message_the_program_chokes_on_does_not_end_the_subscription(
    network, logged_failures
) -> None:
    publisher = await network.publisher()
    heard: list[int] = []
    subscriber = Subscriber(network.link, "feed", lambda m: heard.append(int(m)), reactor)
    subscriber.startService()
    network._stop.append(subscriber.stopService)
    await subscriber.when_connected()
    await until(lambda: publisher.subscribers == 1)
    for message in ("1", "two", "3"):
        publisher.publish(message)
    await until(lambda: heard == [1, 3])
    assert len(logged_failures.flush(ValueError)) == 1


@pytest_twisted.ensureDeferred
async def test_a_subscriber_that_does_not_read_loses_messages_but_hurts_nobody(network) -> None:
    publisher = await network.publisher(queue_messages_max=10)
    heard: list[Any] = []
    await network.subscriber(heard).when_connected()
    with socket.create_connection(("127.0.0.1", publisher.port)) as slow:
        slow.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await until(lambda: publisher.subscribers == 2)
        for _ in range(400):
            publisher.publish(b"x" * 50_000)
            await wait(0)
        await until(lambda: len(heard) == 400)
        assert publisher.dropped > 0
    await until(lambda: publisher.subscribers == 1)


@pytest_twisted.ensureDeferred
async def test_a_subscriber_tries_every_address_before_it_pauses(network) -> None:
    for _ in range(12):  # records of a publisher that was restarted again and again
        network.announce(dead_address(), "feed")
    publisher = await network.publisher()
    heard: list[Any] = []
    subscriber = network.subscriber(heard)
    address = await deadline(subscriber.when_connected(), 2, reactor, "connecting")
    assert address == f"127.0.0.1:{publisher.port}"
    assert subscriber._schedule.failures == 0


@pytest_twisted.ensureDeferred
async def test_who_waits_for_a_connection_of_a_subscriber_that_stops_is_told(network) -> None:
    subscriber = network.subscriber([])
    waiting = subscriber.when_connected()
    await subscriber.stop()
    with pytest.raises(CancelledError):
        await deadline(waiting, 5, reactor, "waiting")


@pytest_twisted.ensureDeferred
async def test_a_subscriber_may_be_stopped_by_who_waited_for_the_connection(network) -> None:
    await network.publisher()
    subscriber = network.subscriber([])
    stopping = subscriber.when_connected().addCallback(lambda _: subscriber.stop())
    await deadline(stopping, 5, reactor, "stopping")
    assert subscriber.address is None
