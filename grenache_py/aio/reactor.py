"""
A reactor of its own for each running loop, while somebody uses it.

Shell: watches sockets and sets timers with the loop it is given. It is not the global reactor: that
one can be installed once in a process, and would take signals and the loop for itself.
"""

from __future__ import annotations

import asyncio
import atexit
import socket
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IProtocolFactory,
    IResolutionReceiver,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from grenache_py.aio.logs import begin_logging

__all__ = ["LoopReactor", "acquire", "release"]


class LoopReactor(AsyncioSelectorReactor):
    """
    A Twisted reactor on a loop that others run.

    Attributes:
        call_soon: calls a function in the next turn of the loop.
        uses: how many objects need it; whoever is the last one ends it.
    """

    _registerAsIOThread = False  # that is of the global one

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.loop = loop
        self.uses = 0
        self.seconds = loop.time
        self.call_soon = loop.call_soon
        self.installNameResolver(LoopResolver(loop))
        self.startRunning(installSignalHandlers=False)

    def installWaker(self) -> None:
        """Other threads call through the loop: no pipe is needed."""

    def run(self, installSignalHandlers: bool = True) -> None:
        """Refuse: the loop runs already."""
        raise RuntimeError("this reactor runs with its asyncio loop")

    def crash(self) -> None:
        """Stop, and leave the loop alone."""
        PosixReactorBase.crash(self)

    def listenSSL(
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """Listen with TLS that schedules its writes here, not with the global reactor."""
        secure = TLSMemoryBIOFactory(contextFactory, False, factory, self)
        listening: IListeningPort = self.listenTCP(port, secure, backlog, interface)
        return listening

    def end(self) -> None:
        """Close what is open and forget what was planned."""
        self.fireSystemEvent("shutdown")
        for planned in self.getDelayedCalls():
            planned.cancel()
        timer: asyncio.TimerHandle | None = self._timerHandle
        if timer is not None:
            timer.cancel()


@implementer(IHostnameResolver)
class LoopResolver:
    """Looks host names up as the loop does, so that no thread of Twisted's outlives the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Tell the receiver the TCP addresses of a host."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def found(infos: Sequence[tuple[Any, ...]]) -> None:
            for family, *_, place in infos:
                kind = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}.get(family)
                if kind is not None and (addressTypes is None or kind in addressTypes):
                    resolutionReceiver.addressResolved(kind("TCP", *place))
            resolutionReceiver.resolutionComplete()

        def ended(future: asyncio.Future[Any]) -> None:
            if not future.cancelled():
                found([] if future.exception() is not None else future.result())

        try:
            flags = socket.AI_NUMERICHOST
            literal = socket.getaddrinfo(hostName, portNumber, type=socket.SOCK_STREAM, flags=flags)
        except OSError:
            looking = self._loop.getaddrinfo(hostName, portNumber, type=socket.SOCK_STREAM)
            resolution.future = asyncio.ensure_future(looking, loop=self._loop)
            resolution.future.add_done_callback(ended)
        else:
            found(literal)
        return resolution


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name
        self.future: asyncio.Future[Any] | None = None

    def cancel(self) -> None:
        if self.future is not None:
            self.future.cancel()


@atexit.register
def _close_reserved() -> None:
    """Twisted keeps a file open for when there are no descriptors left, and never closes it."""
    if tcp._reservedFD.available():
        tcp._reservedFD.__enter__()


#: By the id of the loop, which a reactor keeps alive. What was never closed goes with its users.
_reactors: WeakValueDictionary[int, LoopReactor] = WeakValueDictionary()


def acquire() -> LoopReactor:
    """Return the reactor of the running loop; each call wants one of `release`."""
    loop = asyncio.get_running_loop()
    reactor = _reactors.get(id(loop))
    if reactor is None:
        begin_logging()
        reactor = _reactors[id(loop)] = LoopReactor(loop)
    reactor.uses += 1
    return reactor


def release(reactor: LoopReactor) -> None:
    """One use less; the last one ends it, so that nothing of it is left in the loop."""
    reactor.uses -= 1
    if not reactor.uses:
        del _reactors[id(reactor.loop)]
        reactor.end()
