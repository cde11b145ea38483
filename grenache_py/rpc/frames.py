"""
Requests and replies as bytes.

Pure. The frames are the same over HTTP and WebSocket (docs/design/grenache-wire.rst#http-rpc): a
request is the JSON array ``[rid, key, payload]``, a reply ``[rid, err, data]`` with ``err`` null or
a text. The ``rid`` in the reply says which request it belongs to; a server echoes it unchanged,
whatever its type.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
import msgspec

from grenache_py.rpc.errors import BadFrame, NotSendable, RPCFailure
from grenache_py.rpc.headers import arguments, text_headers, wanted_action
from grenache_py.wire.strict_json import encode

__all__ = [
    "Request",
    "decode_reply",
    "decode_request",
    "encode_json",
    "encode_reply",
    "encode_request",
    "gunzip",
    "split_address",
]

_decode = msgspec.json.Decoder().decode
#: What the encoder raises where JSON has no form for a value.
_UNSENDABLE = (TypeError, ValueError, OverflowError, RecursionError)
_NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})
#: An address as grapes tell it; Ruby's services announce a URL.
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
        raw_headers: the request's HTTP headers, names in lower case; none over WebSocket.
        is_stream: whether the body came in chunks (Node: ``meta.isStream``); False over WebSocket.
    """

    rid: Any
    key: Any
    payload: Any
    peer: str = ""
    certificate: Any = None
    raw_headers: Mapping[bytes, bytes] = attrs.field(default=_NO_HEADERS, repr=False)
    is_stream: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers as text."""
        return text_headers(self.raw_headers)

    @property
    def action(self) -> str | None:
        """The ``_a`` header, None if there is none (Node: ``meta.action``)."""
        return wanted_action(self.raw_headers)

    @property
    def args(self) -> Any:
        """The JSON of the ``_ar`` header, ``{}`` without one (Node: ``meta.args``)."""
        return arguments(self.raw_headers)


def encode_json(value: Any) -> bytes:
    """
    Return ``value`` as JSON.

    Raises:
        NotSendable: it holds something JSON has no words for.
    """
    try:
        return encode(value)
    except _UNSENDABLE as error:
        raise NotSendable(f"it cannot be sent as JSON: {error}") from None


def encode_request(rid: str, key: str, payload: Any) -> bytes:
    """
    Return ``[rid, key, payload]`` as JSON.

    Raises:
        NotSendable: ``payload`` holds something JSON has no words for.
    """
    try:
        return encode((rid, key, payload))
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
        return encode((rid, err, data), nulls=err is None)
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
    return frame[0], RPCFailure(err if isinstance(err, str) else encode(err).decode(), data), data


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
