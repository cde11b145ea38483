"""
A call under way, and the lines that a daemon sends.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from grenache_py.trading.calls import MethodCall
from grenache_py.trading.errors import AnswerTimeout, ExchangeError, OutcomeUnknown, no_connection

__all__ = ["BROKEN", "Pending", "SentLine", "decode_named", "decode_sent_line", "is_immediate"]

T = TypeVar("T")


class SentLine(Struct):
    """What a daemon sent: an answer or a notification."""

    id: int | str | None = None
    result: Raw | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET
    method: str = ""
    params: Raw = Raw(b"{}")


class _Named(Struct):
    """As much of a notification's params as says whose it is."""

    market: str = ""
    subscription: str = ""


decode_named = msgspec.json.Decoder(_Named).decode
decode_sent_line = msgspec.json.Decoder(SentLine).decode
#: What decoding raises.
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, ValueError)


class Pending(Generic[T]):
    """
    A call under way.

    Attributes:
        done: there is an outcome: ``result``, or ``error``.
        on_done: called then.
        sent: it was, on the connection of now, and is not answered.
        sent_times: on all connections.
        in_doubt: it was sent, and what became of that cannot be heard any more.
        refused: why it was to be asked again later, when it was asked last.
    """

    def __init__(
        self, call: MethodCall[T], number: int, deadline: float, on_done: Callable[[], None]
    ) -> None:
        self.call = call
        self.number = number
        self.deadline = deadline
        self.on_done = on_done
        self.params: dict[str, Any] = dict(call.params)
        self.done = False
        self.result: T | None = None
        self.error: ExchangeError | None = None
        self.sent = self.in_doubt = False
        self.sent_times = 0
        self.refused: ExchangeError | None = None

    def __lt__(self, other: Pending[Any]) -> bool:
        return self.number < other.number

    def value(self) -> T:
        """
        The result.

        Raises:
            ExchangeError: there is none.
        """
        if self.error is not None:
            raise self.error
        return cast(T, self.result)

    def unknown(self, why: str) -> OutcomeUnknown:
        """The error of a change that may have happened."""
        name = self.params.get("client_order_id")
        order = f" of {name}" if name else ""
        method = self.call.method
        return OutcomeUnknown(f"{method}{order} may have happened: {why}", method, name)

    def too_long(self, address: str, reason: str) -> ExchangeError:
        """The error of a call whose time is over; ``reason``: why there is no connection."""
        if self.call.changes and (self.sent or self.in_doubt):
            return self.unknown(f"{address} did not answer in time")
        if self.refused is not None and not self.sent:
            return self.refused
        if self.sent_times:
            return AnswerTimeout(f"{address} did not answer {self.call.method} in time")
        return no_connection(address, reason or "others come first", " in time")


def is_immediate(params: dict[str, Any]) -> bool:
    """Whether an order trades at once or not at all."""
    return params.get("type") == "market" or params.get("time_in_force") in {"ioc", "fok"}
