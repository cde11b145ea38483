"""
Opens connections to other peers, a limited number at a time.

Shell: touches the reactor only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.exchange.peers.networks import inner_network
from grenache_py.options import host_and_port

__all__ = ["DIAL_TIMEOUT_S", "Dialler", "HandOut"]

#: Seconds in which a connection must be open.
DIAL_TIMEOUT_S = 5.0
#: Connections being opened at a time.
DIALS_MAX = 64


class HandOut(Factory):
    """Gives what a function makes, and leaves its ``factory`` alone: TLS has one of its own."""

    noisy = False

    def __init__(self, make: Callable[[], IProtocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._make()


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _Resolving:
    """A reactor whose names have no addresses in inner networks, but for those ``inside``."""

    def __init__(self, reactor: Any, inside: Collection[str]) -> None:
        self._reactor = reactor
        self._inside = inside
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, *args: Any, **options: Any
    ) -> IHostResolution:
        resolver = self._reactor.nameResolver
        receiver = _Allowed(resolutionReceiver, self._inside)
        return resolver.resolveHostName(receiver, *args, **options)  # type: ignore[no-any-return]


@implementer(IResolutionReceiver)
class _Allowed:
    """Passes on the addresses of a name that may be dialled."""

    def __init__(self, receiver: IResolutionReceiver, inside: Collection[str]) -> None:
        self._inside = inside
        self._pass_on = receiver.addressResolved
        self.resolutionBegan = receiver.resolutionBegan
        self.resolutionComplete = receiver.resolutionComplete

    def addressResolved(self, address: Any) -> None:
        inner = inner_network(f"{address.host}:0")
        if inner is None or inner in self._inside:
            self._pass_on(address)


class Dialler:
    """Every connection that is being opened to a peer."""

    def __init__(
        self,
        reactor: Any,
        channel: Callable[[str], IProtocol],
        failed: Callable[[str, str], None],
    ) -> None:
        """
        Args:
            channel: makes the protocol of a connection to an address, once TCP has one.
            failed: given the address and the reason when TCP has none.
        """
        self._reactor = reactor
        self._channel = channel
        self._failed = failed
        self._dials: dict[Deferred[Any], str] = {}
        self._stopped = False

    def dial(self, address: str, inside: Collection[str] | None = None) -> None:
        """
        Open a connection to ``address`` (``HOST:PORT``); a failure is reported later.

        Args:
            inside: inner networks that a public name may resolve to; None: any.
        """
        if self._stopped or len(self._dials) >= DIALS_MAX:
            self._reactor.callLater(0, self._failed, address, "too many dials")
            return
        try:
            host, _, port = host_and_port(address).rpartition(":")
        except ValueError as error:  # whoever named it, it must not stop who asked for the dial
            self._reactor.callLater(0, self._failed, address, f"an address {error}")
            return
        reactor = self._reactor
        if inside is not None and inner_network(address) is None:
            reactor = _Resolving(reactor, inside)
        endpoint = HostnameEndpoint(reactor, host.strip("[]"), int(port), timeout=DIAL_TIMEOUT_S)
        dial: Deferred[Any] = endpoint.connect(HandOut(lambda: self._channel(address)))
        self._dials[dial] = address

        def done(result: Any) -> None:
            self._dials.pop(dial, None)
            if isinstance(result, Failure) and not self._stopped:
                self._failed(address, result.getErrorMessage())

        dial.addBoth(done)

    def refuse(self) -> None:
        """Open no more, and report no more failures; those under way go on."""
        self._stopped = True

    def stop(self) -> None:
        """Give up every connection that is not open yet."""
        self.refuse()
        for dial in list(self._dials):
            dial.cancel()
