"""Links, requests, streams and subscriptions inside a running asyncio program."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.ssl import Certificate, optionsForClientTLS

from grenache_py import aio, link, rpc
from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.link import GrapeUnreachable
from grenache_py.rpc import Methods, NoPeerFound, RequestTimedOut, RPCFailure, ServerLimits
from grenache_py.rpc.sockets import Writer
from tests.support.certificates import self_signed
from tests.support.loops import LOOPBACK, grape, run, until

try:
    import uvloop
except ImportError:
    uvloop = None

pytestmark = pytest.mark.network
both = pytest.mark.parametrize("transport", ["http", "ws"])
loops = pytest.mark.parametrize(
    "new_loop",
    [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(
            getattr(uvloop, "new_event_loop", None),
            id="uvloop",
            marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not installed"),
        ),
    ],
)


async def square(request: rpc.Request) -> Any:
    await asyncio.sleep(0.001)
    if not isinstance(request.payload, int):
        raise RPCFailure("only whole numbers", {"got": request.payload})
    return request.payload**2


@loops
@both
def test_requests_are_answered_by_both_kinds_of_handler(transport, new_loop) -> None:
    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            quick = aio.RPCServer(
                link, "double", lambda r: r.payload * 2, endpoint=LOOPBACK, transport=transport
            )
            slow = aio.RPCServer(link, "square", square, endpoint=LOOPBACK, transport=transport)
            async with quick, slow, aio.RPCClient(link, transport=transport) as client:
                await asyncio.gather(quick.when_announced(), slow.when_announced())
                assert await client.request("double", "ab") == "abab"
                answers = await asyncio.gather(*(client.request("square", n) for n in range(50)))
                assert answers == [n * n for n in range(50)]
                assert slow.answered == 50
                with pytest.raises(RPCFailure, match="only whole numbers") as caught:
                    await client.request("square", "x")
                assert caught.value.data == {"got": "x"}
                with pytest.raises(NoPeerFound):
                    await client.request("nobody", 1)
                [outcome] = await client.map("square", 5)
                assert (outcome.value, outcome.error) == (25, None)

    run(main(), new_loop)


def test_messages_of_many_tasks_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = Writer.write

    def counted(self: Writer, data: bytes) -> None:
        written.append(len(data))
        write(self, data)

    async def same(request: rpc.Request) -> Any:
        return request.payload

    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            server = aio.RPCServer(link, "svc", same, endpoint=LOOPBACK, transport="ws")
            async with server, aio.RPCClient(link, transport="ws") as client:
                await server.when_announced()
                assert await client.request("svc", "connected") == "connected"
                monkeypatch.setattr(Writer, "write", counted)
                texts = [f"{n}" * 100 for n in range(100)]
                assert await asyncio.gather(*(client.request("svc", t) for t in texts)) == texts
                assert len(written) < 20, "of 200 messages"

    run(main())


def test_two_loops_one_after_the_other_and_a_link_of_the_first() -> None:
    kept: list[aio.Link] = []

    async def main(close: bool) -> None:
        async with grape() as url:
            link = aio.Link(url)
            kept.append(link)
            assert await link.lookup("svc") == []
            if close:
                await link.close()
                await link.close()
                with pytest.raises(LocalProtocolError, match="this Link is closed"):
                    await link.lookup("svc")

    async def misuse() -> None:
        with pytest.raises(LocalProtocolError, match="belongs to another event loop"):
            await kept[1].lookup("svc")

    run(main(close=True))
    run(main(close=False))
    run(misuse())


def test_cancelling_a_caller_ends_the_request() -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def never(request: rpc.Request) -> None:
            asked.set()
            await asyncio.Event().wait()

        limits = ServerLimits(stop_grace_s=0.05)
        async with grape() as url, aio.Link(url) as link:
            server = aio.RPCServer(link, "svc", never, endpoint=LOOPBACK, limits=limits)
            async with server, aio.RPCClient(link) as client:
                await server.when_announced()
                asking = asyncio.ensure_future(client.request("svc", 1))
                await asked.wait()
                assert "1 requests in flight" in repr(client)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                assert "0 requests in flight" in repr(client)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.request("svc", 1), 0.05)
                assert "0 requests in flight" in repr(client)
                with pytest.raises(RequestTimedOut):
                    await client.request("svc", 1, timeout_s=0.05)

    run(main())


@both
def test_a_handler_is_cancelled_at_its_deadline_and_when_the_server_stops(transport) -> None:
    async def main() -> None:
        ended: list[str] = []
        begun = asyncio.Event()

        async def never(request: rpc.Request) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # cleaning up may take a while
                ended.append(request.payload)
                raise

        async with grape() as url, aio.Link(url) as link:
            limits = ServerLimits(handler_timeout_s=0.1, stop_grace_s=0.05)
            server = aio.RPCServer(
                link, "svc", never, endpoint=LOOPBACK, transport=transport, limits=limits
            )
            async with aio.RPCClient(link, transport=transport) as client:
                async with server:
                    await server.when_announced()
                    with pytest.raises(RPCFailure, match="ERR_TIMEOUT"):
                        await client.request("svc", "late")
                    await until(lambda: ended == ["late"])
                    begun.clear()
                    asking = asyncio.ensure_future(client.request("svc", "stopped"))
                    await begun.wait()
                assert ended == ["late", "stopped"], "the server has waited for it"
                with pytest.raises(RPCFailure, match=r"ERR_SHUTTING_DOWN|ERR_TIMEOUT"):
                    await asking

    run(main())


def test_a_handler_that_fails_is_logged_and_tells_nothing(logged_failures) -> None:
    async def broken(request: rpc.Request) -> None:
        raise ZeroDivisionError("secret")

    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            server = aio.RPCServer(link, "svc", broken, endpoint=LOOPBACK)
            async with server, aio.RPCClient(link) as client:
                await server.when_announced()
                with pytest.raises(RPCFailure, match=r"^ERR_INTERNAL$"):
                    await client.request("svc", 1)

    run(main())
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_methods_may_be_coroutines() -> None:
    methods = Methods()

    @methods.method
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            server = aio.RPCServer(link, "calc", methods, endpoint=LOOPBACK)
            async with server, aio.RPCClient(link) as client:
                await server.when_announced()
                assert await client.call("calc", "add", 40, 2) == 42
                with pytest.raises(RPCFailure, match="ERR_API_ACTION_NOTFOUND"):
                    await client.call("calc", "sub", 40, 2)

    run(main())


@loops
def test_streams_flow_both_ways(new_loop) -> None:
    async def upper(stream: aio.ServerStream) -> None:
        assert (stream.action, stream.args, stream.key) == ("shout", {"loud": 1}, "svc")
        async for chunk in stream:
            await asyncio.sleep(0)
            await stream.write(chunk.upper())

    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            server = aio.RPCServer(link, "svc", square, endpoint=LOOPBACK, stream_handler=upper)
            async with server, aio.RPCClient(link) as client:
                await server.when_announced()
                asked = await client.stream("svc", action="shout", args={"loud": 1})
                async with asked as stream:
                    for _ in range(20):
                        await stream.write(b"x" * 50_000)
                        assert set(await stream.read()) == {ord("X")}
                    stream.finish()
                    assert len(await stream.read_all(1_000_000)) < 1_000_000
                    assert stream.status == 200
                assert await client.request("svc", 3) == 9
                async with await client.stream("svc", action="shout", args={"loud": 1}) as cut:
                    await cut.write(b"and gone")

    run(main(), new_loop)


@loops
def test_what_is_published_is_iterated_over(new_loop) -> None:
    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            publisher = aio.Publisher(link, "feed", endpoint=LOOPBACK)
            subscriber = aio.Subscriber(link, "feed", queue_max=3)
            parsed = aio.Subscriber(link, "feed", json=True)
            async with publisher, subscriber, parsed:
                await publisher.when_announced()
                assert await subscriber.when_connected() == f"127.0.0.1:{publisher.port}"
                assert subscriber.address == await parsed.when_connected()
                await until(lambda: publisher.subscribers == 2)
                for message in ("text", b"\x00", {"n": 1}, "3", "4"):
                    assert publisher.publish(message) == 2
                assert [await anext(parsed) for _ in range(3)] == [{"n": 1}, 3, 4]
                await until(lambda: subscriber.dropped == 2)
                assert [await anext(subscriber) for _ in range(3)] == ['{"n":1}', "3", "4"]
                waiting = asyncio.ensure_future(anext(subscriber))
                await asyncio.sleep(0)
                assert publisher.dropped == 0
            with pytest.raises(StopAsyncIteration):
                await waiting
            assert [message async for message in subscriber] == []

    run(main(), new_loop)


def test_a_link_stores_announces_and_watches() -> None:
    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            watch = link.watch("svc", every_s=0.01)
            assert await anext(watch) == []
            announcement = link.start_announcing("svc", 1337)
            assert await announcement.when_announced() == 1
            assert await anext(watch) == ["127.0.0.1:1337"]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(watch), 0.05)
            assert (announcement.last_error, watch.last_error) == (None, None)
            assert [one.port for one in link.announcements] == [1337]
            assert link.known("svc") == ["127.0.0.1:1337"]
            link.forget("svc")
            assert link.known("svc") is None
            assert await link.announce("other", 1) == 1
            target = await link.put("Hello World!")
            assert target == "e5f96f6f38320f0f33959cb4d3d656452117aadb"
            item = await link.get(target)
            assert item is not None and item.value == "Hello World!"
            key = link_key()
            address = await link.put_mutable("first", key, 1, salt="motd")
            item = await link.get(address, salt="motd", fresh=True)
            assert item is not None and item.seq == 1
            assert link.stop_announcing("svc", 1337)

    run(main())


def link_key() -> link.ItemKey:
    return link.ItemKey.from_seed(bytes(range(32)))


def test_host_names_are_looked_up_by_the_loop() -> None:
    async def main() -> None:
        async with grape() as url:
            named = aio.Link(url.replace("127.0.0.1", "localhost"), timeout_s=5)
            unknown = aio.Link("http://no.such.host.invalid:1", timeout_s=5)
            async with named, unknown:
                assert await named.lookup("svc") == []
                with pytest.raises(GrapeUnreachable, match="its host name has no address"):
                    await unknown.lookup("svc")

    run(main())


def test_each_address_of_a_host_is_tried() -> None:
    async def main() -> None:
        async def two_addresses(host: str, port: int, **_: Any) -> list[Any]:
            assert host == "grape.test"
            found = [(socket.AF_INET, address) for address in ("127.0.0.2", "127.0.0.1")]
            return [(family, 0, 0, "", (address, port)) for family, address in found]

        asyncio.get_running_loop().getaddrinfo = two_addresses  # type: ignore[assignment]
        async with grape() as url, aio.Link(url.replace("127.0.0.1", "grape.test")) as link:
            assert await link.lookup("svc") == []

    run(main())


# Twisted hands pyOpenSSL its own objects, which pyOpenSSL would rather not have any more.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")
@both
def test_secure_mode(transport, tmp_path: Path) -> None:
    secret, public = self_signed("peer.test")
    (tmp_path / "key.pem").write_bytes(secret)
    (tmp_path / "cert.pem").write_bytes(public)
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    root = Certificate.loadPEM(public)

    async def main() -> None:
        async with grape() as url, aio.Link(url) as link:
            server = aio.RPCServer(
                link,
                "svc",
                lambda request: request.payload,
                endpoint=f"ssl:0:interface=127.0.0.1:{files}",
                transport=transport,
            )
            client = aio.RPCClient(
                link,
                transport=transport,
                tls=lambda host: optionsForClientTLS("peer.test", trustRoot=root),
            )
            async with server, client:
                await server.when_announced()
                assert await client.request("svc", "x" * 100_000) == "x" * 100_000

    run(main())


def test_what_is_wrong_is_said_when_it_is_given() -> None:
    with pytest.raises(LocalProtocolError, match="a grape's URL looks like"):
        aio.Link("grape")
    with pytest.raises(TypeError, match="timeout"):
        aio.Link("http://a:1", timeout=3)
    link = aio.Link("http://a:1")
    assert repr(link) == "<Link, not used yet> in asyncio"
    makers: list[Callable[..., Any]] = [
        lambda **options: aio.RPCClient(link, **options),
        lambda **options: aio.RPCServer(link, "svc", square, **options),
        lambda **options: aio.Publisher(link, "svc", **options),
        lambda **options: aio.Subscriber(link, "svc", **options),
    ]
    for make in makers:
        make()
        with pytest.raises(TypeError, match="nonsense"):
            make(nonsense=1)
    with pytest.raises(LocalProtocolError, match=r"a Link of grenache_py\.aio is wanted"):
        aio.RPCClient(object())  # type: ignore[arg-type]


def test_a_used_port_is_one_readable_line() -> None:
    async def main() -> None:
        async with aio.RPCServer(None, "svc", square, endpoint=LOOPBACK) as server:
            used = f"tcp:{server.port}:interface=127.0.0.1"
            with pytest.raises(ConfigError, match=r"cannot listen on .*in use"):
                await aio.RPCServer(None, "svc", square, endpoint=used).start()
            with pytest.raises(LocalProtocolError, match="started before"):
                await server.start()
            assert server.port > 0

    run(main())


def test_deferreds_and_futures_turn_into_each_other() -> None:
    async def main() -> None:
        deferred: Deferred[int] = Deferred()
        future = aio.as_future(deferred)
        deferred.callback(1)
        assert await future == 1
        cancelled: list[object] = []
        future = aio.as_future(Deferred(cancelled.append))
        future.cancel()
        await asyncio.sleep(0)
        assert len(cancelled) == 1
        failed: Deferred[int] = Deferred()
        failed.errback(CancelledError())
        with pytest.raises(asyncio.CancelledError):
            await aio.as_future(failed)

        results: list[Any] = []
        aio.as_deferred(asyncio.sleep(0, "slept")).addBoth(results.append)
        await until(lambda: results == ["slept"])
        sleeping = asyncio.ensure_future(asyncio.sleep(60))
        waiting = aio.as_deferred(sleeping)
        waiting.addErrback(lambda failure: results.append(failure.type))
        waiting.cancel()
        assert results[1] is CancelledError
        await asyncio.wait([sleeping])
        assert sleeping.cancelled()
        doomed = asyncio.ensure_future(asyncio.sleep(60))
        aio.as_deferred(doomed).addErrback(lambda failure: results.append(failure.type))
        doomed.cancel()
        await until(lambda: len(results) == 3)
        assert results[2] is CancelledError

    run(main())


@pytest.mark.parametrize(
    ("ours", "twisteds"),
    [
        (aio.Link, link.Link),
        (aio.Announcement, link.Announcement),
        (aio.RPCClient, rpc.RPCClient),
        (aio.RPCServer, rpc.RPCServer),
        (aio.Publisher, rpc.Publisher),
        (aio.Subscriber, rpc.Subscriber),
        (aio.ServerStream, rpc.ServerStream),
        (aio.ClientStream, rpc.ClientStream),
    ],
)
def test_each_method_takes_what_twisteds_takes(ours: Any, twisteds: Any) -> None:
    of_a_service = set(dir(rpc.RPCServer.__mro__[2])) | {"startService", "stopService", "begin"}
    missing = []
    for name, method in inspect.getmembers(twisteds, inspect.isfunction):
        if name.startswith("_") or name in of_a_service:
            continue
        if not hasattr(ours, name):
            missing.append(name)
            continue
        same = (
            inspect.signature(getattr(ours, name)).parameters
            == inspect.signature(method).parameters
        )
        assert same, name
    assert set(missing) <= {"stop"}, "Announcement.stop is the same function"
