"""
What every ``grenache`` command shares: its first options, its output, its exit code.

Edge: runs the reactor, writes to stdout and stderr, decides the exit code. Everything that a
command prints goes through here, where text from outside is made harmless.
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
from twisted.logger import globalLogBeginner

from grenache_py import logs
from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link import Link
from grenache_py.link.urls import check_grape_url
from grenache_py.plain_text import harmless, harmless_json, harmless_lines
from grenache_py.rpc import NoPeerFound

__all__ = [
    "FAILED",
    "NOTHING_FOUND",
    "SHARED_OPTIONS",
    "NetworkCommand",
    "Settings",
    "complain",
    "say",
    "to_json",
    "until_interrupted",
]

#: Exit codes of every command.
FAILED = 1
WRONG_USAGE = 2
NOTHING_FOUND = 3

#: The grape that is asked when nothing names another.
GRAPE_DEFAULT = "http://127.0.0.1:30001"

#: What a command does with its Link; the result is the exit code, None for 0.
Work = Callable[[Any, Link], Coroutine[Any, Any, int | None]]


@attrs.frozen
class Settings:
    """The values of the options that every command takes."""

    grapes: tuple[str, ...] = ()
    as_json: bool = False

    def plus(self, grapes: tuple[str, ...], as_json: bool) -> Settings:
        """Return the settings with those after the command's name added."""
        return Settings((*self.grapes, *map(grape_url, grapes)), self.as_json or as_json)

    def show(self, value: Any, text: str | None = None) -> None:
        """
        Print a result for a person, or for a program with ``--json``.

        A program that reads us gets a text as it is; a terminal gets it harmless.
        """
        if text is None or self.as_json:
            line = to_json(value)
        else:
            line = harmless_lines(text) if sys.stdout.isatty() else text
        try:
            click.echo(line)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read us, such as ``head``, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None

    def run(self, work: Work, *, long: bool = False) -> NoReturn:
        """
        Run ``work`` with a Link to the grapes and exit with what it says.

        Args:
            long: it stays until interrupted, and says on stderr what goes wrong meanwhile. Else
                its outcome says that, and Twisted's log is not shown beside it.
        """
        if long:
            logs.begin(sys.stderr, "text", logs.Levels("warn"))
        else:
            globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
        grapes = self.grapes or grapes_of_environment()
        react(lambda reactor: Deferred.fromCoroutine(self._run(reactor, grapes, work)))
        raise AssertionError("react does not return")

    async def _run(self, reactor: Any, grapes: tuple[str, ...], work: Work) -> None:
        link = Link(grapes, reactor)
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


def grape_url(text: str) -> str:
    """Return the URL of a grape given as such or as ``host:port``."""
    try:
        return check_grape_url(text if "://" in text else f"http://{text}")
    except LocalProtocolError as error:
        raise click.UsageError(str(error)) from None


def grapes_of_environment() -> tuple[str, ...]:
    """Return the grapes that are asked where no option names any."""
    named = os.environ.get("GRENACHE_GRAPES", "").replace(",", " ").split()
    return tuple(map(grape_url, named)) or (GRAPE_DEFAULT,)


#: What may stand before the command's name or after it.
SHARED_OPTIONS = (
    click.Option(
        ["--grape", "-g", "grapes"],
        multiple=True,
        metavar="URL",
        help="A grape's URL; several times for fail-over."
        f"  [default: $GRENACHE_GRAPES or {GRAPE_DEFAULT}]",
    ),
    click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, one value a line."),
)


class NetworkCommand(click.Command):
    """A command that also takes the shared options after its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(SHARED_OPTIONS)

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj = ctx.obj.plus(ctx.params.pop("grapes"), ctx.params.pop("as_json"))
        return super().invoke(ctx)


def say(text: str) -> None:
    """Print a line for people to stderr."""
    click.echo(harmless(text), err=True)


def complain(message: str, code: int = FAILED) -> int:
    """Write one line to stderr and return ``code``."""
    say(f"grenache: {' '.join(message.split())}")
    return code


def to_json(value: Any) -> str:
    """JSON without a character that steers a terminal."""
    return harmless_json(json.dumps(value, ensure_ascii=False))


async def until_interrupted(reactor: Any, stop: Callable[[], Deferred[None]]) -> None:
    """Wait for SIGINT or SIGTERM; the reactor then waits for ``stop``."""
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    with contextlib.suppress(CancelledError):
        await Deferred()
