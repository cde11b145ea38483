"""
The two ends of a byte stream between services: HTTP bodies of any length.

Shell: holds back its connection when the reader does not keep up, and makes the writer
wait when the other side does not. A stream is a chunked POST with the headers ``_gr``
(JSON ``[rid, key]``), ``_a`` (an action) and ``_ar`` (JSON arguments), and an answer of
raw bytes (docs/design/grenache-wire.rst#rpc-streams).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed

from grenache_py.errors import LocalProtocolError
from grenache_py.rpc.errors import BadFrame, PeerLost

__all__ = ["ClientStream", "IncomingBytes", "OutgoingBytes", "ServerStream"]

#: Bytes that wait for a reader before its connection is held back.
READ_AHEAD_BYTES = 262_144


class IncomingBytes:
    """What arrived of a body and has not been read."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._reader: Deferred[bytes] | None = None
        self._ended = False
        self._error: Exception | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > READ_AHEAD_BYTES:
            self._hold(True)

    def end(self, error: Exception | None = None) -> None:
        """No more will come, because the body is complete or because of ``error``."""
        if self._ended:
            return
        self._ended, self._error = True, error
        if self._reader is not None:
            reader, self._reader = self._reader, None
            if error is None:
                reader.callback(b"")
            else:
                reader.errback(error)

    def read(self) -> Deferred[bytes]:
        """
        Wait for bytes.

        Fires with: what has arrived, at least one byte; ``b""`` at the end of the body.
        Fails with:
            PeerLost: the connection went away before the end.
        Cancel: nothing is lost; read again.
        """
        if self._reader is not None:
            return fail(LocalProtocolError("one read at a time"))
        if self._chunks:
            self._size -= len(self._chunks[0])
            if self._size <= READ_AHEAD_BYTES:
                self._hold(False)
            return succeed(self._chunks.popleft())
        if self._ended:
            return succeed(b"") if self._error is None else fail(self._error)
        self._reader = Deferred(self._leave)
        return self._reader

    def _leave(self, _: Deferred[bytes]) -> None:
        self._reader = None

    async def read_all(self, bytes_max: int) -> bytes:
        """
        Return everything up to the end.

        Fails with:
            BadFrame: it is more than ``bytes_max``.
            PeerLost: the connection went away before the end.
        """
        parts: list[bytes] = []
        size = 0
        while chunk := await self.read():
            size += len(chunk)
            if size > bytes_max:
                raise BadFrame(f"a stream of more than {bytes_max} bytes")
            parts.append(chunk)
        return b"".join(parts)


class _Writing(Protocol):
    """What OutgoingBytes needs of a connection."""

    def send_chunk(self, data: bytes) -> None: ...

    def send_end(self) -> None: ...


class OutgoingBytes:
    """The half of a stream that is written."""

    def __init__(self, connection: _Writing) -> None:
        self._connection = connection
        self._waiting: list[Deferred[None]] = []
        self._held = False
        self._error: Exception | None = None
        self.finished = False

    def write(self, data: bytes) -> Deferred[None]:
        """
        Send bytes.

        Fires with: None, when the connection can take more.
        Fails with:
            PeerLost: the connection went away.
            LocalProtocolError: the stream was finished before.
        Cancel: the bytes are sent all the same.
        """
        if self._error is not None:
            return fail(self._error)
        if self.finished:
            return fail(LocalProtocolError("this stream is finished"))
        if data:
            self._connection.send_chunk(bytes(data))
        if not self._held:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def finish(self) -> None:
        """Say that this was all."""
        if not self.finished and self._error is None:
            self.finished = True
            self._connection.send_end()

    def hold(self, held: bool) -> None:
        """The connection can take no more, or can again."""
        self._held = held
        if not held:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    def lost(self, error: Exception) -> None:
        """The connection is gone."""
        self._error = error
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(error)


class ServerStream:
    """
    A stream as the server's stream handler gets it.

    Read the request's body and write the answer, in any order and both at once. The
    answer is finished when the handler is.

    Attributes:
        rid: the caller's id, from ``_gr``.
        key: the service name, from ``_gr``.
        action: the ``_a`` header, None if there is none.
        args: the ``_ar`` header's JSON, ``{}`` if there is none or it is not JSON.
        headers: all request headers, names in lower case.
        peer: ``host:port`` the connection comes from.
        certificate: the client's certificate in secure mode, or None.
    """

    def __init__(
        self,
        gr: tuple[Any, Any],
        action: str | None,
        args: Any,
        headers: Mapping[str, str],
        peer: str,
        certificate: Any,
        incoming: IncomingBytes,
        outgoing: OutgoingBytes,
    ) -> None:
        self.rid, self.key = gr
        self.action = action
        self.args = args
        self.headers = headers
        self.peer = peer
        self.certificate = certificate
        self.read = incoming.read
        self.read_all = incoming.read_all
        self.write = outgoing.write
        self.incoming = incoming
        self.outgoing = outgoing

    def __repr__(self) -> str:
        return f"<ServerStream {self.key!r} {self.action!r} from {self.peer}>"


class ClientStream:
    """
    A stream as the caller has it: write the request's body, ``finish()``, read the answer.

    Attributes:
        address: the peer.
        status: the HTTP status of the answer, 0 before the first byte of it was read.
    """

    def __init__(
        self, address: str, incoming: IncomingBytes, outgoing: OutgoingBytes, abort: Any
    ) -> None:
        self.address = address
        self.status = 0
        self.read = incoming.read
        self.read_all = incoming.read_all
        self.write = outgoing.write
        self.finish = outgoing.finish
        self.abort: Callable[[], None] = abort

    def __repr__(self) -> str:
        return f"<ClientStream to {self.address}, HTTP status {self.status}>"


def lost(address: str) -> PeerLost:
    """Return the error of a stream whose connection went away."""
    return PeerLost(f"the connection to {address} was lost")
