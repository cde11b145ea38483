"""
What the URL of a grape may look like.

Pure. A URL that cannot be asked is refused when it is given, not when it is first used.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from grenache_py.errors import LocalProtocolError

__all__ = ["check_grape_url"]

_SCHEMES = ("http", "https")
#: Longest host name, without a dot at its end (RFC 1035).
HOST_CHARS_MAX = 253
#: A label of a host name (RFC 1123): up to 63 letters, digits and inner hyphens.
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def check_grape_url(url: str) -> str:
    """
    Return a grape's base URL in ASCII and without its trailing slash.

    Raises:
        LocalProtocolError: it is none; the message says what is wrong with it.
    """
    if not isinstance(url, str):
        raise LocalProtocolError(f"a grape's URL is text, not {url!r}")
    if "@" in url.partition("://")[2].partition("/")[0]:
        # The URL is not repeated: the message may go to a log, and there is a password in it.
        raise LocalProtocolError("a grape's URL has no user name and no password")
    if any(letter <= " " or letter == "\x7f" for letter in url):
        raise LocalProtocolError(f"a grape's URL has no blanks and no control characters: {url!r}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    after_host = parts.netloc.rpartition("]")[2]
    if (
        not host
        or port == 0
        or parts.netloc.endswith(":")
        or parts.scheme not in _SCHEMES
        or (after_host != parts.netloc and after_host[:1] not in ("", ":"))
    ):
        raise LocalProtocolError(f"a grape's URL looks like http://127.0.0.1:30001, not {url!r}")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise LocalProtocolError(f"a grape's URL has no query and no fragment: {url!r}")
    if not parts.path.isascii():
        raise LocalProtocolError(f"the path of a grape's URL is ASCII, percent-encoded: {url!r}")
    bracketed = "[" in parts.netloc
    ascii_host = f"[{_literal(host, url)}]" if bracketed else _name(host, url)
    place = ascii_host if port is None else f"{ascii_host}:{port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def _literal(host: str, url: str) -> str:
    try:
        if "%" in host:
            raise ValueError
        IPv6Address(host)
    except ValueError:
        raise LocalProtocolError(f"{host!r} is not an IPv6 address: {url!r}") from None
    return host


def _name(host: str, url: str) -> str:
    """Return a host name or an IPv4 literal in ASCII."""
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        name = ""
    labels = name.removesuffix(".").split(".")
    if len(name.removesuffix(".")) > HOST_CHARS_MAX or not all(map(_is_label, labels)):
        raise LocalProtocolError(
            f"{host[:80]!r} is not a host name: its parts have 1 to 63 letters, digits and inner"
            f" hyphens: {url[:120]!r}"
        )
    return name


def _is_label(label: str) -> bool:
    if not _LABEL.fullmatch(label):
        return False
    # Hyphens in third and fourth place mark an encoding, and there is one (RFC 5891).
    return label[2:4] != "--" or label[:4].lower() == "xn--"
