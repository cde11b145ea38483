"""
The client of one or several grapes: look up, announce, put, get.

Shell: owns one HTTP connection pool and the timers of its announcements. All rules
(what an answer means, whom to ask next, when to announce again) are in the pure
modules beside it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, succeed
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link import answers
from grenache_py.link.announcing import EVERY_S_DEFAULT, AnnounceSchedule
from grenache_py.link.cache import LookupCache
from grenache_py.link.errors import (
    BadAnswer,
    GrapeRefused,
    GrapeUnreachable,
    LinkBusy,
    LinkError,
)
from grenache_py.link.grapes import GrapeRing
from grenache_py.link.items import (
    Item,
    check_salt,
    check_value,
    immutable_hash,
    mutable_hash,
    salt_text,
    signed_put,
)
from grenache_py.link.keys import ItemKey

__all__ = ["Announcement", "Link"]

T = TypeVar("T")

#: A grape's longest honest answer is 100 addresses; an item of 1000 bytes may grow sixfold in JSON.
ANSWER_BYTES_MAX = 262_144
#: A pause before the grapes are asked once more, for the connection that was closed just now.
SECOND_ROUND_S = 0.2
#: Below the 5 s after which grapes close an idle connection, so that ours is never the stale one.
IDLE_CONNECTION_S = 4

_HEADERS = Headers({"Content-Type": ["application/json"], "Accept": ["application/json"]})
_TRANSPORT_ERRORS = (
    ConnectError,
    DNSLookupError,
    RequestTransmissionFailed,
    ResponseFailed,
    TimeoutError,
    ConnectionError,
)


class _Body(Protocol):
    """Collect one response body, at most so many bytes of it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._hang_up())

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._bytes_max:
            self._parts.append(data)
        elif not self.done.called:
            self.done.errback(BadAnswer(f"an answer of more than {self._bytes_max} bytes"))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)


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


