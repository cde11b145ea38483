"""
What the headers of a request over HTTP say beside its body.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["arguments", "json_header", "text_headers", "wanted_action"]


def json_header(value: bytes) -> object:
    """The JSON in a header, which a Node server reads as Latin-1. Raises msgspec.DecodeError."""
    return msgspec.json.decode(value if value.isascii() else value.decode("latin-1").encode())


def text_headers(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """All headers as text, names in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw.items()}


def wanted_action(raw: Mapping[bytes, bytes]) -> str | None:
    """The ``_a`` header, by custom what is wanted; None if there is none."""
    action = raw.get(b"_a")
    return None if action is None else action.decode("latin-1")


def arguments(raw: Mapping[bytes, bytes]) -> Any:
    """The JSON of the ``_ar`` header, ``{}`` if there is none or it is not JSON, as with Node."""
    try:
        return json_header(raw.get(b"_ar", b"{}"))
    except msgspec.DecodeError:
        return {}
