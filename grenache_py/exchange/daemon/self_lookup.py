"""
Whether a lookup leads to this peer: the addresses that grapes name with its port are dialled.

Shell: opens connections. A grape keeps the address that the announcing grape was seen under, which
may be another host's; an answer with the right port proves nothing. Each address is asked for its
key, with a key made for that, so that nobody takes the caller for a peer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.exchange.daemon.connections.dialler import DIAL_TIMEOUT_S, HandOut
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.daemon.connections.secure_channel import SecureChannels
from grenache_py.options import host_and_port

__all__ = ["SelfLookup"]

#: How often it is looked whether the addresses are others than before.
LOOK_S = 3.0
#: How long what was found is believed: that it is this peer, and that it is not.
AGAIN_S, AGAIN_LOST_S = 300.0, 60.0
#: Addresses dialled in one round.
ADDRESSES_MAX = 64


class SelfLookup:
    """
    Who answers where this peer should.

    Attributes:
        met: for each address that was dialled ``who`` answered (``itself``, ``another`` or
            ``nobody``), and for ``nobody`` the ``reason``. Ends with ``itself``, if it was met.
    """

    log = Logger()

    def __init__(self, reactor: Any, rng: random.Random, key: str) -> None:
        """
        Args:
            key: of this peer.
        """
        self.met: list[dict[str, str]] = []
        self._reactor = reactor
        self._key = key
        self._channels = SecureChannels(rng.randbytes(32), reactor)
        self._again_at = 0.0
        self._tried: set[str] = set()

    async def run(self, addresses: Callable[[], Iterable[str]]) -> None:
        """
        Dial, until cancelled, whenever something may have changed.

        Args:
            addresses: returns those that should lead to this peer.
        """
        while True:
            wanted = set(list(addresses())[:ADDRESSES_MAX])
            before = self._own()
            # While this peer is met at one, it does not matter who comes and goes at the others.
            stale = before not in wanted if before else wanted != self._tried
            if stale or self._reactor.seconds() >= self._again_at:
                await self._round(sorted(wanted, key=lambda address: address != before))
                self._tried = wanted
                found = self._own()
                self._again_at = self._reactor.seconds() + (AGAIN_S if found else AGAIN_LOST_S)
                if found and not before:
                    self.log.info("lookups lead to this peer, at {address}", address=found)
            await deferLater(self._reactor, LOOK_S)

    def _own(self) -> str:
        """The address at which this peer was met, or ""."""
        return next((each["address"] for each in self.met if each["who"] == "itself"), "")

    async def _round(self, addresses: list[str]) -> None:
        """Dial one after the other until this peer is met."""
        met = []
        for address in addresses:
            key, reason = await self._who(address)
            who = "itself" if key == self._key else "another" if key else "nobody"
            met.append({"address": address, "who": who, "reason": reason})
            if who == "itself":
                break
        self.met = met

    async def _who(self, address: str) -> tuple[str, str]:
        """The key that answers at ``address``, or "" and why none does."""
        try:
            host, _, port = host_and_port(address).rpartition(":")
        except ValueError as error:
            return "", f"an address {error}"
        said: Deferred[tuple[str, str]] = Deferred()

        def opened(connection: PeerConnection) -> None:
            said.callback((connection.key, ""))
            connection.abort()

        connection = PeerConnection(
            self._reactor,
            0,
            address,
            opened,
            lambda connection, line: None,
            lambda connection, reason: None,
            outbound=True,
            unproven=lambda connection, reason: said.callback(("", reason)),
        )
        endpoint = HostnameEndpoint(
            self._reactor, host.strip("[]"), int(port), timeout=DIAL_TIMEOUT_S
        )
        try:
            await endpoint.connect(HandOut(lambda: self._channels.over(connection)))
        except ConnectingCancelledError:
            raise CancelledError from None
        except (ConnectError, OSError) as error:
            return "", str(error)
        try:
            return await said
        finally:
            connection.abort()
