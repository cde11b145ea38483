"""
The HTTP port of a server of requests: parser, limits, frames, streams and answers together.

The input is what one client sends. Whole or a byte at a time it must get the same
answers, each of them well formed; with the limits set so low that they are met, it must
get well-formed answers still; and nothing may keep a connection open for ever.
"""

from __future__ import annotations

import gzip
from typing import Any

import httptools
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from grenache_py.rpc.http.server import HTTPServerFactory
from grenache_py.rpc.limits import ServerLimits
from tests.support.rpc_wire import answering, node_test_handler, wired

_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n"


def _post(body: bytes, more: bytes = b"") -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (_HEAD, more, len(body), body)


SEEDS = [
    _post(b'["r","k",{"a":[1,2.5,null]}]'),
    _post(b'["r","k","boom"]') + _post(b'["r","k","both"]') + _post(b'{"0":"r"}'),
    _post(gzip.compress(b'["r","k","p"]', mtime=0), b"grc-compress: gzip\r\n"),
    _post(b'["r","k","p"]', b'_gr: ["R","K"]\r\n') + _post(b"", b"_gr: {bad\r\n"),
    _post(b'["r","k","p"]', b"Expect: 100-continue\r\n"),
    _post(b'["r","k","p"]', b"Connection: close\r\n") + b"GET /",
    _CHUNKED + b'_gr: ["r","k"]\r\n_a: act\r\n_ar: {"x":1}\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    _CHUNKED + b'_gr: ["r","k"]\r\n\r\n3\r\nabc\r\n' + _post(b'["r","k",0]'),
    _CHUNKED + b'\r\nd;x=y\r\n["r","k","p"]\r\n0\r\nA: b\r\n\r\n',
    b'POST / HTTP/1.0\r\nContent-Length: 13\r\n\r\n["r","k","p"]',
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80",
    b"HEAD /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n" + b'["r","k",0]',
]


def _upper(stream: Any, reply: Any) -> None:
    """Answers with what it reads, in capitals."""

    async def work() -> None:
        while chunk := await stream.read():
            await stream.write(chunk.upper())
        stream.outgoing.finish()

    def failed(_: object) -> None:
        reply.fail(stream.rid, "ERR_INTERNAL")

    Deferred.fromCoroutine(work()).addErrback(failed)


class _Answers:
    """Reads HTTP responses; anything else is a fault."""

    def __init__(self, data: bytes) -> None:
        self.all: list[tuple[int, bytes]] = []
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self.all.append((self._parser.get_status_code(), self._body))
        self._body = b""


def _talk(limits: ServerLimits, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    clock = Clock()
    factory = HTTPServerFactory(answering(node_test_handler, limits, clock), limits, clock, _upper)
    connection = factory.buildProtocol(None)
    assert connection is not None
    wire = wired(connection)
    for piece in pieces:
        connection.dataReceived(piece)
    connection.readConnectionLost()
    clock.advance(limits.idle_timeout_s + 1)
    connection.sweep(clock.seconds())
    assert wire.over, "the connection stays open"
    received = wire.value()
    if b"HEAD" in b"".join(pieces):
        return []  # an answer without the body it announces; a parser cannot know
    return _Answers(received).all


def one(data: bytes) -> None:
    """Send it in two ways, and against low limits."""
    if not data:
        return
    whole = _talk(ServerLimits(), [data])
    bytewise = _talk(ServerLimits(), [data[i : i + 1] for i in range(len(data))])
    assert [status for status, _ in whole] == [status for status, _ in bytewise]
    low = ServerLimits(header_bytes_max=100, body_bytes_max=30, pipelined_max=2)
    _talk(low, [data[i : i + 7] for i in range(0, len(data), 7)])
