"""
Reads HTTP/1.1 requests: bytes go in, requests and refusals come out.

Pure. Parsing is httptools' (llhttp, the parser inside Node), so this server and Node's refuse the
same bytes. Around the parser stand the rules that it does not have: how large a head and a body
may be, that a ``Host`` is there, ``Expect``, and what is done about the rest of a request that is
refused. What is read is handed to a `RequestReceiver` while the bytes are parsed, in their order.
"""

from __future__ import annotations

from http import HTTPStatus
from math import inf
from typing import Any, Final, NoReturn, Protocol

import attrs
import httptools

from grenache_py.wire.http.messages import HTTPRequest, Refusal

__all__ = ["ReaderLimits", "RequestReader", "RequestReceiver", "TargetReader"]

#: Bytes of a header line beside its name and value: the colon, a blank and the line end.
LINE_OVERHEAD_BYTES = 4
#: Names in lower case of headers that most requests have, by their usual spellings.
_LOWER_CASE: Final = {
    spelling: name
    for name in (
        b"host", b"content-length", b"content-type", b"connection", b"accept", b"user-agent",
        b"accept-encoding", b"transfer-encoding", b"expect", b"grc-compress", b"_gr", b"_a", b"_ar",
    )
    for spelling in (name, name.title())
}  # fmt: skip


@attrs.frozen
class ReaderLimits:
    """
    What a client may send. (There is no limit of the number of headers: each one counts for at
    least four bytes of the head.)

    Attributes:
        head_bytes_max: All headers of a request, with four bytes for each line's punctuation, and
            the request target where it is read.
        body_bytes_max: A body, unless its server takes it piece by piece.
        unended_head_bytes_max: A head that has not ended yet, as its bytes arrive; what came in
            the same piece as its beginning is not counted.
        dropped_bytes_max: A body that is too large and announced as no larger than this is
            dropped, and the connection kept; 0: the connection always ends.
        message_bytes_max: A request that has not ended yet, with everything between its chunks.
        host_needed: Only HTTP/1.0, and HTTP/1.1 with a ``Host``, is understood. Without it the
            version is not looked at: ``http11`` is always set.
        body_text: Why a body is refused; may be empty.
        head_text: Why a head is refused; may be empty.
    """

    head_bytes_max: int
    body_bytes_max: int
    unended_head_bytes_max: int = 16_384
    dropped_bytes_max: int = 0
    message_bytes_max: float = inf
    host_needed: bool = True
    body_text: str = ""
    head_text: str = ""


class RequestReceiver(Protocol):
    """Whom a `RequestReader` tells what it reads."""

    def request_begun(self, request: HTTPRequest) -> None:
        """
        The head is read; the body, if there is one, is not.

        The receiver may call `RequestReader.refuse` or `RequestReader.stream_body` now.
        """

    def continue_wanted(self, request: HTTPRequest) -> None:
        """The client waits for ``100 Continue`` before it sends the body."""

    def body_data(self, data: bytes) -> None:
        """A piece of a body that the receiver takes piece by piece."""

    def request_complete(self, request: HTTPRequest) -> None:
        """The whole request is read; its ``body`` is complete unless it was streamed."""

    def request_refused(self, refusal: Refusal) -> None:
        """The request is not read to its end. Without ``keep_alive``, no other one follows."""


