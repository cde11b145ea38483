"""
The client of a service: find it, pick an address, send, wait, and go on when one is dead.

Shell: `sending` carries each request out, over one of two transports. Unlike Node's client,
this one tries the next address when a connection is refused, notices a lost connection at
once, and keeps its time-outs to the millisecond.
"""

from __future__ import annotations

import json
import random
from collections.abc import Coroutine, Mapping
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from grenache_py.deferreds import DeadlinePassed, deadline
from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link.client import Link
from grenache_py.link.errors import LinkError
from grenache_py.rpc.addresses import ServiceAddresses
from grenache_py.rpc.connecting import NotConnected, TLSFor, Transport, TransportSettings
from grenache_py.rpc.errors import NoPeerFound, PeerLost, PeerUnreachable, RequestTimedOut
from grenache_py.rpc.http.transport import HTTPTransport
from grenache_py.rpc.methods import call_payload
from grenache_py.rpc.sending import RequestSender
from grenache_py.rpc.streams import ClientStream
from grenache_py.rpc.websocket.transport import WebSocketTransport

__all__ = ["Outcome", "RPCClient"]


@attrs.frozen
class Outcome:
    """
    What one peer made of a request that was sent to all of them.

    Attributes:
        address: the peer.
        value: its result, None if there is an error.
        error: why there is no result.
    """

    address: str
    value: Any = None
    error: GrenacheError | None = None


