"""
JSON-RPC 2.0 as values: requests, batches, notifications, answers and error objects.

Pure. Used by both sides of the client port and of the peer port. A request's ``params`` stay
raw bytes here: the method that is called knows their type and decodes them once, in C
(msgspec), so that a wrong member is refused by name.

Specification: https://www.jsonrpc.org/specification. Differences: params are an object, never
an array (named members can grow, positions cannot), and a batch holds at most `BATCH_MAX`
requests.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NoReturn, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from grenache_py.errors import RemoteProtocolError

__all__ = [
    "BATCH_MAX",
    "Id",
    "Malformed",
    "Request",
    "Response",
    "batch_line",
    "decode_message",
    "decode_params",
    "decode_requests",
    "decode_response",
    "encode",
    "error_line",
    "notification_line",
    "request_line",
    "result_line",
]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

BATCH_MAX = 100
"""A batch is answered by one line; this bounds how long that line can be."""

Id: TypeAlias = int | float | str | None

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Malformed(RemoteProtocolError):
    """
    What arrived is not the JSON-RPC it should be.

    Attributes:
        code: the JSON-RPC error code to answer with.
        data: the error object's ``data``, or None.
        id: the request's id if it could be read, else None.
    """

    def __init__(
        self, code: int, message: str, data: dict[str, Any] | None = None, id: Id = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id = id


class Request(Struct, frozen=True, gc=False):
    """
    One request, as JSON-RPC 2.0 calls it. Without an ``id`` it is a notification: no answer.

    (`grenache_py.rpc.Request` has its name from Grenache's own protocol.)
    """

    jsonrpc: Literal["2.0"]
    method: str
    params: Raw = Raw(b"{}")
    id: int | float | str | UnsetType | None = UNSET


class Response(Struct, frozen=True, kw_only=True):
    """What a server sent: an answer (``result`` or ``error``), or a notification (``method``)."""

    jsonrpc: str = ""
    id: int | float | str | None = None
    result: Any = UNSET
    error: dict[str, Any] | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Any = UNSET


_decode_request = msgspec.json.Decoder(Request).decode
_decode_response = msgspec.json.Decoder(Response).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_any = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def decode_requests(line: bytes) -> Request | list[Request | Malformed]:
    """
    Read one line of the client port: a request, or a batch of them.

    Raises:
        Malformed: the line as a whole cannot be used; the members of a batch that cannot
            be used are `Malformed` values in their places instead.
    """
    try:
        if not line.isascii():
            line.decode()  # the decoder passes over what it does not need
        return _decode_request(line)
    except _BROKEN as error:
        if isinstance(error, UnicodeDecodeError) or not line.lstrip().startswith(b"["):
            raise _why_not(line, error) from None
    try:
        items = _decode_items(line)
    except _BROKEN as error:
        raise _why_not(line, error) from None
    if not items:
        raise Malformed(INVALID_REQUEST, "An empty batch asks for nothing.")
    if len(items) > BATCH_MAX:
        raise Malformed(
            INVALID_REQUEST,
            f"A batch holds at most {BATCH_MAX} requests, this one {len(items)}: send several.",
        )
    return [_member(bytes(item)) for item in items]


def _member(item: bytes) -> Request | Malformed:
    try:
        return _decode_request(item)
    except _BROKEN as error:
        return _why_not(item, error)


def _why_not(line: bytes, error: Exception) -> Malformed:
    """Say what is wrong with a line that is no request."""
    if isinstance(error, RecursionError):
        return Malformed(PARSE_ERROR, "This JSON is nested too deeply.")
    try:
        line.decode()
        value = _decode_any(line)
    except UnicodeDecodeError:
        return Malformed(PARSE_ERROR, "This line is not UTF-8.")
    except RecursionError:
        return Malformed(PARSE_ERROR, "This JSON is nested too deeply.")
    except msgspec.DecodeError as broken:
        return Malformed(PARSE_ERROR, f"This line is not JSON: {_tail(broken)}.")
    if not isinstance(value, dict):
        return Malformed(INVALID_REQUEST, "A request is a JSON object.")
    id = value.get("id")
    if isinstance(id, bool) or not isinstance(id, (int, float, str, type(None))):
        return Malformed(INVALID_REQUEST, "id must be a string, a number or null.")
    if value.get("jsonrpc") != "2.0":
        return Malformed(INVALID_REQUEST, 'jsonrpc must be "2.0".', id=id)
    if not isinstance(value.get("method"), str):
        return Malformed(INVALID_REQUEST, "method must be a string.", id=id)
    return Malformed(INVALID_REQUEST, f"This is not a request: {_tail(error)}.", id=id)


def _tail(error: Exception) -> str:
    """msgspec's reason without its first words, which repeat ours."""
    reason = str(error).removeprefix("JSON is malformed: ")
    return reason[:1].lower() + reason[1:]


_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_PLACE = re.compile(r"(.*?) - at `(?:key in )?\$\.?([^`]*)`", re.DOTALL)


def decode_params(decoder: msgspec.json.Decoder[Any], raw: Raw) -> Any:
    """
    Decode a request's params into the type its method wants.

    Raises:
        Malformed: they are of another shape; the message and ``data.field`` name the member.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.fullmatch(text)
        reason, path = place.groups() if place else (text, "")
        for pattern, verb in ((_MISSING, "is missing"), (_UNKNOWN, "is not known here")):
            named = pattern.search(reason)
            if named:
                field = f"{path}.{named[1]}" if path else named[1]
                _bad_param(field, f"{field} {verb}.")
        if not path:
            _bad_param("params", "params must be an object with named members.")
        if "matching regex" in reason:
            _bad_param(path, f"{path} has characters that it cannot have, or a wrong length.")
        _bad_param(path, f"{path}: {reason[:1].lower()}{reason[1:]}.")
    except (UnicodeDecodeError, msgspec.DecodeError):
        raise Malformed(PARSE_ERROR, "This line is not UTF-8.") from None
    except RecursionError:
        raise Malformed(PARSE_ERROR, "This JSON is nested too deeply.") from None


def _bad_param(field: str, message: str) -> NoReturn:
    raise Malformed(INVALID_PARAMS, message, {"field": field}) from None


def decode_message(line: bytes) -> dict[str, Any]:
    """
    Read one line of the peer port: any JSON-RPC object.

    Raises:
        Malformed: it is not UTF-8, not JSON or not an object with ``jsonrpc`` "2.0".
    """
    try:
        value = _decode_any(line)
    except _BROKEN as error:
        raise _why_not(line, error) from None
    if not isinstance(value, dict):
        raise Malformed(INVALID_REQUEST, "A message is a JSON object.")
    if value.get("jsonrpc") != "2.0":
        raise Malformed(INVALID_REQUEST, 'jsonrpc must be "2.0".')
    return value


def decode_response(line: bytes) -> Response:
    """
    Read one line a server sent.

    Raises:
        Malformed: it is neither an answer nor a notification.
    """
    try:
        return _decode_response(line)
    except _BROKEN as error:
        raise Malformed(PARSE_ERROR, f"The server sent no JSON-RPC: {_tail(error)}.") from None


def request_line(method: str, params: Any, id: Id | UnsetType = UNSET) -> bytes:
    """Return a request, or without ``id`` a notification, as a line."""
    head = b'{"jsonrpc":"2.0",'
    if id is not UNSET:
        head += b'"id":' + encode(id) + b","
    return head + b'"method":' + encode(method) + b',"params":' + encode(params) + b"}\n"


def notification_line(method: str, params: Any) -> bytes:
    """Return a notification as a line."""
    return request_line(method, params)


def result_line(id: Id, result: Any) -> bytes:
    """Return an answer as a line; ``result`` may be ``msgspec.Raw`` bytes encoded before."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (encode(id), encode(result))


def error_line(id: Id, code: int, message: str, data: dict[str, Any] | None = None) -> bytes:
    """Return an error object as a line."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    return b'{"jsonrpc":"2.0","id":' + encode(id) + b',"error":' + encode(error) + b"}\n"


def batch_line(lines: list[bytes]) -> bytes:
    """Return the answers to one batch as one line."""
    return b"[" + b",".join(line[:-1] for line in lines) + b"]\n"
