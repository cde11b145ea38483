"""
The TLS certificates of ports that listen by an endpoint string, read again while they listen.

Shell: reads the files that an endpoint string names, and gives a port another factory. Connections
that are open keep the certificate they began with.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from grenache_py.errors import ConfigError

__all__ = ["ends", "read", "renew"]


class _Listener:
    """In the place of a reactor: keeps the TLS context that an endpoint would listen with."""

    context: Any = None

    def listenSSL(self, port: int, factory: Factory, contextFactory: Any, **where: object) -> None:
        contextFactory.getContext()  # whether certificate and key belong together
        self.context = contextFactory


def read(description: str) -> Any:
    """
    Read the certificate and key that an endpoint string names.

    Returns:
        what `renew` takes; None when the endpoint speaks no TLS of its own.

    Raises:
        ConfigError: they cannot be read, or do not belong together.
    """
    if not description.startswith("ssl:"):
        return None
    from OpenSSL.crypto import Error as NoPEM
    from OpenSSL.SSL import Error as NoMatch
    from twisted.internet.error import VerifyError

    listener: Any = _Listener()
    failures: list[Failure] = []
    try:
        serverFromString(listener, description).listen(Factory()).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
    except (NoPEM, NoMatch, VerifyError):
        raise ConfigError(
            f"endpoint {description!r}: certificate and key are not PEM, or no pair"
        ) from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        named = getattr(error, "filename", None)
        where = f"{named}: " if named else ""
        raise ConfigError(f"endpoint {description!r}: {where}{reason}") from None
    return listener.context


def ends(context: Any) -> float:
    """When the certificate that `read` found ends, in seconds since 1970."""
    return float(context.certificate.to_cryptography().not_valid_after_utc.timestamp())


def renew(port: IListeningPort, context: Any) -> None:
    """Have a port that speaks TLS take up later connections with ``context`` of `read`."""
    from twisted.protocols.tls import TLSMemoryBIOFactory

    listening: Any = port
    old = listening.factory
    new = TLSMemoryBIOFactory(context, False, old.wrappedFactory)
    new.doStart()
    listening.factory = new
    old.doStop()
