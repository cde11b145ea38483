"""
Where a daemon is, and why it is not reached there.

Pure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["DEFAULT", "DaemonAddress", "why_not_reached"]

DEFAULT = "127.0.0.1:7070"


class DaemonAddress(Struct, frozen=True):
    """
    ``HOST:PORT``, or the path of a UNIX socket (anything with a ``/``).

    Attributes:
        text: as it was given.
        path: of the socket; "" for a host and a port.
    """

    text: str
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def of(cls, text: str | None) -> DaemonAddress:
        """
        Read an address; None: that in ``EXCHANGE_CONNECT``, or `DEFAULT`.

        Raises:
            ValueError: it is none.
        """
        text = text or os.environ.get("EXCHANGE_CONNECT") or DEFAULT
        if "/" in text:
            return cls(text, path=text)
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text!r} is not HOST:PORT, and no path of a socket")
        return cls(text, host=host.strip("[]"), port=int(port))

    @classmethod
    def all_of(cls, text: str | Sequence[str] | None) -> tuple[DaemonAddress, ...]:
        """
        Read the addresses of a home's daemons: a list, or one text with commas.

        Raises:
            ValueError: one is none.
        """
        if text is None or isinstance(text, str):
            text = (text or os.environ.get("EXCHANGE_CONNECT") or DEFAULT).split(",")
        parts = [each.strip() for each in text]
        if not all(parts) or not parts:
            raise ValueError("an address is missing")
        return tuple(dict.fromkeys(cls.of(part) for part in parts))


def why_not_reached(error: OSError) -> str:
    """What an error of connecting means, in a few words."""
    import ssl  # not for who connects without

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as we do: {error.reason}"
    return str(error.strerror or error)
