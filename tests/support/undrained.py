"""A transport whose other end never reads: as Twisted's does, it tells its writer to pause."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport

#: Bytes that a Twisted transport keeps before it tells its producer to pause.
BUFFER_BYTES = 65_536


class Undrained(StringTransport):
    """
    Keeps what is written until `drain`.

    Attributes:
        aborted: ``abortConnection`` was called.
    """

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def write(self, data: bytes) -> None:
        super().write(data)
        producer: Any = self.producer
        if self.unread > BUFFER_BYTES and producer is not None:
            producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    @property
    def unread(self) -> int:
        """Bytes written and not read."""
        return len(self.value())

    @property
    def reads(self) -> bool:
        """Whether bytes from the other end would be delivered."""
        return self.producerState == "producing" and not self.disconnecting

    def drain(self) -> bytes:
        """The other end reads all there is."""
        data: bytes = self.value()
        self.clear()
        producer: Any = self.producer
        if producer is not None:
            producer.resumeProducing()
        return data

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True


def pour(protocol: Any, transport: Undrained, data: bytes, *, pieces: int) -> int:
    """Deliver ``data`` again and again while the transport is read from; returns how often."""
    for number in range(pieces):
        if not transport.reads:
            return number
        protocol.dataReceived(data)
    return pieces
