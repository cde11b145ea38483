"""
A thread that does one thing after the other, seen from the reactor.

Shell. Touches one thread; SQLite connections stay on the thread that opened them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["Lane"]

T = TypeVar("T")


class Lane:
    """One thread that runs one thing after the other."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=1, name=name)
        # A program that dies of an error must not hang for want of ``stop``.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._pool.start()

    def run(self, call: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        """Fires and fails as ``call`` does, which waits for what was asked for before."""
        return deferToThreadPool(self._reactor, self._pool, call, *args, **kwargs)

    def stop(self) -> None:
        """Wait for what is running, then end the thread."""
        self._pool.stop()

    def stopped_with(self, result: T) -> T:
        """Stop, and pass on ``result``: for the end of a Deferred's chain."""
        self.stop()
        return result
