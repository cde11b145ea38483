"""
The two ends of a connection between a publisher and a subscriber.

Shell: each owns its connection. A message is one WebSocket frame without any envelope
(docs/design/grenache-wire.rst#pubsub): text for ``str``, binary for ``bytes``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from grenache_py.rpc.connecting import TransportSettings
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.pubsub.subscriber_queue import SubscriberQueue
from grenache_py.rpc.sockets import Connections
from grenache_py.rpc.websocket.client import ClientSocket
from grenache_py.rpc.websocket.connection import INVALID_DATA
from grenache_py.rpc.websocket.server import ServerSocket

__all__ = ["PublisherSocket", "SubscriberSocket"]


class PublisherSocket(ServerSocket):
    """One subscriber's connection to a publisher. What a subscriber sends is ignored."""

    at_once = False  # what is published in one go is one write for each subscriber

    def __init__(self, limits: ServerLimits, clock: Any, outbox: SubscriberQueue[bytes]) -> None:
        super().__init__(limits, clock)
        self.outbox = outbox

    def publish(self, frame: bytes) -> None:
        """Send a frame that is encoded already, now or when the connection can take more."""
        if self._paused:
            self.outbox.add(frame)
        else:
            self._writer.write(frame)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        while not self._paused:
            frame = self.outbox.take()
            if frame is None:
                return
            self._writer.write(frame)

    def message_received(self, message: bytes, binary: bool) -> None:
        pass


class SubscriberSocket(ClientSocket):
    """A subscriber's connection to one publisher."""

    def __init__(
        self,
        address: str,
        settings: TransportSettings,
        clock: Any,
        connections: Connections,
        on_message: Callable[[str | bytes], None],
    ) -> None:
        super().__init__(address, settings, clock, connections)
        self._on_message = on_message
        self.lost: Deferred[None] = Deferred()

    def message_received(self, message: bytes, binary: bool) -> None:
        if binary:
            self._on_message(message)
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            self.close(INVALID_DATA, "a text message that is not UTF-8")
            return
        self._on_message(text)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.lost.callback(None)
