"""
KRPC: the messages of the DHT, and the compact forms inside them (BEP 5, BEP 44).

Pure. ``decode`` turns a datagram into a Query, a Response or an ErrorReply; the
functions below build datagrams from bytes that are encoded already, because the
parts that do not change (an own id, a name) are then encoded once and not per
message. Only ``y``, ``t``, ``q``, ``a``, ``r``, ``e`` and ``ro`` (BEP 43) are read;
``v`` and BEP 42's ``ip`` are accepted and ignored, as Node grapes do.

Differences from BEP 5: a target may have any length (a Grenache info hash is the
name itself), and a foreign transaction id is echoed whatever its type, as Node
grapes do.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from grenache_py.errors import RemoteProtocolError
from grenache_py.wire import bencode
from grenache_py.wire.bencode import Value

__all__ = [
    "ID_BYTES",
    "NODE_BYTES",
    "Address",
    "ErrorReply",
    "Query",
    "Response",
    "bytes_field",
    "compact_address",
    "decode",
    "error",
    "expand_address",
    "pack_host",
    "query_around",
    "response",
]

Address = tuple[str, int]
"""Host as a literal IP address, port."""

ID_BYTES = 20
NODE_BYTES = 26
"""A node in ``nodes``: 20 bytes of id, 4 of IPv4 address, 2 of port."""

# Error codes: BEP 5 (202-204; a generic error, 201, is never sent), BEP 44 (205-207, 301, 302).
SERVER_ERROR = 202
PROTOCOL_ERROR = 203
METHOD_UNKNOWN = 204
VALUE_TOO_BIG = 205
SIGNATURE_INVALID = 206
SALT_TOO_BIG = 207
CAS_MISMATCH = 301
SEQ_TOO_SMALL = 302

_NO_ARGUMENTS: dict[bytes, Value] = {}


class Query:
    """A question. ``args`` is ``a``; None when it was left out, empty when it was no dictionary."""

    __slots__ = ("args", "method", "read_only", "sender_id", "txid")

    def __init__(
        self,
        txid: Value | None,
        method: bytes | None,
        args: dict[bytes, Value] | None,
        sender_id: bytes | None,
        read_only: bool,
    ) -> None:
        self.txid = txid
        self.method = method
        self.args = args
        self.sender_id = sender_id
        self.read_only = read_only


class Response:
    """An answer. ``args`` is ``r``; ``sender_id`` is None unless it has 20 bytes."""

    __slots__ = ("args", "sender_id", "txid")

    def __init__(self, txid: bytes, args: dict[bytes, Value], sender_id: bytes | None) -> None:
        self.txid = txid
        self.args = args
        self.sender_id = sender_id


class ErrorReply:
    """A refusal: KRPC code and text."""

    __slots__ = ("code", "message", "txid")

    def __init__(self, txid: bytes, code: int, message: str) -> None:
        self.txid = txid
        self.code = code
        self.message = message


def decode(data: bytes) -> Query | Response | ErrorReply:
    """
    Read one datagram.

    Raises:
        RemoteProtocolError: it is not a KRPC message. A query that is malformed
            further in is returned, so that it can be answered with an error.
    """
    message = bencode.decode(data)
    if type(message) is not dict:
        raise RemoteProtocolError("not a dictionary")
    kind = message.get(b"y")
    txid = message.get(b"t")
    if kind == b"q":
        args = message.get(b"a")
        sender_id: bytes | None = None
        if type(args) is dict:
            named = args.get(b"id")
            if type(named) is bytes and len(named) == ID_BYTES:
                sender_id = named
        elif args is not None:
            args = _NO_ARGUMENTS
        method = message.get(b"q")
        return Query(
            txid,
            method if type(method) is bytes else None,
            args,
            sender_id,
            message.get(b"ro") == 1,
        )
    if type(txid) is not bytes:
        raise RemoteProtocolError("answer without a transaction id")
    if kind == b"r":
        args = message.get(b"r")
        if type(args) is not dict:
            raise RemoteProtocolError("answer without `r`")
        named = args.get(b"id")
        if type(named) is bytes and len(named) == ID_BYTES:
            return Response(txid, args, named)
        return Response(txid, args, None)
    if kind == b"e":
        detail = message.get(b"e")
        code, text = 0, b""
        if type(detail) is list:
            code = next((part for part in detail if type(part) is int), 0)
            text = next((part for part in detail if type(part) is bytes), b"")
        return ErrorReply(txid, code, text.decode("utf-8", "replace"))
    raise RemoteProtocolError("neither query, answer nor error")


def bytes_field(args: dict[bytes, Value], key: bytes, length: int | None = None) -> bytes | None:
    """A member that is a byte string (of ``length``, when given), or else None."""
    value = args.get(key)
    if type(value) is not bytes or (length is not None and len(value) != length):
        return None
    return value


# --- building ---------------------------------------------------------------------------

_SHORT_TXID = [b"1:t%d:" % length for length in range(65)]


def _txid_member(txid: Value | None) -> bytes:
    if type(txid) is bytes and len(txid) <= 64:
        return _SHORT_TXID[len(txid)] + txid
    if txid is None:
        return b""
    return b"1:t" + bencode.encode_received(txid)


def response(body: bytes, txid: Value | None) -> bytes:
    """
    A response datagram; ``body`` is the inside of ``r``, members encoded and in order.

    Raises:
        RemoteProtocolError: ``txid`` cannot be echoed.
    """
    return b"d1:rd" + body + b"e" + _txid_member(txid) + b"1:y1:re"


def error(code: int, message: bytes, txid: Value | None) -> bytes:
    """
    An error datagram.

    Raises:
        RemoteProtocolError: ``txid`` cannot be echoed.
    """
    return b"d1:eli%de%d:%be%b1:y1:ee" % (code, len(message), message, _txid_member(txid))


def query_around(method: bytes, args: bytes, txid_bytes: int) -> tuple[bytes, bytes]:
    """
    A query in two halves, to be joined by a transaction id of ``txid_bytes``.

    ``args`` is the inside of ``a``, members encoded and in order.
    """
    head = b"d1:ad%be1:q%d:%b1:t%d:" % (args, len(method), method, txid_bytes)
    return head, b"1:y1:qe"


# --- compact addresses ------------------------------------------------------------------


@lru_cache(maxsize=4096)
def pack_host(host: str) -> bytes:
    """
    4 bytes of an IPv4 or 16 of an IPv6 literal.

    Raises:
        ValueError: it is neither.
    """
    return ip_address(host).packed


def compact_address(address: Address) -> bytes:
    """6 bytes (IPv4) or 18 (IPv6): the address, then the port, big-endian."""
    return pack_host(address[0]) + address[1].to_bytes(2, "big")


@lru_cache(maxsize=16384)
def expand_address(compact: bytes) -> Address:
    """The inverse of `compact_address`; only 6 and 18 bytes are defined."""
    host = compact[:-2]
    literal = IPv4Address(host) if len(host) == 4 else IPv6Address(host)
    return str(literal), int.from_bytes(compact[-2:], "big")
