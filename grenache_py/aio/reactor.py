"""
A reactor of its own for each running loop, while somebody uses it.

Shell: watches sockets and sets timers with the loop it is given. It is not the global reactor: that
one can be installed once in a process, and would take signals and the loop for itself.
"""

from __future__ import annotations

import asyncio
import atexit
import socket
from typing import Any
from weakref import WeakValueDictionary

from twisted.internet import tcp
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from grenache_py.aio.futures import as_deferred
from grenache_py.aio.logs import begin_logging

__all__ = ["LoopReactor", "acquire", "release"]


class LoopReactor(AsyncioSelectorReactor):
    """
    A Twisted reactor on a loop that others run.

    Attributes:
        call_soon: calls a function in the next turn of the loop.
        uses: how many objects need it; it ends with the last of them.
    """

    _registerAsIOThread = False  # that is of the global one

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.loop = loop
        self.uses = 0
        self.seconds = loop.time
        self.call_soon = loop.call_soon
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

    def named_host(self, host: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
        """Return where a host with a name is, without the global reactor."""
        return NamedHost(self, host, port, timeout_s)

    def end(self) -> None:
        """Close what is open and forget what was planned."""
        self.fireSystemEvent("shutdown")
        for planned in self.getDelayedCalls():
            planned.cancel()
        timer: asyncio.TimerHandle | None = self._timerHandle
        if timer is not None:
            timer.cancel()


@implementer(IStreamClientEndpoint)
class NamedHost:
    """
    A host by its name, which the loop looks up; its addresses are tried one after the other.

    Twisted's HostnameEndpoint imports the global reactor, and looks up in threads of its own.
    """

    def __init__(self, reactor: LoopReactor, host: str, port: int, timeout_s: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect; each address gets an equal share of the time.

        Fires with: the protocol that ``factory`` made.
        Fails with:
            DNSLookupError: the name has no address.
            ConnectError: the last address accepts no connection.
        Cancel: what is under way is dropped.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        looking = self._reactor.loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        try:
            infos = await as_deferred(looking)
        except (OSError, UnicodeError) as error:
            raise DNSLookupError(f"{self._host}: {error}") from None
        kinds: dict[int, Any] = {
            socket.AF_INET: TCP4ClientEndpoint,
            socket.AF_INET6: TCP6ClientEndpoint,
        }
        places = [(kinds[info[0]], info[4][0]) for info in infos if info[0] in kinds]
        failed: ConnectError | DNSLookupError = DNSLookupError(f"{self._host} has no address")
        for kind, address in places:
            share_s = self._timeout_s / len(places)
            try:
                connected: IProtocol = await kind(
                    self._reactor, address, self._port, timeout=share_s
                ).connect(factory)
            except ConnectError as error:
                failed = error
            else:
                return connected
        raise failed


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
