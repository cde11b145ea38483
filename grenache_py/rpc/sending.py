"""
One request of a client: an id, an address, a deadline, and at last the answer.

Shell: owns one timer for the deadlines of all requests, and the transport.
"""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from grenache_py.errors import LocalProtocolError
from grenache_py.link.answers import check_name
from grenache_py.rpc.addresses import ServiceAddresses
from grenache_py.rpc.connecting import RPCReply, Transport
from grenache_py.rpc.deadline_timer import DeadlineTimer
from grenache_py.rpc.errors import RequestTimedOut, RPCError
from grenache_py.rpc.frames import encode_request
from grenache_py.rpc.in_flight import RequestTable

__all__ = ["RequestSender"]


class _Attempt:
    """One wait for an answer: its place in the table of deadlines."""

    __slots__ = ("address", "name", "timeout_s", "waiter", "work")

    def __init__(self, name: str, timeout_s: float) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.address = ""
        self.work: Deferred[Any]
        self.waiter: Deferred[Any]


class RequestSender:
    """
    Sends the requests of one client and waits for their answers.

    Args:
        addresses: whom to ask.
        transport: carries the requests.
        clock: keeps the time.
        requests_max: requests in flight at a time.
        rng: makes the ids.
    """

    def __init__(
        self,
        addresses: ServiceAddresses,
        transport: Transport,
        clock: IReactorTime,
        requests_max: int,
        rng: random.Random,
    ) -> None:
        self._addresses = addresses
        self._transport = transport
        self._clock = clock
        self._attempts: RequestTable[_Attempt] = RequestTable(requests_max)
        self._timer = DeadlineTimer(clock, self._attempts, self._time_is_up)
        self._rid_head = f"{rng.getrandbits(64):016x}-"
        self._rid_count = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._attempts)

    def next_rid(self) -> str:
        """Return an id that no other request has."""
        self._rid_count += 1
        return f"{self._rid_head}{self._rid_count:x}"

    def send(self, name: str, payload: Any, timeout_s: float, address: str | None) -> Deferred[Any]:
        """
        Send one request, with a deadline.

        Args:
            name: the service.
            payload: what JSON can express.
            timeout_s: seconds until the answer must be there.
            address: whom to ask; None: one of those announced under ``name``.

        Fires with: the service's result.
        Fails with:
            NotConnected: ``address`` was given and accepts no connection.
            RPCError, LinkError, LocalProtocolError: as `RPCClient.request` says.
        Cancel: the answer is ignored when it comes.
        """
        if self._closed:
            return fail(LocalProtocolError("this client is closed"))
        rid = self.next_rid()
        attempt = _Attempt(name, timeout_s)
        try:
            frame = encode_request(rid, check_name(name), payload)
            deadline_at = self._clock.seconds() + timeout_s
            self._attempts.add(rid, attempt, deadline_at)
        except (RPCError, LocalProtocolError):
            return fail()

        def cancelled(_: Deferred[Any]) -> None:
            self._attempts.take(rid)
            attempt.work.cancel()

        attempt.waiter = Deferred(cancelled)
        attempt.work = self._work(name, rid, frame, attempt, address)
        attempt.work.addBoth(self._settle, rid, attempt)
        if rid in self._attempts:
            self._timer.arm(deadline_at)
        return attempt.waiter

    def close(self) -> Deferred[None]:
        """
        Fail what is in flight with CancelledError and close every connection.

        Fires with: None, when they are closed.
        Cancel: not supported.
        """
        self._closed = True
        self._timer.stop()
        for attempt in self._attempts.take_all():
            attempt.waiter.errback(CancelledError())
            attempt.work.cancel()
        return Deferred.fromCoroutine(self._transport.close())

    def _work(
        self, name: str, rid: str, frame: bytes, attempt: _Attempt, address: str | None
    ) -> Deferred[RPCReply]:
        if address is not None:
            attempt.address = address
            return Deferred.fromCoroutine(self._transport.call(address, rid, frame))
        known = self._addresses.known(name)
        if known is not None:
            # The usual case, where nothing has to be waited for, costs no coroutine.
            attempt.address = known
            work = self._transport.call_now(known, rid, frame)
            if work is not None:
                return work

        async def send(to: str) -> RPCReply:
            attempt.address = to
            return await self._transport.call(to, rid, frame)

        return Deferred.fromCoroutine(self._addresses.try_in_turn(name, send))

    def _settle(self, result: Any, rid: str, attempt: _Attempt) -> None:
        if self._attempts.take(rid) is None:
            return  # timed out, cancelled or closed: whoever waited knows
        if isinstance(result, Failure):
            attempt.waiter.errback(result)
            return
        error, data = result
        if error is None:
            attempt.waiter.callback(data)
        else:
            attempt.waiter.errback(error)

    def _time_is_up(self) -> None:
        for attempt in self._attempts.expired(self._clock.seconds()):
            if attempt.address:
                self._transport.distrust(attempt.address)
                self._addresses.suspect(attempt.address)
            where = f" from {attempt.address}" if attempt.address else ""
            attempt.waiter.errback(
                RequestTimedOut(f"no answer to {attempt.name!r}{where} in {attempt.timeout_s:g} s")
            )
            attempt.work.cancel()
