"""
What a server of requests, or a publisher, allows the other side.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from grenache_py.errors import ConfigError

__all__ = ["CLOSE_TIMEOUT_S", "ServerLimits"]

#: Seconds the other side gets to answer when a connection is closed.
CLOSE_TIMEOUT_S = 2.0

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


def _hosts(names: str | Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in ([names] if isinstance(names, str) else names))


def _origins(origins: str | Iterable[str]) -> frozenset[str]:
    found = _hosts(origins)
    for each in found - {"*", "null"}:
        if not _ORIGIN.fullmatch(each):
            raise ConfigError(f"an origin is https://HOST or https://HOST:PORT or *, not {each!r}")
    return found


@attrs.frozen
class ServerLimits:
    """
    Named limits of one listening port.

    Attributes:
        body_bytes_max: one request, before and after decompression. Node has no limit.
        header_bytes_max: request line and headers together, as in Node.
        connections_max: more are closed as soon as they are accepted.
        requests_max: requests being handled at a time, over all connections; more are
            answered with ``ERR_BUSY``.
        pipelined_max: requests of one connection that are under way or wait for their turn; it
            is not read from until there are fewer.
        handler_timeout_s: a handler that takes longer is cancelled, and the request answered
            with ``ERR_TIMEOUT``. Node's clients wait 60 s by default.
        idle_timeout_s: a connection on which nothing happened for so long is closed, or
            pinged first over WebSocket. Longer than the 5 s after which Node's clients let
            go of a connection, so that it is never the server that closes under a request.
        stop_grace_s: what requests being handled get to finish when the server stops.
        allow_hosts: public names by which the port may be called. Addresses, names without a dot
            and private ones always may; a browser can be led here by any other
            (docs/design/threat-model.rst#browser).
        allow_origins: ``https://host[:port]`` of each site whose pages may call the port from a
            browser, beside those that came from the same host and port; ``*`` is every site. Who
            is no browser names no origin, and needs nothing.

    Raises:
        ConfigError: what is given as an origin is none.
    """

    body_bytes_max: int = 4_194_304
    header_bytes_max: int = 16_384
    connections_max: int = 1000
    requests_max: int = 1000
    pipelined_max: int = 100
    handler_timeout_s: float = 60.0
    idle_timeout_s: float = 65.0
    stop_grace_s: float = 5.0
    allow_hosts: frozenset[str] = attrs.field(default=frozenset(), converter=_hosts)
    allow_origins: frozenset[str] = attrs.field(default=frozenset(), converter=_origins)
