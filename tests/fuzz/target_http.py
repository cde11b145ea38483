"""
The HTTP port: parser, limits, API and answers together.

The input is what one client sends. Whole or a byte at a time it must get the same
answers, each of them well formed; with the limits set so low that they are met, it must
get well-formed answers still; and nothing may keep a connection open for ever.
"""

from __future__ import annotations

import re
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from grenache_py.dht.errors import AllQueriesFailed
from grenache_py.dht.items import GetResult
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.connection import Connection
from grenache_py.grape.site import Site
from grenache_py.wire.http.messages import Page

_HEAD = b" HTTP/1.1\r\nHost: a\r\n"


def _post(path: bytes, body: bytes, more: bytes = b"") -> bytes:
    return b"POST %b%b%bContent-Length: %d\r\n\r\n%b" % (path, _HEAD, more, len(body), body)


SEEDS = [
    _post(b"/lookup", b'{"rid":"r","data":"svc"}'),
    _post(b"/announce", b'{"rid":"r","data":["svc",1337]}'),
    _post(b"/put", b'{"data":{"v":"x","k":"%b","sig":"%b","seq":1}}' % (b"77" * 32, b"30" * 64)),
    _post(b"/get", b'{"data":{"hash":"%b","salt":"[65]","cache":false}}' % (b"ab" * 20)),
    _post(b"/lookup", b'{"data":""}', b"Expect: 100-continue\r\n"),
    _post(b"/lookup", b'{"data":""}', b"Connection: close\r\n") + b"GET /",
    _post(b"/_Lookup-", b"null") + _post(b"/nope", b"[") + b"HEAD /health" + _HEAD + b"\r\n",
    b"POST /lookup" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\nb;x=y\r\n"
    b'{"data":"s"}\r\n0\r\nA: b\r\n\r\n',
    b'POST /lookup HTTP/1.0\r\nContent-Length: 11\r\n\r\n{"data":""}',
    b"GET /health" + _HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nx",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n" + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
_ANSWER = re.compile(
    rb"HTTP/1\.1 (?P<status>\d{3}) [\w ]+\r\n(?P<head>(?:[\w-]+: [^\r\n]*\r\n)*)\r\n", re.ASCII
)
_LENGTH = re.compile(rb"Content-Length: (\d+)\r\n")


class _DHT:
    """Answers at once; some things it refuses."""

    def lookup(self, info_hash: bytes) -> Deferred[list[str]]:
        assert isinstance(info_hash, bytes)
        assert info_hash
        return succeed(["10.0.0.1:5"])

    def announce(self, info_hash: bytes, port: int) -> Deferred[int]:
        assert info_hash
        assert 0 < port < 65536
        return succeed(1)

    def put(self, item: Any) -> Deferred[bytes]:
        return succeed(b"t" * 20) if item.k is None else fail(AllQueriesFailed((302, "old")))

    def get(self, target: bytes, salt: bytes = b"", use_cache: bool = True) -> Deferred[Any]:
        assert len(target) == 20
        return succeed(GetResult(id=b"i" * 20, v=[b"x", {}], token=b"t" if salt else None))


class _Fault:
    """In the place of a logger: what would be logged as a failure is a fault."""

    def failure(self, message: str, failure: Any, **_: object) -> None:
        failure.raiseException()


def _talk(config: GrapeConfig, pieces: list[bytes]) -> bytes:
    clock = Clock()
    pages = {"/health": lambda: Page(b"{}", "application/json")}
    site = Site(_DHT(), config, clock, lambda: 20001, pages)
    site.log = Connection.log = _Fault()  # type: ignore[assignment]
    connection, transport = site.buildProtocol(None), StringTransport()
    connection.makeConnection(transport)
    for piece in pieces:
        connection.dataReceived(piece)
    connection.readConnectionLost()
    clock.pump([1.0] * 30)
    assert transport.disconnecting or transport.disconnected, "the connection stays open"
    assert not transport.disconnected or transport.disconnecting or not connection._waiting
    return transport.value()


def _check(received: bytes) -> None:
    """Every byte belongs to a well-formed answer."""
    while received:
        answer = _ANSWER.match(received)
        assert answer is not None, received
        received = received[answer.end() :]
        length = _LENGTH.search(answer["head"])
        if length is not None:
            size = int(length[1])
            assert size <= len(received)
            received = received[size:]
        elif b"Connection: close" in answer["head"]:
            return


def _bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def one(data: bytes) -> None:
    """Send it in two ways, and against low limits."""
    whole = _talk(GrapeConfig(), [data])
    _check(whole)
    assert _talk(GrapeConfig(), _bytewise(data)) == whole
    # The second time heads may be known.
    assert _talk(GrapeConfig(), [data, data]) == _talk(GrapeConfig(), _bytewise(data + data))
    low = attrs.evolve(GrapeConfig(), header_bytes_max=100, payload_bytes_max=30, pipelined_max=2)
    _check(_talk(low, [data[i : i + 7] for i in range(0, len(data), 7)]))
