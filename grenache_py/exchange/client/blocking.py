"""
The other end of the client port: one connection that asks and waits, for tools and scripts.

Shell: owns one blocking socket. Every wait has a deadline.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from grenache_py.errors import GrenacheError
from grenache_py.wire.jsonlines import LineSplitter
from grenache_py.wire.jsonrpc import Response, decode_response, request_line

__all__ = ["CannotReach", "Client", "Refused"]

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 16 * 1_048_576
NOTIFICATIONS_MAX = 100_000


class CannotReach(GrenacheError):
    """There is no daemon there, or the connection to it broke. The message says what to do."""


class Refused(GrenacheError):
    """
    The daemon answered with an error.

    Attributes:
        code, message, data: the error object's members.
    """

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Client:
    """
    A connection to a daemon's client port.

    Args:
        address: ``HOST:PORT``, or the path of a UNIX socket (anything with a ``/``).
        clock: seconds from any fixed point, rising.
        tls: how to speak TLS with the daemon; None: not at all.

    Raises:
        CannotReach: nobody listens there.
    """

    def __init__(
        self, address: str, clock: Callable[[], float], tls: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self._clock = clock
        self._splitter = LineSplitter(ANSWER_BYTES_MAX)
        self._lines: deque[bytes] = deque()
        self._notifications: deque[Response] = deque()
        self._next_id = 0
        self._heard = False
        try:
            self._socket = _connected(address, tls)
        except ssl.SSLCertVerificationError as error:
            raise CannotReach(
                f"the certificate of {address} is not believed: {error.verify_message}"
            ) from None
        except ssl.SSLError as error:
            raise CannotReach(f"{address} does not speak TLS as we do: {error.reason}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CannotReach(
                f"no exchange at {address} ({reason}): start one with `twistd -n exchange`,"
                " or say where it is with --connect HOST:PORT"
            ) from None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def detach(self) -> socket.socket:
        """Return the connection, for somebody who has better things to do than to wait."""
        return self._socket

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, timeout_s: float = ANSWER_TIMEOUT_S, **params: Any) -> Any:
        """
        Call a method; members of ``params`` that are None are left out.

        Raises:
            Refused: the daemon answered with an error.
            CannotReach: no answer within ``timeout_s``, or the connection broke.
        """
        self._next_id += 1
        given = {name: value for name, value in params.items() if value is not None}
        deadline = self._clock() + timeout_s
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(request_line(method, given, self._next_id))
        except OSError as error:
            raise self._broken(error) from None
        while True:
            response = self._response(deadline)
            if response is None:
                raise CannotReach(
                    f"{self.address} did not answer {method} within {timeout_s:g} s;"
                    " is it a daemon's client port?"
                )
            if response.method is not UNSET:
                if len(self._notifications) < NOTIFICATIONS_MAX:
                    self._notifications.append(response)
            elif response.error is not UNSET:
                error_object = response.error
                raise Refused(
                    int(error_object.get("code", 0)),
                    str(error_object.get("message", "an error without a message")),
                    error_object.get("data") or {},
                )
            elif response.id == self._next_id:
                return response.result

    def notification(self, timeout_s: float) -> tuple[str, dict[str, Any]] | None:
        """
        Return the next notification's method and params, or None when none comes in time.

        Raises:
            CannotReach: the connection broke.
        """
        if self._notifications:
            response: Response | None = self._notifications.popleft()
        else:
            deadline = self._clock() + timeout_s
            response = self._response(deadline)
            while response is not None and response.method is UNSET:
                response = self._response(deadline)
        if response is None:
            return None
        return str(response.method), response.params

    def _response(self, deadline: float) -> Response | None:
        while not self._lines:
            left = deadline - self._clock()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                return None
            except OSError as error:
                raise self._broken(error) from None
            if not data:
                silent = " without a word; does it speak TLS?" if not self._heard else ""
                raise CannotReach(f"{self.address} closed the connection{silent}")
            self._heard = True
            self._lines.extend(self._splitter.feed(data))
        return decode_response(self._lines.popleft())

    def _broken(self, error: OSError) -> CannotReach:
        return CannotReach(f"the connection to {self.address} broke: {error.strerror or error}")


def _connected(address: str, tls: ssl.SSLContext | None) -> socket.socket:
    if "/" not in address:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        connection = socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection
