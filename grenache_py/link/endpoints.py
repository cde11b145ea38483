"""
Where grapes and services are connected to, with TLS that goes by the clock it is given.

Shell: connects. Twisted's own ``wrapClientTLS`` schedules its writes with the global reactor, which
need not be ours and need not run.
"""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

__all__ = ["GrapeEndpoints", "SecureClientEndpoint", "plain_endpoint"]


def plain_endpoint(reactor: Any, host: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
    """Return where ``host`` is, a name or an address without brackets."""
    try:
        version = ip_address(host).version
    except ValueError:
        # A reactor may have a way of its own.
        name: Any = getattr(reactor, "named_host", partial(HostnameEndpoint, reactor))
        named: IStreamClientEndpoint = name(host, port, timeout_s)
        return named
    # HostnameEndpoint reports a refused connection 0.3 s late, to give others a chance.
    kind: Any = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, host, port, timeout=timeout_s)
    return endpoint


@implementer(IStreamClientEndpoint)
class SecureClientEndpoint:
    """
    TLS over another endpoint.

    Args:
        options: what ``optionsForClientTLS`` returns.
        wrapped: connects.
        clock: schedules what is written.
    """

    def __init__(self, options: Any, wrapped: IStreamClientEndpoint, clock: IReactorTime) -> None:
        self._options = options
        self._wrapped = wrapped
        self._clock = clock

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect; the TLS handshake is not awaited.

        Fires with: the protocol that ``factory`` made.
        Fails with: whatever the wrapped endpoint fails with.
        Cancel: the connection is dropped.
        """
        secure = TLSMemoryBIOFactory(self._options, True, factory, self._clock)
        connecting: Deferred[Any] = self._wrapped.connect(secure)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class GrapeEndpoints:
    """The endpoints of grapes for an ``Agent``: ``https`` trusts what the system trusts."""

    def __init__(self, reactor: Any, timeout_s: float) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._https = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return where ``uri`` is."""
        host = uri.host.decode("ascii")
        plain = plain_endpoint(self._reactor, host, uri.port, self._timeout_s)
        if uri.scheme == b"http":
            return plain
        options = self._https.creatorForNetloc(uri.host, uri.port)
        return SecureClientEndpoint(options, plain, self._reactor)
