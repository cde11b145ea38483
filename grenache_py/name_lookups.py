"""
Host names are looked up in threads that nobody waits for.

Shell: changes the reactor it is given. The system's resolver cannot be interrupted, and a name
server that does not answer holds it for half a minute. In the reactor's own threads that would be
half a minute for every stop, and the threads' other work would wait for one that is free.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from twisted.internet._resolver import GAIResolver
from twisted.python.threadpool import ThreadPool

__all__ = ["look_names_up_apart"]

#: Names that are looked up at a time; more of them wait.
LOOKUPS_MAX = 16


class _Threads(ThreadPool):
    """Threads that end with the process, whatever they are doing."""

    threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]


def look_names_up_apart(reactor: Any, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
    """Have ``reactor`` look up names in threads of their own, which end with the process."""
    threads = _Threads(0, LOOKUPS_MAX, "name look-ups")
    threads.start()
    reactor.installNameResolver(GAIResolver(reactor, lambda: threads, getaddrinfo))
