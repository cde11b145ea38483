"""
What can go wrong with a call, told apart by what it means for the money.

Pure. *It did not happen* (`NotConnected`, `Refused` and its kinds) and *it may have happened*
(`OutcomeUnknown`) are different types.
"""

from __future__ import annotations

from typing import Any

from grenache_py.errors import GrenacheError

__all__ = [
    "AnswerTimeout",
    "BadStep",
    "CannotFill",
    "DuplicateOrderId",
    "ExchangeError",
    "InvalidRequest",
    "NotAuthorised",
    "NotConnected",
    "OrderClosed",
    "OutcomeUnknown",
    "OutsideBand",
    "RateLimited",
    "Refused",
    "SelfTraded",
    "Standby",
    "TooLate",
    "Unavailable",
    "UnknownMarket",
    "UnknownOrder",
    "WouldCross",
    "no_connection",
    "refusal",
]


class ExchangeError(GrenacheError):
    """Base of all below."""


class NotConnected(ExchangeError):
    """There was no connection in time, or there will be none any more: it did not happen."""


def no_connection(address: str, reason: str, when: str = "") -> NotConnected:
    """The error for ``reason``, which may begin with the address itself."""
    return NotConnected(f"no connection to {address}{when}: {reason.removeprefix(f'{address}: ')}")


class AnswerTimeout(ExchangeError, TimeoutError):
    """A question was not answered in time; nothing has changed by it."""


class OutcomeUnknown(ExchangeError, TimeoutError):
    """
    A change was sent and not answered: it may have happened, or not. Ask with ``get_order``.

    Attributes:
        method: what was asked, ``order.place`` for example.
        client_order_id: the name of the order it is about, if it has one.
    """

    def __init__(self, message: str, method: str, client_order_id: str | None) -> None:
        super().__init__(message)
        self.method = method
        self.client_order_id = client_order_id


class Refused(ExchangeError):
    """
    The daemon answered with an error: it did not happen.

    Attributes:
        code: of docs/client-protocol.rst#errors.
        message: a sentence for people.
        data: what else it said.
    """

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @property
    def field(self) -> str | None:
        """The parameter that is wrong."""
        return self.data.get("field")


class InvalidRequest(Refused):
    """A parameter is missing, unknown or makes no sense; ``field`` says which."""


class UnknownMarket(Refused):
    """There is no such market at this peer."""


class UnknownOrder(Refused):
    """There is no such order at this peer, or it is another account's."""


class DuplicateOrderId(Refused):
    """The ``client_order_id`` was used for another order."""


class WouldCross(Refused):
    """A post-only order would trade at once."""


class CannotFill(Refused):
    """A fill-or-kill order cannot be filled at once, at one home."""


class RateLimited(Refused):
    """Too fast."""

    @property
    def retry_after_s(self) -> float:
        """Seconds to wait before asking again."""
        return float(self.data.get("retry_after_ms", 250)) / 1000


class NotAuthorised(Refused):
    """No token, an unknown one, or not its scope or account."""


class BadStep(Refused):
    """A price is no multiple of the tick, or a quantity of the lot."""


class OrderClosed(Refused):
    """The order is closed already; ``data`` may have its ``status``."""


class Unavailable(Refused):
    """Not now: the store failed, the peer must not serve, or the daemon starts or stops."""


class Standby(Unavailable):
    """
    This daemon stands by for another one of its home, which serves.

    A client that knows several daemons goes to the next by itself.
    """

    @property
    def serving(self) -> str:
        """Where the other takes clients, as this one knows it; "" when it does not."""
        serving = self.data.get("serving")
        return serving if isinstance(serving, str) else ""


class SelfTraded(Refused):
    """The order would trade with one of the same account."""


class OutsideBand(Refused):
    """The price is further from the last trade and the book's middle than this peer allows."""


class TooLate(Refused):
    """The order came later than it was wanted; nothing was placed."""


_KINDS: dict[int, type[Refused]] = {
    -32600: InvalidRequest,
    -32601: InvalidRequest,
    -32602: InvalidRequest,
    -32700: InvalidRequest,
    -32000: UnknownMarket,
    -32001: UnknownOrder,
    -32002: DuplicateOrderId,
    -32003: WouldCross,
    -32004: CannotFill,
    -32005: RateLimited,
    -32006: NotAuthorised,
    -32008: BadStep,
    -32009: OrderClosed,
    -32010: Unavailable,
    -32011: Unavailable,
    -32012: SelfTraded,
    -32014: TooLate,
    -32015: OutsideBand,
    -32016: Standby,
}


def refusal(error: dict[str, Any]) -> Refused:
    """The error of an error object."""
    code, message = error.get("code"), error.get("message")
    number = code if isinstance(code, int) else 0
    text = message if isinstance(message, str) else "an error without a message"
    data = error.get("data")
    return _KINDS.get(number, Refused)(number, text, data if isinstance(data, dict) else {})
