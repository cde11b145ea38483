"""
Asks one grape after the other, for commands that need no reactor.

Shell: owns a connection at a time. The rules are those of `grenache_py.link`; without a reactor a
command starts in half the time.
"""

from __future__ import annotations

import socket
import ssl
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from threading import Event, Timer
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from grenache_py.errors import RemoteProtocolError
from grenache_py.link import answers
from grenache_py.link.errors import GrapeRefused, GrapeUnreachable
from grenache_py.link.items import Item, check_salt, salt_text

__all__ = ["GrapeAsker", "MaybeDone", "NotReached", "exchanged", "why_not"]

T = TypeVar("T")

#: Seconds that one grape gets; a Node grape needs 2.5 s where a neighbour is dead.
ATTEMPT_S = 3.0
#: Seconds that all grapes together get.
WHOLE_S = 10.0
#: A grape's longest honest answer, as for a Link.
ANSWER_BYTES_MAX = 262_144
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class MaybeDone(GrapeUnreachable):
    """No grape answered, and one of them was asked to change something."""


class NotReached(Exception):
    """There was no connection: nothing was sent. The message says why."""


def exchanged(
    url: str,
    body: bytes | None = None,
    timeout_s: float = ATTEMPT_S,
    bytes_max: int = ANSWER_BYTES_MAX,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, bytes]:
    """
    Ask for ``url``, by POST where there is a body.

    Args:
        timeout_s: seconds for all of it; to connect, `ATTEMPT_S` at most.
        bytes_max: the longest answer that is read.
        headers: beside those that say that it is JSON.

    Returns:
        Status and body of the answer.

    Raises:
        NotReached: nothing was sent.
        OSError: there is no answer; TimeoutError, when there is none in time.
        RemoteProtocolError: it is no HTTP, or longer than any honest one.
    """
    until = time.monotonic() + timeout_s
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connect_s = min(timeout_s, ATTEMPT_S)
    connection = kind(parts.hostname or "", parts.port, timeout=connect_s)
    try:
        connection.connect()
    except OSError as error:
        raise NotReached(why_not(error, connect_s)) from None
    rest_s = max(0.001, until - time.monotonic())
    # The socket's own time-out begins anew with each byte.
    connection.sock.settimeout(rest_s)
    too_late = Event()
    late = Timer(rest_s, _cut, [connection.sock, too_late])
    late.start()
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, parts.path or "/", body, {**HEADERS, **headers})
        answer = connection.getresponse()
        received = answer.read(bytes_max + 1)
    except (HTTPException, OSError) as error:
        if too_late.is_set():
            raise TimeoutError from None
        if isinstance(error, RemoteDisconnected):
            raise OSError("it closed the connection before it had answered") from None
        if isinstance(error, OSError):
            raise
        raise RemoteProtocolError(f"it speaks no HTTP ({type(error).__name__})") from None
    finally:
        late.cancel()
        connection.close()
    if len(received) > bytes_max:
        raise RemoteProtocolError(f"an answer of more than {bytes_max} bytes")
    return answer.status, received


def _cut(connection: socket.socket, too_late: Event) -> None:
    too_late.set()  # first: who reads sees the end of the connection, and asks why
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def why_not(error: Exception, timeout_s: float = ATTEMPT_S) -> str:
    """One line that a person can act on."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:.3g} s"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error)
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


class GrapeAsker:
    """
    Asks grapes, in the order given, until one of them answers.

    Args:
        grapes: base URLs that have been checked.
        whole_s: seconds that all of them together get for one answer.

    Each method raises:
        LocalProtocolError: what was asked for cannot be asked.
        GrapeRefused: a grape's answer is an error.
        GrapeUnreachable: no grape answered; MaybeDone, when one of them may have done it.
    """

    def __init__(self, grapes: Sequence[str], whole_s: float = WHOLE_S) -> None:
        self._grapes = grapes
        self._whole_s = whole_s

    def lookup(self, name: str) -> list[str]:
        """Return who is announced."""
        return self._ask("lookup", answers.check_name(name), answers.lookup_answer)

    def announce(self, name: str, port: int) -> int:
        """Announce once; how many other grapes recorded it."""
        data = [answers.check_name(name), answers.check_port(port)]
        return self._ask("announce", data, answers.announce_answer, changes=True)

    def put(self, data: dict[str, Any], target: str) -> str:
        """Store an item whose hash is ``target``; returns that."""

        def parse(status: int, body: bytes) -> str:
            return answers.put_answer(status, body, target)

        return self._ask("put", data, parse, changes=True)

    def get(self, target: str, salt: str) -> Item | None:
        """Return the item stored under a hash, checked; None if there is none."""
        wanted, raw_salt = answers.check_hash(target), check_salt(salt)
        data = {"hash": wanted, "salt": salt_text(raw_salt)} if raw_salt else wanted

        def parse(status: int, body: bytes) -> Item | None:
            return answers.get_answer(status, body, wanted, raw_salt)

        return self._ask("get", data, parse)

    def _ask(
        self,
        command: str,
        data: object,
        parse: Callable[[int, bytes], T],
        changes: bool = False,
    ) -> T:
        body = answers.request_body(str(uuid.uuid4()), data)
        attempts: list[str] = []
        refusal: GrapeRefused | None = None
        sent = False
        give_up = time.monotonic() + self._whole_s
        for grape in self._grapes:
            attempt_s = min(ATTEMPT_S, give_up - time.monotonic())
            if attempt_s <= 0:
                attempts.append(f"{grape}: not asked, {self._whole_s:g} s are over")
                continue
            try:
                return parse(*exchanged(f"{grape}/{command}", body, attempt_s))
            except GrapeRefused as error:
                error.grape = grape
                if not error.lonely:
                    raise
                refusal = error
            except (NotReached, OSError, RemoteProtocolError) as error:
                sent = sent or not isinstance(error, NotReached)
                attempts.append(f"{grape}: {why_not(error, attempt_s)}")
        if refusal is not None:
            raise refusal
        kind = MaybeDone if sent and changes else GrapeUnreachable
        raise kind("no grape answered", attempts)