class RPCClient:
    """
    Sends requests to the services announced on a Grenache network.

    Args:
        link: finds them.
        reactor: connects, and keeps the time.
        transport: ``"http"`` or ``"ws"``; a service speaks one of them, and lookups do not tell
            which.
        timeout_s: what a request gets that does not say otherwise. Node's default is 60 as well.
        connect_timeout_s: what one address gets to accept a connection before the next is tried.
        compress: gzip requests and their replies (HTTP only).
        tls: for services in secure mode: called with the host, returns what
            ``twisted.internet.ssl.optionsForClientTLS`` returns.
        requests_max: requests in flight at a time.
        reply_bytes_max: the largest reply that is accepted.
        rng: makes ids and the order of addresses; the system's generator if None.
    """

    def __init__(
        self,
        link: Link,
        reactor: Any,
        *,
        transport: Literal["http", "ws"] = "http",
        timeout_s: float = 60.0,
        connect_timeout_s: float = 3.0,
        compress: bool = False,
        tls: TLSFor | None = None,
        requests_max: int = 10_000,
        reply_bytes_max: int = 16_777_216,
        rng: random.Random | None = None,
    ) -> None:
        self._clock: IReactorTime = reactor
        self._transport = transport
        self._timeout_s = timeout_s
        settings = TransportSettings(tls, connect_timeout_s, reply_bytes_max)
        self._http: HTTPTransport | None = None
        connections: Transport
        if transport == "http":
            connections = self._http = HTTPTransport(reactor, settings, compress=compress)
        elif transport == "ws":
            if compress:
                raise LocalProtocolError("compression is a matter of HTTP, not of WebSocket")
            connections = WebSocketTransport(reactor, settings)
        else:
            raise LocalProtocolError(f'a transport is "http" or "ws", not {transport!r}')
        rng = rng or random.SystemRandom()
        self._addresses = ServiceAddresses(link, rng, reactor)
        self._sender = RequestSender(self._addresses, connections, reactor, requests_max, rng)

    def __repr__(self) -> str:
        return f"<RPCClient {self._transport}, {len(self._sender)} requests in flight>"

    def request(
        self, name: str, payload: Any, *, timeout_s: float | None = None, retries: int = 0
    ) -> Deferred[Any]:
        """
        Ask one of the services announced under ``name``.

        An address that accepts no connection is passed over for the next one, which costs
        no retry. Once the request has been sent it is not sent again unless ``retries``
        allows it, because it may have been carried out.

        Args:
            name: the service.
            payload: what JSON can express.
            timeout_s: what each attempt gets, looking up and connecting included.
            retries: attempts that may follow one that was lost or timed out.

        Fires with: the service's result.
        Fails with:
            RPCFailure: the service answered with an error.
            NoPeerFound: nobody is announced under the name.
            PeerUnreachable: nobody who is accepts a connection.
            PeerLost: the connection went away before the answer came.
            RequestTimedOut: no answer in time.
            LinkError: the name could not be looked up.
            RPCError, LocalProtocolError: the request cannot be sent as it is.
        Cancel: the answer is ignored when it comes.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if retries <= 0:
            return self._sender.send(name, payload, timeout_s, None)
        return Deferred.fromCoroutine(self._with_retries(name, payload, timeout_s, retries))

    def call(
        self,
        name: str,
        action: str,
        *args: Any,
        timeout_s: float | None = None,
        retries: int = 0,
    ) -> Deferred[Any]:
        """
        Call a method of a service that has several (`Methods`, and the workers of Bitfinex).

        Args:
            action: the method.
            args: its arguments, what JSON can express.
            timeout_s, retries: as for `request`.

        Fires with: the method's result.
        Fails with:
            RPCFailure: also ``ERR_API_ACTION_NOTFOUND`` and ``ERR_ARGS: ...``.
            others: as `request` does.
        Cancel: the answer is ignored when it comes.
        """
        payload = call_payload(action, args)
        return self.request(name, payload, timeout_s=timeout_s, retries=retries)

    def map(
        self, name: str, payload: Any, *, limit: int | None = None, timeout_s: float | None = None
    ) -> Deferred[list[Outcome]]:
        """
        Ask every service announced under ``name`` at the same time.

        Args:
            limit: ask at most so many of them, chosen at random.
            timeout_s: what each of them gets.

        Fires with: an Outcome for each that was asked; one dead peer does not spoil the rest.
        Fails with:
            NoPeerFound: nobody is announced under the name.
            LinkError: the name could not be looked up.
        Cancel: the answers are ignored when they come.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        return Deferred.fromCoroutine(self._map(name, payload, limit, timeout_s))

    def stream(
        self,
        name: str,
        *,
        action: str | None = None,
        args: Any = None,
        headers: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Deferred[ClientStream]:
        """
        Open a byte stream to one of the services announced under ``name`` (HTTP only).

        Args:
            action: the ``_a`` header, by custom what is wanted.
            args: the ``_ar`` header, sent as JSON.
            headers: others; what is not text is sent as JSON.
            timeout_s: for finding the service and connecting. Reads and writes have no deadline
                of their own; give them one with ``addTimeout``, or call ``abort``.

        Fires with: the stream, which is written, finished and read.
        Fails with:
            NoPeerFound, PeerUnreachable, RequestTimedOut, LinkError: as for a request.
        Cancel: nothing is opened.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if self._http is None:
            return fail(LocalProtocolError("streams are a matter of HTTP, not of WebSocket"))
        sent = dict(headers or {})
        if action is not None:
            sent["_a"] = action
        if args is not None:
            sent["_ar"] = json.dumps(args)
        http, rid = self._http, self._sender.next_rid()

        def connect(address: str) -> Coroutine[Any, Any, ClientStream]:
            return http.open_stream(address, rid, name, sent)

        work: Deferred[ClientStream] = Deferred.fromCoroutine(
            self._addresses.try_in_turn(name, connect)
        )
        opened = deadline(work, timeout_s, self._clock, f"opening a stream to {name}")

        def too_late(failure: Failure) -> Failure:
            failure.trap(DeadlinePassed)
            return Failure(RequestTimedOut(failure.getErrorMessage()))

        return opened.addErrback(too_late)

    def close(self) -> Deferred[None]:
        """
        Fail what is in flight with CancelledError and close every connection.

        Fires with: None, when they are closed.
        Cancel: not supported.
        """
        return self._sender.close()

    async def _with_retries(self, name: str, payload: Any, timeout_s: float, retries: int) -> Any:
        for _ in range(retries):
            try:
                return await self._sender.send(name, payload, timeout_s, None)
            except (PeerLost, RequestTimedOut, PeerUnreachable, NoPeerFound, LinkError):
                continue
        return await self._sender.send(name, payload, timeout_s, None)

    async def _map(
        self, name: str, payload: Any, limit: int | None, timeout_s: float
    ) -> list[Outcome]:
        addresses = await self._addresses.lookup(name)
        if not addresses:
            raise NoPeerFound(f"nobody is announced as {name!r}")
        chosen = addresses[:limit]
        answers = [self._sender.send(name, payload, timeout_s, address) for address in chosen]
        outcomes = []
        for address, (good, result) in zip(
            chosen, await DeferredList(answers, consumeErrors=True), strict=True
        ):
            if good:
                outcomes.append(Outcome(address, result))
            elif isinstance(result.value, NotConnected):
                self._addresses.refused(name, address)
                outcomes.append(
                    Outcome(address, error=PeerUnreachable(f"{address}: {result.value}"))
                )
            elif isinstance(result.value, GrenacheError):
                outcomes.append(Outcome(address, error=result.value))
            else:
                result.raiseException()
        return outcomes
