"""
The answers of an RPC server over HTTP: one after the other, whole or in chunks.

Shell. Touches nothing itself; a `ChunkedReply` writes through the connection it is given.
"""

from __future__ import annotations

from typing import Any, Protocol

from grenache_py.rpc.frames import encode_reply
from grenache_py.rpc.streams import ServerStream
from grenache_py.wire.http.routes import HTTPRoute

__all__ = ["ROUTES", "ChunkedReply", "ReplyPlace", "answer"]

#: The RPC server looks at neither path nor method.
ROUTES = (HTTPRoute("*", "any", "the reply to a request, or a stream", "who reaches the port"),)
_JSON = b"Content-Type: application/json\r\n"
_REASONS = {
    200: b"200 OK",
    400: b"400 Bad Request",
    403: b"403 Forbidden",
    408: b"408 Request Timeout",
    413: b"413 Content Too Large",
    431: b"431 Request Header Fields Too Large",
    500: b"500 Internal Server Error",
}


def answer(status: int, body: bytes, *, close: bool = False, no_body: bool = False) -> bytes:
    """Return a whole answer; ``close`` announces the end of the connection."""
    head = b"HTTP/1.1 %b\r\n%b%bContent-Length: %d\r\n\r\n" % (
        _REASONS[status],
        _JSON,
        b"Connection: close\r\n" if close else b"",
        len(body),
    )
    return head if no_body else head + body


class ReplyPlace:
    """The place of one answer among those of its connection, which leave in order."""

    __slots__ = ("chunks", "close", "done", "lingers", "stream")

    def __init__(self, close: bool) -> None:
        self.chunks: list[bytes] = []
        self.close = close
        self.done = False
        self.lingers = False  # the connection closes after it, but only our half at first
        self.stream: ServerStream | None = None


class Replying(Protocol):
    """What a reply in chunks needs of its connection."""

    def write_reply(self, reply: ReplyPlace, data: bytes, done: bool) -> None:
        """Send ``data`` when it is this reply's turn; ``done`` is the last of it."""

    def stream_ended(self, reply: ReplyPlace) -> None:
        """The answer to a stream is complete."""

    def abort(self) -> None:
        """Cut the connection off."""


class ChunkedReply:
    """The answer to a stream: a chunked body, written in its connection's turn."""

    def __init__(self, connection: Replying, reply: ReplyPlace) -> None:
        self._connection = connection
        self._reply = reply
        self.begun = False

    def _head(self) -> bytes:
        if self.begun:
            return b""
        self.begun = True
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def send_chunk(self, data: bytes) -> None:
        chunk = b"%b%x\r\n%b\r\n" % (self._head(), len(data), data)
        self._connection.write_reply(self._reply, chunk, done=False)

    def send_end(self) -> None:
        self._connection.write_reply(self._reply, self._head() + b"0\r\n\r\n", done=True)
        self._connection.stream_ended(self._reply)

    def fail(self, rid: Any, err: str) -> None:
        """Tell the caller that the handler failed, or cut the answer off if it has begun."""
        if self.begun:
            self._connection.abort()
            return
        self._connection.write_reply(self._reply, answer(500, encode_reply(rid, err)), done=True)
        self._connection.stream_ended(self._reply)
