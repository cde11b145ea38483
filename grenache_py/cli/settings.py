"""
What every ``grenache`` command shares: its first options.

Edge: reads the environment.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
import click

from grenache_py.cli.outcomes import complain
from grenache_py.cli.output import show, to_json
from grenache_py.errors import LocalProtocolError
from grenache_py.link.urls import check_grape_url

__all__ = ["SHARED_OPTIONS", "Settings"]

#: The grape that is asked when nothing names another.
GRAPE_DEFAULT = "http://127.0.0.1:30001"


@attrs.define
class Settings:
    """The values of the options that every command takes."""

    named: tuple[str, ...] = ()
    as_json: bool = False

    @property
    def grapes(self) -> tuple[str, ...]:
        """The URLs of the grapes to ask, the preferred one first."""
        listed = os.environ.get("GRENACHE_GRAPES", "").replace(",", " ").split()
        return self.named or tuple(map(grape_url, listed)) or (GRAPE_DEFAULT,)

    def show(self, value: Any, text: str | None = None) -> None:
        """Print a result for a person, or for a program with ``--json``."""
        show(to_json(value) if text is None or self.as_json else text)

    def complain(self, message: str, code: int, name: str) -> int:
        """Say on one line of stderr what is wrong, and return ``code``."""
        return complain(message, code, self.as_json, name)


def grape_url(text: str) -> str:
    """Return the URL of a grape given as such or as ``host:port``."""
    try:
        return check_grape_url(text if "://" in text else f"http://{text}")
    except LocalProtocolError as error:
        raise click.UsageError(str(error)) from None


def _add_grapes(context: click.Context, _: click.Parameter, value: tuple[str, ...]) -> None:
    context.ensure_object(Settings).named += tuple(map(grape_url, value))


def _want_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.ensure_object(Settings).as_json |= value


#: What may stand before the command's name or after it.
SHARED_OPTIONS = (
    click.Option(
        ["--grape", "-g"],
        multiple=True,
        metavar="URL",
        expose_value=False,
        callback=_add_grapes,
        help="A grape's URL; several times for fail-over."
        f"  [default: $GRENACHE_GRAPES or {GRAPE_DEFAULT}]",
    ),
    click.Option(
        ["--json", "-j"],
        is_flag=True,
        expose_value=False,
        callback=_want_json,
        help="Print JSON, one value a line.",
    ),
)
