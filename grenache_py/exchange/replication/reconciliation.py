"""
Range-based set reconciliation: two peers find the differences of their live sets cheaply.

Pure. After negentropy's rules (hoytech, protocol v1; theory: Meyer, "Range-Based Set
Reconciliation", 2022): elements are sorted by (time, hash); a range whose fingerprints differ is
split into 16, a range of fewer than 32 elements is sent as a list; whoever began keeps the
state, so the other side may be any peer at any time and nothing is kept per connection.
Differences from negentropy: hashes are cut to 16 bytes in lists (the fingerprint still sums all
32, so a forger must break the full sum), time is in milliseconds, frames have no version byte,
and where the asking side has nothing at all it is told how many there are instead of their
hashes, and takes the range whole: a joiner, or one who was away, pays for what it has, not for
what it lacks.

Cost in bytes for d scattered differences in n elements, worst case:
``353 + d * (352 * k + 16 * l)``, k the smallest integer with l = n / 16**(k + 1) < 32; for any
number of newest elements that are missing some 1,000, and 7 more for each 32 of them.

A frame is a row of ranges, each ``bound mode payload``; a range begins where the one before it
ended. Bound: varint time (0 = infinity, else 1 + difference to the time before), varint length
and that many first bytes of a hash. Mode 0: nothing to say; 1: 16-byte fingerprint; 2: varint
count and so many 16-byte hashes; 3, in answers only: varint count of elements, none of which the
asking side has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import sha256
from itertools import accumulate
from typing import NamedTuple

from grenache_py.errors import RemoteProtocolError

__all__ = [
    "FRAME_BYTES_MAX",
    "ID_BYTES",
    "INFINITY",
    "LiveSet",
    "Reconciliation",
    "Whole",
    "key_of",
    "respond",
    "short_id",
    "time_and_hash",
]

# In base64 and in its JSON envelope a frame stays below the 65,536 bytes of a line.
FRAME_BYTES_MAX = 45_000
ID_BYTES = 16

_BUCKETS = 16
_LIST_BELOW = 32
#: A list this long is answered by a split: most of it then falls into ranges taken whole.
_SPLIT_FROM = 64
#: Elements of a range to be taken whole; fewer than the first are listed.
_WHOLE_MIN, _WHOLE_MAX = 8, 32
_BLOCK_MAX = 1024
_HASH_BITS = 256
_HASH_MASK = (1 << _HASH_BITS) - 1
_ID_SHIFT = _HASH_BITS - 8 * ID_BYTES
_RANGE_BYTES_MAX = 64  # a bound, a mode and a fingerprint or a count
_STEP_BYTES_MAX = (_BUCKETS + 3) * _RANGE_BYTES_MAX
_TIME_MAX = 1 << 63
_SKIP, _FINGERPRINT, _LIST, _WHOLE = 0, 1, 2, 3
#: Above every key.
INFINITY = 1 << (_HASH_BITS + 64)


class Whole(NamedTuple):
    """Keys from ``low`` up to but without ``high``: ``held`` there, none here."""

    low: int
    high: int
    held: int


def key_of(time_ms: int, element: int) -> int:
    """Where an element stands in the order: time above hash, one integer."""
    return time_ms << _HASH_BITS | element


def time_and_hash(key: int) -> tuple[int, int]:
    """A key's two parts."""
    return key >> _HASH_BITS, key & _HASH_MASK


def short_id(element: int) -> bytes:
    """The 16 bytes that stand for the 256-bit hash of an element, or of a key, in lists."""
    return ((element & _HASH_MASK) >> _ID_SHIFT).to_bytes(ID_BYTES, "big")


