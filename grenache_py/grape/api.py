"""
The grape's HTTP API without HTTP: requests become calls on the DHT.

Pure. What stock Grenache clients can send is answered byte for byte as grenache-grape
1.0.0 answers it, down to the JavaScript error texts that some of its errors are. Where
that program dies, hangs or stores what no other grape takes, this one answers with the
error text its clients already know; docs/grape-http.rst lists every difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

from grenache_py.dht.items import PutItem
from grenache_py.grape.answers import NO_NODES, NOT_FOUND, CallRefused, GrapeAnswer, text_answer
from grenache_py.grape.javascript import (
    bencodable,
    buffer_bytes,
    hex_bytes,
    integral,
    is_number,
    is_truthy,
    parsed_bytes,
    utf8_bytes,
    utf16_length,
)
from grenache_py.wire.envelope import MISSING, InvalidPayload, payload

__all__ = ["AnnounceCall", "Call", "GetCall", "LookupCall", "call"]

NAME_BYTES_MAX = 65_000
"""A longer name does not fit a datagram; Node finds that out after five seconds."""
TARGET_BYTES = 20


@attrs.define
class LookupCall:
    """Find the peers that announced ``name``. (Not frozen: it is built for every request.)"""

    name: bytes


@attrs.define
class AnnounceCall:
    """Announce a service; ``port`` 0 stands for the grape's own DHT port."""

    name: bytes
    port: int


@attrs.frozen
class GetCall:
    """Fetch a BEP 44 item; ``use_cache`` False asks other nodes though this one has it."""

    target: bytes
    salt: bytes = b""
    use_cache: bool = True


Call = LookupCall | AnnounceCall | PutItem | GetCall


_LOOKUP = text_answer("ERR_GRAPE_LOOKUP")
_ANNOUNCE = text_answer("ERR_GRAPE_ANNOUNCE")
_PORT = text_answer("ERR_GRAPE_SERVICE_PORT")
_GENERIC = text_answer("ERR_GRAPE_GENERIC")
_NO_PEERS = GrapeAnswer(200, b"[]")
_NO_ITEM = GrapeAnswer(200, b"")


def call(path: str, body: bytes) -> Call | GrapeAnswer:
    """
    Read one request.

    Args:
        path: The request target as it stands in the request line.
        body: Its body.

    Returns:
        What to ask the DHT, or the answer when there is nothing to ask.
    """
    try:
        data = payload(body)
        read = _COMMANDS.get(path) or _COMMANDS.get(_folded(path))
        return NOT_FOUND if read is None else read(data)
    except InvalidPayload as error:
        return GrapeAnswer(500, str(error).encode())
    except CallRefused as refusal:
        return refusal.answer


_WORD = re.compile(r"^\w|[A-Z]|\b\w|-\w|_\w", re.ASCII)
_SEPARATORS = re.compile(r"[\s_-]+", re.ASCII)


def _folded(path: str) -> str:
    """Return the path a client meant by one like ``/-Lookup``, by Node's camel-case rule."""
    words = _WORD.sub(
        lambda word: word[0].upper() if word.start() else word[0].lower(), f"-{path[1:]}"
    )
    name = _SEPARATORS.sub("", words)
    return f"/{name[:1].lower()}{name[1:]}"


def _read_lookup(data: Any) -> Call | GrapeAnswer:
    if type(data) is not str or not data:
        return _LOOKUP
    name = utf8_bytes(data)
    return LookupCall(name) if len(name) <= NAME_BYTES_MAX else _NO_PEERS


def _read_announce(data: Any) -> Call | GrapeAnswer:
    if type(data) is not list:
        return _ANNOUNCE
    port = integral(data[1]) if len(data) > 1 else None
    if port is None or not 0 <= port <= 65535:
        return _PORT
    name = buffer_bytes(data[0], utf8_bytes)
    if not name:
        return _ANNOUNCE
    return AnnounceCall(name, port) if len(name) <= NAME_BYTES_MAX else NO_NODES


def _read_put(data: Any) -> Call | GrapeAnswer:
    if data is None or data is MISSING:
        return _no_property(data, "k")
    fields = {"v": data} if isinstance(data, str) else data if isinstance(data, dict) else {}
    k = sig = None
    salt: bytes = b""
    mutable = is_truthy(fields.get("k"))
    if mutable:
        k = parsed_bytes(fields["k"], hex_bytes)
        if is_truthy(fields.get("sig")):
            sig = parsed_bytes(fields["sig"], hex_bytes)
        if is_truthy(fields.get("salt")):
            salt = parsed_bytes(fields["salt"], utf8_bytes)
    error = _put_error(fields, mutable, k, sig, salt)
    if error:
        return text_answer(error)
    try:
        v = bencodable(fields["v"])
        if not mutable:
            return PutItem(v)
        cas = None if fields.get("cas") is None else int(fields["cas"])
        return PutItem(v, k, sig, int(fields["seq"]), salt, cas)
    except (OverflowError, ValueError):
        return text_answer("a number is too large to be stored")


def _put_error(
    fields: dict[str, Any], mutable: bool, k: bytes | None, sig: bytes | None, salt: bytes
) -> str | None:
    """Return what Node's DHT client says about an item it does not send, in its order."""
    v = fields.get("v", MISSING)
    if v is MISSING:
        return "opts.v not given"
    if v is None:
        return "Cannot read properties of null (reading 'length')"
    if (isinstance(v, str) and utf16_length(v) >= 1000) or (isinstance(v, list) and len(v) >= 1000):
        return "v must be less than 1000 bytes in put()"
    if not mutable:
        return None
    if not is_number(fields.get("cas", 0)):
        return "opts.cas must be an integer if provided"
    if k is None or len(k) != 32:
        return "opts.k ed25519 public key must be 32 bytes"
    if sig is None:
        return "opts.sign function or options.sig signature is required for mutable put"
    if len(salt) > 64:
        return "opts.salt is > 64 bytes long"
    if "seq" not in fields:
        return "opts.seq not provided for a mutable update"
    if not is_number(fields["seq"]):
        return "opts.seq not an integer"
    return None


def _read_get(data: Any) -> Call | GrapeAnswer:
    if data is None or data is MISSING:
        return _no_property(data, "salt")
    if isinstance(data, str):
        target, salt, use_cache = parsed_bytes(data, hex_bytes), b"", True
    elif isinstance(data, dict):
        salt = parsed_bytes(data["salt"], utf8_bytes) if is_truthy(data.get("salt")) else b""
        if not isinstance(data.get("hash"), str):
            return _GENERIC
        target, use_cache = hex_bytes(data["hash"]), data.get("cache") is not False
    else:
        return _GENERIC
    # BEP 44 targets are SHA-1 sums: nothing is stored under any other length.
    return GetCall(target, salt, use_cache) if len(target) == TARGET_BYTES else _NO_ITEM


_COMMANDS: dict[str, Callable[[Any], Call | GrapeAnswer]] = {
    "/lookup": _read_lookup,
    "/announce": _read_announce,
    "/put": _read_put,
    "/get": _read_get,
}


def _no_property(data: Any, name: str) -> GrapeAnswer:
    kind = "null" if data is None else "undefined"
    return GrapeAnswer(500, f"Cannot read properties of {kind} (reading '{name}')".encode())
