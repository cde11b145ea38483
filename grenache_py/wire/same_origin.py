"""
Which requests of a browser a local HTTP port takes: its own page's, and nobody else's.

Pure. A page from anywhere can make a browser on this machine send requests to this port. Two
headers tell. ``Origin`` names the page that asks (Fetch standard: each POST and each WebSocket
handshake of a browser has it). ``Host`` is the name under which the port was reached. Anybody can
register a name and make it resolve to 127.0.0.1; pages get around the first header that way ("DNS
rebinding"). So such a name has to be one that the operator gave.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["host_is_ours", "refusal", "refused_by_headers"]

#: Endings that public name servers do not serve (RFC 6761, RFC 6762, RFC 8375, ICANN 2024).
_PRIVATE_ENDINGS = (".localhost", ".local", ".home.arpa", ".internal", ".test")


def _host_of(authority: str) -> str:
    """The host of ``host:port``, lower case, without brackets; "" when it is none."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def host_is_ours(authority: str, names: Collection[str] = ()) -> bool:
    """
    Whether a ``Host`` header names this port in a way that no stranger can arrange.

    Args:
        authority: the header: ``host`` or ``host:port``.
        names: the names that the operator gave to this port, lower case.

    Returns:
        True for an address, for a name without a dot or with a private ending, and for ``names``.
    """
    host = _host_of(authority)
    if not host:
        return False
    try:
        ip_address(host)
    except ValueError:
        return "." not in host or host in names or host.endswith(_PRIVATE_ENDINGS)
    return True


def refusal(
    host: str | None,
    origin: str | None,
    names: Collection[str] = (),
    origins: Collection[str] = (),
) -> str:
    """
    Why a request is refused.

    Args:
        host: the ``Host`` header, None when there is none (HTTP/1.0: no browser).
        origin: the ``Origin`` header, None when there is none.
        names: as in ``host_is_ours``.
        origins: of pages of other sites that may ask all the same, lower case; ``*`` is every one.

    Returns:
        A sentence for the answer; "" when the request may go on.
    """
    if host is not None and not host_is_ours(host, names):
        return (
            "This port does not go by the name in the Host header;"
            " its operator can say that it does (--allow-host)."
        )
    if origin is None or origin.lower() in origins or "*" in origins:
        return ""
    try:
        page = urlsplit(origin)
        asked = urlsplit(f"//{host or ''}")
        default = {"http": 80, "https": 443}.get(page.scheme)
        same = (
            default is not None
            and bool(page.hostname)
            and page.hostname == asked.hostname
            and (page.port or default) == (asked.port or default)
        )
    except ValueError:
        same = False
    return "" if same else "Pages of other sites may not use this port."


def refused_by_headers(
    headers: Mapping[bytes, bytes], names: Collection[str] = (), origins: Collection[str] = ()
) -> str:
    """The same as `refusal`, of a request's headers by name in lower case."""
    host, origin = headers.get(b"host"), headers.get(b"origin")
    return refusal(
        None if host is None else host.decode("latin-1"),
        None if origin is None else origin.decode("latin-1"),
        names,
        origins,
    )
