"""
Range-based set reconciliation: two peers find the differences of their live sets cheaply.

Pure. After negentropy's rules (hoytech, protocol v1; theory: Meyer, "Range-Based Set
Reconciliation", 2022): elements are sorted by (time, hash); a range whose fingerprints differ is
split into 16, a range of fewer than 32 elements is sent as a list; the side that asks keeps the
state, so the other side may be any peer at any time and nothing is kept per connection.
Differences from negentropy: hashes are cut to 16 bytes in lists (the fingerprint still sums all
32, so a forger must break the full sum), time is in milliseconds, frames have no version byte,
and where the asking side has nothing at all it is told how many there are instead of their
hashes, and takes the range whole: a peer that joins, or was away, pays for what it has, not for
what it lacks. ``frame.py`` gives the format of frames.

Cost in bytes for d scattered differences in n elements, worst case:
``353 + d * (352 * k + 16 * l)``, k the smallest integer with l = n / 16**(k + 1) < 32; for any
number of newest elements that are missing some 1,000, and 7 more for each 32 of them.
"""

from __future__ import annotations

from typing import NamedTuple

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.frame import (
    BUCKETS,
    FINGERPRINT,
    LIST,
    SKIP,
    WHOLE,
    FrameWriter,
    read_ranges,
    read_varint,
    varint,
)
from grenache_py.exchange.replication.live_set_index import LiveSet
from grenache_py.exchange.replication.live_set_key import ID_BYTES, INFINITY, separator, short_id

__all__ = ["Reconciliation", "Whole", "respond"]

#: A range of fewer elements is sent as a list.
_LIST_BELOW = 32
#: A list this long is answered by a split: most of it then falls into ranges taken whole.
_SPLIT_FROM = 64
#: Elements of a range to be taken whole; fewer than the first are listed.
_WHOLE_MIN, _WHOLE_MAX = 8, 32


class Whole(NamedTuple):
    """Keys from ``low`` up to but without ``high``: ``held`` there, none here."""

    low: int
    high: int
    held: int


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
        out = FrameWriter()
        _split_range(self._set, 0, len(self._set), INFINITY, out)
        return out.finish()

    def receive(self, frame: bytes) -> bytes | None:
        """
        Take one answer; give the next frame, or None when all differences are known.

        Raises:
            RemoteProtocolError: the frame is malformed.
        """
        out = FrameWriter()
        low = begin = 0
        for bound, mode, payload in read_ranges(frame):
            high = self._set.rank(bound)
            if mode == WHOLE:
                held, _ = read_varint(payload, 0)
                if held > _WHOLE_MAX:
                    raise RemoteProtocolError(f"reconcile range of {held} elements in one")
                self.whole.append(Whole(begin, bound, held))
                out.skip(bound)
            elif mode == LIST:
                theirs = {payload[i : i + ID_BYTES] for i in range(0, len(payload), ID_BYTES)}
                for key in self._set.keys(low, high):
                    short = short_id(key)
                    if short in theirs:
                        theirs.remove(short)
                    else:
                        self.have.append(short)
                self.need.extend(sorted(theirs))
                out.skip(bound)
            elif mode == FINGERPRINT and payload != self._set.fingerprint(low, high):
                if not out.room():
                    out.rest(self._set.fingerprint(low, len(self._set)))
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
    out = FrameWriter()
    low = 0
    for bound, mode, payload in read_ranges(frame):
        high = live_set.rank(bound)
        if (
            mode in (SKIP, WHOLE)
            or (mode == FINGERPRINT and payload == live_set.fingerprint(low, high))
            or (mode == LIST and _lists(payload, live_set, low, high))
        ):
            out.skip(bound)
        elif not out.room():
            out.rest(live_set.fingerprint(low, len(live_set)))
            break
        elif mode == LIST and not payload and high - low >= _WHOLE_MIN:
            low = _whole_ranges(live_set, low, high, bound, out)
            if low < high:
                out.rest(live_set.fingerprint(low, len(live_set)))
                break
        elif mode == LIST and high - low < _SPLIT_FROM:
            _list_range(live_set, low, high, bound, out)
        else:
            _split_range(live_set, low, high, bound, out)
        low = high
    return out.finish()


def _split_range(live_set: LiveSet, low: int, high: int, bound: int, out: FrameWriter) -> None:
    count = high - low
    if count < _LIST_BELOW:
        _list_range(live_set, low, high, bound, out)
        return
    each, extra = divmod(count, BUCKETS)
    for bucket in range(BUCKETS):
        end = low + each + (bucket < extra)
        out.fingerprint(
            bound if end == high else separator(live_set.at(end - 1), live_set.at(end)),
            live_set.fingerprint(low, end),
        )
        low = end


def _list_range(live_set: LiveSet, low: int, high: int, bound: int, out: FrameWriter) -> None:
    if low == high:
        out.nothing(bound)
    else:
        out.put(bound, LIST, varint(high - low) + _shorts(live_set, low, high))


def _whole_ranges(live_set: LiveSet, low: int, high: int, bound: int, out: FrameWriter) -> int:
    """Ranges of up to 32 to be taken whole; the rank up to which they fitted the frame."""
    while low < high and out.room():
        end = min(high, low + _WHOLE_MAX)
        upto = bound if end == high else separator(live_set.at(end - 1), live_set.at(end))
        out.put(upto, WHOLE, varint(end - low))
        low = end
    return low


def _lists(payload: bytes, live_set: LiveSet, low: int, high: int) -> bool:
    return len(payload) == (high - low) * ID_BYTES and payload == _shorts(live_set, low, high)


def _shorts(live_set: LiveSet, low: int, high: int) -> bytes:
    return b"".join(map(short_id, live_set.keys(low, high)))
