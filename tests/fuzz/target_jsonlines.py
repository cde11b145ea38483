"""Lines out of a stream: the same whole, byte by byte and cut in the middle, and never too much."""

from __future__ import annotations

from grenache_py.wire.jsonlines import LineSplitter

LINE_BYTES_MAX = 32
SEEDS = [
    b'{"jsonrpc":"2.0"}\r\nping\n\n',
    b"\xff\xfb\x01\xff\xfa\x1f\x00\x50\x0a\xff\xf0ping\xff\xf4\xff\xfd\x06\r\n",
    b"x" * 32 + b"\r\n" + b"y" * 33 + b"\nz\n",
    b"a\xff\xffb\n\xff",
]


def _split(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    splitter = LineSplitter(LINE_BYTES_MAX)
    lines: list[bytes] = []
    for piece in pieces:
        lines += splitter.feed(piece)
        assert splitter.pending_bytes <= LINE_BYTES_MAX + 1
    assert all(0 < len(line) <= LINE_BYTES_MAX and b"\n" not in line for line in lines)
    return lines, splitter.too_long


def one(data: bytes) -> None:
    """However the stream is cut, the lines are the same."""
    whole = _split([data])
    assert _split([data[i : i + 1] for i in range(len(data))]) == whole
    middle = len(data) // 2
    assert _split([data[:middle], data[middle:]]) == whole
