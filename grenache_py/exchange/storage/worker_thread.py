"""
A thread that does one thing after the other, seen from the reactor.

Shell. Touches one thread. What it works on may also be used where the reactor is, never by both at
once.

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

from grenache_py.errors import LocalProtocolError

__all__ = ["WorkerThread"]

T = TypeVar("T")
R = TypeVar("R")


class WorkerThread:
    """One thread that runs one thing after the other."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._call_from_thread = reactor.callFromThread
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._unfinished = 0  # counted on the reactor's thread
        # A daemon thread: a program that dies of an error must not hang for want of ``stop``.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether all that was asked for has ended, and its results are known."""
        return not self._unfinished

    def here(self, call: Callable[..., T], *args: object) -> T:
        """
        Run ``call`` on the calling thread, the reactor's, while the other one has nothing to do.

        Raises:
            LocalProtocolError: it has, and ``call`` was not run.
        """
        if self._unfinished:
            raise LocalProtocolError(f"{self._thread.name} is at work")
        return call(*args)

    def run(self, call: Callable[..., T], *args: object, **kwargs: object) -> Deferred[T]:
        """Fires and fails as ``call`` does, which waits for what was asked for before."""
        self._unfinished += 1
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
            self._call_from_thread(self._ended, done.errback, Failure())
        else:
            self._call_from_thread(self._ended, done.callback, result)

    def _ended(self, fire: Callable[[R], None], result: R) -> None:
        self._unfinished -= 1
        fire(result)

    def stop(self) -> None:
        """Wait for what is running, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def stopped_with(self, result: T) -> T:
        """Stop, and pass on ``result``: for the end of a Deferred's chain."""
        self.stop()
        return result
