"""
One client's requests: each line becomes calls of methods, and their results one answer.

Pure. An answer goes through up to three stages: results known at once, results made when the
batch is sealed, results that wait for the store. Every request is answered (cause F20).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.inline import QUIT, parse
from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.client_port.methods.registry import AtSeal, FollowingLines, Method
from grenache_py.exchange.errors import (
    BUSY,
    INTERNAL_ERROR,
    NO_SUCH_METHOD,
    NOT_AUTHORISED,
    PARSE_ERROR,
    RATE_LIMITED,
    TOO_LARGE,
    OrderError,
    StoreError,
)
from grenache_py.exchange.rates import RateLimits
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import (
    Id,
    Malformed,
    Request,
    batch_line,
    decode_params,
    decode_requests,
    encode,
    error_line,
    result_line,
)

__all__ = ["Answer", "Session"]

ALWAYS = frozenset({"hello", "help", "ping", "status"})
"""What is answered even while the store is not to be had: then an operator needs it most."""

INTERNAL = "Something is wrong inside the daemon; its log says more."


class Fault(bytes):
    """The answer to a request that a bug of ours kept from being carried out: it stays so."""


class Answer:
    """
    The answer to one line, under way.

    ``parts`` are the answers to its requests (several in a batch), each with the request's
    id: a line when it is known, an `AtSeal` or a coroutine before.

    Attributes:
        waits: `finish` is needed; right once it was sealed.
        ready: the whole answer as a line once it may leave, empty if nobody asked for one.
        begun: subscriptions it begins: their notifications wait for it.
        pages: what follows it.
    """

    __slots__ = ("_after", "_batch", "_parts", "begun", "pages", "ready", "waits")

    def __init__(self, parts: list[tuple[Any, Any]], batch: bool = False) -> None:
        self._parts = parts
        self._batch = batch
        self._after: list[AtSeal] = []
        self.begun: Sequence[str] = ()
        self.pages: Sequence[FollowingLines] = ()
        self.waits = False
        self.ready: bytes | None = None

    def seal(self) -> None:
        """The batch is complete: make what waited for that; afterwards ``waits`` is right."""
        for number, (id, part) in enumerate(self._parts):
            value = part
            if isinstance(part, AtSeal):
                self._after.append(part)
                if part.begins:
                    self.begun = (*self.begun, part.begins)
                value = part.make()
                if not iscoroutine(value):
                    value = _result(id, value)
                self._parts[number] = (id, value)
            if iscoroutine(value):
                self.waits = True

    async def finish(self) -> None:
        """
        Wait for what has to be waited for; what was done before must be durable by now.

        Where that changed the node, ``ready`` is None afterwards: seal and release it again.
        """
        unsealed = False
        for number, (id, part) in enumerate(list(self._parts)):
            if not iscoroutine(part) or self.ready is not None:
                continue
            try:
                value = await part
            except OrderError as error:
                value = _error(id, error.code, error.message, error.data)
            except StoreError as error:
                value = _error(id, BUSY, f"The store cannot be read: {error}")
            else:
                if isinstance(value, AtSeal):
                    unsealed = True
                else:
                    value = _result(id, value)
            if self.ready is None:
                self._parts[number] = (id, value)
        self.waits = False
        if not unsealed and self.ready is None:
            self.release()

    def release(self) -> None:
        """All parts are lines and durable: the answer may leave."""
        self.ready = self._join([part for _, part in self._parts if part])
        for at_seal in self._after:
            self.ready += b"".join(at_seal.after)
        self.pages = [at_seal.pages for at_seal in self._after if at_seal.pages is not None]

    def _join(self, lines: list[bytes]) -> bytes:
        if not lines:
            return b""  # notifications only
        return batch_line(lines) if self._batch else lines[0]

    def discard(self) -> None:
        """Nobody is there to hear it any more: nothing further is begun for it."""
        self._close_unstarted()
        self._parts.clear()
        self._after.clear()
        self.ready = b""

    def _close_unstarted(self) -> None:
        for _, part in self._parts:
            if iscoroutine(part) and getcoroutinestate(part) == CORO_CREATED:
                part.close()

    def refuse(self, code: int, message: str) -> None:
        """Answer every request with an error instead: what was done is not durable."""
        self._close_unstarted()
        self._after.clear()
        self.waits = False
        lines = [
            part if type(part) is Fault else _error(id, code, message) for id, part in self._parts
        ]
        self.ready = self._join([line for line in lines if line])


class Known(Answer):
    """The answer to a single request whose result was known at once, as nearly all are."""

    __slots__ = ("_id", "_line")
    waits = False
    begun = ()
    pages = ()

    def __init__(self, id: Id | UnsetType, line: bytes) -> None:
        self._id = id
        self._line = line
        self.ready = None

    def seal(self) -> None:
        """Nothing waits for it."""

    def release(self) -> None:
        self.ready = self._line

    def discard(self) -> None:
        self.ready = b""

    def refuse(self, code: int, message: str) -> None:
        self.ready = _error(self._id, code, message)


def _result(id: Id | UnsetType, result: Any) -> bytes:
    return b"" if id is UNSET else result_line(id, result)


def _error(
    id: Id | UnsetType, code: int, message: str, data: dict[str, Any] | None = None
) -> bytes:
    return b"" if id is UNSET else error_line(id, code, message, data)


class Session:
    """
    One connection to the client port.

    Attributes:
        client: what methods know of it.
        requests: how many were made.
    """

    __slots__ = ("_bucket", "_gateway", "_limits", "_on_bug", "client", "requests")

    def __init__(
        self,
        gateway: Gateway,
        client: Principal,
        limits: RateLimits,
        now: float,
        on_bug: Callable[[str], None],
    ) -> None:
        """
        Args:
            on_bug: called, with the exception being handled, when a method raises what it
                must not; the argument says which.
        """
        self._gateway = gateway
        self._limits = limits
        self._bucket = limits.connection(now)
        self._on_bug = on_bug
        self.client = client
        self.requests = 0

    def receive(self, line: bytes, now: float) -> Answer:
        """Carry out one line."""
        first = line[0] | 0x20
        if 97 <= first <= 122:
            return self._command(line, now)
        try:
            requests = decode_requests(line)
        except Malformed as error:
            self.requests += 1
            return Known(error.id, _malformed(error))
        if isinstance(requests, Request):
            part = self._call(requests, now)
            if type(part) is bytes:
                return Known(requests.id, part)
            return Answer([(requests.id, part)])
        return Answer(
            [
                (
                    each.id,
                    _malformed(each) if isinstance(each, Malformed) else self._call(each, now),
                )
                for each in requests
            ],
            batch=True,
        )

    def too_long(self) -> Answer:
        """The answer to a line that was longer than a line may be."""
        message = f"A line has at most {LINE_BYTES_MAX} bytes; this connection ends here."
        return Answer([(None, error_line(None, TOO_LARGE, message))])

    def _command(self, line: bytes, now: float) -> Answer:
        try:
            calls = parse(line.decode())
        except UnicodeDecodeError:
            return Answer([(None, error_line(None, PARSE_ERROR, "This line is not UTF-8."))])
        except OrderError as error:
            self.requests += 1
            return Answer([(None, error_line(None, error.code, error.message, error.data))])
        if calls[0] == QUIT:
            self.client.leaving = True
            return Answer([(None, result_line(None, "bye"))])
        parts: list[tuple[Any, Any]] = []
        for number, (method, params) in enumerate(calls):
            request = Request("2.0", method, Raw(encode(params)), UNSET if number else None)
            parts.append((request.id, self._call(request, now)))
        return Answer(parts)

    def _call(self, request: Request, now: float) -> Any:
        """Carry out one request; its line, or what its line will be made of."""
        self.requests += 1
        id = request.id
        try:
            result = self._perform(request, now)
        except OrderError as error:
            return _error(id, error.code, error.message, error.data)
        except Malformed as error:
            return _error(id, error.code, error.message, error.data)
        except Exception:  # no await in here: whatever a method raises is a bug of ours
            self._on_bug(request.method)
            return Fault(_error(id, INTERNAL_ERROR, INTERNAL))
        if type(result) is not dict and (isinstance(result, AtSeal) or iscoroutine(result)):
            return result
        return b"" if id is UNSET else result_line(id, result)

    def _perform(self, request: Request, now: float) -> Any:
        gateway, client = self._gateway, self.client
        method = METHODS.get(request.method)
        retry_after_ms = self._bucket.take(now)
        if retry_after_ms:
            raise _too_fast(retry_after_ms)
        if method is None:
            raise OrderError(
                NO_SUCH_METHOD,
                f"There is no method {request.method[:64]!r}; help lists them.",
            )
        if gateway.closed is not None and method.name not in ALWAYS:
            raise gateway.closed
        if method.scope and method.scope not in client.grant.scopes:
            raise self._forbidden(method)
        params = decode_params(method.decoder, request.params)
        if method.scope == "trade":
            retry_after_ms = self._limits.take_account(client.account(params.account), now)
            if retry_after_ms:
                raise _too_fast(retry_after_ms)
        return method.function(gateway, client, params, now)

    def _forbidden(self, method: Method) -> OrderError:
        if not self.client.grant.scopes:
            return OrderError(
                NOT_AUTHORISED, "This daemon asks for a token: call hello with yours first."
            )
        return OrderError(
            NOT_AUTHORISED,
            f"{method.name} needs the scope {method.scope!r}, which this connection has not.",
        )


def _malformed(error: Malformed) -> bytes:
    return error_line(error.id, error.code, error.message, error.data)


def _too_fast(retry_after_ms: int) -> OrderError:
    return OrderError(
        RATE_LIMITED,
        f"Too many requests: come back in {retry_after_ms} ms.",
        retry_after_ms=retry_after_ms,
    )
