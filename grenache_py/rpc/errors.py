"""
What a request to another service can end in, other than a result.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grenache_py.errors import GrenacheError, LocalProtocolError, RemoteProtocolError

__all__ = [
    "BadFrame",
    "NoPeerFound",
    "NotSendable",
    "PeerLost",
    "PeerUnreachable",
    "RPCError",
    "RPCFailure",
    "RequestTimedOut",
    "TooManyRequests",
]


class RPCError(GrenacheError):
    """Base of everything a request fails with, cancellation apart."""


class RPCFailure(RPCError):
    """
    The other side answered with an error. A handler raises it to send one.

    Attributes:
        message: the text that travels; never empty, since Node reads an empty one as success.
        data: what travels beside it, usually None.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message or "error"
        self.data = data


class NoPeerFound(RPCError):
    """Nobody is announced under the name (Node: ``ERR_GRAPE_LOOKUP_EMPTY``)."""


class PeerUnreachable(RPCError):
    """
    No address that is announced under the name accepts connections.

    Attributes:
        attempts: one line for each try, ``"<address>: <what happened>"``.
    """

    def __init__(self, summary: str, attempts: Sequence[str] = ()) -> None:
        self.attempts = tuple(attempts)
        super().__init__(f"{summary}: {'; '.join(attempts)}" if attempts else summary)


class PeerLost(RPCError):
    """The connection went away after the request was sent; it may have been carried out."""


class RequestTimedOut(RPCError, TimeoutError):
    """No answer in time; the request may have been carried out."""


class TooManyRequests(RPCError):
    """This client has as many requests in flight as it allows; wait for some of them."""


class NotSendable(RPCError, LocalProtocolError):
    """A payload or a result that JSON cannot express, or that is too large."""


class BadFrame(RPCError, RemoteProtocolError):
    """Bytes that are not a request or not a reply. The message says what is wrong with them."""
