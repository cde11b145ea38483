"""
The methods of the client port by name, and what their functions have in common.

Pure. A method's function is given the gateway, the principal, its parameters and the time. It

* returns its result: encoded at once, sent when the batch it belongs to is durable; or
* returns `AtSeal`: the result is made when that batch is complete, so that a book and its
  ``seq`` fit together; or
* is a coroutine: it begins once all that was done before is durable, and waits for the store
  or the like. Answers to what the client asked after it wait behind it.

The first line of its docstring is its line in ``help``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import attrs
import msgspec
from msgspec import Raw, Struct

from grenache_py.exchange.client_port.feed import SUBSCRIPTIONS_MAX
from grenache_py.exchange.client_port.gateway import Gateway, GatewayNode, Principal
from grenache_py.exchange.errors import INVALID_PARAMS, OrderError
from grenache_py.wire.jsonrpc import encode

__all__ = [
    "METHODS",
    "RESULT_BYTES_MAX",
    "AtSeal",
    "FollowingLines",
    "Method",
    "MethodResult",
    "Registry",
    "may_subscribe",
    "of_books",
    "page",
    "unknown_cursor",
    "unsubscribe",
]

#: Bytes of a page or a snapshot: with its envelope it is a line every client can read.
RESULT_BYTES_MAX = 60_000


#: Lines that follow an answer, page by page; an empty page means nothing more for the moment.
FollowingLines: TypeAlias = AsyncIterator[list[bytes]]


@attrs.define
class AtSeal:
    """
    A result that is made when the batch under way is complete.

    Attributes:
        make: returns the result, or a coroutine that will.
        begins: the subscription that the answer begins, if ``make`` began one.
        after: lines that follow the answer at once.
        pages: lines that follow then, as fast as the client reads them; an empty page means
            that there is nothing more for the moment.
    """

    make: Callable[[], Any]
    begins: str = ""
    after: list[bytes] = attrs.Factory(list)
    pages: FollowingLines | None = None


MethodResult: TypeAlias = Any | AtSeal | Coroutine[Any, Any, Any]
P = TypeVar("P", bound=Struct)


@attrs.frozen
class Method:
    """
    One method.

    Attributes:
        scope: what a token must allow; "" for nothing.
        line: one line for ``help``.
    """

    name: str
    scope: str
    decoder: msgspec.json.Decoder[Any]
    params: type[Struct]
    function: Callable[[Gateway, Principal, Any, float], MethodResult]
    line: str

    def usage(self) -> dict[str, Any]:
        """What ``help`` says of it."""
        fields = msgspec.structs.fields(self.params)
        return {
            "method": self.name,
            "params": [f.encode_name + ("" if f.required else "?") for f in fields],
            "scope": self.scope or None,
            "does": self.line,
        }


class Registry(dict[str, Method]):
    """Methods by name; a name given twice is refused (docs/failure-modes.rst#f3)."""

    def method(
        self, name: str, params: type[P], scope: str = "read"
    ) -> Callable[
        [Callable[[Gateway, Principal, P, float], MethodResult]], Callable[..., MethodResult]
    ]:
        """Register the function below under ``name``."""

        def register(
            function: Callable[[Gateway, Principal, P, float], MethodResult],
        ) -> Callable[..., MethodResult]:
            if name in self:
                raise ValueError(f"two methods are called {name}")
            line = (function.__doc__ or "").strip().splitlines()[0]
            decoder = msgspec.json.Decoder(params)
            self[name] = Method(name, scope, decoder, params, function, line)
            return function

        return register


METHODS = Registry()


def page(
    name: str, items: list[dict[str, Any]], limit: int, cursor: str, *, keep_last: bool = False
) -> dict[str, Any]:
    """As many of ``items`` as limit and line allow; ``next`` is the ``after`` of the next page."""
    fitting: list[Raw] = []
    size = 0
    kept = items[-limit:] if keep_last else items[:limit]
    for item in reversed(kept) if keep_last else kept:
        encoded = encode(item)
        size += len(encoded) + 1
        if size > RESULT_BYTES_MAX and fitting:
            break
        fitting.append(Raw(encoded))
    more = len(fitting) < len(items)
    if keep_last:
        fitting.reverse()
        return {name: fitting}
    return {name: fitting, "next": items[len(fitting) - 1][cursor] if more and fitting else None}


def unknown_cursor(after: object) -> OrderError:
    """The refusal of a page after something that is not kept: an empty page would say "no more"."""
    return OrderError(
        INVALID_PARAMS,
        f"{after!r} is not kept here, so what comes after it is not known; begin without after.",
        field="after",
    )


def of_books(
    gateway: Gateway, make: Callable[[GatewayNode], dict[str, Any] | Awaitable[dict[str, Any]]]
) -> MethodResult:
    """
    A result that is made of the books.

    That is when the batch under way is complete; or, while another daemon serves, once the books
    were read from the store: then it says in ``age_s`` how old they may be.
    """
    if not gateway.from_store:
        return AtSeal(lambda: make(gateway.node))

    async def of_stored_books() -> dict[str, Any]:
        node, age_s = await gateway.stored()
        result = make(node)
        found = result if isinstance(result, dict) else await result
        return {**found, "age_s": age_s}

    return of_stored_books()


def may_subscribe(gateway: Gateway, client: Principal, name: str) -> None:
    names = gateway.feed.names(client.send_queue)
    if len(names) >= SUBSCRIPTIONS_MAX and name not in names:
        raise OrderError(
            INVALID_PARAMS, f"A connection has at most {SUBSCRIPTIONS_MAX} subscriptions."
        )


def unsubscribe(gateway: Gateway, client: Principal, name: str) -> dict[str, Any]:
    return {"subscription": name, "ended": gateway.feed.end(name, client.send_queue)}
