"""
Market data by HTTP GET: each path is a read-only request of the client port.

Shell: stands between one HTTP connection and the `ClientConnection` that asks for it, so scopes,
limits and results are those of every client.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import parse_qsl

from msgspec import UNSET
from twisted.internet.interfaces import IPushProducer

from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.errors import (
    BUSY,
    INVALID_PARAMS,
    NOT_AUTHORISED,
    RATE_LIMITED,
    SHUTTING_DOWN,
    STANDBY,
    UNKNOWN_MARKET,
)
from grenache_py.wire.http.messages import HTTPRequest, Page
from grenache_py.wire.http.routes import HTTPRoute
from grenache_py.wire.jsonrpc import decode_response, encode, request_line

__all__ = ["MARKET_PATHS", "MARKET_ROUTES", "TOO_MANY", "MarketPages"]

TOO_MANY = "There are too many clients; come back later."

_METHODS = {
    "/api/v1/markets": ("markets.list", "the markets with tick and lot"),
    "/api/v1/book": ("book.get", "``?market=&depth=``: the book"),
    "/api/v1/trades": ("trades.list", "``?market=&limit=&after=``: trades"),
    "/api/v1/ticker": ("ticker.get", "``?market=``: bid, ask, last, volume"),
    "/api/v1/candles": ("candles.list", "``?market=&interval=&limit=&after=``"),
}
MARKET_ROUTES = tuple(
    HTTPRoute(path, "GET, HEAD", answer, "who may read") for path, (_, answer) in _METHODS.items()
)
MARKET_PATHS = frozenset(_METHODS)
#: Members of a query that are looked at.
MEMBERS_MAX = 16

_STATUS = {
    INVALID_PARAMS: HTTPStatus.BAD_REQUEST,
    UNKNOWN_MARKET: HTTPStatus.NOT_FOUND,
    RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    NOT_AUTHORISED: HTTPStatus.UNAUTHORIZED,
    BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    SHUTTING_DOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    STANDBY: HTTPStatus.SERVICE_UNAVAILABLE,
}


class MarketPages:
    """
    Asks for one HTTP connection, one page at a time.

    This is the transport of its `ClientConnection`, which does the asking.
    """

    def __init__(self, make_client: Callable[[], ClientConnection | None]) -> None:
        """
        Args:
            make_client: called before the first page is asked for; None: there are too many.
        """
        self._make_client = make_client
        self._client: ClientConnection | None = None
        self._answer: Callable[[Page], None] | None = None
        self._known = b""

    def ask(self, request: HTTPRequest, answer: Callable[[Page], None]) -> None:
        """Call ``answer`` with the page that is asked for, perhaps at once."""
        path, _, query = request.url.partition("?")
        self._answer, self._known = answer, request.headers.get(b"if-none-match", b"")
        if self._client is None:
            self._client = self._make_client()
            if self._client is None:
                self._give(_error(BUSY, TOO_MANY))
                return
            self._client.makeConnection(self)
        try:
            method, params = _METHODS[path][0], _params(path, query)
        except ValueError as error:
            self._give(_error(INVALID_PARAMS, f"The query {error}."))
            return
        self._client.dataReceived(request_line(method, params, 1))

    def close(self) -> None:
        """Nobody asks any more."""
        self._answer = None
        if self._client is not None:
            self._client.connectionLost()

    def _give(self, page: Page) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(page)

    # What the client connection asks of its transport.

    def write(self, data: bytes) -> None:
        """Its answer: the notifications of subscriptions, which nobody can make, do not come."""
        for line in data.splitlines():
            self._give(_page(line, self._known))

    def loseConnection(self) -> None:
        """The daemon ends."""
        self._give(_error(SHUTTING_DOWN, "This daemon is shutting down."))

    def abortConnection(self) -> None:
        """The daemon ends at once."""
        self.loseConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See IConsumer: an answer is always taken."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def pauseProducing(self) -> None:
        """It takes no request for now; there is only one."""

    def resumeProducing(self) -> None:
        """It takes requests again."""


def _params(path: str, query: str) -> dict[str, object]:
    """
    Raises:
        ValueError: it is no query; the message goes on after "the query".
    """
    try:
        members = parse_qsl(
            query, strict_parsing=bool(query), max_num_fields=MEMBERS_MAX, errors="strict"
        )
    except ValueError:
        raise ValueError("is not NAME=VALUE&NAME=VALUE") from None
    numbers = {"depth", "limit"} | ({"after"} if path.endswith("candles") else set())
    params: dict[str, object] = {}
    for name, value in members:
        if name in params:
            raise ValueError(f"has {name[:40]!r} twice")
        number = name in numbers and value.isascii() and value.isdigit() and len(value) < 18
        params[name] = int(value) if number else value
    return params


def _page(line: bytes, known: bytes) -> Page:
    response = decode_response(line)
    if response.error is not UNSET:
        error = response.error
        return _error(int(error.get("code", 0)), str(error.get("message", "")), error.get("data"))
    body = encode(response.result) + b"\n"
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    same = etag in {each.strip().removeprefix("W/") for each in known.decode("latin-1").split(",")}
    status = HTTPStatus.NOT_MODIFIED if same else HTTPStatus.OK
    return Page(b"" if same else body, "application/json", status, "no-cache", etag=etag)


def _error(code: int, message: str, data: object = None) -> Page:
    error: dict[str, object] = {"code": code, "message": message}
    if data:
        error["data"] = data
    status = _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return Page(encode({"error": error}) + b"\n", "application/json", status)
