"""
The client of one or several grapes: look up, announce, put, get.

Shell: owns the announcements. All rules (what an answer means, whom to ask next, when to announce
again) are in the pure modules beside it, and ``asking`` asks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from grenache_py.errors import LocalProtocolError
from grenache_py.link import answers
from grenache_py.link.announcement import Announcement
from grenache_py.link.announcing import EVERY_S_DEFAULT, AnnounceSchedule
from grenache_py.link.asking import GrapeRequests
from grenache_py.link.cache import LookupCache
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
from grenache_py.link.urls import check_grape_url
from grenache_py.link.watching import AddressWatch

__all__ = ["Announcement", "Link"]

T = TypeVar("T")


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

    Raises:
        LocalProtocolError: there is no grape, or its URL cannot be asked.
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
        urls = [check_grape_url(url) for url in grapes]
        if not urls:
            raise LocalProtocolError("a Link needs the URL of at least one grape")
        self.clock: IReactorTime = reactor
        self._rng = rng or random.SystemRandom()
        self._cache = LookupCache(cache_ttl_s, cache_entries_max)
        self._announcements: dict[tuple[str, int], Announcement] = {}
        self._closed = False
        self._requests = GrapeRequests(
            urls,
            reactor,
            self._rng,
            timeout_s=timeout_s,
            attempt_timeout_s=attempt_timeout_s,
            requests_max=requests_max,
            http=http,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._announcements)} announced"
        return f"<Link {' '.join(self.grapes)}, {state}>"

    @property
    def grapes(self) -> list[str]:
        """The URLs of the grapes, in the order they would be asked now."""
        return self._requests.grapes

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
            found = await self._requests.ask("lookup", name, answers.lookup_answer, attempts)
            self._cache.keep(name, found, self.clock.seconds())
            return found

        return self._requests.share(("lookup", name), ask).addCallback(list)

    def watch(self, name: str, every_s: float = 10.0) -> AddressWatch:
        """
        Follow who is announced under ``name``: ``async for addresses in link.watch(name)``.

        Args:
            every_s: seconds between two lookups.

        Returns:
            The addresses, at once and then each time that they have changed.

        Raises:
            LocalProtocolError: there is no such name.
        """

        def lookup(name: str) -> Deferred[list[str]]:
            return self.lookup(name, fresh=True)

        return AddressWatch(answers.check_name(name), every_s, self.clock, lookup)

    def known(self, name: str) -> list[str] | None:
        """Return the answer that `lookup` would give without asking, None if it would ask."""
        return self._cache.get(name, self.clock.seconds())

    def forget(self, name: str, address: str | None = None) -> None:
        """Drop an address found dead, or with None the whole cached answer, for ``name``."""
        self._cache.forget(name, address)

    def announce(self, name: str, port: int) -> Deferred[int]:
        """
        Announce once that ``name`` listens on ``port`` of the grape's host.

        Fires with: how many other grapes recorded it; 1 too where a grape of ours is alone.
        Fails with:
            GrapeRefused: ``lonely`` where no neighbour of the grape took the record. It may know
                the service itself all the same.
            LinkError: no grape could be asked.
        Cancel: the request is dropped; it may have been carried out.
        """
        try:
            data = [answers.check_name(name), answers.check_port(port)]
        except LocalProtocolError:
            return fail()
        return self._requests.share(
            ("announce", name, port),
            lambda attempts: self._requests.ask(
                "announce", data, answers.announce_answer, attempts
            ),
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

        return self._requests.share(
            ("put", *data.values()),
            lambda attempts: self._requests.ask("put", data, parse, attempts),
        )

    def get(
        self, target: str, *, salt: str | bytes = b"", fresh: bool = False
    ) -> Deferred[Item | None]:
        """
        Fetch an item and check it against its hash and signature.

        Args:
            target: the hash, 40 hexadecimal digits.
            salt: the salt a mutable item was put with; grapes do not tell it.
            fresh: have the grape ask the others although it holds the item. A Node grape that
                missed an update answers the old version for ever otherwise; ours asks anyway.

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
        fields: dict[str, str | bool] = {"hash": wanted}
        if raw_salt:
            fields["salt"] = salt_text(raw_salt)
        data = fields if raw_salt else wanted

        def parse(status: int, body: bytes) -> Item | None:
            return answers.get_answer(status, body, wanted, raw_salt)

        async def ask(attempts: list[str]) -> Item | None:
            if fresh:
                past = {**fields, "cache": False}
                found = await self._requests.ask("get", past, parse, attempts)
                if found is not None:
                    return found  # else nobody but the grape itself can have it
            return await self._requests.ask("get", data, parse, attempts)

        return self._requests.share(("get", wanted, raw_salt, fresh), ask)

    def close(self) -> Deferred[None]:
        """
        Stop announcing, drop every request in flight, close the connections.

        Fires with: None, when the connections are closed.
        Cancel: not supported.
        """
        self._closed = True
        for announcement in self.announcements:
            announcement.stop()
        return self._requests.close()

    def _stopped_announcing(self, announcement: Announcement) -> None:
        del self._announcements[announcement.name, announcement.port]
