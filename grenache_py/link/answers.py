"""
Requests to a grape as bytes, and what its answers mean.

Pure. The wire (docs/design/grenache-wire.rst#grape-http): one JSON object
``{"rid", "data"}`` by POST, and an answer whose meaning has to be read off its
content, because most errors come with status 200.
"""

from __future__ import annotations

import re

import msgspec

from grenache_py.errors import LocalProtocolError
from grenache_py.link.errors import BadAnswer, GrapeRefused
from grenache_py.link.items import Item, item_from_answer

__all__ = [
    "NAME_BYTES_MAX",
    "announce_answer",
    "check_hash",
    "check_name",
    "check_port",
    "get_answer",
    "lookup_answer",
    "put_answer",
    "request_body",
]

#: The longest name seen to travel between grapes; it also fits their 8192-byte bodies.
NAME_BYTES_MAX = 7000
_HASH = re.compile("[0-9a-f]{40}")
_ADDRESS = re.compile(r"(?:[^\s:/]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")


def check_name(name: str) -> str:
    """Return a service name that every grape can store, or say why it is none."""
    if not isinstance(name, str) or not name:
        raise LocalProtocolError(f"a service name is text and not empty, not {name!r}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise LocalProtocolError("a service name with half a surrogate pair has no key") from None
    if size > NAME_BYTES_MAX:
        raise LocalProtocolError(
            f"a service name has at most {NAME_BYTES_MAX} bytes of UTF-8, this one has {size}"
        )
    return name


def check_port(port: int) -> int:
    """Return a TCP port that can be announced; one outside 1..65535 kills a Node grape."""
    if type(port) is not int or not 1 <= port <= 65535:
        raise LocalProtocolError(f"a port is a whole number from 1 to 65535, not {port!r}")
    return port


def check_hash(target: str) -> str:
    """Return the 40 lower-case hexadecimal digits of an item's hash."""
    digits = target.lower() if isinstance(target, str) else ""
    if not _HASH.fullmatch(digits):
        raise LocalProtocolError(f"an item's hash is 40 hexadecimal digits, not {target!r}")
    return digits


def request_body(rid: str, data: object) -> bytes:
    """Return the body of a request, ``rid`` first as Node's link writes it."""
    return msgspec.json.encode({"rid": rid, "data": data})


def _value(status: int, body: bytes) -> object:
    """Decode the body, or raise GrapeRefused for a status that is an error in itself."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        value = None
    if status == 200:
        return value
    # 500 and 413 come with bare text, 3xx with a JSON string
    text = value if isinstance(value, str) else body.decode("utf-8", "replace")
    text = text[:200].strip() or "no reason given"
    if status in (301, 302, 413, 500) or 300 <= status < 400:
        raise GrapeRefused(text, status)
    raise BadAnswer(f"HTTP {status}: {text}")


def _refuse(value: object, status: int, expected: str) -> GrapeRefused | BadAnswer:
    if isinstance(value, str):
        return GrapeRefused(value, status)
    return BadAnswer(f"not {expected}")


def lookup_answer(status: int, body: bytes) -> list[str]:
    """Return the ``host:port`` addresses in the answer to ``lookup``, perhaps none."""
    value = _value(status, body)
    if not isinstance(value, list):
        raise _refuse(value, status, "a list of addresses")
    addresses = [one for one in value if isinstance(one, str) and _ADDRESS.fullmatch(one)]
    if value and not addresses:
        raise BadAnswer("a list without a single host:port address")
    return addresses


def announce_answer(status: int, body: bytes) -> int:
    """Return how many other grapes recorded the announcement."""
    value = _value(status, body)
    if type(value) is not int or value < 0:
        raise _refuse(value, status, "a count of grapes")
    return value


def put_answer(status: int, body: bytes, target: str) -> str:
    """Return ``target``, the hash the grape must have answered with."""
    value = _value(status, body)
    if value == target:
        return target
    if isinstance(value, str) and _HASH.fullmatch(value):
        raise BadAnswer(f"the hash {value}, where {target} is right")
    raise _refuse(value, status, "a hash")


def get_answer(status: int, body: bytes, target: str, salt: bytes) -> Item | None:
    """Return the checked item, or None where the grape knows of none (an empty body)."""
    value = _value(status, body)
    if status == 200 and not body.strip():
        return None
    if isinstance(value, str):
        raise GrapeRefused(value, status)
    return item_from_answer(body, target, salt)
