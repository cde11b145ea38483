"""
What a server of requests over HTTP reads, and how much of it at a time.

Pure.
"""

from __future__ import annotations

from grenache_py.rpc.limits import ServerLimits
from grenache_py.wire.http.reader import ReaderLimits

__all__ = ["PIECE_BYTES", "reader_limits"]

#: What Twisted reads at once, at most.
READ_BYTES_MAX = 65_536
#: Of that, so much is read before it is seen whether the client takes the answers.
PIECE_BYTES = 8_192


def reader_limits(limits: ServerLimits) -> ReaderLimits:
    """What a client may send."""
    return ReaderLimits(
        head_bytes_max=limits.header_bytes_max,
        body_bytes_max=limits.body_bytes_max,
        # The parser keeps a header line to itself until it has all of it.
        unended_head_bytes_max=limits.header_bytes_max + READ_BYTES_MAX,
        host_needed=False,
        body_text=f"a body of more than {limits.body_bytes_max} bytes",
        head_text="too many header bytes",
    )
