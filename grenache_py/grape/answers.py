"""
The answers of the grape's HTTP API: results of the DHT and errors, as bodies with a status.

Pure. Errors have two shapes, as in Node's grape: most are status 200 with a JSON string, some are
status 500 with bare text.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from grenache_py.dht.items import GetResult

__all__ = [
    "ALL_FAILED",
    "BROKEN",
    "BUSY",
    "NOT_FOUND",
    "NO_NODES",
    "CallRefused",
    "GrapeAnswer",
    "announce_body",
    "get_body",
    "js_text",
    "krpc_failure",
    "lookup_body",
    "put_body",
    "text_answer",
]


@attrs.frozen
class GrapeAnswer:
    """What the client gets: an HTTP status and the body's bytes."""

    status: int
    body: bytes


class CallRefused(Exception):
    """Leads out of a nested reading, with the answer."""

    def __init__(self, answer: GrapeAnswer) -> None:
        super().__init__(answer)
        self.answer = answer


def text_answer(text: str) -> GrapeAnswer:
    """Return an error as most are: status 200, the text as a JSON string."""
    return GrapeAnswer(200, msgspec.json.encode(text))


NOT_FOUND = text_answer("ERR_REQ_NOTFOUND")
NO_NODES = text_answer("No nodes to query")
ALL_FAILED = text_answer("All queries failed")
BUSY = GrapeAnswer(503, b"ERR_GRAPE_BUSY")
BROKEN = GrapeAnswer(500, b"ERR_GRAPE_INTERNAL")


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
        answer |= {"token": None, "v": js_text(item.v)}
        if mutable and item.k is not None and item.sig is not None:
            answer |= {"sig": item.sig.hex(), "k": item.k.hex(), "seq": item.seq}
    else:
        if mutable and item.k is not None and item.sig is not None:
            answer |= {"k": item.k.hex(), "seq": item.seq, "sig": item.sig.hex()}
        answer |= {"token": item.token.hex(), "v": js_text(item.v)}
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


def js_text(value: Any) -> str:
    """Return what ``String(value)`` is in JavaScript, for bencoded and for JSON values."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return ",".join(js_text(each) for each in value)
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
