"""
The grape's HTTP API without HTTP: requests become calls on the DHT, results become answers.

Pure. What stock Grenache clients can send is answered byte for byte as grenache-grape
1.0.0 answers it, down to the JavaScript error texts that some of its errors are. Where
that program dies, hangs or stores what no other grape takes, this one answers with the
error text its clients already know; docs/grape-http.rst lists every difference.

Errors have two shapes there, and so here: most are status 200 with a JSON string, some
are status 500 with bare text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from grenache_py.dht.items import GetResult, PutItem
from grenache_py.wire.envelope import MISSING, InvalidPayload, payload

__all__ = [
    "ALL_FAILED",
    "BROKEN",
    "BUSY",
    "NOT_FOUND",
    "NO_NODES",
    "AnnounceCall",
    "Call",
    "GetCall",
    "GrapeAnswer",
    "LookupCall",
    "announce_body",
    "call",
    "get_body",
    "krpc_failure",
    "lookup_body",
    "put_body",
]

NAME_BYTES_MAX = 65_000
"""A longer name does not fit a datagram; Node finds that out after five seconds."""
VALUE_DEPTH_MAX = 64
"""Lists and dictionaries inside one another in a stored value."""
TARGET_BYTES = 20


@attrs.frozen
class GrapeAnswer:
    """What the client gets: an HTTP status and the body's bytes."""

    status: int
    body: bytes


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


class _Refused(Exception):
    """Leads out of a nested reading, with the answer."""

    def __init__(self, answer: GrapeAnswer) -> None:
        super().__init__(answer)
        self.answer = answer


def _text_answer(text: str) -> GrapeAnswer:
    """Return an error as most are: status 200, the text as a JSON string."""
    return GrapeAnswer(200, msgspec.json.encode(text))


NOT_FOUND = _text_answer("ERR_REQ_NOTFOUND")
NO_NODES = _text_answer("No nodes to query")
ALL_FAILED = _text_answer("All queries failed")
BUSY = GrapeAnswer(503, b"ERR_GRAPE_BUSY")
BROKEN = GrapeAnswer(500, b"ERR_GRAPE_INTERNAL")
_LOOKUP = _text_answer("ERR_GRAPE_LOOKUP")
_ANNOUNCE = _text_answer("ERR_GRAPE_ANNOUNCE")
_PORT = _text_answer("ERR_GRAPE_SERVICE_PORT")
_GENERIC = _text_answer("ERR_GRAPE_GENERIC")
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
    except _Refused as refusal:
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
    name = _utf8(data)
    return LookupCall(name) if len(name) <= NAME_BYTES_MAX else _NO_PEERS


def _read_announce(data: Any) -> Call | GrapeAnswer:
    if type(data) is not list:
        return _ANNOUNCE
    port = _integral(data[1]) if len(data) > 1 else None
    if port is None or not 0 <= port <= 65535:
        return _PORT
    name = _bytes(data[0], _utf8)
    if not name:
        return _ANNOUNCE
    return AnnounceCall(name, port) if len(name) <= NAME_BYTES_MAX else NO_NODES


def _read_put(data: Any) -> Call | GrapeAnswer:
    if data is None or data is MISSING:
        return _no_property(data, "k")
    fields = {"v": data} if isinstance(data, str) else data if isinstance(data, dict) else {}
    k = sig = None
    salt: bytes = b""
    mutable = _truthy(fields.get("k"))
    if mutable:
        k = _parsed_bytes(fields["k"], _hex)
        if _truthy(fields.get("sig")):
            sig = _parsed_bytes(fields["sig"], _hex)
        if _truthy(fields.get("salt")):
            salt = _parsed_bytes(fields["salt"], _utf8)
    error = _put_error(fields, mutable, k, sig, salt)
    if error:
        return _text_answer(error)
    try:
        v = _bencodable(fields["v"])
        if not mutable:
            return PutItem(v)
        cas = None if fields.get("cas") is None else int(fields["cas"])
        return PutItem(v, k, sig, int(fields["seq"]), salt, cas)
    except (OverflowError, ValueError):
        return _text_answer("a number is too large to be stored")


def _put_error(
    fields: dict[str, Any], mutable: bool, k: bytes | None, sig: bytes | None, salt: bytes
) -> str | None:
    """Return what Node's DHT client says about an item it does not send, in its order."""
    v = fields.get("v", MISSING)
    if v is MISSING:
        return "opts.v not given"
    if v is None:
        return "Cannot read properties of null (reading 'length')"
    if (isinstance(v, str) and _utf16_length(v) >= 1000) or (
        isinstance(v, list) and len(v) >= 1000
    ):
        return "v must be less than 1000 bytes in put()"
    if not mutable:
        return None
    if not _is_number(fields.get("cas", 0)):
        return "opts.cas must be an integer if provided"
    if k is None or len(k) != 32:
        return "opts.k ed25519 public key must be 32 bytes"
    if sig is None:
        return "opts.sign function or options.sig signature is required for mutable put"
    if len(salt) > 64:
        return "opts.salt is > 64 bytes long"
    if "seq" not in fields:
        return "opts.seq not provided for a mutable update"
    if not _is_number(fields["seq"]):
        return "opts.seq not an integer"
    return None


def _read_get(data: Any) -> Call | GrapeAnswer:
    if data is None or data is MISSING:
        return _no_property(data, "salt")
    if isinstance(data, str):
        target, salt, use_cache = _parsed_bytes(data, _hex), b"", True
    elif isinstance(data, dict):
        salt = _parsed_bytes(data["salt"], _utf8) if _truthy(data.get("salt")) else b""
        if not isinstance(data.get("hash"), str):
            return _GENERIC
        target, use_cache = _hex(data["hash"]), data.get("cache") is not False
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


