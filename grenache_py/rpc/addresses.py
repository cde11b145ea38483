"""
The addresses of services, in the order to try them; the next one when one is dead.

Shell: asks the link. It remembers for a while which addresses accepted no connection.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

from grenache_py.link.client import Link
from grenache_py.rpc.connecting import NotConnected
from grenache_py.rpc.destinations import Destinations
from grenache_py.rpc.errors import NoPeerFound, PeerUnreachable

__all__ = ["ServiceAddresses"]

T = TypeVar("T")


class ServiceAddresses:
    """
    Finds the addresses announced under a name.

    Args:
        link: looks names up.
        rng: makes the order of addresses.
        clock: keeps the time.
    """

    def __init__(self, link: Link, rng: random.Random, clock: IReactorTime) -> None:
        self._link = link
        self._clock = clock
        self._destinations = Destinations(rng)

    def known(self, name: str) -> str | None:
        """Return the address to try first, None if the name has to be looked up."""
        known = self._link.known(name)
        if not known:
            return None
        if len(known) == 1:
            return known[0]
        return self._destinations.order(known, self._clock.seconds())[0]

    async def lookup(self, name: str, *, fresh: bool = False) -> list[str]:
        """
        Return the addresses announced under ``name``, the one to try first in front.

        Args:
            fresh: ask the network, whatever is remembered.

        Raises:
            LinkError: the name could not be looked up.
        """
        found = await self._link.lookup(name, fresh=fresh)
        return self._destinations.order(found, self._clock.seconds())

    def refused(self, name: str, address: str) -> None:
        """Nobody accepted a connection there: try it last, and forget that it was announced."""
        self._destinations.failed(address, self._clock.seconds())
        self._link.forget(name, address)

    def suspect(self, address: str) -> None:
        """Something went wrong at ``address``: try it last for a while."""
        self._destinations.failed(address, self._clock.seconds())

    def accepted(self, address: str) -> None:
        """``address`` accepted a connection: its failures are forgotten."""
        self._destinations.succeeded(address)

    async def try_in_turn(self, name: str, send: Callable[[str], Awaitable[T]]) -> T:
        """
        Call ``send`` with one address after the other until one accepts a connection.

        Returns:
            What ``send`` returned.

        Raises:
            NoPeerFound: nobody is announced under ``name``.
            PeerUnreachable: no address accepts a connection.
            LinkError: the name could not be looked up.
        """
        failures: dict[str, str] = {}
        for fresh in (False, True):
            addresses = await self.lookup(name, fresh=fresh)
            for address in addresses:
                if address in failures:
                    continue
                try:
                    result = await send(address)
                except NotConnected as error:
                    failures[address] = str(error)
                    self.refused(name, address)
                else:
                    self.accepted(address)
                    return result
            if not addresses and not failures:
                raise NoPeerFound(f"nobody is announced as {name!r}")
        attempts = [f"{address}: {why}" for address, why in failures.items()]
        raise PeerUnreachable(f"nobody announced as {name!r} accepts a connection", attempts)
