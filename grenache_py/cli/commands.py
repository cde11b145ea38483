"""
``grenache``: the group of all its commands.

Edge: reads argv and the environment.
"""

from __future__ import annotations

from typing import Any

import click

from grenache_py import __version__
from grenache_py.cli.call import call
from grenache_py.cli.network import announce, get, keygen, lookup, put
from grenache_py.cli.pubsub import pub, sub
from grenache_py.cli.serve import serve
from grenache_py.cli.settings import SHARED_OPTIONS, Settings, complain
from grenache_py.errors import GrenacheError

__all__ = ["grenache"]


class _Readable(click.Group):
    """A group that reports our errors in one line, as click reports its own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GrenacheError as error:
            ctx.exit(complain(str(error)))
        except OSError as error:
            ctx.exit(complain(f"{error.filename}: {error.strerror}"))


@click.group(cls=_Readable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="grenache")
@click.pass_context
def grenache(ctx: click.Context, grapes: tuple[str, ...], as_json: bool) -> None:
    """Use a Grenache network from the command line.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing found.
    """
    ctx.obj = Settings().plus(grapes, as_json)


grenache.params[:0] = SHARED_OPTIONS


for command in (lookup, announce, put, get, keygen, call, serve, sub, pub):
    grenache.add_command(command)
