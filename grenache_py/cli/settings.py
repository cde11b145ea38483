"""
What every ``grenache`` command shares: the options before it, its output, its end.

Edge: runs the reactor, writes to stdout and stderr, decides the exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import attrs
import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from grenache_py import logs
from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link import Link
from grenache_py.rpc import NoPeerFound

__all__ = [
    "FAILED",
    "NOTHING_FOUND",
    "Settings",
    "begin_log",
    "complain",
    "to_json",
    "until_interrupted",
]

FAILED, WRONG_USAGE, NOTHING_FOUND = 1, 2, 3

Work = Callable[[Any, Link], Coroutine[Any, Any, int | None]]


@attrs.frozen
class Settings:
    """What the options before the command say."""

    grapes: tuple[str, ...]
    as_json: bool

    def show(self, value: Any, text: str | None = None) -> None:
        """Print a result for a person, or for a program with ``--json``."""
        line = text if text is not None and not self.as_json else to_json(value)
        try:
            click.echo(line)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read us, such as ``head``, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None

    def run(self, work: Work) -> NoReturn:
        """Run ``work`` with a Link to the grapes and exit with what it says."""
        react(lambda reactor: Deferred.fromCoroutine(self._run(reactor, work)))
        raise AssertionError("react does not return")

    async def _run(self, reactor: Any, work: Work) -> None:
        link = Link(self.grapes, reactor)
        try:
            code = await work(reactor, link)
        except NoPeerFound as error:
            code = complain(str(error), NOTHING_FOUND)
        except LocalProtocolError as error:  # what was asked for cannot be asked
            code = complain(str(error), WRONG_USAGE)
        except GrenacheError as error:
            code = complain(str(error))
        finally:
            await link.close()
        if code:
            raise SystemExit(code)


def complain(message: str, code: int = FAILED) -> int:
    """Write one line to stderr and return ``code``."""
    click.echo(f"grenache: {' '.join(message.split())}", err=True)
    return code


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def begin_log() -> None:
    """Let a command that runs for long say on stderr what goes wrong."""
    logs.begin(sys.stderr, "text", logs.Levels("warn"))


async def until_interrupted(reactor: Any, stop: Callable[[], Deferred[None]]) -> None:
    """Wait for SIGINT or SIGTERM; the reactor then waits for ``stop``."""
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    with contextlib.suppress(CancelledError):
        await Deferred()
