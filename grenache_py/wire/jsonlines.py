"""
Lines out of a byte stream: the framing of the exchange's client and peer ports.

Pure. A line ends with ``\\n`` (``\\r\\n`` accepted) and holds at most `LINE_BYTES_MAX` bytes
before its end. Empty lines are passed over.

People come with telnet, whose commands (RFC 854: a byte 255 and what belongs to it) stand
between the lines they type, so they are taken off a line's beginning. Anywhere else a byte 255
is left where it is: whoever reads the line sees that it is not UTF-8, and the next line is not
touched. Subnegotiations follow only what a server asks for, and ours asks for nothing.
"""

from __future__ import annotations

import re

__all__ = ["LINE_BYTES_MAX", "LineSplitter"]

LINE_BYTES_MAX = 65_536

#: One byte from 241 (no operation) to 249 (go ahead), or 251 to 254 (will, won't, do, don't) and
#: an option.
_COMMANDS = re.compile(rb"(?:\xff(?:[\xf1-\xf9]|[\xfb-\xfe][^\n]))+", re.DOTALL)


class LineSplitter:
    """
    Cuts what arrives into lines, however it was cut on its way.

    Attributes:
        too_long: a line was longer than allowed. What `feed` returned is good; the rest of
            the stream has no meaning and is ignored from here on.
    """

    __slots__ = ("_line_bytes_max", "_pending", "too_long")

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        self._pending = bytearray()
        self.too_long = False

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line whose end has not come yet."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the lines they complete, without their ends."""
        if self.too_long:
            return []
        end = data.find(b"\n")
        if end < 0:
            self._pending += data
            self._check_pending()
            return []
        if end + 1 == len(data) and end <= self._line_bytes_max and not self._pending:
            line = data[:-2] if data[-2:-1] == b"\r" else data[:-1]
            if line[:1] == b"\xff":
                line = _without_telnet(line)
            return [line] if line else []  # one whole line, as most come
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._pending:
            lines[0] = bytes(self._pending + lines[0])
            self._pending.clear()
        if b"\r" in data or lines[0].endswith(b"\r"):
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        if len(max(lines, key=len)) > self._line_bytes_max:
            good = next(i for i, line in enumerate(lines) if len(line) > self._line_bytes_max)
            self.too_long = True
            del lines[good:]
        else:
            self._pending += rest
            self._check_pending()
        if b"\xff" in data or (lines and lines[0].startswith(b"\xff")):
            lines = [_without_telnet(line) for line in lines]
        return [line for line in lines if line]

    def _check_pending(self) -> None:
        size = len(self._pending)
        # One byte more is allowed if it may turn out to be the \r of the line's end.
        if size > self._line_bytes_max and not (
            size == self._line_bytes_max + 1 and self._pending.endswith(b"\r")
        ):
            self.too_long = True
            self._pending.clear()


def _without_telnet(line: bytes) -> bytes:
    """Return a line without the telnet commands at its beginning."""
    commands = _COMMANDS.match(line)
    return line[commands.end() :] if commands else line
