"""
Bencode: the one coder every DHT datagram goes through.

Pure. Encoding and the usual decoding are bencode2's (C++): canonical bencode, which is
all that real grapes emit. What it refuses is given to a second, lenient decoder that
accepts what other DHT programs are known to send and Node grapes answer: unsorted and
repeated keys (the last one wins), bytes after the first value, and zeros before a
number or a length. Unlike Node's decoder it refuses numbers that are no integers
(``i1.9e``, ``ie``), strings that run past the end of the input and signed lengths;
the last two are how a datagram hangs a Node grape.
"""

from __future__ import annotations

import re
from typing import Union

from bencode2 import bdecode, bencode

from grenache_py.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["DEPTH_MAX", "Value", "decode", "encode", "encode_received"]

Value = Union[int, bytes, "list[Value]", "dict[bytes, Value]"]
"""What a decoded value is made of. Dictionary keys are bytes."""

DEPTH_MAX = 64
"""Lists and dictionaries inside each other; a KRPC message needs three."""

_NUMBER = re.compile(rb"-?[0-9]{1,4000}")
_LENGTH = re.compile(rb"[0-9]{1,10}")


def encode(value: object) -> bytes:
    """
    Encode ints, bytes, str (as UTF-8), lists, tuples and dicts; keys come out sorted.

    Raises:
        LocalProtocolError: a value bencode has no form for (None, float, an int key).
    """
    try:
        return bencode(value)
    except (TypeError, ValueError, RecursionError) as problem:
        raise LocalProtocolError(f"cannot be bencoded: {problem}") from None


def encode_received(value: Value) -> bytes:
    """
    Encode what `decode` gave.

    Raises:
        RemoteProtocolError: its numbers or its nesting are beyond what this Python can
            write. (bencode2 in C++ reads and writes both; its Python form, which is used
            where there is no wheel, reads more than it can write.)
    """
    try:
        return encode(value)
    except LocalProtocolError as problem:
        raise RemoteProtocolError(str(problem)) from None


def decode(data: bytes) -> Value:
    """
    Decode one value.

    Raises:
        RemoteProtocolError: whatever else ``data`` may be.
    """
    try:
        value: Value = bdecode(data)
    except ValueError:
        return _decode_leniently(data)
    except RecursionError:
        raise RemoteProtocolError("bencode nested too deeply") from None
    return value


def _decode_leniently(data: bytes) -> Value:
    """Decode what is bencode but not canonical; linear in ``len(data)``, without recursion."""
    position = 0
    end = len(data)
    # One frame per open container: the container and, for a dict, the key that waits for a value.
    stack: list[tuple[list[Value] | dict[bytes, Value], bytes | None]] = []
    while position < end:
        head = data[position]
        value: Value
        if head == 0x65:  # e
            if not stack:
                raise RemoteProtocolError("bencode ends before it begins")
            container, key = stack.pop()
            if key is not None:
                raise RemoteProtocolError("bencode dictionary key without a value")
            position += 1
            value = container
        elif head in (0x6C, 0x64):  # l, d
            if len(stack) == DEPTH_MAX:
                raise RemoteProtocolError("bencode nested too deeply")
            if stack and isinstance(stack[-1][0], dict) and stack[-1][1] is None:
                raise RemoteProtocolError("bencode dictionary key is not a string")
            stack.append(([] if head == 0x6C else {}, None))
            position += 1
            continue
        elif head == 0x69:  # i
            number = _NUMBER.match(data, position + 1)
            if number is None or data[number.end() : number.end() + 1] != b"e":
                raise RemoteProtocolError("bencode number is not an integer")
            value = int(number.group())
            position = number.end() + 1
        else:
            length = _LENGTH.match(data, position)
            if length is None or data[length.end() : length.end() + 1] != b":":
                raise RemoteProtocolError("not bencode")
            start = length.end() + 1
            position = start + int(length.group())
            if position > end:
                raise RemoteProtocolError("bencode string runs past the end")
            value = data[start:position]
        if not stack:
            return value
        container, key = stack[-1]
        if isinstance(container, list):
            container.append(value)
        elif key is not None:
            container[key] = value
            stack[-1] = (container, None)
        elif isinstance(value, bytes):
            stack[-1] = (container, value)
        else:
            raise RemoteProtocolError("bencode dictionary key is not a string")
    raise RemoteProtocolError("bencode is cut off")
