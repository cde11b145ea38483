"""
What an HTTP server reads and answers: a request, the refusal of one, a page.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import attrs

__all__ = ["HTTPRequest", "Page", "Pages", "Refusal"]

_NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})


@attrs.define
class HTTPRequest:
    """
    One request as it was read. (Not frozen: it is built for every request.)

    Attributes:
        method: As it stands in the request line: ``b"POST"``.
        url: The request target as it stands in the request line, read as Latin-1.
        body: Whole, unless its server took it piece by piece.
        http11: Not HTTP/1.0.
        keep_alive: Another request may follow on the connection.
        headers: Values by name in lower case. Of two headers of one name the last one counts.
    """

    method: bytes = b""
    url: str = ""
    body: bytes = b""
    http11: bool = True
    keep_alive: bool = False
    headers: Mapping[bytes, bytes] = _NO_HEADERS


@attrs.frozen
class Refusal:
    """
    The answer to a request that the server does not read to its end.

    Attributes:
        status: The HTTP status.
        text: Why, for people; may be empty.
        keep_alive: The rest of the request is dropped, and the next one may follow.
    """

    status: int
    text: str = ""
    keep_alive: bool = False


@attrs.frozen
class Page:
    """
    An answer to GET that says what it is: a status, a content type and a body.

    Attributes:
        cache: The ``Cache-Control`` header.
        gzipped: The body compressed, for who takes that; empty when there is none.
        etag: The ``ETag`` header, with its quotes; "" for none.
    """

    body: bytes
    content_type: str
    status: int = 200
    cache: str = "no-store"
    gzipped: bytes = b""
    etag: str = ""


#: What GET finds, by path; called for each request.
Pages: TypeAlias = dict[str, Callable[[], Page]]
