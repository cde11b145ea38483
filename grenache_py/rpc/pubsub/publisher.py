"""
The publisher: messages to everybody who is subscribed.

Service: listens, keeps itself announced, and stops in order.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from websockets.frames import Frame, Opcode

from grenache_py.link.announcing import EVERY_S_DEFAULT
from grenache_py.link.client import Link
from grenache_py.rpc.errors import NotSendable
from grenache_py.rpc.frames import encode_json
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.listening import Listening
from grenache_py.rpc.pubsub.connections import PublisherSocket
from grenache_py.rpc.pubsub.subscriber_queue import SubscriberQueue
from grenache_py.rpc.websocket.connection import GOING_AWAY
from grenache_py.rpc.websocket.server import WebSocketServerFactory

__all__ = ["Publisher"]


class Publisher(Listening):
    """
    Sends messages to everybody who is subscribed, over WebSocket.

    A subscriber that does not keep up loses the oldest of the messages that wait for it.

    Args:
        link: announces it.
        name: the service name, which is the topic: a publisher has one.
        reactor: listens, and keeps the time.
        endpoint: Twisted endpoint or its string; port 0 picks one.
        queue_messages_max, queue_bytes_max: what may wait for one subscriber.
        limits: what subscribers may do.
        announce_port: the port to announce, where it differs from the one listened on.
        announce_every_s: seconds between announcements.
    """

    def __init__(
        self,
        link: Link | None,
        name: str,
        reactor: Any,
        *,
        endpoint: str | IStreamServerEndpoint = "tcp:0",
        queue_messages_max: int = 1000,
        queue_bytes_max: int = 1_048_576,
        limits: ServerLimits | None = None,
        announce_port: int | None = None,
        announce_every_s: float = EVERY_S_DEFAULT,
    ) -> None:
        super().__init__(
            link, name, reactor, endpoint, limits or ServerLimits(), announce_port, announce_every_s
        )
        self._queue_limits = (queue_messages_max, queue_bytes_max)

    @property
    def subscribers(self) -> int:
        """How many are subscribed now."""
        return sum(one.is_open for one in self._sockets())

    @property
    def dropped(self) -> int:
        """Messages that did not reach a subscriber because it was too slow, over all of them."""
        return sum(one.outbox.dropped for one in self._sockets())

    def publish(self, message: str | bytes | dict[str, Any] | list[Any]) -> int:
        """
        Send ``message`` to every subscriber: text, binary, or an object or array as JSON.

        Returns:
            How many subscribers there are.

        Raises:
            NotSendable: it is none of these, or holds what JSON cannot express.
        """
        if isinstance(message, (dict, list)):
            frame = Frame(Opcode.TEXT, encode_json(message)).serialize(mask=False)
        elif isinstance(message, str):
            try:
                frame = Frame(Opcode.TEXT, message.encode()).serialize(mask=False)
            except UnicodeEncodeError:
                raise NotSendable("text with half a surrogate pair cannot be sent") from None
        elif isinstance(message, (bytes, bytearray, memoryview)):
            frame = Frame(Opcode.BINARY, bytes(message)).serialize(mask=False)
        else:
            raise NotSendable(
                f"a message is text, bytes, a dict or a list, not {type(message).__name__}"
            )
        reached = 0
        for socket in self._sockets():
            if socket.is_open:
                socket.publish(frame)
                reached += 1
        return reached

    def _sockets(self) -> list[PublisherSocket]:
        return list(self._factory.connections) if self._factory is not None else []

    def _make_factory(self) -> Factory:
        def make() -> PublisherSocket:
            return PublisherSocket(
                self._limits, self._reactor, SubscriberQueue(*self._queue_limits)
            )

        return WebSocketServerFactory(make, self._limits)

    async def _sweep(self) -> None:
        now = self._reactor.seconds()
        for socket in self._sockets():
            socket.sweep(now, self._limits.idle_timeout_s / 2)

    def _close_connections(self) -> None:
        for socket in self._sockets():
            socket.close(GOING_AWAY, "shutting down")
