"""
The client of one or several grapes: look up, announce, put, get.

Shell: owns the requests in flight and the announcements. All rules (what an answer
means, whom to ask next, when to announce again) are in the pure modules beside it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link import answers
from grenache_py.link.announcement import Announcement
from grenache_py.link.announcing import EVERY_S_DEFAULT, AnnounceSchedule
from grenache_py.link.cache import LookupCache
from grenache_py.link.errors import BadAnswer, GrapeRefused, GrapeUnreachable, LinkBusy
from grenache_py.link.grapes import GrapeRing
from grenache_py.link.http import TRANSPORT_ERRORS, GrapeHTTP, describe
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
        self._http = GrapeHTTP(reactor, attempt_timeout_s, http)

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
            running = self._announcements[key] = Announcement(
                name, port, schedule, self.clock, self.announce, self._stopped_announcing
            )
            running.begin()
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
        return self._http.close()

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
                    answer = parse(*await self._http.post(f"{grape}/{command}", body))
                except GrapeRefused as error:
                    self._grapes.succeeded(grape)
                    error.grape = grape
                    if not error.lonely:
                        raise
                    refusal = error
                except BadAnswer as error:
                    self._grapes.failed(grape, self.clock.seconds())
                    attempts.append(f"{grape}: {error}")
                except TRANSPORT_ERRORS as error:
                    self._grapes.failed(grape, self.clock.seconds())
                    attempts.append(f"{grape}: {describe(error, self._attempt_timeout_s)}")
                else:
                    self._grapes.succeeded(grape)
                    return answer
            if refusal is not None:
                raise refusal
        raise GrapeUnreachable("no grape answered", attempts)


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
