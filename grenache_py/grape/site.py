"""
The grape's HTTP port: what each request asks the DHT, and what the answers look like.

Shell: the factory of the `Connection` objects. It turns requests into calls on the DHT
(``api.py`` says which) and waits for the Deferreds. Lookups of one name that arrive while one is
under way share it and its encoded answer, as they do in a Node grape, and so do those that the
reactor reads in the same turn after it; nothing is kept beyond that.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.dht.errors import (
    AllQueriesFailed,
    DHTNotRunning,
    DHTOverloaded,
    NoNodesToQuery,
)
from grenache_py.dht.items import GetResult, PutItem
from grenache_py.errors import LocalProtocolError
from grenache_py.grape import answers, api
from grenache_py.grape.clients import Clients
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.connection import Connection
from grenache_py.grape.messages import KnownHeads
from grenache_py.rate_limit import RateLimit
from grenache_py.wire.http.messages import HTTPRequest, Pages

__all__ = ["DHT", "Site"]


class DHT(Protocol):
    """What the HTTP port needs of a `grenache_py.dht.protocol.DHTProtocol`."""

    def lookup(self, info_hash: bytes) -> Deferred[list[str]]: ...
    def announce(self, info_hash: bytes, port: int) -> Deferred[int]: ...
    def put(self, item: PutItem) -> Deferred[bytes]: ...
    def get(
        self, target: bytes, salt: bytes = b"", use_cache: bool = True
    ) -> Deferred[GetResult | None]: ...


@implementer(IProtocolNegotiationFactory)
class Site(ServerFactory):
    """
    All the HTTP clients of one grape.

    Attributes:
        clients: Those that are connected, and what they were answered.
        known_heads: What the parser made of the heads of requests seen before.
        requests: How many of each command have been asked; ``invalid`` were none.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        dht: DHT,
        config: GrapeConfig,
        clock: IReactorTime,
        own_port: Callable[[], int],
        pages: Pages,
    ) -> None:
        """
        Args:
            own_port: The UDP port in use, announced in place of port 0.
            pages: What ``GET`` finds at paths that are no commands.
        """
        self._dht = dht
        self.config = config
        self._clock = clock
        self._own_port = own_port
        self._pages = pages
        self.clients = Clients(clock, config.connections_max)
        self.known_heads = KnownHeads()
        self._head = self.clients.heads.head
        self._looking_up: dict[bytes, list[Connection]] = {}
        self._limit = RateLimit(
            trusted_max=0,
            stranger_max=config.requests_a_second_max,
            sources_max=config.connections_max,
            exempt_loopback=False,
        )
        self.requests: Counter[str] = Counter()

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        self.clients.expect_one()
        source = _source(addr) if self.config.requests_a_second_max else ""
        return Connection(self.config, self.clients, self.known_heads, self.ask, source)

    def acceptableProtocols(self) -> list[bytes]:
        """Return what may be agreed on in a TLS handshake (ALPN)."""
        return [b"http/1.1"]

    # -- requests

    def ask(self, connection: Connection, request: HTTPRequest) -> None:
        """Find the answer to ``request`` and give it to ``connection``, now or later."""
        try:
            self._ask(connection, request)
        except Exception:  # a bug, which must cost the client no more than this answer
            self._fail(Failure(), connection)

    def _ask(self, connection: Connection, request: HTTPRequest) -> None:
        page = self._pages.get(request.url)
        if page is not None and request.method in (b"GET", b"HEAD") and _accepted(request):
            shown = page()
            connection.answer(shown.status, shown.body, shown.content_type)
            return
        if connection.source and not self._limit.admits(connection.source, self.clients.now):
            connection.answer(HTTPStatus.TOO_MANY_REQUESTS, b"ERR_GRAPE_RATE")
            return
        call = api.call(request.url, request.body)
        self.requests[_COMMANDS[type(call)]] += 1
        if isinstance(call, api.LookupCall):
            self._lookup(connection, call.name)
        elif isinstance(call, answers.GrapeAnswer):
            connection.answer(call.status, call.body)
        else:
            self._call(call, connection)

    def _lookup(self, connection: Connection, name: bytes) -> None:
        waiting = self._looking_up.get(name)
        if waiting is not None:
            waiting.append(connection)
            return
        looking_up = self._dht.lookup(name)
        self._looking_up[name] = [connection]
        looking_up.addCallbacks(self._looked_up, self._lookup_failed, (name,), {}, (name,))

    def _looked_up(self, peers: list[str], name: bytes) -> None:
        if len(self._looking_up[name]) == 1:
            self._answer_lookup(peers, name)
        else:  # more of the same are likely to be in what epoll has just reported
            self._clock.callLater(0, self._answer_lookup, peers, name)

    def _answer_lookup(self, peers: list[str], name: bytes) -> None:
        body = answers.lookup_body(peers)
        ready = b"%bContent-Length: %d\r\n\r\n%b" % (
            self.clients.heads.head(200, True),
            len(body),
            body,
        )
        for connection in self._looking_up.pop(name):
            connection.answer(200, body, ready=ready)

    def _lookup_failed(self, failure: Failure, name: bytes) -> None:
        for connection in self._looking_up.pop(name):
            self._fail(failure, connection)

    def _call(self, call: api.AnnounceCall | PutItem | api.GetCall, connection: Connection) -> None:
        """Ask the DHT; the answer is given when it comes."""
        if isinstance(call, api.AnnounceCall):
            announcing = self._dht.announce(call.name, call.port or self._own_port())
            announcing.addCallbacks(_announced, self._fail, (connection,), {}, (connection,))
        elif isinstance(call, PutItem):
            self._dht.put(call).addCallbacks(_put, self._fail, (connection,), {}, (connection,))
        else:
            getting = self._dht.get(call.target, call.salt, call.use_cache)
            getting.addCallback(_got, call.salt, connection).addErrback(self._fail, connection)

    def _fail(self, failure: Failure, connection: Connection) -> None:
        error = failure.value
        if isinstance(error, NoNodesToQuery):
            answer = answers.NO_NODES
        elif isinstance(error, AllQueriesFailed):
            answer = answers.krpc_failure(error.krpc_error)
        elif isinstance(error, LocalProtocolError):
            answer = answers.ALL_FAILED  # an item that no node would take
        elif isinstance(error, DHTOverloaded | DHTNotRunning | CancelledError):
            answer = answers.BUSY
        else:
            self.log.failure("a request failed", failure=failure)
            answer = answers.BROKEN
        connection.answer(answer.status, answer.body)


