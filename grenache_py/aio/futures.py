"""
Deferreds as futures, and futures as Deferreds.

Shell: waits on the running loop. Twisted's CancelledError becomes asyncio's and the other way
round; cancelling one side cancels the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

__all__ = ["as_deferred", "as_future", "wait"]

T = TypeVar("T")


def as_future(deferred: Deferred[T]) -> asyncio.Future[T]:
    """
    Return a future for ``deferred``, which belongs to it from here on.

    Raises, when awaited:
        asyncio.CancelledError: the Deferred was cancelled.
        others: what the Deferred failed with.
    Cancel: cancels the Deferred.
    """
    future = _future(deferred, asyncio.get_running_loop())
    if not future.done():
        future.add_done_callback(lambda _: deferred.cancel() if future.cancelled() else None)
    return future


async def wait(deferred: Deferred[T], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """
    Await ``deferred`` in a task; cancelling the task cancels it before the task goes on.

    Args:
        loop: the one that runs, for those who know it: asking costs a system call.
    """
    try:
        return await _future(deferred, loop or asyncio.get_running_loop())
    except asyncio.CancelledError:
        deferred.cancel()
        raise


def as_deferred(awaitable: asyncio.Future[T] | Coroutine[Any, Any, T]) -> Deferred[T]:
    """
    Return a Deferred for a future, or for a coroutine, which becomes a task of the running loop.

    Fires with: the result.
    Fails with:
        twisted.internet.defer.CancelledError: the future was cancelled.
        others: what the future failed with.
    Cancel: cancels the future, and fails at once.
    """
    future = asyncio.ensure_future(awaitable)

    def cancel(_: Deferred[T]) -> None:
        future.cancel()

    deferred: Deferred[T] = Deferred(cancel)

    def ended(future: asyncio.Future[T]) -> None:
        if deferred.called:  # cancelled; asyncio logs what the future fails with all the same
            return
        if future.cancelled():
            deferred.errback(CancelledError())
        elif (error := future.exception()) is not None:
            deferred.errback(Failure(error))
        else:
            deferred.callback(future.result())

    future.add_done_callback(ended)
    return deferred


def _future(deferred: Deferred[T], loop: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
    future: asyncio.Future[T] = loop.create_future()

    def succeeded(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def failed(failure: Failure) -> None:
        if future.done():
            return
        error = failure.value
        if error is None or isinstance(error, CancelledError):
            future.cancel()
        else:
            future.set_exception(error)

    deferred.addCallbacks(succeeded, failed)
    return future
