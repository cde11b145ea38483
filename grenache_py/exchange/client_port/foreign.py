"""
Programs that speak something else at the client port: how they are known by what they say first.

Pure. A page from anywhere can make a browser on this machine send a POST to this port, and each
line of its body would be a command with the reach of the browser's user. What a page cannot choose
is the request line that comes before it. So the first line that looks like one ends the connection,
and nothing after it is read. The same holds for the first byte of a TLS handshake: its sender waits
for an answer that never comes, and what it sends is partly of a page's choosing.
"""

from __future__ import annotations

import re

from grenache_py.exchange.errors import PARSE_ERROR
from grenache_py.wire.jsonrpc import error_line

__all__ = ["TLS_HANDSHAKE", "foreign_answer", "looks_foreign"]

#: The first byte of every TLS connection: a record of the handshake (RFC 8446, 5.1).
TLS_HANDSHAKE = b"\x16"

#: The last of the three words of a request line, however it is written.
_VERSION = re.compile(rb"HTTP/[0-9.]+", re.IGNORECASE)


def looks_foreign(line: bytes) -> bool:
    """Whether ``line`` is the request line of HTTP or begins a TLS handshake."""
    if line.startswith(TLS_HANDSHAKE):
        return True
    if b"/" not in line[-16:]:
        return False  # nearly always
    words = line.split()
    return len(words) > 2 and _VERSION.fullmatch(words[-1]) is not None


def foreign_answer(line: bytes) -> bytes:
    """The one line that its sender is told before the connection closes."""
    spoken = "TLS" if line.startswith(TLS_HANDSHAKE) else "HTTP"
    return error_line(
        None,
        PARSE_ERROR,
        f"This port speaks lines of JSON-RPC, not {spoken}; this connection ends here.",
    )