class LiveSet:
    """
    A sorted multi-block list of (time, hash) that gives the sum over any range fast.

    An element is one integer, time above hash, so that comparing, summing and bisecting run in
    C. Blocks of at most 1,024 elements keep their own sums: adding, removing and summing a
    range touch one or two blocks and the row of sums. Hashes are 256-bit integers.
    """

    def __init__(self) -> None:
        self._blocks: list[list[int]] = []
        self._lasts: list[int] = []  # greatest key of each block
        self._sums: list[int] = []
        self._starts: list[int] | None = None  # rank of each block's first key; None: recount
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, time_ms: int, element: int) -> bool:
        """Put one element in; False when it was there already."""
        key = key_of(time_ms, element)
        if not self._blocks:
            self._blocks, self._lasts, self._sums = [[key]], [key], [key]
        else:
            at = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
            block = self._blocks[at]
            place = bisect_left(block, key)
            if place < len(block) and block[place] == key:
                return False
            block.insert(place, key)
            self._lasts[at] = block[-1]
            self._sums[at] += key
            if len(block) > _BLOCK_MAX:
                self._split(at)
        self._starts = None
        self._count += 1
        return True

    def remove(self, time_ms: int, element: int) -> bool:
        """Take one element out; False when it was not there."""
        key = key_of(time_ms, element)
        at = bisect_left(self._lasts, key)
        if at == len(self._blocks):
            return False
        block = self._blocks[at]
        place = bisect_left(block, key)
        if block[place] != key:
            return False
        del block[place]
        if block:
            self._lasts[at] = block[-1]
            self._sums[at] -= key
        else:
            del self._blocks[at], self._lasts[at], self._sums[at]
        self._starts = None
        self._count -= 1
        return True

    def _split(self, at: int) -> None:
        block = self._blocks[at]
        half = len(block) // 2
        left, right = block[:half], block[half:]
        self._blocks[at : at + 1] = [left, right]
        self._lasts[at : at + 1] = [left[-1], right[-1]]
        self._sums[at : at + 1] = [sum(left), sum(right)]

    # Positions are ranks, 0 .. len(self): the protocol below splits by rank.

    def _rank_starts(self) -> list[int]:
        if self._starts is None:
            self._starts = [0, *accumulate(map(len, self._blocks))]
        return self._starts

    def rank(self, key: int) -> int:
        """How many elements are below ``key``."""
        at = bisect_left(self._lasts, key)
        if at == len(self._blocks):
            return self._count
        return self._rank_starts()[at] + bisect_left(self._blocks[at], key)

    def at(self, rank: int) -> int:
        """The key of the element with that rank."""
        starts = self._rank_starts()
        block = bisect_left(starts, rank + 1) - 1
        return self._blocks[block][rank - starts[block]]

    def keys(self, begin: int, end: int) -> Iterator[int]:
        """Keys of ranks ``begin`` up to but without ``end``."""
        starts = self._rank_starts()
        block = bisect_left(starts, begin + 1) - 1
        while begin < end:
            inside = self._blocks[block][begin - starts[block] : end - starts[block]]
            yield from inside
            begin += len(inside)
            block += 1

    def fingerprint(self, begin: int, end: int) -> bytes:
        """16 bytes that stand for the elements of ranks ``begin`` up to but without ``end``."""
        total = 0
        if begin < end:
            starts = self._rank_starts()
            first = bisect_left(starts, begin + 1) - 1
            last = bisect_left(starts, end) - 1
            if first == last:
                total = sum(self._blocks[first][begin - starts[first] : end - starts[first]])
            else:
                total = sum(self._blocks[first][begin - starts[first] :])
                total += sum(self._sums[first + 1 : last])
                total += sum(self._blocks[last][: end - starts[last]])
        body = (total & _HASH_MASK).to_bytes(32, "little") + _varint(end - begin)
        return sha256(body).digest()[:ID_BYTES]


