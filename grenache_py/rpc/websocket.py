"""
RPC and publish/subscribe over WebSocket: one connection, seen from either side.

Shell: owns its transport. The protocol itself (RFC 6455) is that of the websockets
library's sans-I/O half, which takes 4 us to send and receive a message where wsproto,
and with it ``twisted.web.websocket``, takes 12, and which limits the size of a message.
A message is one text frame with the arrays of section g.1 of the reference; a
publisher's messages are bare (section g.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as UpgradeRequest
from websockets.http11 import Response as UpgradeResponse
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from zope.interface import implementer

from grenache_py.rpc.errors import BadFrame, PeerLost, RPCFailure
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.peer import decode_reply, decode_request, encode_reply
from grenache_py.rpc.protocol import Answering, Connections, Writer, peek, peer_certificate
from grenache_py.rpc.pubsub import Outbox

__all__ = [
    "PublisherSocket",
    "RPCClientSocket",
    "RPCServerSocket",
    "SubscriberSocket",
    "WebSocketConnection",
    "WebSocketServerFactory",
]

#: RFC 6455 section 7.4.1
GOING_AWAY, INVALID_DATA = 1001, 1007
#: The first byte of a frame that closes.
CLOSE_FRAME = b"\x88"
#: Seconds the other side gets to answer our closing handshake.
CLOSE_TIMEOUT_S = 2.0


@implementer(IPushProducer)
class WebSocketConnection(Protocol):
    """
    One WebSocket over one transport; subclasses say what its messages mean.

    Attributes:
        at_once: whether a message leaves at once, or with others at the reactor's next turn.
        heard_at: clock seconds at which bytes last came in.
    """

    at_once = True
    transport: Any  # TCP or TLS; both are also an IConsumer and an IPushProducer

    def __init__(self, wire: ClientProtocol | ServerProtocol, clock: Any) -> None:
        self._wire = wire
        self._clock = clock
        self._parts: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._pinged = False
        self._paused = False
        self._receiving = False
        self._writer: Any = None
        self._close_timer: IDelayedCall | None = None
        self._made_at = 0.0
        self.peer = ""
        self.heard_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has begun to close."""
        return self._wire.state is State.OPEN

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        peer = self.transport.getPeer()
        self.peer = f"{getattr(peer, 'host', peer)}:{getattr(peer, 'port', 0)}"
        self.heard_at = self._made_at = self._clock.seconds()
        self._writer = Writer(self.transport) if self.at_once else self.transport

    def dataReceived(self, data: bytes) -> None:
        self.heard_at = self._clock.seconds()
        self._pinged = False
        self._receiving = True  # what is sent now leaves as one write, below
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Frame):
                self._frame_received(event)
            else:
                self.handshake_received(event)
        self._receiving = False
        self.flush()
        if self._wire.state is State.CLOSING and self._wire.close_expected():
            self._expect_close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wire.receive_eof()
        if self._close_timer is not None:
            self._close_timer.cancel()

    def send(self, message: bytes, binary: bool = False) -> None:
        """Send one message; a closing connection swallows it."""
        if self._wire.state is State.OPEN:
            (self._wire.send_binary if binary else self._wire.send_text)(message)
            self.flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close cleanly; a peer that does not answer is cut off after CLOSE_TIMEOUT_S."""
        if self._wire.state is State.OPEN:
            self._wire.send_close(code, reason)
            self.flush()
            self._expect_close()
        elif self._close_timer is None:
            self._lose()

    def sweep(self, now: float, idle_s: float) -> None:
        """Ping a connection that has been silent, cut off one that did not answer the last ping."""
        if self._wire.state is State.CONNECTING:
            if now - self._made_at > idle_s:
                self.transport.abortConnection()
        elif now - self.heard_at <= idle_s:
            return
        elif self._pinged:
            self.transport.abortConnection()
        else:
            self._pinged = True
            self.heard_at = now
            if self._wire.state is State.OPEN:
                self._wire.send_ping(b"")
                self.flush()

    def flush(self) -> None:
        """Hand to the transport what the protocol wants sent."""
        if self._receiving:
            return
        data = self._wire.data_to_send()
        if not data:
            return
        if data[-1] == b"":
            self._writer.write(b"".join(data))
            self._lose()
        else:
            self._writer.write(data[0] if len(data) == 1 else b"".join(data))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        pass

    def handshake_received(self, event: Any) -> None:
        """The other side's half of the opening handshake has arrived."""
        raise NotImplementedError

    def message_received(self, message: bytes, binary: bool) -> None:
        """One whole message has arrived."""
        raise NotImplementedError

    def _frame_received(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self.message_received(bytes(frame.data), opcode is Opcode.BINARY)
            else:
                self._opcode = opcode
                self._parts = [bytes(frame.data)]
        elif opcode is Opcode.CONT:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self.message_received(message, self._opcode is Opcode.BINARY)

    def _expect_close(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._clock.callLater(CLOSE_TIMEOUT_S, self._cut_off)

    def _cut_off(self) -> None:
        self._close_timer = None
        self.transport.abortConnection()

    def _lose(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()


class _ServerSocket(WebSocketConnection):
    """The server's side: accepts every path, as Node does, and is known to its factory."""

    factory: Any  # a WebSocketServerFactory

    def __init__(self, limits: ServerLimits, clock: Any) -> None:
        super().__init__(ServerProtocol(max_size=limits.body_bytes_max), clock)
        self._certificate: Any = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.connections.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.connections.discard(self)

    def handshake_received(self, event: UpgradeRequest) -> None:
        assert isinstance(self._wire, ServerProtocol)
        self._wire.send_response(self._wire.accept(event))
        self._certificate = peer_certificate(self.transport)


class RPCServerSocket(_ServerSocket):
    """A client's connection to a server of requests."""

    def __init__(self, answering: Answering, limits: ServerLimits, clock: Any) -> None:
        super().__init__(limits, clock)
        self._answering = answering

    def message_received(self, message: bytes, binary: bool) -> None:
        try:
            request = decode_request(message)
        except BadFrame as error:
            self.send(encode_reply(None, f"ERR_REQUEST_INVALID: {error}"))
            return
        request.peer = self.peer
        request.certificate = self._certificate
        self._answering.answer(request, self.send)

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.transport.pauseProducing()  # a client that does not read is not read either

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.transport.resumeProducing()


class PublisherSocket(_ServerSocket):
    """One subscriber's connection to a publisher. What a subscriber sends is ignored."""

    at_once = False  # what is published in one go is one write for each subscriber

    def __init__(self, limits: ServerLimits, clock: Any, outbox: Outbox) -> None:
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


class WebSocketServerFactory(Factory):
    """Makes the connections of one listening port and knows those that are open."""

    noisy = False

    def __init__(self, make: Callable[[], _ServerSocket], limits: ServerLimits) -> None:
        self.connections = Connections()
        self._make = make
        self._limits = limits

    def buildProtocol(self, addr: object) -> _ServerSocket | None:
        if len(self.connections) >= self._limits.connections_max:
            return None
        connection = self._make()
        connection.factory = self
        return connection


class _ClientSocket(WebSocketConnection):
    """The client's side; ``opened`` fires when messages can be sent."""

    def __init__(
        self,
        address: str,
        secure: bool,
        clock: Any,
        message_bytes_max: int,
        connections: Connections,
    ) -> None:
        uri = parse_uri(f"{'wss' if secure else 'ws'}://{address}/ws")
        super().__init__(ClientProtocol(uri, max_size=message_bytes_max), clock)
        self.address = address
        self._connections = connections
        self.opened: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        super().connectionMade()
        self._connections.add(self)
        assert isinstance(self._wire, ClientProtocol)
        self._wire.send_request(self._wire.connect())
        self.flush()

    def handshake_received(self, event: UpgradeResponse) -> None:
        if self._wire.state is State.OPEN:
            self.opened.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._connections.discard(self)
        if not self.opened.called:
            why = self._wire.handshake_exc or "the connection was lost"
            self.opened.errback(PeerLost(f"{self.address} refused the WebSocket: {why}"))


class RPCClientSocket(_ClientSocket):
    """
    A client's connection to one server; any number of requests at a time.

    Attributes:
        used_at: clock seconds of the last request sent on it.
    """

    def __init__(
        self,
        address: str,
        secure: bool,
        clock: Any,
        message_bytes_max: int,
        connections: Connections,
    ) -> None:
        super().__init__(address, secure, clock, message_bytes_max, connections)
        self._waiting: dict[str, Deferred[tuple[RPCFailure | None, Any]]] = {}
        self.used_at = 0.0

    def __len__(self) -> int:
        """How many requests are in flight."""
        return len(self._waiting)

    def is_usable(self) -> bool:
        """Whether a request may be sent, as far as can be known."""
        if self._waiting or self._wire.state is not State.OPEN:
            return self._wire.state is State.OPEN
        return peek(self.transport) not in (b"", CLOSE_FRAME)

    def call(self, rid: str, frame: bytes) -> Deferred[tuple[RPCFailure | None, Any]]:
        """
        Send one request.

        Fires with: the error the other side answered with, or None, and the data.
        Fails with:
            PeerLost: the connection went away first.
        Cancel: the answer is ignored when it comes.
        """
        if self._wire.state is not State.OPEN:
            raise PeerLost(f"the connection to {self.address} was lost")

        def forget(_: object) -> None:
            del self._waiting[rid]

        waiter: Deferred[tuple[RPCFailure | None, Any]] = Deferred(forget)
        self._waiting[rid] = waiter
        self.used_at = self._clock.seconds()
        self.send(frame)
        return waiter

    def message_received(self, message: bytes, binary: bool) -> None:
        try:
            rid, error, data = decode_reply(message)
            waiter = self._waiting.pop(rid, None)
        except (BadFrame, TypeError):  # TypeError: an id that cannot be a key was never ours
            return
        if waiter is not None:
            waiter.callback((error, data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter.errback(PeerLost(f"the connection to {self.address} was lost"))


class SubscriberSocket(_ClientSocket):
    """A subscriber's connection to one publisher."""

    def __init__(
        self,
        address: str,
        secure: bool,
        clock: Any,
        message_bytes_max: int,
        connections: Connections,
        on_message: Callable[[str | bytes], None],
    ) -> None:
        super().__init__(address, secure, clock, message_bytes_max, connections)
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
