"""
The frames of set reconciliation: how ranges of live orders are written and read.

Pure. A frame is a row of ranges, each ``bound mode payload``. A range begins where the one before
ended. Numbers are varints: base 128, most significant group first.

- Bound: time (0: above every key; else 1 + the difference to the time before), the length of a
  prefix of a hash, and that prefix.
- Mode 0: nothing to say. 1: a 16-byte fingerprint. 2: a count, and so many 16-byte hashes.
  3, in answers only: a count of elements, none of which the asking side has.
"""

from __future__ import annotations

from collections.abc import Iterator

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.live_set_key import HASH_BITS, HASH_MASK, ID_BYTES, INFINITY

__all__ = [
    "BUCKETS",
    "FINGERPRINT",
    "FRAME_BYTES_MAX",
    "LIST",
    "SKIP",
    "WHOLE",
    "FrameWriter",
    "read_ranges",
    "read_varint",
    "varint",
]

#: In base64 and in its JSON envelope a frame stays below the 65,536 bytes of a line.
FRAME_BYTES_MAX = 45_000
#: A range that differs is split into so many.
BUCKETS = 16
#: The modes of a range.
SKIP, FINGERPRINT, LIST, WHOLE = 0, 1, 2, 3

#: A bound, a mode and a fingerprint or a count.
_RANGE_BYTES_MAX = 64
#: A split range, or the longest list, and a fingerprint of the rest.
_STEP_BYTES_MAX = (BUCKETS + 3) * _RANGE_BYTES_MAX
#: Times in bounds are below this.
_TIME_MAX = 1 << 63


class FrameWriter:
    """Writes a frame; merges neighbouring skips, and neighbouring empty lists."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._time = 0
        self._pending: tuple[int, int] | None = None  # bound, and SKIP or LIST

    def finish(self) -> bytes:
        """The frame. A skip at its end is left out."""
        if self._pending is not None and self._pending[1] == LIST:
            self._flush()
        return bytes(self._body)

    def room(self) -> bool:
        """Whether a split range or the longest list still fits, and a fingerprint of the rest."""
        return len(self._body) + _STEP_BYTES_MAX <= FRAME_BYTES_MAX

    def skip(self, bound: int) -> None:
        """A range up to ``bound`` in which there is nothing to say."""
        self._pend(bound, SKIP)

    def nothing(self, bound: int) -> None:
        """A range up to ``bound`` that is an empty list."""
        self._pend(bound, LIST)

    def _pend(self, bound: int, mode: int) -> None:
        if self._pending is not None and self._pending[1] != mode:
            self._flush()
        self._pending = bound, mode

    def _flush(self) -> None:
        if self._pending is not None:
            bound, mode = self._pending
            self._pending = None
            self._bound(bound)
            self._body += b"\0" if mode == SKIP else bytes((LIST, 0))

    def fingerprint(self, bound: int, fingerprint: bytes) -> None:
        """A range up to ``bound`` with its fingerprint."""
        self.put(bound, FINGERPRINT, fingerprint)

    def rest(self, fingerprint: bytes) -> None:
        """One fingerprint over all that comes after the last range."""
        self.fingerprint(INFINITY, fingerprint)

    def put(self, bound: int, mode: int, payload: bytes) -> None:
        """A range up to ``bound`` with any payload."""
        self._flush()
        self._bound(bound)
        self._body.append(mode)
        self._body += payload

    def _bound(self, bound: int) -> None:
        if bound == INFINITY:
            self._body += b"\0\0"
            return
        time = bound >> HASH_BITS
        prefix = (bound & HASH_MASK).to_bytes(32, "big").rstrip(b"\0")
        self._body += varint(1 + time - self._time) + varint(len(prefix)) + prefix
        self._time = time


def read_ranges(frame: bytes) -> Iterator[tuple[int, int, bytes]]:
    """
    Read a frame.

    Yields:
        (bound, mode, payload) of each range; bounds rise.

    Raises:
        RemoteProtocolError: the frame is malformed.
    """
    if len(frame) > 2 * FRAME_BYTES_MAX:
        raise RemoteProtocolError(f"reconcile frame of {len(frame)} bytes")
    at = time = before = 0
    while at < len(frame):
        delta, at = read_varint(frame, at)
        length, at = read_varint(frame, at)
        prefix, at = _take(frame, at, length)
        if length > 32:
            raise RemoteProtocolError("reconcile bound is longer than a hash")
        if delta == 0:
            bound = INFINITY
        else:
            time += delta - 1
            if time >= _TIME_MAX:
                raise RemoteProtocolError("reconcile bound is out of range")
            bound = time << HASH_BITS | int.from_bytes(prefix.ljust(32, b"\0"), "big")
        if bound < before:
            raise RemoteProtocolError("reconcile bounds do not rise")
        before = bound
        mode, at = read_varint(frame, at)
        if mode == FINGERPRINT:
            payload, at = _take(frame, at, ID_BYTES)
        elif mode == LIST:
            count, at = read_varint(frame, at)
            payload, at = _take(frame, at, count * ID_BYTES)
        elif mode == WHOLE:
            start = at
            _, at = read_varint(frame, at)
            payload = frame[start:at]
        elif mode == SKIP:
            payload = b""
        else:
            raise RemoteProtocolError(f"reconcile mode {mode} is unknown")
        yield bound, mode, payload


def _take(frame: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(frame):
        raise RemoteProtocolError("reconcile frame ends too early")
    return frame[at : at + length], at + length


def varint(number: int) -> bytes:
    """``number`` in base 128, most significant group first, as negentropy writes it."""
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(number & 0x7F | 0x80)
    return bytes(reversed(out))


def read_varint(frame: bytes, at: int) -> tuple[int, int]:
    """
    Read the number that begins at ``at``.

    Returns:
        the number, and where what follows it begins.

    Raises:
        RemoteProtocolError: it does not end within ten bytes, or within the frame.
    """
    number = 0
    for place in range(at, min(at + 10, len(frame))):
        byte = frame[place]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place + 1
    raise RemoteProtocolError("reconcile frame has a broken number")
