"""
How a ``grenache`` command that calls or serves others runs.

Edge: runs the reactor, decides the exit code.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner

from grenache_py import logs
from grenache_py.cli.outcomes import complain_of
from grenache_py.cli.settings import Settings
from grenache_py.errors import GrenacheError
from grenache_py.link.client import Link

__all__ = ["run", "until_interrupted"]

#: What a command does with its Link; the result is the exit code, None for 0.
Work = Callable[[Any, Link], Coroutine[Any, Any, int | None]]

EXIT_INTERRUPTED = 130


def run(settings: Settings, work: Work, *, long: bool = False) -> NoReturn:
    """
    Run ``work`` with a Link to the grapes and exit with what it says.

    Args:
        long: it stays until interrupted, which is its good end, and says on stderr what goes wrong
            meanwhile. Else its outcome says that, and Twisted's log is not shown beside it.
    """
    if long:
        logs.begin(sys.stderr, "text", logs.Levels("warn"))
    else:
        globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    grapes = settings.grapes
    ended = False

    async def whole(reactor: Any) -> None:
        nonlocal ended
        await deferLater(reactor, 0)  # before it runs, Ctrl-C would be an exception in here
        code = await _run(settings, reactor, grapes, work)
        ended = True
        if code:
            raise SystemExit(code)

    try:
        react(lambda reactor: Deferred.fromCoroutine(whole(reactor)))
    except SystemExit:
        if ended or long:
            raise
        raise SystemExit(EXIT_INTERRUPTED) from None
    raise AssertionError("react does not return")


async def _run(settings: Settings, reactor: Any, grapes: tuple[str, ...], work: Work) -> int:
    link = Link(grapes, reactor)
    try:
        return await work(reactor, link) or 0
    except GrenacheError as error:
        return complain_of(error, settings.as_json)
    finally:
        await link.close()


async def until_interrupted(reactor: Any, stop: Callable[[], Deferred[None]]) -> None:
    """Wait for SIGINT or SIGTERM; the reactor then waits for ``stop``."""
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    with contextlib.suppress(CancelledError):
        await Deferred()