class Reconciliation:
    """
    The side that asks. Feed it each answer; send what it gives back until that is None.

    Attributes:
        need: hashes (16 bytes) the other side has and this side has not.
        whole: ranges of which the other side has all and this side has nothing.
        have: keys' hashes (16 bytes) this side has and the other side has not.
    """

    def __init__(self, live_set: LiveSet) -> None:
        self._set = live_set
        self.need: list[bytes] = []
        self.whole: list[Whole] = []
        self.have: list[bytes] = []

    def begin(self) -> bytes:
        """The first frame to send."""
        out = _Frame()
        _split_range(self._set, 0, len(self._set), INFINITY, out)
        return out.finish()

    def receive(self, frame: bytes) -> bytes | None:
        """
        Take one answer; give the next frame, or None when all differences are known.

        Raises:
            RemoteProtocolError: the frame is malformed.
        """
        out = _Frame()
        low = begin = 0
        for bound, mode, payload in _ranges(frame):
            high = self._set.rank(bound)
            if mode == _WHOLE:
                held, _ = _read_varint(payload, 0)
                if held > _WHOLE_MAX:
                    raise RemoteProtocolError(f"reconcile range of {held} elements in one")
                self.whole.append(Whole(begin, bound, held))
                out.skip(bound)
            elif mode == _LIST:
                theirs = {payload[i : i + ID_BYTES] for i in range(0, len(payload), ID_BYTES)}
                for key in self._set.keys(low, high):
                    short = short_id(key)
                    if short in theirs:
                        theirs.remove(short)
                    else:
                        self.have.append(short)
                self.need.extend(sorted(theirs))
                out.skip(bound)
            elif mode == _FINGERPRINT and payload != self._set.fingerprint(low, high):
                if not out.room():
                    out.rest(self._set, low)
                    break
                _split_range(self._set, low, high, bound, out)
            else:
                out.skip(bound)
            low, begin = high, bound
        return out.finish() or None


def respond(live_set: LiveSet, frame: bytes) -> bytes:
    """
    Answer one frame of a peer that reconciles against ``live_set``; b"" means all is equal.

    What does not fit into one frame is answered as one fingerprint over the rest: the asking
    side sees that it differs and goes on from there.

    Raises:
        RemoteProtocolError: the frame is malformed.
    """
    out = _Frame()
    low = 0
    for bound, mode, payload in _ranges(frame):
        high = live_set.rank(bound)
        if (
            mode in (_SKIP, _WHOLE)
            or (mode == _FINGERPRINT and payload == live_set.fingerprint(low, high))
            or (mode == _LIST and _lists(payload, live_set, low, high))
        ):
            out.skip(bound)
        elif not out.room():
            out.rest(live_set, low)
            break
        elif mode == _LIST and not payload and high - low >= _WHOLE_MIN:
            low = _whole_ranges(live_set, low, high, bound, out)
            if low < high:
                out.rest(live_set, low)
                break
        elif mode == _LIST and high - low < _SPLIT_FROM:
            _list_range(live_set, low, high, bound, out)
        else:
            _split_range(live_set, low, high, bound, out)
        low = high
    return out.finish()


def _split_range(live_set: LiveSet, low: int, high: int, bound: int, out: _Frame) -> None:
    count = high - low
    if count < _LIST_BELOW:
        _list_range(live_set, low, high, bound, out)
        return
    each, extra = divmod(count, _BUCKETS)
    for bucket in range(_BUCKETS):
        end = low + each + (bucket < extra)
        out.fingerprint(
            bound if end == high else _separator(live_set.at(end - 1), live_set.at(end)),
            live_set.fingerprint(low, end),
        )
        low = end


def _list_range(live_set: LiveSet, low: int, high: int, bound: int, out: _Frame) -> None:
    if low == high:
        out.nothing(bound)
    else:
        out.put(bound, _LIST, _varint(high - low) + _shorts(live_set, low, high))


def _whole_ranges(live_set: LiveSet, low: int, high: int, bound: int, out: _Frame) -> int:
    """Ranges of up to 32 to be taken whole; the rank up to which they fitted the frame."""
    while low < high and out.room():
        end = min(high, low + _WHOLE_MAX)
        upto = bound if end == high else _separator(live_set.at(end - 1), live_set.at(end))
        out.put(upto, _WHOLE, _varint(end - low))
        low = end
    return low


def _lists(payload: bytes, live_set: LiveSet, low: int, high: int) -> bool:
    return len(payload) == (high - low) * ID_BYTES and payload == _shorts(live_set, low, high)


def _shorts(live_set: LiveSet, low: int, high: int) -> bytes:
    return b"".join(map(short_id, live_set.keys(low, high)))


def _separator(below: int, above: int) -> int:
    """The shortest bound that is greater than ``below`` and not greater than ``above``."""
    if below >> _HASH_BITS != above >> _HASH_BITS:
        return above >> _HASH_BITS << _HASH_BITS
    same_bits = _HASH_BITS - (below ^ above).bit_length()
    keep = same_bits // 8 * 8 + 8
    return above >> (_HASH_BITS - keep) << (_HASH_BITS - keep)


