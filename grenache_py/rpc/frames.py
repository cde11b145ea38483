"""
Requests and replies as bytes, the requests in flight, and which peer to ask.

Pure. The frames are the same over HTTP and WebSocket (sections f.1 and g.1 of the
Grenache reference): a request is the JSON array ``[rid, key, payload]``, a reply
``[rid, err, data]`` with ``err`` null or a text. The ``rid`` in the reply says which
request it belongs to; a server echoes it unchanged, whatever its type.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

import attrs
import msgspec

from grenache_py.rpc.errors import BadFrame, NotSendable, RPCFailure, TooManyRequests

__all__ = [
    "Destinations",
    "Request",
    "RequestTable",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
    "gunzip",
    "split_address",
]

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_UNSENDABLE = (TypeError, ValueError, OverflowError, RecursionError)
_ADDRESS = re.compile(r"(?:tcp://)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/\s]+)):(?P<port>\d{1,5})")


@attrs.define(slots=True)
class Request:
    """
    One request as a handler gets it; "request" is Grenache's word for a call.

    (`grenache_py.wire.jsonrpc.Request` has its name from JSON-RPC 2.0.)

    Attributes:
        rid: the caller's id for it, echoed in the reply.
        key: the service name the caller looked up. A server answers any; check it if it matters.
        payload: what JSON can express.
        peer: ``host:port`` the connection comes from.
        certificate: the client's certificate in secure mode (a ``cryptography`` one), or None.
    """

    rid: Any
    key: Any
    payload: Any
    peer: str = ""
    certificate: Any = None


def encode_request(rid: str, key: str, payload: Any) -> bytes:
    """
    Return ``[rid, key, payload]`` as JSON.

    Raises:
        NotSendable: ``payload`` holds something JSON has no words for.
    """
    try:
        return _encode((rid, key, payload))
    except _UNSENDABLE as error:
        raise NotSendable(f"the payload cannot be sent as JSON: {error}") from None


def decode_request(body: bytes) -> Request:
    """
    Read a request; members that are missing are None, as with Node.

    Raises:
        BadFrame: not JSON, or not an array (Node would index a string or an object).
    """
    try:
        frame = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"a request is the JSON array [rid, key, payload]: {error}") from None
    if type(frame) is not list:
        raise BadFrame("a request is the JSON array [rid, key, payload], not something else")
    if len(frame) < 3:
        frame += [None] * (3 - len(frame))
    return Request(frame[0], frame[1], frame[2])


def encode_reply(rid: Any, err: str | None, data: Any = None) -> bytes:
    """
    Return ``[rid, err, data]`` as JSON.

    Raises:
        NotSendable: ``data`` holds something JSON has no words for.
    """
    try:
        return _encode((rid, err, data))
    except _UNSENDABLE as error:
        raise NotSendable(f"the result cannot be sent as JSON: {error}") from None


def decode_reply(body: bytes) -> tuple[Any, RPCFailure | None, Any]:
    """
    Read a reply.

    Returns:
        rid, the error or None, data. An empty error text is a success, as Node reads it.

    Raises:
        BadFrame: not JSON or not an array with at least a rid.
    """
    try:
        frame = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"a reply is the JSON array [rid, err, data]: {error}") from None
    if type(frame) is not list or not frame:
        raise BadFrame("a reply is the JSON array [rid, err, data], not something else")
    err = frame[1] if len(frame) > 1 else None
    data = frame[2] if len(frame) > 2 else None
    if not err:
        return frame[0], None, data
    return frame[0], RPCFailure(err if isinstance(err, str) else _encode(err).decode(), data), data


def gunzip(body: bytes, bytes_max: int) -> bytes | None:
    """
    Return ``body`` decompressed, None if it is not gzip.

    Raises:
        BadFrame: it would be more than ``bytes_max``.
    """
    inflate = zlib.decompressobj(31)
    try:
        plain = inflate.decompress(body, bytes_max)
    except zlib.error:
        return None
    if inflate.unconsumed_tail:
        raise BadFrame(f"a body of more than {bytes_max} bytes when decompressed")
    return plain if inflate.eof else None


def split_address(address: str) -> tuple[str, int]:
    """
    Return host and port of ``host:port``, ``[v6]:port`` or Ruby's ``tcp://host:port``.

    Raises:
        BadFrame: it is none of these.
    """
    match = _ADDRESS.fullmatch(address)
    port = int(match["port"]) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise BadFrame(f"{address!r} is not the address of a peer")
    return match["v6"] or match["host"], port


@attrs.define
class RequestTable(Generic[T]):
    """
    What is in flight: a waiter for each id, and when each wait ends.

    An answered request leaves its deadline in the heap, to be dropped when it comes up
    or when half of the heap is such leftovers; so a request costs no timer of its own.

    Attributes:
        entries_max: more than these are refused with TooManyRequests.
    """

    entries_max: int
    _waiting: dict[Any, tuple[int, T]] = attrs.field(factory=dict, init=False)
    _deadlines: list[tuple[float, int, Any]] = attrs.field(factory=list, init=False)
    _serial: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, rid: Any, waiter: T, deadline: float) -> None:
        """Remember that ``waiter`` waits for ``rid`` until ``deadline`` (clock seconds)."""
        if len(self._waiting) >= self.entries_max:
            raise TooManyRequests(f"{self.entries_max} requests are in flight")
        self._serial += 1
        self._waiting[rid] = (self._serial, waiter)
        heappush(self._deadlines, (deadline, self._serial, rid))
        if len(self._deadlines) > 2 * len(self._waiting) + 64:
            self._deadlines = [entry for entry in self._deadlines if self._live(entry)]
            heapify(self._deadlines)

    def __contains__(self, rid: Any) -> bool:
        return rid in self._waiting

    def take(self, rid: Any) -> T | None:
        """Forget ``rid`` and return who waited for it, None if nobody does."""
        try:
            entry = self._waiting.pop(rid, None)
        except TypeError:  # an id that cannot be a key was never ours
            return None
        return entry[1] if entry is not None else None

    def expired(self, now: float) -> list[T]:
        """Forget all whose time is up and return them."""
        late: list[T] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heappop(self._deadlines)
            if self._live(entry):
                late.append(self._waiting.pop(entry[2])[1])
        return late

    def next_deadline(self) -> float | None:
        """Return when to call :meth:`expired` next, None if nothing is in flight."""
        while self._deadlines and not self._live(self._deadlines[0]):
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def take_all(self) -> list[T]:
        """Forget everything and return those who waited."""
        waiters = [waiter for _, waiter in self._waiting.values()]
        self._waiting.clear()
        self._deadlines.clear()
        return waiters

    def _live(self, entry: tuple[float, int, Any]) -> bool:
        waiting = self._waiting.get(entry[2])
        return waiting is not None and waiting[0] == entry[1]


@attrs.define
class Destinations:
    """
    In which order to try the addresses of a service.

    The order is random, which spreads the load; an address that did not accept a
    connection goes to the end of it for a while that doubles with every failure.

    Attributes:
        rng: makes the order.
        cool_down_s: seconds an address is set aside after its first failure in a row.
        cool_down_s_max: the most those seconds double up to.
        suspects_max: addresses remembered as bad; the one remembered longest goes first.
    """

    rng: random.Random
    cool_down_s: float = 1.0
    cool_down_s_max: float = 60.0
    suspects_max: int = 1000
    _suspects: OrderedDict[str, tuple[int, float]] = attrs.field(factory=OrderedDict, init=False)

    def order(self, addresses: Iterable[str], now: float) -> list[str]:
        """Return each address once, the one to try first in front."""
        shuffled = list(dict.fromkeys(addresses))
        if len(shuffled) > 1:
            self.rng.shuffle(shuffled)
            if self._suspects:
                shuffled.sort(key=lambda one: max(0.0, self._suspects.get(one, (0, now))[1] - now))
        return shuffled

    def first(self, addresses: list[str], now: float) -> str:
        """Return the one of ``addresses`` to try first, as ``order`` would; there is one."""
        return addresses[0] if len(addresses) == 1 else self.order(addresses, now)[0]

    def failed(self, address: str, now: float) -> None:
        """Set ``address`` aside: nobody accepted a connection there."""
        failures, _ = self._suspects.pop(address, (0, 0.0))
        pause_s = min(self.cool_down_s * 2.0 ** min(failures, 16), self.cool_down_s_max)
        self._suspects[address] = (failures + 1, now + pause_s)
        while len(self._suspects) > self.suspects_max:
            self._suspects.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forgive ``address``: it accepted a connection."""
        if self._suspects:
            self._suspects.pop(address, None)
