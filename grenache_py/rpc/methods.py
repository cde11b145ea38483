"""
Many methods behind one service name, in the form that Bitfinex's workers use.

Pure. A request's payload is ``{"action": NAME, "args": [...]}``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from grenache_py.errors import LocalProtocolError
from grenache_py.rpc.errors import RPCFailure
from grenache_py.rpc.frames import Request

__all__ = ["Methods", "call_payload"]

F = TypeVar("F", bound=Callable[..., Any])

#: There is no such method, or the payload names none.
ERR_API_ACTION_NOTFOUND = "ERR_API_ACTION_NOTFOUND"


def call_payload(action: str, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the payload of a request that calls a method."""
    return {"action": action, "args": list(args)}


class Methods:
    """
    The methods of one service; a handler for an ``RPCServer``.

    ::

        methods = Methods()

        @methods.method
        def add(a, b=0):
            return a + b

        server = RPCServer(link, "calc", methods, reactor)

    A method returns what a handler may return, or raises ``RPCFailure``. Whoever asks for another
    is answered with ``ERR_API_ACTION_NOTFOUND``, and with ``ERR_ARGS: ...`` whoever gives arguments
    that the method does not take. A method sees its arguments only; who asks is in the ``Request``
    that a handler of your own gets.
    """

    def __init__(self) -> None:
        self._methods: dict[str, tuple[Callable[..., Any], inspect.Signature]] = {}

    def __repr__(self) -> str:
        return f"<Methods {', '.join(self._methods) or 'none yet'}>"

    def method(self, function: F) -> F:
        """
        Register ``function``, or a bound method, under its own name.

        Raises:
            LocalProtocolError: the name begins with ``_``, which is private, or is taken.
        """
        name = function.__name__
        if name.startswith("_"):
            raise LocalProtocolError(f"{name} is private and cannot be called from elsewhere")
        if name in self._methods:
            raise LocalProtocolError(f"there is a method {name} already")
        self._methods[name] = (function, inspect.signature(function))
        return function

    def __call__(self, request: Request) -> Any:
        """Call the method that ``request`` names."""
        payload = request.payload if isinstance(request.payload, dict) else {}
        action, args = payload.get("action"), payload.get("args")
        found = self._methods.get(action) if isinstance(action, str) else None
        if found is None:
            raise RPCFailure(ERR_API_ACTION_NOTFOUND)
        if args is None:
            args = []
        if not isinstance(args, list):
            raise RPCFailure("ERR_ARGS: args is an array")
        function, signature = found
        try:
            signature.bind(*args)
        except TypeError as error:
            raise RPCFailure(f"ERR_ARGS: {error}") from None
        return function(*args)
