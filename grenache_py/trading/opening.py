"""
A socket to a daemon, opened by who can wait.

Shell: opens a socket.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from grenache_py.trading.address import DaemonAddress

if TYPE_CHECKING:
    import ssl

__all__ = ["open_socket"]


def open_socket(address: DaemonAddress, wait_s: float, tls: ssl.SSLContext | None) -> socket.socket:
    """
    Return a connection that does not block any more.

    Args:
        wait_s: what connecting, and the TLS handshake, may take.

    Raises:
        OSError: nobody is there, or TLS fails.
    """
    connection: socket.socket | None = None
    try:
        if address.path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(wait_s)
            connection.connect(address.path)
        else:
            connection = socket.create_connection((address.host, address.port), wait_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection = tls.wrap_socket(connection, server_hostname=address.host)
        connection.setblocking(False)
    except OSError:
        if connection is not None:
            connection.close()
        raise
    return connection
