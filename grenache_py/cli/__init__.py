"""
The console commands ``grape`` and ``grenache``.

Edge: reads argv, the environment and key files, imports the reactor, writes to stdout
and stderr, decides the exit code. ``grape`` belongs to :mod:`grenache_py.grape.tap`.

Exit codes of ``grenache``: 0 done, 1 failed (one line on stderr says why), 2 wrong
usage, 3 nothing found.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from grenache_py import __version__
from grenache_py.cli.network import announce, get, keygen, lookup, put
from grenache_py.cli.services import call, pub, serve, sub
from grenache_py.cli.settings import Settings, complain
from grenache_py.errors import GrenacheError, LocalProtocolError
from grenache_py.link.client import check_grape_url

__all__ = ["grape", "grenache"]

GRAPE_DEFAULT = "http://127.0.0.1:30001"


def grape() -> NoReturn:
    """Run a grape: the console script ``grape``."""
    from grenache_py.grape.tap import main

    sys.exit(main(sys.argv[1:]))


def _grape_urls(given: tuple[str, ...]) -> tuple[str, ...]:
    """Options, else the environment, else the first grape of every example."""
    urls = given or tuple(os.environ.get("GRENACHE_GRAPES", "").replace(",", " ").split())
    urls = tuple(url if "://" in url else f"http://{url}" for url in urls) or (GRAPE_DEFAULT,)
    try:
        return tuple(check_grape_url(url) for url in urls)
    except LocalProtocolError as error:
        raise click.UsageError(str(error)) from None


class _Readable(click.Group):
    """A group whose errors of ours are one line, as everybody's are."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GrenacheError as error:
            ctx.exit(complain(str(error)))
        except OSError as error:
            ctx.exit(complain(f"{error.filename}: {error.strerror}"))


@click.group(cls=_Readable, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--grape",
    "-g",
    "grapes",
    multiple=True,
    metavar="URL",
    help="A grape's URL; several times for fail-over."
    f"  [default: $GRENACHE_GRAPES or {GRAPE_DEFAULT}]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one value a line.")
@click.version_option(__version__, prog_name="grenache")
@click.pass_context
def grenache(ctx: click.Context, grapes: tuple[str, ...], as_json: bool) -> None:
    """Use a Grenache network from the command line.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing found.
    """
    ctx.obj = Settings(_grape_urls(grapes), as_json)


for command in (lookup, announce, put, get, keygen, call, serve, sub, pub):
    grenache.add_command(command)
