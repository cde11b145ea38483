"""Both ends of TLS connections in memory: pipes, peers' channels, and strangers of every kind."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure


class Pipe:
    """One end of a connection in memory; ``protocol`` is who hears what the other end writes."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.other: Pipe = self
        self.sent: list[bytes] = []
        self.producer: Any = None
        self.closing = self.closed = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.sent.append(data)

    def writeSequence(self, many: list[bytes]) -> None:
        self.write(b"".join(many))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.closing = self.aborted = True
        self.sent.clear()

    def end(self) -> None:
        if not self.closed:
            self.closed = self.closing = True
            why: Any = ConnectionAborted() if self.aborted else ConnectionDone()
            self.protocol.connectionLost(Failure(why))


def join(one: Any, other: Any) -> tuple[Pipe, Pipe]:
    """Connect two protocols; the first has dialled."""
    near, far = Pipe(), Pipe()
    near.other, far.other = far, near
    near.protocol, far.protocol = one, other
    far.protocol.makeConnection(far)
    near.protocol.makeConnection(near)
    return near, far


def pump(*ends: Pipe, clock: Clock | None = None) -> None:
    """Carry bytes until nobody writes any more; a connection that one side closed ends."""
    busy = True
    while busy:
        busy = False
        if clock is not None:
            clock.advance(0)
        for end in ends:
            while end.sent:
                busy = True
                data = end.sent.pop(0)
                if not end.other.closed:
                    end.other.protocol.dataReceived(data)
        for end in ends:
            if end.closing and not end.closed:
                busy = True
                end.end()
                end.other.end()
