"""
``grenache``: the command over the commands, each of which is imported when it is called.

Edge: reads argv, and turns every error into a line and an exit code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from grenache_py import __version__
from grenache_py.cli.outcomes import complain_of
from grenache_py.cli.settings import SHARED_OPTIONS, Settings
from grenache_py.command_table import CommandTable, completion_command
from grenache_py.errors import GrenacheError

__all__ = ["COMMANDS", "completion", "grenache"]

#: The commands by name: the module of each, and what it is for.
COMMANDS: dict[str, tuple[str, str]] = {
    "lookup": (".network", "Print the addresses of the services announced as NAME."),
    "announce": (".network", "Announce that service NAME listens on PORT."),
    "put": (".network", "Store VALUE in the DHT and print its hash."),
    "get": (".network", "Print the value stored under HASH."),
    "keygen": (".network", "Make a key pair to sign values with, in FILE and FILE.pub."),
    "call": (".call", "Send a request to the service NAME and print its result."),
    "serve": (".serve", "Answer requests to service NAME by a COMMAND."),
    "sub": (".pubsub", "Print what the publisher NAME sends."),
    "pub": (".pubsub", "Send each line of stdin to who is subscribed to NAME."),
    "top": (".health", "Show how the grapes are, on one screen."),
    "doctor": (".health", "Check the grapes, and say what to do about what is wrong."),
    "completion": (".commands", "Print a script for the shell's completion."),
}


class _Grenache(CommandTable):
    """The commands, whose errors are one line of text or JSON and an exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **more: Any
    ) -> NoReturn:
        words = list(sys.argv[1:] if args is None else args)
        options = words[: words.index("--")] if "--" in words else words
        as_json = any(re.fullmatch("--json|-j", word) for word in options)
        more["standalone_mode"] = False
        try:
            code = super().main(words, prog_name or "grenache", **more)
        except (click.Abort, KeyboardInterrupt):
            code = 130
        except (GrenacheError, click.ClickException, OSError) as error:
            code = complain_of(error, as_json)
        sys.exit(code or 0)


@click.group(
    cls=_Grenache,
    table=COMMANDS,
    package="grenache_py.cli",
    shared=SHARED_OPTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="grenache")
@click.pass_context
def grenache(context: click.Context) -> None:
    """
    Use a Grenache network from the command line.

    The options may stand before the command or after it.

    Exit codes: 0 done, 1 failed or refused, 2 wrong usage or value, 3 nobody or nothing is there,
    5 nobody can be reached: nothing happened, 6 outcome unknown: it may have happened, 7 try again
    later, 130 interrupted.
    """
    context.ensure_object(Settings)


completion = completion_command()
