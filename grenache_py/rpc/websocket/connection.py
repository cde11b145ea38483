"""
RPC and publish/subscribe over WebSocket: one connection, seen from either side.

Shell: owns its transport. The protocol itself (RFC 6455) is that of the websockets
library's sans-I/O half, which takes 4 us to send and receive a message where wsproto,
and with it ``twisted.web.websocket``, takes 12, and which limits the size of a message.
A message is one text frame as in docs/design/grenache-wire.rst#websocket-rpc; a
publisher's messages are bare (docs/design/grenache-wire.rst#pubsub).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from zope.interface import implementer

from grenache_py.rpc.limits import CLOSE_TIMEOUT_S
from grenache_py.rpc.sockets import Writer

__all__ = ["CLOSE_FRAME", "GOING_AWAY", "INVALID_DATA", "WebSocketConnection"]

#: Status codes of a close frame (RFC 6455 section 7.4.1).
GOING_AWAY = 1001
INVALID_DATA = 1007
MESSAGE_TOO_BIG = 1009
#: Fragments of one message; empty ones cost as much as others.
FRAGMENTS_MAX = 4_096
#: Bytes of answers that are gathered for one write.
GATHERED_BYTES_MAX = 65_536
#: The first byte of a frame that closes.
CLOSE_FRAME = b"\x88"

# Members of an enumeration are looked up slowly, and these for each message.
_CONNECTING, _OPEN, _CLOSING = State.CONNECTING, State.OPEN, State.CLOSING
_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT


@implementer(IPushProducer)
class WebSocketConnection(Protocol):
    """
    One WebSocket over one transport; subclasses say what its messages mean.

    Attributes:
        at_once: whether a message leaves at once, or with others at the reactor's next turn.
        heard_at: clock seconds at which bytes last came in.
        under_way: messages taken whose answers are not ready; subclasses count them.
        under_way_max: with as many, no more are taken.
    """

    at_once = True
    under_way_max: float = inf
    transport: Any  # TCP or TLS; both are also an IConsumer and an IPushProducer

    def __init__(self, wire: ClientProtocol | ServerProtocol, clock: Any) -> None:
        self._wire = wire
        self._clock = clock
        self._events: deque[Any] = deque()  # read, and waiting until the other side reads
        self._parts = bytearray()
        self._fragments = 0
        self._opcode = _TEXT
        self._pinged = False
        self._paused = False
        self._receiving = False
        self._gathered = 0  # bytes that wait to be written with others
        # In asyncio each answer wakes a task up, which sends once this connection has received.
        self._call_soon: Callable[..., object] | None = getattr(clock, "call_soon", None)
        self._flush_planned = False
        self._reading = True
        self._writer: Any = None
        self._close_timer: IDelayedCall | None = None
        self._made_at = 0.0
        self._lost = False
        self.under_way = 0
        self.peer = ""
        self.heard_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has begun to close."""
        return self._wire.state is _OPEN

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
        wire = self._wire
        wire.receive_data(data)
        self._events += wire.events_received()
        self.work()

    def may_take(self) -> bool:
        """Whether the next message may be taken now."""
        if self._paused and self._wire.state is not _CONNECTING:
            return False
        return self.under_way < self.under_way_max

    def work(self) -> None:
        """Take messages as far as allowed, and read more only when none are left over."""
        if self._receiving:
            return  # from within: the loop below goes on
        self._receiving = True  # what is sent now leaves as one write, below
        events = self._events
        while events and self.may_take():
            event = events.popleft()
            if isinstance(event, Frame):
                self._frame_received(event)
            else:
                self.handshake_received(event)
        self._receiving = False
        if not self._flush_planned:
            self.flush()
        wanted = not events and self.may_take()
        if wanted is not self._reading:
            self._read(wanted)
        if self._wire.state is _CLOSING and self._wire.close_expected():
            self._expect_close()

    def _read(self, wanted: bool) -> None:
        """Whoever does not read is not read from, and its pings and messages wait in its socket."""
        if not self._lost:
            self._reading = wanted
            (self.transport.resumeProducing if wanted else self.transport.pauseProducing)()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._events.clear()
        self._wire.receive_eof()
        if self._close_timer is not None:
            self._close_timer.cancel()

    def send(self, message: bytes, binary: bool = False) -> None:
        """Send one message; a closing connection swallows it."""
        wire = self._wire
        if wire.state is not _OPEN:
            return
        (wire.send_binary if binary else wire.send_text)(message)
        self._gathered += len(message)
        if self._gathered >= GATHERED_BYTES_MAX:
            self.flush()
        elif self._receiving:
            return  # ``work`` flushes
        elif self._call_soon is None or not self.busy():
            self.flush()
        elif not self._flush_planned:
            self._flush_planned = True
            self._call_soon(self._planned_flush)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close cleanly; a peer that does not answer is cut off after CLOSE_TIMEOUT_S."""
        if self._wire.state is _OPEN:
            self._wire.send_close(code, reason)
            self.flush()
            self._expect_close()
        elif self._close_timer is None:
            self._lose()

    def sweep(self, now: float, idle_s: float) -> None:
        """Ping a connection that has been silent, cut off one that did not answer the last ping."""
        if self._wire.state is _CONNECTING:
            if now - self._made_at > idle_s:
                self.transport.abortConnection()
        elif not self._reading and not self._paused:
            self.heard_at = now  # it waits for us: as many of its messages as may are under way
        elif now - self.heard_at <= idle_s:
            return
        elif self._pinged:
            self.transport.abortConnection()
        else:
            self._pinged = True
            self.heard_at = now
            if self._wire.state is _OPEN:
                self._wire.send_ping(b"")
                self.flush()

    def _planned_flush(self) -> None:
        self._flush_planned = False
        if not self._lost:
            self.flush()

    def busy(self) -> bool:
        """Whether more messages are likely to be sent in this turn of the loop."""
        return False

    def flush(self) -> None:
        """Hand to the transport what the protocol wants sent."""
        if self._receiving and self._gathered < GATHERED_BYTES_MAX:
            return
        self._gathered = 0
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
        if self._wire.state is not _CONNECTING:  # TLS writes only once it has read
            if self._reading:
                self._read(False)

    def resumeProducing(self) -> None:
        self._paused = False
        self.work()

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
        if opcode is _TEXT or opcode is _BINARY:
            if frame.fin:
                self.message_received(bytes(frame.data), opcode is _BINARY)
            else:
                self._opcode = opcode
                self._parts = bytearray(frame.data)
                self._fragments = 1
        elif opcode is _CONT:
            self._parts += frame.data
            self._fragments += 1
            if frame.fin:
                message, self._parts = bytes(self._parts), bytearray()
                self.message_received(message, self._opcode is _BINARY)
            elif self._fragments >= FRAGMENTS_MAX:
                self._parts = bytearray()
                self._events.clear()
                self._wire.fail(MESSAGE_TOO_BIG, f"a message has at most {FRAGMENTS_MAX} fragments")

    def _expect_close(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._clock.callLater(CLOSE_TIMEOUT_S, self._cut_off)

    def _cut_off(self) -> None:
        self._close_timer = None
        self.transport.abortConnection()

    def _lose(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()