class Announcement:
    """
    A service that is kept announced; made by :meth:`Link.start_announcing`.

    Attributes:
        name: the service.
        port: where it listens, on the host of the grape.
        last_success: clock seconds of the last announcement a grape accepted, or None.
        last_count: how many other grapes recorded it then.
        last_error: why the last try failed, None after a success.
    """

    _log = Logger()

    def __init__(self, link: Link, name: str, port: int, schedule: AnnounceSchedule) -> None:
        self.name = name
        self.port = port
        self.last_success: float | None = None
        self.last_count = 0
        self.last_error: GrenacheError | None = None
        self._link = link
        self._schedule = schedule
        self._waiting: list[Deferred[int]] = []
        self._timer: IDelayedCall | None = None
        self._request: Deferred[None] | None = None
        self._stopped = False

    def when_announced(self) -> Deferred[int]:
        """
        Wait until the service has been announced once.

        Fires with: how many other grapes recorded it, at once if it has been announced before.
        Fails with:
            CancelledError: announcing was stopped, or the caller cancelled.
        Cancel: only this wait ends; the announcing goes on.
        """
        if self.last_success is not None:
            return succeed(self.last_count)
        if self._stopped:
            return fail(CancelledError())
        waiter: Deferred[int] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def stop(self) -> None:
        """Announce no more. Grapes forget the service when its record expires, in 2 minutes."""
        if self._stopped:
            return
        self._stopped = True
        self._link._stopped_announcing(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._request is not None:
            self._request.cancel()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(CancelledError())

    def _announce(self) -> None:
        self._timer = None
        self._request = Deferred.fromCoroutine(self._announce_once())
        self._request.addErrback(
            lambda failure: self._log.failure("announcing {name}", failure, name=self.name)
        )

    async def _announce_once(self) -> None:
        try:
            count = await self._link.announce(self.name, self.port)
        except CancelledError:
            return
        except LinkError as error:
            self._failed(error)
            pause = self._schedule.failed()
        else:
            self._succeeded(count)
            pause = self._schedule.succeeded()
        self._request = None
        if not self._stopped:
            self._timer = self._link.clock.callLater(pause, self._announce)

    def _failed(self, error: LinkError) -> None:
        if self.last_error is None:  # the first of a row; the others say the same again
            self._log.warn(
                "{name} port {port} is not announced: {error}",
                name=self.name,
                port=self.port,
                error=str(error),
            )
        self.last_error = error

    def _succeeded(self, count: int) -> None:
        if self.last_error is not None or self.last_success is None:
            self._log.info(
                "{name} port {port} is announced, recorded by {count} other grapes",
                name=self.name,
                port=self.port,
                count=count,
            )
        self.last_success = self._link.clock.seconds()
        self.last_count = count
        self.last_error = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(count)


class Link:
    """
    The way to a Grenache network: a client of one or several grapes.

    Every method that asks a grape tries them in the order given, a failing one set
    aside for a while, and ends within ``timeout_s`` whatever happens. They all fail
    with subclasses of :class:`~grenache_py.link.errors.LinkError`, and with
    :class:`~grenache_py.errors.LocalProtocolError` for an argument that cannot be sent.

    Args:
        grapes: base URLs such as ``http://127.0.0.1:30001``, the preferred one first. The
            address under which a service is announced is that of its grape, so that
            should be the grape on this host.
        reactor: connects, and keeps the time.
        timeout_s: seconds until an answer is there or the call has failed.
        attempt_timeout_s: seconds one grape gets before the next is tried. A Node grape
            needs 2.5 s where one of its neighbours is dead.
        cache_ttl_s: seconds a lookup that found something is believed; 0 for always asking.
        cache_entries_max: names kept in that cache.
        requests_max: different requests in flight at a time, over all grapes.
        rng: where request ids and pauses come from; the system's generator if None.
        http: the treq client to use instead of one with a connection pool of its own.
    """

    def __init__(
        self,
        grapes: Sequence[str],
        reactor: Any,
        *,
        timeout_s: float = 10.0,
        attempt_timeout_s: float = 3.0,
        cache_ttl_s: float = 10.0,
        cache_entries_max: int = 2500,
        requests_max: int = 1000,
        rng: random.Random | None = None,
        http: HTTPClient | None = None,
    ) -> None:
        if isinstance(grapes, str):
            grapes = [grapes]
        self._grapes = GrapeRing([check_grape_url(url) for url in grapes])
        if not self._grapes.urls:
            raise LocalProtocolError("a Link needs the URL of at least one grape")
        self.clock: IReactorTime = reactor
        self._rng = rng or random.SystemRandom()
        self._timeout_s = timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._requests_max = requests_max
        self._cache = LookupCache(cache_ttl_s, cache_entries_max)
        self._in_flight: dict[object, _Shared[Any]] = {}
        self._announcements: dict[tuple[str, int], Announcement] = {}
        self._closed = False
        self._pool = HTTPConnectionPool(reactor)
        self._pool.cachedConnectionTimeout = IDLE_CONNECTION_S
        self._pool.maxPersistentPerHost = 8
        agent = Agent(reactor, connectTimeout=attempt_timeout_s, pool=self._pool)
        self._http = http or HTTPClient(agent)

    @property
    def grapes(self) -> list[str]:
        """The URLs of the grapes, in the order they would be asked now."""
        return self._grapes.order(self.clock.seconds())

    @property
    def announcements(self) -> list[Announcement]:
        """Everything this Link keeps announced."""
        return list(self._announcements.values())

    def lookup(self, name: str, *, fresh: bool = False) -> Deferred[list[str]]:
        """
        Find the services announced under ``name``.

        Args:
            name: the service, as announced; case and blanks matter.
            fresh: ask a grape even if an answer is at hand.

        Fires with: ``host:port`` strings in random order, empty where there are none.
        Fails with:
            LinkError: no grape could be asked, or the grape refused.
        Cancel: this caller's wait ends; a request nobody waits for any more is dropped.
        """
        try:
            answers.check_name(name)
        except LocalProtocolError:
            return fail()
        known = None if fresh else self.known(name)
        if known is not None:
            return succeed(known)

        async def ask(attempts: list[str]) -> list[str]:
            found = await self._ask("lookup", name, answers.lookup_answer, attempts)
            self._cache.keep(name, found, self.clock.seconds())
            return found

        return self._share(("lookup", name), ask).addCallback(list)

    def known(self, name: str) -> list[str] | None:
        """Return the answer that `lookup` would give without asking, None if it would ask."""
        return self._cache.get(name, self.clock.seconds())

    def forget(self, name: str, address: str | None = None) -> None:
        """Drop an address found dead, or with None the whole cached answer, for ``name``."""
        self._cache.forget(name, address)

    def announce(self, name: str, port: int) -> Deferred[int]:
        """
        Announce once that ``name`` listens on ``port`` of the grape's host.

        Fires with: how many other grapes recorded it.
        Fails with:
            GrapeRefused: ``lonely`` where the grape has no neighbours that took the record. It
                may know the service itself all the same.
            LinkError: no grape could be asked.
        Cancel: the request is dropped; it may have been carried out.
        """
        try:
            data = [answers.check_name(name), answers.check_port(port)]
        except LocalProtocolError:
            return fail()
        return self._share(
            ("announce", name, port),
            lambda attempts: self._ask("announce", data, answers.announce_answer, attempts),
        )

    def start_announcing(
        self, name: str, port: int, every_s: float = EVERY_S_DEFAULT
    ) -> Announcement:
        """
        Announce now and again, until :meth:`stop_announcing`; failures are tried again.

        A second call for the same name and port returns the announcement that is running.

        Args:
            name: the service.
            port: where it listens, on the host of the first grape.
            every_s: seconds between announcements while all is well; a record lives 120 s.

        Raises:
            LocalProtocolError: name or port cannot be announced, or the Link is closed.
        """
        key = (answers.check_name(name), answers.check_port(port))
        if self._closed:
            raise LocalProtocolError("this Link is closed")
        running = self._announcements.get(key)
        if running is None:
            schedule = AnnounceSchedule(self._rng, every_s)
            running = self._announcements[key] = Announcement(self, name, port, schedule)
            running._announce()
        return running

    def stop_announcing(self, name: str, port: int) -> bool:
        """Stop renewing a record, which then expires; False if nobody renewed it."""
        running = self._announcements.get((name, port))
        if running is None:
            return False
        running.stop()
        return True

    def put(self, value: str) -> Deferred[str]:
        """
        Store an immutable item.

        Args:
            value: at most 999 bytes of UTF-8.

        Fires with: its hash, 40 hexadecimal digits, checked against the value.
        Fails with:
            GrapeRefused: the grape's reason.
            LinkError: no grape could be asked.
        Cancel: the request is dropped; it may have been carried out.
        """
        try:
            target = immutable_hash(check_value(value))
        except LocalProtocolError:
            return fail()
        return self._put({"v": value}, target)

    def put_mutable(
        self,
        value: str,
        key: ItemKey,
        seq: int,
        *,
        salt: str | bytes = b"",
        cas: int | None = None,
    ) -> Deferred[str]:
        """
        Sign and store a mutable item (BEP 44).

        Args:
            value: at most 999 bytes of UTF-8.
            key: signs it; its public half and ``salt`` make the hash.
            seq: version; a grape refuses one that is not larger than the stored one.
            salt: at most 64 bytes, to keep several items under one key.
            cas: store only if the stored version is this one.

        Fires with: the hash under which the item is found, 40 hexadecimal digits.
        Fails with:
            GrapeRefused: ``status`` 301 where ``cas`` did not match, 302 where ``seq`` is too
                old; ``code`` is the grape's reason.
            LinkError: no grape could be asked.
        Cancel: the request is dropped; it may have been carried out.
        """
        try:
            raw_salt = check_salt(salt)
            data = signed_put(value, key, seq, raw_salt, cas)
        except LocalProtocolError:
            return fail()
        return self._put(data, mutable_hash(key.public, raw_salt))

    def _put(self, data: dict[str, str] | dict[str, str | int], target: str) -> Deferred[str]:
        def parse(status: int, body: bytes) -> str:
            return answers.put_answer(status, body, target)

        return self._share(
            ("put", *data.values()), lambda attempts: self._ask("put", data, parse, attempts)
        )

    def get(self, target: str, *, salt: str | bytes = b"") -> Deferred[Item | None]:
        """
        Fetch an item and check it against its hash and signature.

        Args:
            target: the hash, 40 hexadecimal digits.
            salt: the salt a mutable item was put with; grapes do not tell it.

        Fires with: the item, or None where no grape knows of one.
        Fails with:
            GrapeUnreachable: also when every grape's answer failed the check.
            LinkError: no grape could be asked, or the grape refused.
        Cancel: this caller's wait ends; a request nobody waits for any more is dropped.
        """
        try:
            wanted, raw_salt = answers.check_hash(target), check_salt(salt)
        except LocalProtocolError:
            return fail()
        data = {"hash": wanted, "salt": salt_text(raw_salt)} if raw_salt else wanted

        def parse(status: int, body: bytes) -> Item | None:
            return answers.get_answer(status, body, wanted, raw_salt)

        return self._share(
            ("get", wanted, raw_salt), lambda attempts: self._ask("get", data, parse, attempts)
        )

    def close(self) -> Deferred[None]:
        """
        Stop announcing, drop every request in flight, close the connections.

        Fires with: None, when the connections are closed.
        Cancel: not supported.
        """
        self._closed = True
        for announcement in self.announcements:
            announcement.stop()
        for shared in list(self._in_flight.values()):
            if shared.task is not None:
                shared.task.cancel()
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _stopped_announcing(self, announcement: Announcement) -> None:
        del self._announcements[announcement.name, announcement.port]

    def _share(
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

        return waiter.addTimeout(self._timeout_s, self.clock, onTimeoutCancel=too_late)

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

    async def _ask(
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
                await deferLater(self.clock, pause_s)
            for grape in self._grapes.order(self.clock.seconds()):
                try:
                    answer = parse(*await self._post(f"{grape}/{command}", body))
                except GrapeRefused as error:
                    self._grapes.succeeded(grape)
                    error.grape = grape
                    if not error.lonely:
                        raise
                    refusal = error
                except BadAnswer as error:
                    self._grapes.failed(grape, self.clock.seconds())
                    attempts.append(f"{grape}: {error}")
                except _TRANSPORT_ERRORS as error:
                    self._grapes.failed(grape, self.clock.seconds())
                    attempts.append(f"{grape}: {describe(error, self._attempt_timeout_s)}")
                else:
                    self._grapes.succeeded(grape)
                    return answer
            if refusal is not None:
                raise refusal
        raise GrapeUnreachable("no grape answered", attempts)

    def _post(self, url: str, body: bytes) -> Deferred[tuple[int, bytes]]:
        exchange = Deferred.fromCoroutine(self._exchange(url, body))
        return cancelled_cleanly(exchange).addTimeout(self._attempt_timeout_s, self.clock)

    async def _exchange(self, url: str, body: bytes) -> tuple[int, bytes]:
        try:
            response = await self._request(url, body)
        except ResponseNeverReceived as error:
            # Most likely a kept connection that the grape closed while it was idle. Every
            # request to a grape may be repeated, so a new connection is worth one try.
            if not all(reason.check(ConnectionClosed) for reason in error.reasons):
                raise
            response = await self._request(url, body)
        collected = _Body(ANSWER_BYTES_MAX)
        response.deliverBody(collected)
        return response.code, await collected.done

    def _request(self, url: str, body: bytes) -> Deferred[Any]:
        return self._http.request(
            "POST", url, data=body, headers=_HEADERS, allow_redirects=False, unbuffered=True
        )


def cancelled_cleanly(work: Deferred[T]) -> Deferred[T]:
    """
    Pass on what ``work`` fires or fails with.

    Cancel: cancels ``work`` and fails with CancelledError whatever ``work`` makes of that;
        Agent answers a cancel with all sorts of failures, none of which is a dead grape.
    """
    cancelled = False

    def cancel(_: Deferred[T]) -> None:
        nonlocal cancelled
        cancelled = True
        work.cancel()

    outcome: Deferred[T] = Deferred(cancel)

    def settle(result: T | Failure) -> None:
        if not cancelled:
            outcome.callback(result)  # a Failure given to callback() is an errback

    work.addBoth(settle)
    return outcome


def check_grape_url(url: str) -> str:
    """Return a grape's base URL without its trailing slash, or say what is wrong with it."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise LocalProtocolError(f"a grape's URL looks like http://127.0.0.1:30001, not {url!r}")
    if parts.query or parts.fragment:
        raise LocalProtocolError(f"a grape's URL has no query and no fragment: {url!r}")
    return url.rstrip("/")


def describe(error: Exception, timeout_s: float) -> str:
    """Return one line a person can act on for what happened to a request."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, ResponseFailed):
        reasons = [reason.getErrorMessage() for reason in error.reasons]
        return f"the connection was lost: {', '.join(reasons)}"
    return str(error).rstrip(".") or type(error).__name__
