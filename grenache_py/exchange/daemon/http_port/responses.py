"""
The answers of the HTTP port as bytes, with the headers that keep a browser from harm.

Pure.
"""

from __future__ import annotations

from http import HTTPStatus

from grenache_py.wire.http.messages import Page

__all__ = ["response", "text_page"]

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:;"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_SAFETY = (
    f"Content-Security-Policy: {CONTENT_SECURITY}",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
)


def text_page(status: int, sentence: str) -> Page:
    """A page of one sentence."""
    return Page(f"{sentence}\n".encode(), "text/plain; charset=utf-8", status)


def response(page: Page, *, body: bool = True, close: bool = False, gzipped: bool = False) -> bytes:
    """
    Return an answer.

    Args:
        body: False: only its head, as HEAD asks for.
        close: The connection ends with it.
        gzipped: The client takes a compressed body.
    """
    head = [
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.content_type}",
    ]
    content = page.body
    if page.gzipped:
        head.append("Vary: Accept-Encoding")
        if gzipped:
            content = page.gzipped
            head.append("Content-Encoding: gzip")
    head.append(f"Content-Length: {len(content)}")
    head.append(f"Cache-Control: {page.cache}")
    if page.etag:
        head.append(f"ETag: {page.etag}")
    if page.status == 405:
        head.append("Allow: GET, HEAD")
    if close:
        head.append("Connection: close")
    written = "\r\n".join([*head, *_SAFETY, "\r\n"]).encode()
    return written + (content if body else b"")
