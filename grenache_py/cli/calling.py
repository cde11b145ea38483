"""
A service is asked over HTTP, by a command that does nothing else.

Shell: owns a connection at a time. The rules are those of `grenache_py.rpc`; without a reactor a
command starts in half the time.
"""

from __future__ import annotations

import gzip
import random
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from grenache_py.cli.asking import GrapeAsker, NotReached, exchanged
from grenache_py.errors import RemoteProtocolError
from grenache_py.link.errors import LinkError
from grenache_py.rpc.errors import (
    BadFrame,
    NoPeerFound,
    PeerLost,
    PeerUnreachable,
    RequestTimedOut,
)
from grenache_py.rpc.frames import decode_reply, encode_request, gunzip, split_address

__all__ = ["requested"]

#: The largest reply that is accepted, as for an RPCClient.
REPLY_BYTES_MAX = 16_777_216


def requested(
    grapes: Sequence[str],
    name: str,
    payload: Any,
    *,
    timeout_s: float,
    retries: int = 0,
    compress: bool = False,
) -> Any:
    """
    Ask one of the services announced under ``name``, as `RPCClient.request` does.

    Args:
        grapes: base URLs that have been checked.
        timeout_s: what each attempt gets, looking up and connecting included.
        retries: attempts that may follow one that was lost or timed out.
        compress: gzip request and reply.

    Returns:
        The service's result.

    Raises:
        RPCError, LinkError, LocalProtocolError: as `RPCClient.request` does; but what was not sent
            in time is GrapeUnreachable or PeerUnreachable, for it did not happen.
    """
    for _ in range(retries):
        with suppress(PeerLost, RequestTimedOut, PeerUnreachable, NoPeerFound, LinkError):
            return _attempt(grapes, name, payload, timeout_s, compress)
    return _attempt(grapes, name, payload, timeout_s, compress)


def _attempt(
    grapes: Sequence[str], name: str, payload: Any, timeout_s: float, compress: bool
) -> Any:
    rid = secrets.token_hex(8)
    frame = encode_request(rid, name, payload)
    give_up = time.monotonic() + timeout_s
    addresses = list(dict.fromkeys(GrapeAsker(grapes, timeout_s).lookup(name)))
    if not addresses:
        raise NoPeerFound(f"nobody is announced as {name!r}")
    attempts = []
    for address in random.sample(addresses, len(addresses)):
        rest_s = give_up - time.monotonic()
        if rest_s <= 0:
            attempts.append(f"{address}: not tried, {timeout_s:g} s are over")
            continue
        try:
            return _result(rid, *_sent(address, frame, rest_s, compress))
        except NotReached as error:
            attempts.append(f"{address}: {error}")
        except TimeoutError:
            late = f"no answer to {name!r} from {address} in {timeout_s:g} s"
            raise RequestTimedOut(late) from None
        except OSError:
            raise PeerLost(f"the connection to {address} was lost") from None
        except RemoteProtocolError as error:
            raise BadFrame(f"{address}: {error}") from None
    raise PeerUnreachable(f"nobody announced as {name!r} accepts a connection", attempts)


def _sent(address: str, frame: bytes, timeout_s: float, compress: bool) -> tuple[int, bytes]:
    """Send a request; status and body of the answer."""
    try:
        host, port = split_address(address)
    except BadFrame as error:
        raise NotReached(str(error)) from None
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if not compress:
        return exchanged(url, frame, timeout_s, REPLY_BYTES_MAX, {"grc-compress": "none"})
    sent = gzip.compress(frame, compresslevel=6, mtime=0)
    status, body = exchanged(url, sent, timeout_s, REPLY_BYTES_MAX, {"grc-compress": "gzip"})
    plain = gunzip(body, REPLY_BYTES_MAX)
    return status, body if plain is None else plain


def _result(rid: str, status: int, body: bytes) -> Any:
    try:
        echoed, error, data = decode_reply(body)
    except BadFrame as bad:
        raise BadFrame(f"answered with HTTP {status}: {bad}") from None
    if error is not None:
        raise error
    if echoed != rid:
        raise BadFrame("answered another request than was sent")
    return data
