"""RPC and pub/sub between ours and Node's, in every direction, found through our grapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS

from grenache_py.link import Link
from grenache_py.rpc import (
    PeerLost,
    PeerUnreachable,
    Publisher,
    RPCClient,
    RPCFailure,
    RPCServer,
    ServerLimits,
    ServerStream,
    Subscriber,
)
from tests.interop.node_peer import NodeError, NodePeer
from tests.interop.node_programs import free_port
from tests.support import rings
from tests.support.certificates import self_signed
from tests.support.rings import REACTOR, until

pytestmark = [pytest.mark.interop, pytest.mark.network]
both = pytest.mark.parametrize("transport", ["http", "ws"])
LOOPBACK = "tcp:0:interface=127.0.0.1"


def handler(request: Any) -> Any:
    if request.payload == "boom":
        raise RPCFailure("something went wrong")
    if request.payload == "both":
        raise RPCFailure("partial", {"a": 1})
    if request.payload == "never":
        return Deferred()
    return {"echo": request.payload, "key": request.key}


@asynccontextmanager
async def network(folder: Path, processes: Any) -> AsyncIterator[tuple[Link, NodePeer]]:
    """Our Link and a Node program, on two grapes of ours."""
    async with rings.ring(2, "rpc") as grapes:
        urls = [f"http://127.0.0.1:{grape.api_port}" for grape in grapes]
        link = Link(urls[0], REACTOR)
        try:
            yield link, await NodePeer(folder, processes, urls[1]).started()
        finally:
            await link.close()


@both
@pytest_twisted.ensureDeferred
async def test_a_node_client_of_our_server(node_peers, processes, transport) -> None:
    async with network(node_peers, processes) as (link, node):
        limits = ServerLimits(stop_grace_s=0.1)
        server = RPCServer(
            link, "svc", handler, REACTOR, endpoint=LOOPBACK, transport=transport, limits=limits
        )
        await server.start()
        await server.when_announced()

        async def ask(payload: Any, **opts: Any) -> Any:
            return await node.ask(
                "request", transport=transport, name="svc", payload=payload, opts=opts
            )

        payload = {"hello": "wörld", "n": [1, 2.5, None, True], "big": "x" * 300_000}
        for sent in (payload, "text", 5, None, []):
            assert await ask(sent) == {"echo": sent, "key": "svc"}
        with pytest.raises(NodeError, match=r"^something went wrong$"):
            await ask("boom")
        with pytest.raises(NodeError, match=r"^partial$"):
            await ask("both")
        if transport == "http":
            assert await ask("packed" * 1000, compress=True) == {
                "echo": "packed" * 1000,
                "key": "svc",
            }
            with pytest.raises(NodeError, match=r"TIMEDOUT|TIMEOUT"):
                await ask("never", timeout=300)
        mapped = await node.ask("map", transport=transport, name="svc", payload=1)
        assert mapped == [{"echo": 1, "key": "svc"}]
        await server.stop()


@both
@pytest_twisted.ensureDeferred
async def test_our_client_of_a_node_server(node_peers, processes, transport) -> None:
    async with network(node_peers, processes) as (link, node):
        assert await node.ask("serve", transport=transport, name="svc", port=free_port()) == 1
        client = RPCClient(link, REACTOR, transport=transport)
        payload = {"hello": "wörld", "n": [1, 2.5, None, True], "big": "x" * 300_000}
        for sent in (payload, "text", 5, None, []):
            answer = await client.request("svc", sent)
            assert (answer["echo"], answer["key"]) == (sent, "svc")
        with pytest.raises(RPCFailure, match=r"^something went wrong$"):
            await client.request("svc", "boom")
        with pytest.raises(TimeoutError, match=r"no answer to 'svc' from 127.0.0.1"):
            await client.request("svc", "never", timeout_s=0.2)
        answers = await gatherResults([client.request("svc", n) for n in range(100)])
        assert [one["echo"] for one in answers] == list(range(100))
        [outcome] = await client.map("svc", 1)
        assert outcome.value["echo"] == 1
        if transport == "http":
            packing = RPCClient(link, REACTOR, compress=True)
            assert (await packing.request("svc", "packed" * 1000))["echo"] == "packed" * 1000
            await packing.close()
        node.process.kill()
        node.process.wait()
        with pytest.raises((PeerLost, PeerUnreachable), match=r"127.0.0.1"):
            await client.request("svc", 1)
        await client.close()


@pytest_twisted.ensureDeferred
async def test_streams_both_ways(node_peers, processes) -> None:
    async def upper(stream: ServerStream) -> None:
        await stream.write(f"{stream.key} {stream.action} {stream.args['foo']} ".encode())
        while chunk := await stream.read():
            await stream.write(chunk.upper())

    async with network(node_peers, processes) as (link, node):
        server = RPCServer(link, "ours", handler, REACTOR, endpoint=LOOPBACK, stream_handler=upper)
        await server.start()
        await server.when_announced()
        answer = await node.ask(
            "stream",
            transport="http",
            name="ours",
            action="shout",
            args={"foo": "bar"},
            chunks=["hello ", "world"],
        )
        assert answer == "ours shout bar HELLO WORLD"
        await server.stop()

        port = free_port()
        await node.ask("serve", transport="http", name="theirs", port=port, streams=True)
        client = RPCClient(link, REACTOR)
        stream = await client.stream("theirs", action="shout", args={"foo": "bar"})
        await stream.write(b"hello ")
        await stream.write(b"world")
        stream.finish()
        text = await stream.read_all(1000)
        assert text == b'["theirs","shout",{"foo":"bar"}]HELLO WORLD'
        await client.close()


@pytest_twisted.ensureDeferred
async def test_messages_both_ways(node_peers, processes) -> None:
    async with network(node_peers, processes) as (link, node):
        publisher = Publisher(link, "ours", REACTOR, endpoint=LOOPBACK)
        await publisher.start()
        await publisher.when_announced()
        assert await node.ask("subscribe", name="ours")
        await until(lambda: publisher.subscribers == 1)
        for message in ("text ✓", b"\x01\x02\xff", '{"n":5}'):
            publisher.publish(message)
        for _ in range(100):
            heard_there = await node.ask("heard")
            if len(heard_there) == 3:
                break
        assert heard_there == ["text ✓", [1, 2, 255], '{"n":5}']
        await publisher.stop()

        await node.ask("publish", name="theirs", port=free_port())
        heard: list[Any] = []
        subscriber = Subscriber(link, "theirs", heard.append, REACTOR)
        subscriber.start()
        await subscriber.when_connected()
        await node.ask("publish", text="text ✓")
        await node.ask("publish", binary=[1, 2, 255])
        await until(lambda: len(heard) == 2)
        assert heard == ["text ✓", b"\x01\x02\xff"]
        await subscriber.stop()


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")
@pytest_twisted.ensureDeferred
async def test_secure_mode_both_ways(node_peers, processes, tmp_path) -> None:
    files: dict[str, dict[str, str]] = {}
    pairs = {name: self_signed(f"{name}.test") for name in ("ours", "theirs")}
    for name, (key, certificate) in pairs.items():
        files[name] = {}
        for kind, pem in (("key", key), ("cert", certificate)):
            path = tmp_path / f"{name}-{kind}.pem"
            path.write_bytes(pem)
            files[name][kind] = str(path)
    secure = {**files["theirs"], "ca": files["ours"]["cert"]}
    async with network(node_peers, processes) as (link, node):
        endpoint = "ssl:0:interface=127.0.0.1:privateKey={key}:certKey={cert}"
        server = RPCServer(
            link, "ours", handler, REACTOR, endpoint=endpoint.format(**files["ours"])
        )
        await server.start()
        await server.when_announced()
        request = {"transport": "http", "name": "ours", "payload": 1, "secure": secure}
        assert await node.ask("request", **request) == {"echo": 1, "key": "ours"}
        await server.stop()

        port = free_port()
        await node.ask("serve", transport="http", name="theirs", port=port, secure=secure)
        root = Certificate.loadPEM(pairs["theirs"][1])
        mine = PrivateCertificate.loadPEM(b"".join(pairs["ours"]))

        def tls(_: str) -> Any:
            return optionsForClientTLS("theirs.test", root, mine)

        client = RPCClient(link, REACTOR, tls=tls)
        answer = await client.request("theirs", 2)
        assert (answer["echo"], answer["certificate"]) == (2, "ours.test")
        await client.close()
