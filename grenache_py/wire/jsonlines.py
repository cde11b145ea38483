"""
Lines out of a byte stream: the framing of the exchange's client and peer ports.

Pure. A line ends with ``\\n`` (``\\r\\n`` accepted) and holds at most `LINE_BYTES_MAX` bytes
before its end. Empty lines are passed over. People come with telnet, so its commands
(RFC 854: a byte 255 and what belongs to it) are taken out; text in UTF-8 never holds that byte.
"""

from __future__ import annotations

__all__ = ["LINE_BYTES_MAX", "LineSplitter"]

LINE_BYTES_MAX = 65_536

_IAC, _SB, _SE = 255, 250, 240
_WILL, _DONT = 251, 254  # WILL, WONT, DO, DONT: one more byte follows

# Where the telnet filter stands between two chunks.
_TEXT, _COMMAND, _OPTION, _SUB, _SUB_IAC = range(5)


class LineSplitter:
    """
    Cuts what arrives into lines, however it was cut on its way.

    Attributes:
        too_long: a line was longer than allowed. What `feed` returned is good; the rest of
            the stream has no meaning and is ignored from here on.
    """

    __slots__ = ("_line_bytes_max", "_pending", "_telnet", "too_long")

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        self._pending = bytearray()
        self._telnet = _TEXT
        self.too_long = False

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line whose end has not come yet."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the lines they complete, without their ends."""
        if self.too_long:
            return []
        if self._telnet or 255 in data:
            data = self._without_telnet(data)
        end = data.find(b"\n")
        if end < 0:
            self._pending += data
            self._check_pending()
            return []
        if end + 1 == len(data) and end <= self._line_bytes_max and not self._pending:
            line = data[:-2] if data.endswith(b"\r\n") else data[:-1]
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
            return [line for line in lines[:good] if line]
        self._pending += rest
        self._check_pending()
        return [line for line in lines if line]

    def _check_pending(self) -> None:
        size = len(self._pending)
        # One byte more is allowed if it may turn out to be the \r of the line's end.
        if size > self._line_bytes_max and not (
            size == self._line_bytes_max + 1 and self._pending.endswith(b"\r")
        ):
            self.too_long = True
            self._pending.clear()

    def _without_telnet(self, data: bytes) -> bytes:
        """Take out telnet's commands, option negotiations and subnegotiations."""
        text = bytearray()
        state = self._telnet
        for byte in data:
            if state == _TEXT:
                if byte == _IAC:
                    state = _COMMAND
                else:
                    text.append(byte)
            elif state == _COMMAND:
                if byte == _IAC:  # a doubled 255 stands for the byte itself
                    text.append(byte)
                    state = _TEXT
                elif byte == _SB:
                    state = _SUB
                elif _WILL <= byte <= _DONT:
                    state = _OPTION
                else:
                    state = _TEXT
            elif state == _OPTION:
                state = _TEXT
            elif state == _SUB:
                if byte == _IAC:
                    state = _SUB_IAC
            else:  # _SUB_IAC
                state = _TEXT if byte == _SE else _SUB
        self._telnet = state
        return bytes(text)
