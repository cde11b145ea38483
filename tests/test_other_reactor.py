"""Links and requests keep to the reactor they are given, whatever the global one is."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import treq.client
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.service import GrapeService
from grenache_py.link.client import Link
from grenache_py.link.http import GrapeHTTP
from grenache_py.rpc import RPCClient, RPCServer
from tests.support.certificates import self_signed

pytestmark = [
    pytest.mark.network,
    # Twisted's own use of pyOpenSSL
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),
]


def on_a_reactor_of_its_own(main: Callable[[Any], Awaitable[None]]) -> None:
    """Run ``main`` on a reactor that nobody has installed."""
    reactor = SelectReactor()
    outcome: list[object] = []

    def begin() -> None:
        work = Deferred.fromCoroutine(main(reactor)).addTimeout(20, reactor)
        work.addBoth(outcome.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()


@implementer(IStreamServerEndpoint)
class SecureEndpoint:
    """Listens on loopback with TLS that goes by the reactor it is given."""

    def __init__(self, reactor: Any, certificate: PrivateCertificate) -> None:
        self._reactor = reactor
        self._options = certificate.options()

    def listen(self, factory: Factory) -> Deferred[IListeningPort]:
        secure = TLSMemoryBIOFactory(self._options, False, factory, self._reactor)
        return TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1").listen(secure)


async def grape(reactor: Any) -> GrapeService:
    config = attrs.evolve(GrapeConfig(host="127.0.0.1", dht_port=0, api_port=0))
    service = GrapeService(config, reactor, random.Random("other reactor"))
    service.startService()
    return service


def test_a_link_with_the_users_treq_client() -> None:
    async def main(reactor: Any) -> None:
        service = await grape(reactor)
        http = treq.client.HTTPClient(Agent(reactor))
        link = Link(f"http://127.0.0.1:{service.api_port}", reactor, http=http, timeout_s=3)
        assert await link.lookup("svc") == []
        await link.close()
        await service.stopService()

    on_a_reactor_of_its_own(main)


@pytest.mark.parametrize("transport", ["http", "ws"])
def test_requests_in_secure_mode(transport: Any) -> None:
    certificate = PrivateCertificate.loadPEM(b"".join(self_signed("peer.test")))

    async def main(reactor: Any) -> None:
        service = await grape(reactor)
        link = Link(f"http://127.0.0.1:{service.api_port}", reactor, timeout_s=3)
        server = RPCServer(
            link,
            "svc",
            lambda request: request.payload,
            reactor,
            endpoint=SecureEndpoint(reactor, certificate),
            transport=transport,
        )
        await server.start()
        await server.when_announced()
        root = Certificate(certificate.original)
        client = RPCClient(
            link,
            reactor,
            transport=transport,
            timeout_s=3,
            tls=lambda host: optionsForClientTLS("peer.test", trustRoot=root),
        )
        assert await client.request("svc", "hello") == "hello"
        await client.close()
        await server.stop()
        await link.close()
        await service.stopService()

    on_a_reactor_of_its_own(main)


def test_a_grape_behind_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, public = self_signed("localhost")
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(public)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    class Lookup(Resource):
        isLeaf = True

        def render_POST(self, request: Any) -> bytes:
            return b'["127.0.0.1:1"]'

    async def main(reactor: Any) -> None:
        certificate = PrivateCertificate.loadPEM(secret + public)
        port = await SecureEndpoint(reactor, certificate).listen(Site(Lookup(), reactor=reactor))
        http = GrapeHTTP(reactor, 3.0)
        url = f"https://localhost:{port.getHost().port}/lookup"
        assert await http.post(url, b"{}") == (200, b'["127.0.0.1:1"]')
        await http.close()
        await port.stopListening()

    on_a_reactor_of_its_own(main)
