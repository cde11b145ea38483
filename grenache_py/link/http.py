"""
Requests to grapes over kept HTTP connections.

Shell: owns one HTTP client and its connection pool.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from grenache_py.link.endpoints import GrapeEndpoints
from grenache_py.link.errors import BadAnswer

__all__ = ["TRANSPORT_ERRORS", "GrapeHTTP", "describe"]

T = TypeVar("T")

#: A grape's longest honest answer is 100 addresses; an item of 1000 bytes may grow sixfold in JSON.
ANSWER_BYTES_MAX = 262_144
#: Below the 5 s after which grapes close an idle connection, so that ours is never the stale one.
IDLE_CONNECTION_S = 4
CONNECTIONS_MAX = 8

_HEADERS = Headers({"Content-Type": ["application/json"], "Accept": ["application/json"]})
#: What `GrapeHTTP.post` fails with where a grape could not be reached, or fell silent.
TRANSPORT_ERRORS = (
    ConnectError,
    DNSLookupError,
    RequestTransmissionFailed,
    ResponseFailed,
    TimeoutError,
    ConnectionError,
)


class GrapeHTTP:
    """
    Posts to grapes.

    Args:
        timeout_s: seconds one request gets, connecting included.
        http: the treq client to use instead of one with a connection pool of its own.
    """

    def __init__(self, reactor: Any, timeout_s: float, http: HTTPClient | None = None) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._pool = HTTPConnectionPool(reactor)
        self._pool.cachedConnectionTimeout = IDLE_CONNECTION_S
        self._pool.maxPersistentPerHost = CONNECTIONS_MAX
        endpoints = GrapeEndpoints(reactor, timeout_s)
        self._agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints, pool=self._pool)
        self._http = http

    def post(self, url: str, body: bytes) -> Deferred[tuple[int, bytes]]:
        """
        Send one request.

        Fires with: status and body of the answer.
        Fails with:
            TRANSPORT_ERRORS: no answer came.
            BadAnswer: it is longer than any honest one.
        Cancel: the connection is dropped.
        """
        exchange = Deferred.fromCoroutine(self._exchange(url, body))
        return cancelled_cleanly(exchange).addTimeout(self._timeout_s, self._reactor)

    def close(self) -> Deferred[None]:
        """Fires with: None, when the kept connections are closed."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _exchange(self, url: str, body: bytes) -> tuple[int, bytes]:
        try:
            response = await self._request(url, body)
        except ValueError as error:  # a URL that passed our check, and not Twisted's or treq's
            raise ConnectError(string=str(error)) from None
        except ResponseNeverReceived as error:
            # Most likely a kept connection that the grape closed while it was idle. Every
            # request to a grape may be repeated, so a new connection is worth one try.
            if not all(reason.check(ConnectionClosed) for reason in error.reasons):
                raise
            response = await self._request(url, body)
        collected = _Body(ANSWER_BYTES_MAX)
        response.deliverBody(collected)
        return response.code, await collected.done

    def _request(self, url: str, body: bytes) -> Deferred[Any]:
        if self._http is None:  # treq cannot write IPv6 literals
            return self._agent.request(b"POST", url.encode(), _HEADERS, _Payload(body))
        return self._http.request(
            "POST",
            url,
            data=_Payload(body),
            headers=_HEADERS,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )


@implementer(IBodyProducer)
class _Payload(bytes):
    """
    A request's body, written at once; what Twisted and treq make of bytes needs the global reactor.

    It is bytes still, for a treq client that takes nothing else (treq's own for tests).
    """

    @property
    def length(self) -> int:
        return len(self)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(bytes(self))
        return succeed(None)

    def pauseProducing(self) -> None:
        """All is written already."""

    def resumeProducing(self) -> None:
        """All is written already."""

    def stopProducing(self) -> None:
        """All is written already."""


class _Body(Protocol):
    """Collect one response body, at most so many bytes of it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._hang_up())

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._bytes_max:
            self._parts.append(data)
        elif not self.done.called:
            self.done.errback(BadAnswer(f"an answer of more than {self._bytes_max} bytes"))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)


def cancelled_cleanly(work: Deferred[T]) -> Deferred[T]:
    """
    Pass on what ``work`` fires or fails with.

    Cancel: cancels ``work`` and fails with CancelledError whatever ``work`` makes of that;
        Agent answers a cancel with all sorts of failures, none of which is a dead grape.
    """
    cancelled = False

    def cancel(_: Deferred[T]) -> None:
        nonlocal cancelled
        cancelled = True
        work.cancel()

    outcome: Deferred[T] = Deferred(cancel)

    def settle(result: T | Failure) -> None:
        if not cancelled:
            outcome.callback(result)  # a Failure given to callback() is an errback

    work.addBoth(settle)
    return outcome


def describe(error: Exception, timeout_s: float) -> str:
    """Return one line a person can act on for what happened to a request."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, ConnectError):
        if error.osError:
            return os.strerror(error.osError).lower()
        if error.args and isinstance(error.args[0], Failure):
            return "it closed the connection before it was open"
    if isinstance(error, DNSLookupError):
        return "its host name has no address"
    if isinstance(error, (RequestTransmissionFailed, ResponseFailed)):
        if all(failure.check(ConnectionClosed) for failure in error.reasons):
            return "it closed the connection before it had answered"
        reasons = dict.fromkeys(_reason(failure.value) for failure in error.reasons)
        return f"the connection was lost: {', '.join(reasons)}"
    return _reason(error)


def _reason(error: BaseException) -> str:
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return str(error.args[0][-1][-1])  # the last of a list of (library, function, reason)
    return str(error).rstrip(".") or type(error).__name__
