"""
JSON that loses no number: NaN and the infinities are refused, not written as null.

Pure. JSON has no words for them, and msgspec's encoder writes null.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

__all__ = ["encode"]

_encode = msgspec.json.Encoder().encode


def encode(value: Any, nulls: int = 0) -> bytes:
    """
    Return ``value`` as JSON.

    Args:
        value: what msgspec can encode.
        nulls: how many None are known to be in it. Only where the text holds more is
            ``value`` searched, so that what has no null in it costs nothing more.

    Raises:
        ValueError: it holds a NaN or an infinite number.
        TypeError, OverflowError, RecursionError: msgspec cannot encode it.
    """
    body = _encode(value)
    if body.count(b"null") > nulls:
        _check(msgspec.to_builtins(value))
    return body


def _check(value: Any) -> None:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"JSON has no number {value}")
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting.extend(value)
