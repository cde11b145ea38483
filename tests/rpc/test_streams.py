"""Byte streams and secure mode over loopback."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.threads import deferToThread

from grenache_py.errors import LocalProtocolError
from grenache_py.rpc import (
    BadFrame,
    PeerLost,
    PeerUnreachable,
    RequestTimedOut,
    RPCFailure,
    RPCServer,
    ServerLimits,
    ServerStream,
)
from tests.rpc.test_services import Network, dead_address, echo, raw_exchange, until, wait
from tests.support.certificates import self_signed

pytestmark = pytest.mark.network


@pytest.fixture
def network():
    network = Network()
    yield network
    pytest_twisted.blockon(Deferred.fromCoroutine(network.stop()))


async def upper(stream: ServerStream) -> None:
    """Answer with the body in capitals, while it is still arriving."""
    while chunk := await stream.read():
        await stream.write(chunk.upper())


@pytest_twisted.ensureDeferred
async def test_bytes_flow_both_ways_at_once(network) -> None:
    await network.server(echo, "http", stream_handler=upper)
    client = network.client("http")
    stream = await client.stream("svc", action="shout")
    await stream.write(b"hello ")
    assert await stream.read() == b"HELLO "
    await stream.write(b"world")
    stream.finish()
    assert await stream.read_all(1000) == b"WORLD"
    assert stream.status == 200
    assert await client.request("svc", 1) == {"echo": 1}, "requests are answered beside streams"


@pytest_twisted.ensureDeferred
async def test_aborting_a_stream_that_has_ended_hurts_no_other(network) -> None:
    async def slow(request: Any) -> Any:
        await wait(0.05)
        return request.payload

    await network.server(slow, "http", stream_handler=upper)
    client = network.client("http")
    stream = await client.stream("svc")
    stream.finish()
    assert await stream.read() == b""
    asking = client.request("svc", 1)  # on the connection that the stream had
    stream.abort()
    assert await asking == 1


@pytest_twisted.ensureDeferred
async def test_what_the_handler_is_told(network) -> None:
    told: list[ServerStream] = []

    async def handler(stream: ServerStream) -> None:
        told.append(stream)
        await stream.write(str(len(await stream.read_all(10**6))).encode())

    await network.server(echo, "http", stream_handler=handler)
    client = network.client("http")
    stream = await client.stream(
        "svc", action="act", args={"foo": "bar"}, headers={"content-type": "text/plain", "n": [1]}
    )
    stream.finish()
    assert await stream.read_all(1000) == b"0"
    assert (told[0].key, told[0].action, told[0].args) == ("svc", "act", {"foo": "bar"})
    assert told[0].headers["content-type"] == "text/plain"
    assert told[0].headers["n"] == "[1]"
    again = await client.stream("svc", args='te"xt')
    again.finish()
    assert await again.read_all(1000) == b"0"
    assert (told[1].action, told[1].args) == (None, 'te"xt')
    assert len(client._http._connections) == 1, "the connection was used again"


@pytest_twisted.ensureDeferred
async def test_megabytes_go_through_with_little_in_memory(network) -> None:
    await network.server(echo, "http", stream_handler=upper)
    stream = await network.client("http").stream("svc")
    total, chunk = 16_000_000, b"x" * 100_000

    async def write_all() -> None:
        for _ in range(total // len(chunk)):
            await stream.write(chunk)
        stream.finish()

    writing = Deferred.fromCoroutine(write_all())
    await wait(0.2)
    assert not writing.called, "nobody reads the answer, so the writer has to wait"
    size = 0
    while data := await stream.read():
        size += len(data)
    await writing
    assert size == total


@pytest_twisted.ensureDeferred
async def test_streams_and_requests_on_one_connection_keep_apart_and_in_order(network) -> None:
    gate: Deferred[None] = Deferred()
    waited: list[bool] = []

    async def slow(request: Any) -> Any:
        await gate
        return request.payload

    async def handler(stream: ServerStream) -> None:
        body = await stream.read_all(1000)
        writing = stream.write(body)
        waited.append(not writing.called)
        await writing
        await stream.write(b"!")

    server = await network.server(slow, "http", stream_handler=handler)
    request = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n["%d","k",0]'
    stream = (
        b'POST / HTTP/1.1\r\nHost: x\r\n_gr: ["r","k"]\r\nTransfer-Encoding: chunked\r\n\r\n'
        b"3\r\none\r\n0\r\n\r\n"
    )
    sent = request % 1 + stream + request % 2 + stream.replace(b"one", b"two")
    exchange = deferToThread(raw_exchange, server.port, sent)
    await until(lambda: len(waited) == 2)
    assert waited == [True, True], "it is not their turn yet"
    gate.callback(None)
    answer = await exchange
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    chunks = b"3\r\n%b\r\n1\r\n!\r\n0\r\n\r\n"
    assert bodies == [b'["1",null,0]', chunks % b"one", b'["2",null,0]', chunks % b"two"]


@pytest_twisted.ensureDeferred
async def test_a_server_without_a_stream_handler_reads_a_stream_as_a_request(network) -> None:
    await network.server(echo, "http")
    stream = await network.client("http").stream("svc")
    await stream.write(b'["x","y",')
    await stream.write(b"[1,2]]")
    stream.finish()
    answer = await stream.read_all(1000)
    assert answer.endswith(b',null,{"echo":[1,2]}]')
    assert not answer.startswith(b'["x"'), "the id in the header counts, as with Node"


@pytest_twisted.ensureDeferred
async def test_a_handler_that_fails_says_so(network, logged_failures) -> None:
    async def handler(stream: ServerStream) -> None:
        if stream.action == "refuse":
            raise RPCFailure("no such file")
        if stream.action == "late":
            await stream.write(b"beginning")
        raise ZeroDivisionError

    await network.server(echo, "http", stream_handler=handler)
    client = network.client("http")
    for action, text in [("refuse", b"no such file"), ("crash", b"ERR_INTERNAL")]:
        stream = await client.stream("svc", action=action)
        assert text in await stream.read_all(1000)
        assert stream.status == 500
    stream = await client.stream("svc", action="late")
    with pytest.raises(PeerLost):
        await stream.read_all(1000)
    assert len(logged_failures.flush(ZeroDivisionError)) == 2


@pytest_twisted.ensureDeferred
async def test_a_lost_caller_ends_the_handlers_wait(network) -> None:
    ended: list[Any] = []

    async def handler(stream: ServerStream) -> None:
        try:
            await stream.read()
        except PeerLost as error:
            ended.append(error)
            raise

    await network.server(echo, "http", stream_handler=handler)
    stream = await network.client("http").stream("svc")
    await stream.write(b"")
    await wait(0.05)
    stream.abort()
    await until(lambda: len(ended) == 1)
    with pytest.raises(PeerLost):
        await stream.read()
    with pytest.raises(PeerLost):
        await stream.write(b"x")


@pytest_twisted.ensureDeferred
async def test_a_download_may_take_long_but_not_stand_still(network) -> None:
    limits = ServerLimits(idle_timeout_s=0.3)

    async def drip(stream: ServerStream) -> None:
        while True:
            await stream.write(b".")
            await wait(0.05)

    server = await network.server(echo, "http", stream_handler=drip, limits=limits)
    stream = await network.client("http").stream("svc")
    stream.finish()
    [connection] = server._factory.connections
    for _ in range(12):
        assert await stream.read()
        connection.sweep(reactor.seconds())
    connection.sweep(reactor.seconds() + 0.4)
    with pytest.raises(PeerLost):
        while True:
            await stream.read()


@pytest_twisted.ensureDeferred
async def test_streams_that_cannot_be_opened(network) -> None:
    address = dead_address()
    network.announce(address)
    client = network.client("http")
    with pytest.raises(PeerUnreachable, match=address):
        await client.stream("svc")
    with pytest.raises(LocalProtocolError, match="HTTP"):
        await network.client("ws").stream("svc")
    with pytest.raises(LocalProtocolError, match="HTTP"):
        RPCServer(network.link, "svc", echo, reactor, transport="ws", stream_handler=upper)
    network.grapes.silent = {"grape"}
    with pytest.raises(RequestTimedOut, match="opening a stream to other"):
        await client.stream("other", timeout_s=0.05)


@pytest_twisted.ensureDeferred
async def test_headers_cannot_smuggle(network) -> None:
    await network.server(echo, "http")
    with pytest.raises(BadFrame, match="cannot be a header"):
        await network.client("http").stream("svc", headers={"x": "1\r\nEvil: yes"})


@pytest_twisted.ensureDeferred
async def test_more_than_the_reader_allows_is_refused(network) -> None:
    await network.server(echo, "http", stream_handler=upper)
    stream = await network.client("http").stream("svc")
    await stream.write(b"x" * 2000)
    stream.finish()
    with pytest.raises(BadFrame, match="1000 bytes"):
        await stream.read_all(1000)
    stream.abort()


@pytest_twisted.ensureDeferred
async def test_chunks_that_are_none_are_answered_with_the_reason(network) -> None:
    server = await network.server(echo, "http", stream_handler=upper)
    sent = (
        b'POST / HTTP/1.1\r\nHost: x\r\n_gr: ["r","k"]\r\nTransfer-Encoding: chunked\r\n\r\n'
        b"nonsense\r\n"
    )
    answer = await deferToThread(raw_exchange, server.port, sent)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'["r","ERR_REQUEST_INVALID: not HTTP: ' in answer


# secure mode


def certificate(name: str) -> PrivateCertificate:
    return PrivateCertificate.loadPEM(b"".join(self_signed(name)))


# Twisted hands pyOpenSSL its own objects, which pyOpenSSL would rather not have any more.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")
@pytest.mark.parametrize("transport", ["http", "ws"])
@pytest_twisted.ensureDeferred
async def test_secure_mode(network, transport) -> None:
    server_certificate, client_certificate = certificate("peer.test"), certificate("client.test")
    seen: list[Any] = []

    def handler(request: Any) -> Any:
        seen.append(request.certificate)
        return request.payload

    options = server_certificate.options(Certificate(client_certificate.original))
    server = RPCServer(
        network.link,
        "svc",
        handler,
        reactor,
        endpoint=SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1"),
        transport=transport,
        limits=ServerLimits(stop_grace_s=0.5),
    )
    await server.start()
    await server.when_announced()
    network._stop.append(server.stop)
    root = Certificate(server_certificate.original)

    def tls(host: str) -> Any:
        assert host == "127.0.0.1"
        return optionsForClientTLS(
            "peer.test", trustRoot=root, clientCertificate=client_certificate
        )

    client = network.client(transport, tls=tls)
    assert await client.request("svc", [1, "x" * 100_000]) == [1, "x" * 100_000]
    assert await client.request("svc", 2) == 2
    assert seen[0].subject.rfc4514_string() == "CN=client.test"
    wrong = network.client(
        transport, tls=lambda _: optionsForClientTLS("other.test", trustRoot=root)
    )
    with pytest.raises((PeerUnreachable, PeerLost)):
        await wrong.request("svc", 1, timeout_s=3)
    plain = network.client(transport)
    with pytest.raises((PeerUnreachable, PeerLost, BadFrame)):
        await plain.request("svc", 1, timeout_s=3)