def _accepted(request: HTTPRequest) -> bool:
    """Whether a page is what ``request`` asks for: ``/`` has one for browsers only."""
    return request.url != "/" or b"text/html" in request.headers.get(b"accept", b"")


def _announced(accepted: int, connection: Connection) -> None:
    connection.answer(200, answers.announce_body(accepted))


def _put(target: bytes, connection: Connection) -> None:
    connection.answer(200, answers.put_body(target))


def _got(item: GetResult | None, salt: bytes, connection: Connection) -> None:
    connection.answer(200, answers.get_body(item, salt))


def _source(address: IAddress | None) -> str:
    """
    Return who is counted as one client: an IPv4 address, or the first half of an IPv6 one.

    Nobody, that is an empty string, for this machine.
    """
    host = getattr(address, "host", None)
    if host is None:  # a UNIX socket
        return ""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if ip.version == 6:
        if ip.ipv4_mapped is None:
            return "" if ip.is_loopback else str(ipaddress.ip_network((ip, 64), strict=False))
        ip = ip.ipv4_mapped
    return "" if ip.is_loopback else str(ip)


_COMMANDS: dict[type, str] = {
    api.LookupCall: "lookup",
    api.AnnounceCall: "announce",
    PutItem: "put",
    api.GetCall: "get",
    answers.GrapeAnswer: "invalid",
}
