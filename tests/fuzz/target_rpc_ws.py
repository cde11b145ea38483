"""
The WebSocket port of a server of requests, after the handshake.

The input is what one client sends. Whole or a byte at a time it must get the same
frames, none may raise, and what breaks the protocol must end the connection.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from websockets.frames import Frame, Opcode

from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.websocket.server import RPCServerSocket, WebSocketServerFactory
from tests.support.rpc_wire import answering, wired

_HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MASK = b"\x01\x02\x03\x04"


def _frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    """A masked frame, the same every time."""
    masked = bytes(byte ^ _MASK[i % 4] for i, byte in enumerate(data))
    head = Frame(opcode, data, fin=fin).serialize(mask=False)[: -len(data) or None]
    return head[:1] + bytes([head[1] | 0x80]) + head[2:] + _MASK + masked


SEEDS = [
    _frame(Opcode.TEXT, b'["r","k",{"a":[1,2.5,null]}]'),
    _frame(Opcode.BINARY, b'["r","k","boom"]') + _frame(Opcode.PING, b"hi"),
    _frame(Opcode.TEXT, b'["r",', fin=False)
    + _frame(Opcode.PONG, b"")
    + _frame(Opcode.CONT, b'"k",0]'),
    _frame(Opcode.TEXT, b"{bad") + _frame(Opcode.TEXT, b"null"),
    _frame(Opcode.TEXT, b'["r","k","' + b"x" * 200 + b'"]'),
    _frame(Opcode.CLOSE, b"\x03\xe8bye") + _frame(Opcode.TEXT, b"[]"),
    b"\xff" * 16,
]


def _talk(limits: ServerLimits, pieces: list[bytes]) -> tuple[bytes, bool]:
    clock = Clock()
    answers = answering(limits=limits, clock=clock)
    factory = WebSocketServerFactory(lambda: RPCServerSocket(answers, limits, clock), limits)
    socket = factory.buildProtocol(None)
    assert socket is not None
    wire = wired(socket)
    socket.dataReceived(_HEAD)
    assert wire.taken().startswith(b"HTTP/1.1 101 ")
    for piece in pieces:
        if not wire.over:
            socket.dataReceived(piece)
    received, over = wire.value(), wire.over
    socket.close()
    clock.advance(3)
    assert wire.over, "the connection stays open"
    wire.hang_up()
    assert clock.getDelayedCalls() == []
    return received, over


def one(data: bytes) -> None:
    """Send it in two ways, and against low limits."""
    _, over = _talk(ServerLimits(), [data])
    assert _talk(ServerLimits(), [data[i : i + 1] for i in range(len(data))])[1] == over
    _talk(ServerLimits(body_bytes_max=20), [data[i : i + 7] for i in range(0, len(data), 7)])
