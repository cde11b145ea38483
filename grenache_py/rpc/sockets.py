"""
What connections of every kind need: a set of those open, fast writes, a look at what waits.

Shell: writes to sockets and looks at them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IReactorTime, ISSLTransport, ITCPTransport

from grenache_py.deferreds import DeadlinePassed, OneShot, deadline

__all__ = ["Connections", "Writer", "peek", "peer_certificate"]

_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


class Connections:
    """The open connections of one server or client, and the moment when there are none left."""

    def __init__(self) -> None:
        self._open: dict[Any, None] = {}
        self._empty: OneShot[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._open))

    def add(self, connection: Any) -> None:
        """A connection was made."""
        self._open[connection] = None

    def discard(self, connection: Any) -> None:
        """A connection is gone."""
        self._open.pop(connection, None)
        if self._empty is not None and not self._open and not self._empty.happened:
            self._empty.fire(None)

    async def when_empty(self, clock: IReactorTime, timeout_s: float) -> None:
        """
        Wait until none is left; after ``timeout_s``, abort those that still are.

        Nobody may add connections any more.
        """
        if not self._open:
            return
        self._empty = self._empty or OneShot()
        try:
            await deadline(self._empty.when(), timeout_s, clock, "closing connections")
        except DeadlinePassed:
            for connection in self:
                connection.transport.abortConnection()


def peer_certificate(transport: Any) -> Any:
    """Return the other side's certificate in secure mode, None if it has shown none."""
    if not ISSLTransport.providedBy(transport):
        return None
    certificate: Any = transport.getPeerCertificate()
    return certificate.to_cryptography() if certificate is not None else None


class Writer:
    """
    Writes to a connection at once, and not at the reactor's next turn.

    Twisted's transports keep what is written until the reactor finds the socket writable. For a
    client that sends one message at a time, that is two calls of ``epoll_ctl`` and one of
    ``epoll_wait`` for each, a third of the cost of a round trip. The transport takes over where
    the kernel does not accept everything, and it does all writing where TLS is used.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        plain = ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport)
        handle = transport.getHandle() if plain and hasattr(transport, "getHandle") else None
        self._socket = handle if isinstance(handle, socket.socket) else None

    def write(self, data: bytes) -> None:
        """Send ``data`` after all that was written before."""
        if self._socket is not None:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._socket = None
                self._transport.abortConnection()
                return
            if sent == len(data):
                return
            self._socket, data = None, data[sent:]
        self._transport.write(data)


def peek(transport: Any) -> bytes | None:
    """
    Return a byte that waits to be read, ``b""`` at the end of the connection, None for neither.

    A server may have closed an idle connection while this process was busy. Asking the kernel
    first means that no request is sent on a connection that is already closed.
    """
    tcp = getattr(transport, "transport", transport)  # below TLS, if there is any
    try:
        first: bytes = tcp.getHandle().recv(1, _PEEK)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
    return first
