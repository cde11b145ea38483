"""
A thread that does one thing after the other, seen from the reactor.

Shell. Touches one thread; SQLite connections stay on the thread that opened them.

Not Twisted's thread pool: its queue and its bookkeeping, made for many threads, cost more than
the commit of a single order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

__all__ = ["WorkerThread"]

T = TypeVar("T")


class WorkerThread:
    """One thread that runs one thing after the other."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._call_from_thread = reactor.callFromThread
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon thread: a program that dies of an error must not hang for want of ``stop``.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, call: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        """Fires and fails as ``call`` does, which waits for what was asked for before."""
        done: Deferred[T] = Deferred()
        self._waiting.put(partial(self._do, done, partial(call, *args, **kwargs)))
        return done

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            task()
            del task  # with its result, which may be large

    def _do(self, done: Deferred[T], call: Callable[[], T]) -> None:
        try:
            result = call()
        except BaseException:
            self._call_from_thread(done.errback, Failure())
        else:
            self._call_from_thread(done.callback, result)

    def stop(self) -> None:
        """Wait for what is running, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def stopped_with(self, result: T) -> T:
        """Stop, and pass on ``result``: for the end of a Deferred's chain."""
        self.stop()
        return result
