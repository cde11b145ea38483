"""The Link over real sockets: what memory cannot show, connections kept, lost and stale."""

from __future__ import annotations

import json
import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from grenache_py.link.client import Link
from grenache_py.link.errors import GrapeUnreachable

pytestmark = pytest.mark.network


class RawGrape(Protocol):
    """Answers each POST with an empty list; ``served`` decides what follows the answer."""

    def dataReceived(self, data: bytes) -> None:
        self.factory.requests += data.count(b"POST /")
        answer = json.dumps(["127.0.0.1:1"]).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
        self.transport.write(head + answer)
        if self.factory.hang_up:
            self.transport.loseConnection()

    def connectionMade(self) -> None:
        self.factory.connections += 1


class RawGrapes(Factory):
    protocol = RawGrape
    noisy = False
    connections = requests = 0
    hang_up = False


async def listening(factory: Factory):
    return await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)


@pytest_twisted.ensureDeferred
async def test_a_grape_at_an_ipv6_literal_is_asked() -> None:
    grape = RawGrapes()
    try:
        port = await TCP6ServerEndpoint(reactor, 0, interface="::1").listen(grape)
    except CannotListenError:
        pytest.skip("this machine has no IPv6")
    link = Link(f"http://[::1]:{port.getHost().port}", reactor)
    assert await link.lookup("svc") == ["127.0.0.1:1"]
    await link.close()
    await port.stopListening()


def url(port) -> str:
    return f"http://127.0.0.1:{port.getHost().port}"


@pytest_twisted.ensureDeferred
async def test_one_connection_serves_many_requests() -> None:
    grape = RawGrapes()
    port = await listening(grape)
    link = Link(url(port), reactor)
    for n in range(20):
        assert await link.lookup(f"svc{n}") == ["127.0.0.1:1"]
    assert (grape.connections, grape.requests) == (1, 20)
    await link.close()
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_grape_that_closes_after_every_answer_does_not_disturb() -> None:
    grape = RawGrapes()
    grape.hang_up = True
    port = await listening(grape)
    link = Link(url(port), reactor, attempt_timeout_s=1.0)
    for n in range(20):
        assert await link.lookup(f"svc{n}") == ["127.0.0.1:1"]
    assert link.grapes == [url(port)]
    await link.close()
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_port_nobody_listens_on_and_a_silent_one_are_passed_over() -> None:
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        port = await listening(RawGrapes())
        urls = [refusing, f"http://127.0.0.1:{silent.getsockname()[1]}"]
        link = Link([*urls, url(port)], reactor, attempt_timeout_s=0.5)
        assert await link.lookup("svc") == ["127.0.0.1:1"]
        assert link.grapes[0] == url(port)
        await link.close()
        lonely = Link(urls, reactor, attempt_timeout_s=0.5, timeout_s=1.0)
        with pytest.raises(GrapeUnreachable) as caught:
            await lonely.lookup("svc")
        refused, unanswered = caught.value.attempts[:2]
        assert refused.startswith(f"{refusing}: connection refused")
        assert unanswered == f"{urls[1]}: no answer within 0.5 s"
        await lonely.close()
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_cancelled_lookup_closes_its_connection() -> None:
    gone: Deferred[None] = Deferred()

    class Silent(Protocol):
        def connectionMade(self) -> None:
            arrived.callback(None)

        def connectionLost(self, reason: object = None) -> None:
            gone.callback(None)

    arrived: Deferred[None] = Deferred()
    port = await listening(Factory.forProtocol(Silent))
    link = Link(url(port), reactor)
    waiting = link.lookup("svc")
    await arrived
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    await gone.addTimeout(2, reactor)
    await link.close()
    await port.stopListening()
