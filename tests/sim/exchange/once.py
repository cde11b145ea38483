"""
Pure functions of signed bytes, worked out once for all peers of a simulation.

Five peers read the same bytes of one entry: that is one function called five times. Whatever
differs, in a single bit, is looked at for itself; a refusal is made anew each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest import mock

from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.keys import Ed25519

__all__ = ["OnceVerified", "once_decoded"]

#: How many are remembered: what is on its way and what is in the tails of logs.
REMEMBERED = 20_000


class OnceVerified(Ed25519):
    """ed25519; a signature over a message under a key is checked once."""

    verify = lru_cache(REMEMBERED)(Ed25519.verify)


@contextmanager
def once_decoded() -> Iterator[None]:
    """While this lasts, a log entry is decoded once, and once found to be canonical."""
    decoded, check = lru_cache(REMEMBERED)(Entry.decode), Entry.check_canonical

    @lru_cache(REMEMBERED)
    def canonical(payload: str) -> None:
        check(decoded(payload), payload)

    def check_canonical(entry: Entry, payload: str) -> None:
        if decoded(payload) is entry:
            canonical(payload)
        else:
            check(entry, payload)

    with (
        mock.patch.object(Entry, "decode", staticmethod(decoded)),
        mock.patch.object(Entry, "check_canonical", check_canonical),
    ):
        yield
