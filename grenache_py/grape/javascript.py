"""
What JavaScript makes of a request's values: bytes, numbers and texts as Node's grape reads them.

Pure. Values that Node would not take raise `CallRefused` with the answer that its clients know.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from grenache_py.grape.answers import CallRefused, GrapeAnswer, js_text, text_answer

__all__ = [
    "bencodable",
    "buffer_bytes",
    "hex_bytes",
    "integral",
    "is_number",
    "is_truthy",
    "parsed_bytes",
    "utf8_bytes",
    "utf16_length",
]

#: Lists and dictionaries inside one another in a stored value.
VALUE_DEPTH_MAX = 64


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def integral(value: Any) -> int | None:
    """Return ``value`` if it is what JavaScript calls an integer: 1337.0 is one."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def is_truthy(value: Any) -> bool:
    """Whether JavaScript would take ``value`` for true; unlike Python, ``[]`` and ``{}`` are."""
    return value not in (None, False, 0, "") if not isinstance(value, (list, dict)) else True


def utf8_bytes(text: str) -> bytes:
    """Encode as ``Buffer.from`` does: a lone surrogate becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        units = text.encode("utf-16-le", "surrogatepass")
        return units.decode("utf-16-le", "replace").encode()


def utf16_length(text: str) -> int:
    """Return the length JavaScript counts: characters beyond U+FFFF are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


_HEX_PAIRS = re.compile(r"(?:[0-9a-fA-F]{2})*")


def hex_bytes(text: str) -> bytes:
    """Decode as ``Buffer.from(text, "hex")`` does: up to the first pair that is not hex."""
    pairs = _HEX_PAIRS.match(text)
    return bytes.fromhex(pairs[0]) if pairs else b""


def parsed_bytes(value: Any, decode: Callable[[str], bytes]) -> bytes:
    """
    Return the bytes of a field that the Node grape first tries to read as JSON text.

    ``"[65]"`` and ``"\\"A\\""`` are the byte 0x41; text whose JSON is a number, true, false
    or null, or that is none, is decoded with ``decode``.
    """
    if isinstance(value, str) and value.lstrip(" \t\r\n")[:1] in ("[", "{", '"'):
        try:
            return buffer_bytes(json.loads(value), utf8_bytes)
        except (ValueError, RecursionError, CallRefused):
            pass
    return buffer_bytes(value, decode)


def buffer_bytes(value: Any, decode: Callable[[str], bytes]) -> bytes:
    """Return what ``Buffer.from`` makes of a string, a list of byte values or a Buffer's JSON."""
    if isinstance(value, str):
        return decode(value)
    if isinstance(value, dict) and value.get("type") == "Buffer":
        value = value.get("data")
    if isinstance(value, list):
        return bytes(byte(element) for element in value)
    raise CallRefused(GrapeAnswer(500, not_bytes(value).encode()))


def byte(value: Any) -> int:
    """Return an element of a byte array as JavaScript stores it: truncated, modulo 256."""
    return int(value) & 255 if is_number(value) and math.isfinite(value) else 0


def not_bytes(value: Any) -> str:
    if value is None:
        received = "null"
    elif isinstance(value, dict):
        received = "an instance of Object"
    else:
        kind = "boolean" if isinstance(value, bool) else "number"
        received = f"type {kind} ({js_text(value)})"
    return (
        "The first argument must be of type string or an instance of Buffer, ArrayBuffer, "
        f"or Array or an Array-like Object. Received {received}"
    )


def bencodable(value: Any, depth: int = 0) -> Any:
    """Return a JSON value as Node's grape bencodes it: floats truncated, nulls left out."""
    if isinstance(value, str):
        return utf8_bytes(value)
    if isinstance(value, (int, float)):
        return int(value)
    if depth == VALUE_DEPTH_MAX:
        raise CallRefused(text_answer(f"v must not be nested more than {VALUE_DEPTH_MAX} deep"))
    if isinstance(value, list):
        return [bencodable(each, depth + 1) for each in value if each is not None]
    return {
        utf8_bytes(key): bencodable(each, depth + 1)
        for key, each in value.items()
        if each is not None
    }
