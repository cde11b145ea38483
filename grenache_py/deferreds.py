"""
Tools for Deferreds: tasks that a service owns, deadlines, one event with many waiters.

Shell. Touches only the clock it is given.

A coroutine that nobody awaits is how a Twisted program usually loses an error, or keeps
running after its service has stopped. So a service starts them with a `Background`, which
logs their failures and cancels those that still run when the service stops.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.errors import GrenacheError

__all__ = ["Background", "DeadlinePassed", "OneShot", "deadline", "every", "spawn"]

T = TypeVar("T")


class DeadlinePassed(GrenacheError, TimeoutError):
    """Something did not finish in the time it had. The message says what, and how long that was."""


def spawn(log: Logger, what: str, coro: Coroutine[Any, Any, T]) -> Deferred[T | None]:
    """
    Start ``coro``, which nobody awaits, and log its failure.

    It runs at once, up to its first wait. A service wants `Background.spawn`, which
    also remembers the task; this is for work that must outlive whoever began it.

    Args:
        log: Where a failure goes, as "{what} failed", at critical level.
        what: The task in a few words, such as ``"refresh buckets"``.

    Fires with: what the coroutine returned; None when it failed or was cancelled.
    Cancel: cancels the coroutine at the point where it waits.
    """

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):
            log.failure("{what} failed", failure=failure, what=what)

    task: Deferred[T] = Deferred.fromCoroutine(coro)
    return task.addErrback(failed)


class Background:
    """
    The tasks one service has running by themselves.

    After `stop` it starts nothing more: a late `spawn` is closed unrun, so that an
    event arriving during the shutdown cannot bring a stopped service back to life.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._running: dict[Deferred[Any], None] = {}  # a set that keeps its order
        self._stopped = False

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, what: str, coro: Coroutine[Any, Any, T]) -> Deferred[T | None]:
        """Start ``coro`` as the function `spawn` does; cancelled by `stop` if still running."""
        if self._stopped:
            coro.close()
            nothing: Deferred[T | None] = Deferred()
            nothing.callback(None)
            return nothing
        task = spawn(self._log, what, coro)
        if not task.called:
            self._running[task] = None

            def forget(result: T | None) -> T | None:
                self._running.pop(task, None)
                return result

            task.addCallback(forget)
        return task

    async def stop(self) -> None:
        """
        Cancel every task and wait until each has cleaned up after itself.

        A task that goes on waiting although it was cancelled is waited for: give the
        whole stop a `deadline`. A task must not await the stop of its own service.
        """
        self._stopped = True
        ended: Deferred[None] = Deferred()
        left = list(self._running)
        waiting = len(left)

        def one_ended(result: Any) -> Any:
            nonlocal waiting
            waiting -= 1
            if waiting == 0 and not ended.called:
                ended.callback(None)
            return result

        for task in left:
            task.addBoth(one_ended)
        for task in left:
            task.cancel()
        if left:
            await ended


def deadline(
    wait: Deferred[T] | Coroutine[Any, Any, T], timeout_s: float, clock: IReactorTime, what: str
) -> Deferred[T]:
    """
    Give ``wait`` at most ``timeout_s`` seconds.

    Unlike ``Deferred.addTimeout`` the answer is on time even when ``wait`` does not end
    when it is cancelled, and the error says what was waited for.

    Args:
        wait: Belongs to this function from here on.
        what: Begins the error's sentence, such as ``"the answer of 127.0.0.1:7071"``.

    Fires with: the result of ``wait``.
    Fails with:
        DeadlinePassed: ``timeout_s`` passed; ``wait`` was cancelled and its end is ignored.
        whatever ``wait`` fails with.
    Cancel: cancels ``wait``.
    """
    waited = wait if isinstance(wait, Deferred) else Deferred.fromCoroutine(wait)

    def cancelled(_: Deferred[T]) -> None:
        timer.cancel()
        waited.cancel()

    def passed() -> None:
        # The answer comes first: cancelling may run any amount of clean-up, or end ``wait`` well.
        outer.errback(DeadlinePassed(f"{what} took more than {timeout_s:g} s"))
        waited.cancel()

    outer: Deferred[T] = Deferred(cancelled)
    timer = clock.callLater(timeout_s, passed)

    def ended(result: T | Failure) -> None:
        if timer.active():
            timer.cancel()
        if not outer.called:
            outer.callback(result)

    waited.addBoth(ended)
    return outer


async def every(
    interval_s: Callable[[], float],
    clock: IReactorTime,
    log: Logger,
    what: str,
    body: Callable[[], Coroutine[Any, Any, object]],
) -> None:
    """
    Wait, run ``body``, and so on until cancelled; a failure is logged and the next round comes.

    (A ``LoopingCall`` whose body fails once never runs again.)

    Args:
        interval_s: Asked before each round, so that the caller can add jitter or back off.
        what: The task in a few words, for the log.
    """
    while True:
        await deferLater(clock, interval_s())
        try:
            await body()
        except CancelledError:
            raise
        except Exception:
            log.failure("{what} failed; it will be tried again", what=what)


class OneShot(Generic[T]):
    """
    Something that happens once, such as "listening", with a Deferred of its own for each waiter.

    One shared Deferred would let the first waiter's callback change what the second gets.
    """

    def __init__(self) -> None:
        self._waiting: set[Deferred[T]] = set()
        self._outcome: T | Failure | None = None
        self.happened = False

    def when(self) -> Deferred[T]:
        """
        Wait for it, or get it at once when it has happened.

        Fires with: what `fire` was given.
        Fails with: what `fail` was given.
        Cancel: only this waiter leaves.
        """
        waiter: Deferred[T] = Deferred(self._waiting.discard)
        if self.happened:
            waiter.callback(self._outcome)  # type: ignore[arg-type]  # a Failure makes it fail
        else:
            self._waiting.add(waiter)
        return waiter

    def fire(self, value: T) -> None:
        """It happened; a second time is a bug of the caller."""
        self._settle(value)

    def fail(self, reason: Failure | BaseException) -> None:
        """It will never happen, and this is why."""
        self._settle(reason if isinstance(reason, Failure) else Failure(reason))

    def _settle(self, outcome: T | Failure) -> None:
        assert not self.happened, "a OneShot happens once"
        self.happened, self._outcome = True, outcome
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            waiter.callback(outcome)
