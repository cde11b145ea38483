"""
Reading and checking the members of ``sync.*``, ``gossip.have`` and ``gossip.want`` messages.

Pure. Every ``read_`` function raises RemoteProtocolError, which names the member that is wrong.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, NamedTuple

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.mesh import HEADS_PER_MESSAGE_MAX, LINE_BYTES
from grenache_py.exchange.peers.requests import PeerParams
from grenache_py.exchange.replication.frame import FRAME_BYTES_MAX
from grenache_py.exchange.replication.live_set_key import ID_BYTES, INFINITY, key_of, time_and_hash
from grenache_py.exchange.signed_log.entries import EPOCH_MAX, SEQ_MAX
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.hybrid_clock import TIME_MS_MAX
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = [
    "RANGE_MAX",
    "Asked",
    "bound_wire",
    "fitting",
    "read_bound",
    "read_entries",
    "read_frame",
    "read_heads",
    "read_key",
    "read_number",
    "read_proof",
    "read_published",
    "read_range",
    "read_records_wanted",
    "read_short",
    "read_want",
]

#: Entries of one answer.
RANGE_MAX = 256
#: Live orders that one request may ask for.
RECORDS_PER_REQUEST_MAX = 80


class Asked(NamedTuple):
    """Entries ``first`` to ``last`` of a log, at most ``RANGE_MAX``."""

    origin: str
    epoch: int
    first: int
    last: int


def read_want(params: PeerParams) -> Asked:
    """The params of ``gossip.want``."""
    origin, epoch = read_key(params, "origin"), read_number(params, "epoch")
    first, last = read_number(params, "first"), read_number(params, "last")
    return Asked(origin, epoch, first, min(last, first + RANGE_MAX - 1))


def read_range(params: PeerParams) -> Asked | str:
    """The params of ``sync.range``; a log's key when its newest heartbeat is asked for."""
    return read_key(params, "origin") if params.get("beat") is True else read_want(params)


def read_records_wanted(params: PeerParams) -> list[bytes] | tuple[int, int]:
    """The params of ``sync.records``: short ids, or the places between which all is asked for."""
    if "range" in params:
        places = params["range"]
        if not isinstance(places, list) or len(places) != 2:
            raise RemoteProtocolError("'range' must be two places")
        return read_bound(places[0]), read_bound(places[1])
    ids = params.get("ids")
    if not isinstance(ids, list) or len(ids) > RECORDS_PER_REQUEST_MAX:
        raise RemoteProtocolError("'ids' must be a list of at most 80 element ids")
    return [read_short(text) for text in ids]


def read_proof(params: PeerParams) -> tuple[Signed, Signed]:
    """The params of ``gossip.proof``: two entries that contradict each other."""
    return Signed.from_wire(params.get("first")), Signed.from_wire(params.get("second"))


def read_published(params: PeerParams) -> list[Any]:
    """The params of ``gossip.publish``: entries, each still as it came."""
    entries = params.get("entries")
    if not isinstance(entries, list) or not entries:
        raise RemoteProtocolError("'entries' must be a list of signed entries")
    return entries


_is_hex = re.compile("[0-9a-f]*").fullmatch


def read_heads(params: PeerParams) -> list[tuple[str, Head]]:
    """The heads a message tells, by origin."""
    heads = params.get("heads")
    if not isinstance(heads, list) or len(heads) > 4 * HEADS_PER_MESSAGE_MAX:
        raise RemoteProtocolError("'heads' must be a list of [origin, epoch, seq, hash]")
    out: list[tuple[str, Head]] = []
    for item in heads:
        if (
            not isinstance(item, list)
            or len(item) != 4
            or not isinstance(item[0], str)
            or len(item[0]) != 64
            or type(item[1]) is not int
            or type(item[2]) is not int
            or not 0 < item[1] <= EPOCH_MAX
            or not 0 <= item[2] <= SEQ_MAX
            or not isinstance(item[3], str)
            or len(item[3]) != 64
            or not _is_hex(item[0] + item[3])
        ):
            raise RemoteProtocolError("a head must be [origin, epoch, seq, hash]")
        out.append((item[0], Head(item[1], item[2], item[3])))
    return out


def fitting(entries: list[Signed]) -> list[Signed]:
    """The first of ``entries``, as many as one line holds; at least one if there is any."""
    size = 0
    for count, signed in enumerate(entries):
        size += signed.wire_bytes + 1
        if size > LINE_BYTES and count:
            return entries[:count]
    return entries


def read_entries(result: dict[str, Any]) -> list[Signed] | None:
    """The entries of an answer; None when the other side does not hold them any more."""
    if result.get("pruned") is True:
        return None
    entries = result.get("entries")
    if not isinstance(entries, list) or len(entries) > RANGE_MAX:
        raise RemoteProtocolError(f"'entries' must be a list of at most {RANGE_MAX} entries")
    return [Signed.from_wire(item) for item in entries]


def read_key(params: PeerParams, name: str) -> str:
    """A home's key: 64 hex digits."""
    value = params.get(name)
    if not isinstance(value, str) or len(value) != 64 or not _is_hex(value):
        raise RemoteProtocolError(f"{name!r} must be a key of 64 hex digits")
    return value


def read_number(params: PeerParams, name: str) -> int:
    """An epoch or a sequence number, from 1 on."""
    value = params.get(name)
    if type(value) is not int or not 0 < value <= SEQ_MAX:
        raise RemoteProtocolError(f"{name!r} must be a positive integer")
    return value


def read_frame(params: PeerParams) -> bytes:
    """A frame of set reconciliation."""
    text = params.get("frame")
    if not isinstance(text, str) or len(text) > 2 * FRAME_BYTES_MAX:
        raise RemoteProtocolError("'frame' must be a base64 string")
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise RemoteProtocolError("'frame' must be a base64 string") from None


def read_short(text: object) -> bytes:
    """An element's short id."""
    if not isinstance(text, str) or len(text) != 2 * ID_BYTES:
        raise RemoteProtocolError("an element id has 32 hex digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise RemoteProtocolError("an element id has 32 hex digits") from None


def bound_wire(key: int) -> list[int | str] | None:
    """A key or bound as it travels: [milliseconds, hex of a hash], or None above all keys."""
    if key == INFINITY:
        return None
    time_ms, hashed = time_and_hash(key)
    return [time_ms, hashed.to_bytes(32, "big").rstrip(b"\0").hex()]


def read_bound(wire: object) -> int:
    """The reverse of ``bound_wire``."""
    if wire is None:
        return INFINITY
    if isinstance(wire, list) and len(wire) == 2:
        time_ms, text = wire
        if type(time_ms) is int and 0 <= time_ms <= TIME_MS_MAX and isinstance(text, str):
            try:
                prefix = bytes.fromhex(text)
            except ValueError:
                prefix = bytes(33)
            if len(prefix) <= 32:
                return key_of(time_ms, int.from_bytes(prefix.ljust(32, b"\0"), "big"))
    raise RemoteProtocolError("a place must be [milliseconds, hex digits of a hash] or null")
