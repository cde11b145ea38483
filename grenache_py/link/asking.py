"""
Requests to the grapes: which are in flight, who waits for them, which grape is asked next.

Shell: owns the requests in flight and their deadlines.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link import answers
from grenache_py.link.errors import BadAnswer, GrapeRefused, GrapeUnreachable, LinkBusy
from grenache_py.link.grapes import GrapeRing
from grenache_py.link.http import TRANSPORT_ERRORS, GrapeHTTP, describe

__all__ = ["GrapeRequests"]

T = TypeVar("T")

#: A pause before the grapes are asked once more, for the connection that was closed just now.
SECOND_ROUND_S = 0.2


@attrs.define(eq=False)
class _Shared(Generic[T]):
    """One request to the grapes that any number of callers wait for."""

    attempts: list[str] = attrs.field(factory=list)
    waiters: list[Deferred[T]] = attrs.field(factory=list)
    task: Deferred[None] | None = None

    def wait(self) -> Deferred[T]:
        waiter: Deferred[T] = Deferred(self._leave)
        self.waiters.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[T]) -> None:
        self.waiters.remove(waiter)
        if not self.waiters and self.task is not None:
            self.task.cancel()

    def settle(self, result: T | Failure) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.callback(result)  # a Failure given to callback() is an errback


class GrapeRequests:
    """
    Asks one grape after the other; equal requests in flight are one.

    Args:
        grapes: base URLs that have been checked, the preferred one first.
        timeout_s: seconds until an answer is there or the request has failed.
        attempt_timeout_s: seconds one grape gets before the next is tried.
        requests_max: different requests in flight at a time.
        http: the treq client to use instead of one with a connection pool of its own.
    """

    def __init__(
        self,
        grapes: Sequence[str],
        reactor: Any,
        rng: random.Random,
        *,
        timeout_s: float,
        attempt_timeout_s: float,
        requests_max: int,
        http: HTTPClient | None,
    ) -> None:
        self._grapes = GrapeRing(grapes)
        self._clock = reactor
        self._rng = rng
        self._timeout_s = timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._requests_max = requests_max
        self._in_flight: dict[object, _Shared[Any]] = {}
        self._closed = False
        self._http = GrapeHTTP(reactor, attempt_timeout_s, http)

    @property
    def grapes(self) -> list[str]:
        """The grapes in the order they would be asked now."""
        return self._grapes.order(self._clock.seconds())

    def share(
        self, key: object, ask: Callable[[list[str]], Coroutine[Deferred[Any], Any, T]]
    ) -> Deferred[T]:
        """Join the request in flight that equals this one, or start it."""
        if self._closed:
            return fail(LocalProtocolError("this Link is closed"))
        shared: _Shared[T] | None = self._in_flight.get(key)
        if shared is not None:
            waiter = shared.wait()
        elif len(self._in_flight) >= self._requests_max:
            return fail(LinkBusy(f"{self._requests_max} requests to the grapes are in flight"))
        else:
            shared = self._in_flight[key] = _Shared()
            waiter = shared.wait()
            shared.task = Deferred.fromCoroutine(self._settle(key, shared, ask))
        attempts = shared.attempts

        def too_late(result: T | Failure, timeout_s: float) -> T | Failure:
            if isinstance(result, Failure) and result.check(CancelledError):
                return Failure(GrapeUnreachable(f"no answer within {timeout_s:g} s", attempts))
            return result

        return waiter.addTimeout(self._timeout_s, self._clock, onTimeoutCancel=too_late)

    async def ask(
        self,
        command: str,
        data: object,
        parse: Callable[[int, bytes], T],
        attempts: list[str],
    ) -> T:
        """Ask the grapes in turn, twice at most, until ``parse`` accepts an answer."""
        rid = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        body = answers.request_body(rid, data)
        refusal: GrapeRefused | None = None
        for pause_s in (0.0, SECOND_ROUND_S):
            if pause_s:
                await deferLater(self._clock, pause_s)
            for grape in self._grapes.order(self._clock.seconds()):
                try:
                    answer = parse(*await self._http.post(f"{grape}/{command}", body))
                except GrapeRefused as error:
                    self._grapes.succeeded(grape)
                    error.grape = grape
                    if not error.lonely:
                        raise
                    refusal = error
                except BadAnswer as error:
                    self._grapes.failed(grape, self._clock.seconds())
                    attempts.append(f"{grape}: {error}")
                except TRANSPORT_ERRORS as error:
                    self._grapes.failed(grape, self._clock.seconds())
                    attempts.append(f"{grape}: {describe(error, self._attempt_timeout_s)}")
                else:
                    self._grapes.succeeded(grape)
                    return answer
            if refusal is not None:
                raise refusal
        raise GrapeUnreachable("no grape answered", attempts)

    def close(self) -> Deferred[None]:
        """
        Drop every request in flight, close the connections.

        Fires with: None, when the connections are closed.
        """
        self._closed = True
        for shared in list(self._in_flight.values()):
            if shared.task is not None:
                shared.task.cancel()
        return self._http.close()

    async def _settle(
        self,
        key: object,
        shared: _Shared[T],
        ask: Callable[[list[str]], Coroutine[Deferred[Any], Any, T]],
    ) -> None:
        try:
            result: T | Failure = await ask(shared.attempts)
        except (GrenacheError, CancelledError):
            result = Failure()
        finally:
            del self._in_flight[key]
        shared.settle(result)
