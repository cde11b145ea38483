"""One connection to a daemon whose methods are called by name, with params as keyword arguments."""

from __future__ import annotations

from typing import Any

from typing_extensions import Self

from grenache_py.trading import AnswerTimeout, Client, NotConnected

#: What a call fails with when the daemon is away or silent.
AWAY = (NotConnected, AnswerTimeout)


class WireClient:
    """
    A client that is connected once, when it is made.

    Raises:
        NotConnected: nobody listens at ``address``.
        NotAuthorised: the daemon wants another token.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self._client = Client(address, token=token, timeout_s=15.0, reconnect=False).__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, *, timeout_s: float | None = None, **params: Any) -> Any:
        """Call a method; whatever becomes of it, an answer that is lost is one of `AWAY`."""
        return self._client.call(method, params, changes=False, timeout_s=timeout_s)