def lookup_body(peers: list[str]) -> bytes:
    """Return the answer to a lookup: ``"ip:port"`` strings."""
    return msgspec.json.encode(peers)


def announce_body(accepted: int) -> bytes:
    """Return the answer to an announce: how many other grapes accepted it."""
    return b"%d" % accepted


def put_body(target: bytes) -> bytes:
    """Return the answer to a put: where the item is stored."""
    return b'"%b"' % target.hex().encode()


def get_body(item: GetResult | None, salt: bytes) -> bytes:
    """Return the answer to a get, members in Node's order; empty when nothing was found."""
    if item is None:
        return b""
    answer: dict[str, Any] = {"id": item.id.hex()}
    mutable = item.k is not None and item.sig is not None
    if item.token is None:
        answer |= {"token": None, "v": _js_text(item.v)}
        if mutable and item.k is not None and item.sig is not None:
            answer |= {"sig": item.sig.hex(), "k": item.k.hex(), "seq": item.seq}
    else:
        if mutable and item.k is not None and item.sig is not None:
            answer |= {"k": item.k.hex(), "seq": item.seq, "sig": item.sig.hex()}
        answer |= {"token": item.token.hex(), "v": _js_text(item.v)}
        if salt:
            answer["salt"] = salt.decode("utf-8", "replace")
    return msgspec.json.encode(answer)


def krpc_failure(krpc_error: tuple[int, str] | None) -> GrapeAnswer:
    """
    Return the answer when no node accepted an announce or a put.

    Args:
        krpc_error: An error that a node answered with, if one did. Codes 300 to 399 (BEP
            44: 301 cas mismatch, 302 seq too low) become the HTTP status.
    """
    if krpc_error is None or not 300 <= krpc_error[0] <= 399:
        return ALL_FAILED
    code, text = krpc_error
    return GrapeAnswer(code, msgspec.json.encode(f"{code} {text}"))


def _no_property(data: Any, name: str) -> GrapeAnswer:
    kind = "null" if data is None else "undefined"
    return GrapeAnswer(500, f"Cannot read properties of {kind} (reading '{name}')".encode())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _integral(value: Any) -> int | None:
    """Return ``value`` if it is what JavaScript calls an integer: 1337.0 is one."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _truthy(value: Any) -> bool:
    """Whether JavaScript would take ``value`` for true; unlike Python, ``[]`` and ``{}`` are."""
    return value not in (None, False, 0, "") if not isinstance(value, (list, dict)) else True


def _utf8(text: str) -> bytes:
    """Encode as ``Buffer.from`` does: a lone surrogate becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        units = text.encode("utf-16-le", "surrogatepass")
        return units.decode("utf-16-le", "replace").encode()


def _utf16_length(text: str) -> int:
    """Return the length JavaScript counts: characters beyond U+FFFF are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


_HEX_PAIRS = re.compile(r"(?:[0-9a-fA-F]{2})*")


def _hex(text: str) -> bytes:
    """Decode as ``Buffer.from(text, "hex")`` does: up to the first pair that is not hex."""
    pairs = _HEX_PAIRS.match(text)
    return bytes.fromhex(pairs[0]) if pairs else b""


def _parsed_bytes(value: Any, decode: Callable[[str], bytes]) -> bytes:
    """
    Return the bytes of a field that the Node grape first tries to read as JSON text.

    ``"[65]"`` and ``"\\"A\\""`` are the byte 0x41; text whose JSON is a number, true, false
    or null, or that is none, is decoded with ``decode``.
    """
    if isinstance(value, str) and value.lstrip(" \t\r\n")[:1] in ("[", "{", '"'):
        try:
            return _bytes(json.loads(value), _utf8)
        except (ValueError, RecursionError, _Refused):
            pass
    return _bytes(value, decode)


def _bytes(value: Any, decode: Callable[[str], bytes]) -> bytes:
    """Return what ``Buffer.from`` makes of a string, a list of byte values or a Buffer's JSON."""
    if isinstance(value, str):
        return decode(value)
    if isinstance(value, dict) and value.get("type") == "Buffer":
        value = value.get("data")
    if isinstance(value, list):
        return bytes(_byte(element) for element in value)
    raise _Refused(GrapeAnswer(500, _not_bytes(value).encode()))


def _byte(value: Any) -> int:
    """Return an element of a byte array as JavaScript stores it: truncated, modulo 256."""
    return int(value) & 255 if _is_number(value) and math.isfinite(value) else 0


def _not_bytes(value: Any) -> str:
    if value is None:
        received = "null"
    elif isinstance(value, dict):
        received = "an instance of Object"
    else:
        kind = "boolean" if isinstance(value, bool) else "number"
        received = f"type {kind} ({_js_text(value)})"
    return (
        "The first argument must be of type string or an instance of Buffer, ArrayBuffer, "
        f"or Array or an Array-like Object. Received {received}"
    )


def _bencodable(value: Any, depth: int = 0) -> Any:
    """Return a JSON value as Node's grape bencodes it: floats truncated, nulls left out."""
    if isinstance(value, str):
        return _utf8(value)
    if isinstance(value, (int, float)):
        return int(value)
    if depth == VALUE_DEPTH_MAX:
        raise _Refused(_text_answer(f"v must not be nested more than {VALUE_DEPTH_MAX} deep"))
    if isinstance(value, list):
        return [_bencodable(each, depth + 1) for each in value if each is not None]
    return {
        _utf8(key): _bencodable(each, depth + 1) for key, each in value.items() if each is not None
    }


def _js_text(value: Any) -> str:
    """Return what ``String(value)`` is in JavaScript, for bencoded and for JSON values."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return ",".join(_js_text(each) for each in value)
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
