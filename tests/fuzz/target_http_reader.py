"""
The request reader that the HTTP servers share.

The input is what one client sends. Whole, a byte at a time or in pieces of seven it must give the
same requests and refusals, within the limits; nothing follows a refusal that ends the reading.
"""

from __future__ import annotations

from grenache_py.wire.http.messages import HTTPRequest, Refusal
from grenache_py.wire.http.reader import ReaderLimits, TargetReader

LIMITS = ReaderLimits(
    head_bytes_max=200, body_bytes_max=50, unended_head_bytes_max=1 << 20, dropped_bytes_max=90
)
_HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"
SEEDS = [
    _HEAD + b"Content-Length: 2\r\n\r\nhi",
    _HEAD + b"\r\n" + _HEAD + b"Connection: close\r\n\r\n" + _HEAD,
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nA: b\r\n\r\n" + _HEAD + b"\r\n",
    _HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    _HEAD + b"Content-Length: 60\r\n\r\n" + b"x" * 60 + _HEAD + b"\r\n",
    _HEAD + b"Content-Length: 100\r\n\r\n",
    _HEAD + b"S: 1\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + b"y" * 80 + b"\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.0\r\nContent-Length: 60\r\n\r\n" + b"x" * 60 + b"GET / HTTP/2.0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + _HEAD + b"\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nx",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"HELLO\r\n\r\n",
    _HEAD + b"X: " + b"y" * 200,
    _HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\n\r\n",
]


class Recorder:
    """Remembers what a reader says. The body of a request with a header ``S`` is streamed."""

    def __init__(self, limits: ReaderLimits) -> None:
        self.events: list[tuple[object, ...]] = []
        self.reader = TargetReader(limits, self)
        self._limits = limits
        self._streamed: bytes | None = None

    def read(self, data: bytes, step: int = 0) -> Recorder:
        step = step or len(data) or 1
        for start in range(0, len(data), step):
            self.reader.receive(data[start : start + step])
        return self

    def request_begun(self, request: HTTPRequest) -> None:
        self.events.append(("begun", request.method, request.url))
        self._streamed = None
        if b"s" in request.headers:
            self._streamed = b""
            self.reader.stream_body()

    def continue_wanted(self, request: HTTPRequest) -> None:
        self.events.append(("continue",))

    def body_data(self, data: bytes) -> None:
        assert self._streamed is not None
        self._streamed += data

    def request_complete(self, request: HTTPRequest) -> None:
        assert len(request.body) <= self._limits.body_bytes_max
        body = request.body if self._streamed is None else self._streamed
        self.events.append(("complete", body, request.keep_alive, request.headers))

    def request_refused(self, refusal: Refusal) -> None:
        assert not any(event[0] == "refused" and not event[2] for event in self.events)
        self.events.append(("refused", refusal.status, refusal.keep_alive))


def one(data: bytes) -> None:
    """Read it in three ways."""
    whole = _events(data, 0)
    assert _events(data, 1) == whole
    assert _events(data, 7) == whole


def _events(data: bytes, step: int) -> list[tuple[object, ...]]:
    """
    Read in pieces of ``step`` bytes.

    The parser hands on a header when the next one begins. So where one is too large and the next
    one is malformed, the pieces decide whether that is 431 or 400.
    """
    events = Recorder(LIMITS).read(data, step).events
    if events and events[-1][:2] == ("refused", 431):
        events[-1] = ("refused", 400, False)
    return events