class _Stopped(Exception):
    """Leads out of the parser: nothing more is read."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class RequestReader:
    """
    Reads the requests of one connection, but not their targets: ``url`` is empty.

    Attributes:
        begun: How many requests have begun.
        in_message: A request has begun and is not complete.
        in_head: Its head has not ended.
        stopped: The connection's last request was refused; what comes now is not read.
        expects: The value of the request's ``Expect``, in lower case; empty without one.
        discarding: The request has been refused, and the rest of its body is being dropped.
        unread: What came after a request for another protocol with which the reading was stopped.
    """

    __slots__ = (
        "_body",
        "_head_bytes",
        "_head_bytes_max",
        "_headers",
        "_limits",
        "_message_bytes",
        "_parser",
        "_receiver",
        "_request",
        "_streamed",
        "_url",
        "begun",
        "discarding",
        "expects",
        "in_head",
        "in_message",
        "stopped",
        "unread",
    )

    def __init__(self, limits: ReaderLimits, receiver: RequestReceiver) -> None:
        self._limits = limits
        self._receiver = receiver
        self.in_message = self.in_head = self.stopped = self.discarding = False
        self.unread = b""
        self.begun = 0
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = self.expects = b""
        self._body: bytes | bytearray = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._message_bytes = 0
        self._streamed = False
        self._head_bytes_max = limits.head_bytes_max

    def receive(self, data: bytes) -> None:
        """
        Read what has arrived.

        Raises:
            Exception: what a method of the receiver raised; nothing more is read then.
        """
        if self.stopped:
            return
        interrupted: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            # It is dealt with outside: here it would become the context of the next one.
            interrupted = error
        if interrupted is not None:
            self._interrupted(interrupted, data)
        if self.in_message:
            self._limit_unended(len(data))

    def _interrupted(self, error: Exception, data: bytes) -> None:
        """The parser has stopped within ``data``; read on if it was for an upgrade."""
        while isinstance(error, httptools.HttpParserUpgrade):
            data = data[error.args[0] :]
            if self.stopped:
                self.unread = data
                return
            self._parser = httptools.HttpRequestParser(self)  # this one reads no further
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserUpgrade, httptools.HttpParserError) as another:
                error = another
            else:
                return
        if isinstance(error, httptools.HttpParserCallbackError):
            self.stopped = True
            cause = error.__context__
            if not isinstance(cause, _Stopped):
                raise cause or error from None
            self._receiver.request_refused(cause.refusal)
        elif not self.stopped:
            self._stop(HTTPStatus.BAD_REQUEST, f"not HTTP: {error}")

    def stop(self) -> None:
        """Read no further request; those that are read already are still handed on."""
        self.stopped = True

    def close(self) -> None:
        """Read nothing more, and let go of the parser, which refers to this object."""
        self.stopped = True
        self._parser = None

    # -- for the receiver, while it is told that a request has begun

    def refuse(self, status: int, text: str = "") -> NoReturn:
        """End the reading with a refusal; only from within `RequestReceiver.request_begun`."""
        raise _Stopped(Refusal(status, text))

    def stream_body(self) -> None:
        """Hand on the body of this request as it comes, however long it is."""
        self._streamed = True

    @property
    def chunked(self) -> bool:
        """The request that has begun says how its body is encoded, and not how long it is."""
        return b"transfer-encoding" in self._headers

    @property
    def upgrade(self) -> bool:
        """The request that has begun asks for another protocol, or for a tunnel."""
        asks = b"upgrade" in self._headers or self._request.method == b"CONNECT"
        return asks and self._parser.should_upgrade()

    # -- what the parser calls

    def on_message_begin(self) -> None:
        self._url = self.expects = self._body = b""
        self._headers = {}
        self._head_bytes = self._message_bytes = 0
        self._streamed = self.discarding = False
        self.in_message = self.in_head = True
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        size = self._head_bytes = self._head_bytes + len(name) + len(value) + LINE_OVERHEAD_BYTES
        if size > self._head_bytes_max:
            self._refuse_head()
        self._headers[_LOWER_CASE.get(name) or name.lower()] = value

    def on_headers_complete(self) -> None:
        self.in_head = False
        limits, parser, headers = self._limits, self._parser, self._headers
        if self._head_bytes > self._head_bytes_max:
            self._refuse_head()
        http11 = True
        if limits.host_needed:
            version = parser.get_http_version()
            http11 = version == "1.1"
            if not (b"host" in headers if http11 else version == "1.0"):
                self.refuse(HTTPStatus.BAD_REQUEST)
        request = self._request = HTTPRequest(
            parser.get_method(),
            self._url.decode("latin-1"),
            b"",
            http11,
            parser.should_keep_alive(),
            headers,
        )
        if b"expect" in headers:
            self.expects = headers[b"expect"].lower()
        self._receiver.request_begun(request)
        if b"content-length" in headers and not self._streamed:
            length = int(headers[b"content-length"])  # the parser has seen that it is a number
            if length > limits.body_bytes_max:
                self._refuse_body(length)
        if self.expects and self.expects == b"100-continue" and not self.discarding:
            self._receiver.continue_wanted(request)

    def on_body(self, data: bytes) -> None:
        if self._streamed:
            self._receiver.body_data(data)
            return
        if self.discarding:
            return
        body = self._body
        if not body:
            body = self._body = data
        else:
            if isinstance(body, bytes):
                body = self._body = bytearray(body)
            body += data
        if len(body) > self._limits.body_bytes_max:
            self._refuse_body(0)

    def on_message_complete(self) -> None:
        self.in_message = False
        if self.discarding:
            return
        request = self._request
        body = self._body
        request.body = body if type(body) is bytes else bytes(body)
        self._receiver.request_complete(request)

    # -- limits

    def _limit_unended(self, length: int) -> None:
        """Refuse a head, or a body hidden between its chunks, that does not end."""
        if self.stopped:
            return
        first, self._message_bytes = not self._message_bytes, self._message_bytes + length
        if self.in_head:
            # What came with the head's beginning may belong to the message before it.
            if not first and self._message_bytes > self._limits.unended_head_bytes_max:
                self._stop(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, self._limits.head_text)
        elif self._message_bytes > self._limits.message_bytes_max:
            self._stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._limits.body_text)

    def _refuse_head(self) -> NoReturn:
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, self._limits.head_text)

    def _refuse_body(self, announced: int) -> None:
        """Refuse at once; drop the rest of the body if that is worth keeping the connection."""
        limits, request = self._limits, self._request
        self._body = b""
        dropped = limits.dropped_bytes_max
        if not dropped or self.expects or announced > dropped or not request.http11:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limits.body_text)
        self.discarding = True
        self._receiver.request_refused(
            Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limits.body_text, keep_alive=True)
        )

    def _stop(self, status: int, text: str) -> None:
        self.stopped = True
        self._receiver.request_refused(Refusal(status, text))


class TargetReader(RequestReader):
    """Reads the targets of requests too. They count as part of the head."""

    __slots__ = ()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._head_bytes += len(url)
