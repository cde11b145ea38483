"""
Request heads that were parsed before, and answer heads that are formatted once a second.

Pure: the clock's time is given. Heads of answers are formatted as Node's are: Date, Connection,
Keep-Alive, Content-Length and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

import attrs

from grenache_py.grape.config import GrapeConfig
from grenache_py.wire.http.messages import HTTPRequest
from grenache_py.wire.http.reader import ReaderLimits

__all__ = ["AnswerHeads", "KnownHead", "KnownHeads", "reader_limits", "refusal_bytes"]

HEAD_END = b"\r\n\r\n"
#: How much of a body that is too large is read and dropped before the connection is cut.
DROPPED_BYTES_MAX = 1024 * 1024
#: Heads of requests that are remembered.
KNOWN_HEADS_MAX = 1024
#: Longer ones are parsed anew each time.
KNOWN_HEAD_BYTES_MAX = 1024


@attrs.frozen
class KnownHead:
    """What the parser made of a head, of HTTP/1.1 and with the connection kept."""

    method: bytes
    url: str
    content_length: int


class KnownHeads(dict[bytes, KnownHead]):
    """
    What the parser made of the heads of requests seen before, by their bytes.

    The requests of a client begin alike, byte for byte, as long as their bodies are of one
    length. A piece that is a known head and a body of that length need not be parsed.
    """

    __slots__ = ()

    def learn(self, data: bytes, request: HTTPRequest) -> None:
        """Remember the head of ``request``, if ``data`` is that request and nothing else."""
        head, end, body = data.partition(HEAD_END)
        if request.url == "/":
            return  # a page or an error, as the other headers say
        # With the body as it stands it is not chunked, and no other request follows it.
        if end and body == request.body and len(head) <= KNOWN_HEAD_BYTES_MAX:
            self[head] = KnownHead(request.method, request.url, len(body))
            if len(self) > KNOWN_HEADS_MAX:
                del self[next(iter(self))]  # the one known longest makes room


class AnswerHeads:
    """
    The heads of answers, formatted once a second at most.

    Args:
        seconds: Tells the time since the epoch.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._heads: dict[tuple[int, bool, str], bytes] = {}

    def renew(self) -> None:
        """Forget the heads: the date in them is old."""
        self._heads.clear()

    def head(self, status: int, keep_alive: bool, content_type: str = "") -> bytes:
        """Return an answer's head without Content-Length and the empty line."""
        key = (status, keep_alive, content_type)
        head = self._heads.get(key)
        if head is None:
            date = formatdate(self._seconds(), usegmt=True)
            persistence = "keep-alive\r\nKeep-Alive: timeout=5" if keep_alive else "close"
            kind = f"Content-Type: {content_type}\r\n" if content_type else ""
            head = self._heads[key] = (
                f"HTTP/1.1 {status} {_phrase(status)}\r\nDate: {date}\r\n"
                f"Connection: {persistence}\r\n{kind}"
            ).encode("latin-1")
        return head


def refusal_bytes(status: int, text: str) -> bytes:
    """Return the whole answer to what is no request; the connection ends with it."""
    return f"HTTP/1.1 {status} {_phrase(status)}\r\nConnection: close\r\n\r\n{text}".encode()


def _phrase(status: int) -> str:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "Payload Too Large"  # Python's is older
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown"


def reader_limits(config: GrapeConfig) -> ReaderLimits:
    """Return what one client of the grape may send."""
    return ReaderLimits(
        head_bytes_max=config.header_bytes_max,
        unended_head_bytes_max=config.header_bytes_max,
        body_bytes_max=config.payload_bytes_max,
        dropped_bytes_max=DROPPED_BYTES_MAX,
        message_bytes_max=config.header_bytes_max + DROPPED_BYTES_MAX,
        body_text="ERR_GRAPE_PAYLOAD_SIZE",
    )
