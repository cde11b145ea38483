"""
The files of the page, as the HTTP port serves them.

Shell: reads what was installed with this package once, and compresses it when it is asked for.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from grenache_py.wire.http.messages import Page, Pages

__all__ = ["STATIC_PATHS", "static_pages"]

#: Every file by its path, and what it is for.
STATIC_PATHS = {
    "/": "the page",
    "/style.css": "the page's style",
    "/app.js": "the page's program",
    "/book.js": "the book",
    "/chart.js": "candles and depth",
    "/form.js": "the order form",
    "/mine.js": "own orders and fills",
    "/net.js": "the connection",
    "/num.js": "exact decimals",
    "/page.js": "what the parts share",
    "/vendor/lightweight-charts-5.2.1.js": "TradingView Lightweight Charts",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def static_pages() -> Pages:
    """The files of ``web/`` by path."""
    return {path: _page(path) for path in STATIC_PATHS}


def _page(path: str) -> Callable[[], Page]:
    name = path[1:] or "index.html"
    body = (files("grenache_py.exchange.daemon.http_port") / "web" / name).read_bytes()
    content_type = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    # A file of another version has another name.
    kept = "public, max-age=31536000, immutable" if path.startswith("/vendor/") else "no-store"
    return cache(lambda: Page(body, content_type, cache=kept, gzipped=gzip.compress(body, mtime=0)))
