"""
The envelope of a grape's HTTP API: ``{"rid": anything, "data": payload}``, as a grape reads it.

Pure. A grape looks at ``data`` alone: ``rid`` is neither required nor echoed, and other
members are ignored. What counts as JSON is what ``JSON.parse`` accepts after Node has
turned the bytes into a string, which is more lenient than RFC 8259: bytes that are not
UTF-8 become U+FFFD, lone surrogates stay, numbers may overflow to infinity.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from grenache_py.errors import RemoteProtocolError

__all__ = ["MISSING", "InvalidPayload", "payload"]

MISSING = msgspec.UNSET
"""What `payload` returns for a body that has no ``data``."""


class InvalidPayload(RemoteProtocolError):
    """The body is no envelope; the message is the answer's text, with status 500."""


class _Envelope(msgspec.Struct):
    data: Any = MISSING


_decode = msgspec.json.Decoder(_Envelope).decode


def payload(body: bytes) -> Any:
    """
    Return the ``data`` of a request's body, or `MISSING`.

    Strings may hold lone surrogates, integral numbers may be floats.

    Raises:
        InvalidPayload: the body is not JSON, is nested deeper than the interpreter's
            recursion limit, or is ``null``.
    """
    try:
        return _decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lenient_payload(body)


def _lenient_payload(body: bytes) -> Any:
    """The slow way, for what is not a plain UTF-8 JSON object."""
    try:
        value = json.loads(body.decode("utf-8", "replace"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidPayload("ERR_GRAPE_PAYLOAD_INVALID") from None
    if value is None:
        raise InvalidPayload("Cannot read properties of null (reading 'data')")
    return value.get("data", MISSING) if isinstance(value, dict) else MISSING


def _refuse(constant: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which Python's parser would take."""
    raise ValueError(f"not JSON: {constant}")
