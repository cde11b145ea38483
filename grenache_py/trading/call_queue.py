"""
Calls on their way: in which order they are sent, when again, and how each ends.

Pure.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from grenache_py.trading.calls import MethodCall, Resend
from grenache_py.trading.errors import (
    ExchangeError,
    NotConnected,
    OrderClosed,
    RateLimited,
    Unavailable,
)
from grenache_py.trading.pending import BROKEN, Pending, is_immediate
from grenache_py.wire.jsonrpc import request_line

__all__ = ["UNAVAILABLE_S", "CallQueue"]

T = TypeVar("T")

#: Calls that wait for their answers.
PENDING_MAX = 10_000
#: The pause before asking again a daemon that cannot answer now.
UNAVAILABLE_S = 0.25
#: So long the report of an order that trades at once may wait for other homes.
WAIT_MS = 1_000


class CallQueue(Struct):
    """
    The calls that have no outcome yet.

    Attributes:
        address: the daemon's, for messages.
        rate_per_s: calls sent in a second at most, where several share a limit.
        patient: what the daemon refuses for the moment is asked again, while there is time.
        features: what the daemon says it can do.
        account: the client's own, "" for none.
        bound: the account that the token is bound to.
        daemon_ahead_ms: what the daemon's clock is ahead of ours.
        sent_again: calls that were sent once more.
    """

    address: str
    rng: random.Random
    account: str = ""
    timeout_s: float = 10.0
    rate_per_s: float | None = None
    patient: bool = True
    features: frozenset[str] = frozenset()
    bound: str | None = None
    daemon_ahead_ms: float = 0.0
    sent_again: int = 0
    _prefix: str = ""  # of the ids that orders get here
    _number: int = 0
    _pending: dict[int, Pending[Any]] = {}
    _unsent: list[Pending[Any]] = []  # by number
    _deadlines: list[tuple[float, int]] = []
    _placed: int = 0  # the number of the newest order that was sent
    _pause_until: float = 0.0
    _tokens: float = 1.0
    _tokens_at: float = 0.0

    def __post_init__(self) -> None:
        self._prefix = f"{self.rng.getrandbits(48):012x}-"

    def ask(
        self,
        call: MethodCall[T],
        now: float,
        on_done: Callable[[], None],
        refused: ExchangeError | None = None,
    ) -> Pending[T]:
        """
        Take a call, to be sent when there is a connection.

        Args:
            refused: why it cannot be made at all.
        """
        self._number += 1
        timeout_s = self.timeout_s if call.timeout_s is None else call.timeout_s
        pending = Pending(call, self._number, now + timeout_s, on_done)
        if call.places and not call.client_order_id:
            pending.params["client_order_id"] = f"{self._prefix}{self._number}"
        if refused is None and len(self._pending) >= PENDING_MAX:
            refused = NotConnected(f"{PENDING_MAX} calls wait for their answers already")
        if refused is not None:
            pending.done, pending.error = True, refused
        else:
            self._pending[pending.number] = pending
            heapq.heappush(self._deadlines, (pending.deadline, pending.number))
            self._unsent.append(pending)
        return pending

    def give_up(self, pending: Pending[Any]) -> None:
        """Nobody waits for the answer any more."""
        pending.on_done = lambda: None
        self._finish(pending, NotConnected("nobody waits for it any more"))

    def account_params(self) -> dict[str, str]:
        """The params that name the client's account."""
        return {"account": self.account} if self.account or self.bound is None else {}

    def deadline(self, live: bool) -> float | None:
        """When `tick` or `send` has something to do next."""
        while self._deadlines and self._deadlines[0][1] not in self._pending:
            heapq.heappop(self._deadlines)
        times = [self._deadlines[0][0]] if self._deadlines else []
        if live and self._unsent:
            times.append(max(self._pause_until, self._token_at()))
        return min(times, default=None)

    def tick(self, now: float, reason: str) -> None:
        """
        End calls whose time is over.

        Args:
            reason: why there is no connection.
        """
        while self._deadlines and self._deadlines[0][0] <= now:
            pending = self._pending.get(heapq.heappop(self._deadlines)[1])
            if pending is not None:
                self._finish(pending, pending.too_long(self.address, reason))

    def send(self, now: float) -> list[bytes]:
        """The lines of the calls that may be sent, now that there is a connection."""
        lines = []
        while self._unsent and now >= self._pause_until and self._take_token(now):
            lines.append(self._line(self._unsent.pop(0)))
        return lines

    def lost(self) -> None:
        """The connection is gone: what was sent is to be sent again, or will never be known."""
        for pending in list(self._pending.values()):
            if pending.sent:
                self._answer_lost(pending)

    def end(self, error: ExchangeError) -> None:
        """There will be no connection any more."""
        for pending in list(self._pending.values()):
            doubt = pending.call.changes and (pending.sent or pending.in_doubt)
            self._finish(pending, pending.unknown(str(error)) if doubt else error)

    def answered(self, number: int, result: Any, error: ExchangeError | None, now: float) -> None:
        """There is an answer to a call; to one that has ended, it comes too late."""
        pending = self._pending.get(number)
        if pending is None or not pending.sent:
            return
        self._answered(pending, result, error, now)

    def _answered(
        self, pending: Pending[Any], result: Any, error: ExchangeError | None, now: float
    ) -> None:
        pending.sent = False
        call = pending.call
        if isinstance(error, RateLimited):
            self._again(pending, error, error.retry_after_s, now)
        elif isinstance(error, Unavailable):
            if error.data.get("outcome") == "unknown":
                self._answer_lost(pending)
            self._again(pending, error, UNAVAILABLE_S, now)
        elif isinstance(error, OrderClosed) and pending.in_doubt and call.method == "order.cancel":
            pending.call = MethodCall("order.get", pending.params, call.result, of_account=True)
            self._queue(pending)  # it was closed by what was sent before, perhaps
        elif error is not None:
            self._finish(pending, error)
        else:
            try:
                pending.result = call.result(result)
            except BROKEN as broken:
                text = f"{self.address}: the answer to {call.method} cannot be read: {broken}"
                error = ExchangeError(text)
            self._finish(pending, error)

    def _again(
        self, pending: Pending[Any], error: ExchangeError, delay_s: float, now: float
    ) -> None:
        """Ask again later, if there is time."""
        if pending.done:
            return
        pending.refused = error
        if not self.patient or now + delay_s >= pending.deadline:
            self._finish(pending, pending.too_long(self.address, ""))
            return
        self._queue(pending)
        self._pause_until = now + delay_s

    def _answer_lost(self, pending: Pending[Any]) -> None:
        """It was sent, and nobody knows what became of it: may it be sent again?"""
        pending.sent, pending.in_doubt = False, True
        resend = pending.call.resend
        if pending.call.places and "valid_until" not in self.features:
            resend = Resend.NEVER if is_immediate(pending.params) else resend
        if resend is Resend.AGAIN or (
            resend is Resend.UNLESS_PLACED and self._placed < pending.number
        ):
            self._queue(pending)
        else:
            self._finish(pending, pending.unknown(f"the connection to {self.address} was lost"))

    def _queue(self, pending: Pending[Any]) -> None:
        """It is to be sent, in its place."""
        at = bisect_left(self._unsent, pending)
        if at == len(self._unsent) or self._unsent[at] is not pending:
            self._unsent.insert(at, pending)

    def _finish(self, pending: Pending[Any], error: ExchangeError | None) -> None:
        """There is an outcome: an error, or with None the result."""
        self._pending.pop(pending.number, None)
        at = bisect_left(self._unsent, pending)
        if at < len(self._unsent) and self._unsent[at] is pending:
            del self._unsent[at]
        if not pending.done:
            pending.done, pending.error = True, error
            pending.on_done()

    def _take_token(self, now: float) -> bool:
        if self.rate_per_s is not None:
            passed, self._tokens_at = now - self._tokens_at, now
            most = max(1.0, self.rate_per_s)
            self._tokens = min(most, self._tokens + passed * self.rate_per_s)
            if self._tokens < 1:
                return False
            self._tokens -= 1
        return True

    def _token_at(self) -> float:
        if self.rate_per_s is None:
            return self._pause_until
        return self._tokens_at + max(0.0, 1 - self._tokens) / self.rate_per_s

    def _line(self, pending: Pending[Any]) -> bytes:
        call, params = pending.call, pending.params
        if call.places:
            self._placed = max(self._placed, pending.number)
            if "valid_until" in self.features and "valid_until" not in params:
                params["valid_until"] = int(pending.deadline * 1000 + self.daemon_ahead_ms)
        more = self.account_params() if call.of_account and "account" not in params else {}
        wait = {"wait_ms": WAIT_MS} if call.places and is_immediate(params) else {}
        if wait and "wait_ms" not in self.features:
            wait = {}
        self.sent_again += pending.sent_times > 0
        pending.sent, pending.sent_times = True, pending.sent_times + 1
        return request_line(call.method, params | more | wait, pending.number)