class _Frame:
    """A frame being written: neighbouring skips are merged, and neighbouring empty lists."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._time = 0
        self._pending: tuple[int, int] | None = None  # bound, and _SKIP or _LIST

    def finish(self) -> bytes:
        """The frame; a skip at its end need not be said."""
        if self._pending is not None and self._pending[1] == _LIST:
            self._flush()
        return bytes(self._body)

    def room(self) -> bool:
        """Whether a split range or the longest list still fits, and a fingerprint of the rest."""
        return len(self._body) + _STEP_BYTES_MAX <= FRAME_BYTES_MAX

    def skip(self, bound: int) -> None:
        self._pend(bound, _SKIP)

    def nothing(self, bound: int) -> None:
        """An empty list."""
        self._pend(bound, _LIST)

    def _pend(self, bound: int, mode: int) -> None:
        if self._pending is not None and self._pending[1] != mode:
            self._flush()
        self._pending = bound, mode

    def _flush(self) -> None:
        if self._pending is not None:
            bound, mode = self._pending
            self._pending = None
            self._bound(bound)
            self._body += b"\0" if mode == _SKIP else bytes((_LIST, 0))

    def fingerprint(self, bound: int, fingerprint: bytes) -> None:
        self.put(bound, _FINGERPRINT, fingerprint)

    def rest(self, live_set: LiveSet, low: int) -> None:
        self.fingerprint(INFINITY, live_set.fingerprint(low, len(live_set)))

    def put(self, bound: int, mode: int, payload: bytes) -> None:
        self._flush()
        self._bound(bound)
        self._body.append(mode)
        self._body += payload

    def _bound(self, bound: int) -> None:
        if bound == INFINITY:
            self._body += b"\0\0"
            return
        time = bound >> _HASH_BITS
        prefix = (bound & _HASH_MASK).to_bytes(32, "big").rstrip(b"\0")
        self._body += _varint(1 + time - self._time) + _varint(len(prefix)) + prefix
        self._time = time


def _ranges(frame: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Read a frame: (bound, mode, payload) of each range; bounds rise."""
    if len(frame) > 2 * FRAME_BYTES_MAX:
        raise RemoteProtocolError(f"reconcile frame of {len(frame)} bytes")
    at = time = before = 0
    while at < len(frame):
        delta, at = _read_varint(frame, at)
        length, at = _read_varint(frame, at)
        prefix, at = _take(frame, at, length)
        if length > 32:
            raise RemoteProtocolError("reconcile bound is longer than a hash")
        if delta == 0:
            bound = INFINITY
        else:
            time += delta - 1
            if time >= _TIME_MAX:
                raise RemoteProtocolError("reconcile bound is out of range")
            bound = time << _HASH_BITS | int.from_bytes(prefix.ljust(32, b"\0"), "big")
        if bound < before:
            raise RemoteProtocolError("reconcile bounds do not rise")
        before = bound
        mode, at = _read_varint(frame, at)
        if mode == _FINGERPRINT:
            payload, at = _take(frame, at, ID_BYTES)
        elif mode == _LIST:
            count, at = _read_varint(frame, at)
            payload, at = _take(frame, at, count * ID_BYTES)
        elif mode == _WHOLE:
            start = at
            _, at = _read_varint(frame, at)
            payload = frame[start:at]
        elif mode == _SKIP:
            payload = b""
        else:
            raise RemoteProtocolError(f"reconcile mode {mode} is unknown")
        yield bound, mode, payload


def _take(frame: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(frame):
        raise RemoteProtocolError("reconcile frame ends too early")
    return frame[at : at + length], at + length


def _varint(number: int) -> bytes:
    """Base 128, most significant group first, as negentropy's."""
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(number & 0x7F | 0x80)
    return bytes(reversed(out))


def _read_varint(frame: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(at, min(at + 10, len(frame))):
        byte = frame[place]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place + 1
    raise RemoteProtocolError("reconcile frame has a broken number")
