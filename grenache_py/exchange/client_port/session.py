"""
One client's requests: each line becomes calls of methods, and their results one answer.

Pure. It checks what a client may do and how fast. It never waits: a coroutine is left to the
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from msgspec import UNSET, Raw

from grenache_py.exchange.client_port.answer import INTERNAL, Answer, Fault, Known, error_part
from grenache_py.exchange.client_port.foreign import foreign_answer, looks_foreign
from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.inline import FORMAT, QUIT, did_you_mean, parse
from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.client_port.methods.registry import AtSeal, Method
from grenache_py.exchange.client_port.text_answers import as_text
from grenache_py.exchange.errors import (
    INTERNAL_ERROR,
    NO_SUCH_METHOD,
    NOT_AUTHORISED,
    PARSE_ERROR,
    RATE_LIMITED,
    TOO_LARGE,
    OrderError,
)
from grenache_py.exchange.rates import RateLimits
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import (
    Malformed,
    Request,
    decode_params,
    decode_requests,
    encode,
    error_line,
    result_line,
)

__all__ = ["Session"]

#: Methods that are answered even while there is no store: then an operator needs them most.
ALWAYS = frozenset(
    {"hello", "help", "ping", "status", "status.subscribe", "status.unsubscribe"}
    | {"promote", "demote", "shutdown", "log.level"}
)
#: Methods that a daemon answers from the store while another one serves.
FROM_STORE = frozenset(
    {"markets.list", "order.get", "order.list", "trades.list", "candles.list"}
    | {"executions.list", "positions.list", "book.get", "ticker.get"}
)


class Session:
    """
    One connection to the client port.

    Attributes:
        client: what methods know of it.
        requests: how many were made.
        lookups: how many of those have an answer that is dear to make.
    """

    __slots__ = ("_bucket", "_gateway", "_limits", "_on_bug", "client", "lookups", "requests")

    def __init__(
        self,
        gateway: Gateway,
        client: Principal,
        limits: RateLimits,
        now: float,
        on_bug: Callable[[str, Exception], None],
    ) -> None:
        """
        Args:
            on_bug: called, with the exception being handled, when a method raises what it
                must not; the arguments say which, and what.
        """
        self._gateway = gateway
        self._limits = limits
        self._bucket = limits.connection(now)
        self._on_bug = on_bug
        self.client = client
        self.requests = 0
        self.lookups = 0

    def receive(self, line: bytes, now: float) -> Answer:
        """Carry out one line."""
        first = line[0] | 0x20
        if 97 <= first <= 122:
            return self._command(line, now)
        try:
            requests = decode_requests(line)
        except Malformed as error:
            self.requests += 1
            if looks_foreign(line):
                return self._foreign(line)
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

    def _foreign(self, line: bytes) -> Answer:
        self.client.leaving = True  # nothing that comes after this line is read
        return Known(None, foreign_answer(line))

    def _command(self, line: bytes, now: float) -> Answer:
        if looks_foreign(line):
            self.requests += 1
            return self._foreign(line)
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
        if calls[0][0] == FORMAT:
            chosen = calls[0][1]["as"]
            self.client.send_queue.shape = as_text if chosen == "text" else None
            return Answer([(None, result_line(None, chosen))])
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
            return error_part(id, error.code, error.message, error.data)
        except Malformed as error:
            return error_part(id, error.code, error.message, error.data)
        except Exception as error:  # no await in here: whatever a method raises is a bug of ours
            self._on_bug(request.method, error)
            return Fault(error_part(id, INTERNAL_ERROR, INTERNAL))
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
                f"There is no method {request.method[:64]!r};"
                f" {did_you_mean(request.method, METHODS)}help lists them.",
            )
        if method.name not in ALWAYS:
            refused = gateway.closed
            if refused is None:
                refused = gateway.unsure()
            elif gateway.from_store and method.name in FROM_STORE:
                refused = None
            if refused is not None:
                raise refused
        if method.scope and method.scope not in client.grant.scopes:
            raise self._forbidden(method)
        if method.scope != "trade" and method.name != "ping":
            self.lookups += 1
        params = decode_params(method.decoder, request.params)
        if method.scope == "trade" and self._limits.of_accounts:
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
