"""
The options that every ``exchange`` command takes, before its name or after it.

Edge: reads the environment and files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from grenache_py.exchange.cli.tool import Tool
from grenache_py.trading.address import DaemonAddress

if TYPE_CHECKING:
    import ssl

__all__ = ["SHARED_OPTIONS", "json_wanted"]

_Callback = Callable[[click.Context, click.Parameter, Any], None]
_JSON = re.compile(r"--json|-[hjq]*j[hjq]*")


def json_wanted(words: list[str]) -> bool:
    """Whether a command line asks for JSON, also one that is wrong."""
    options = words[: words.index("--")] if "--" in words else words
    return any(_JSON.fullmatch(word) for word in options)


def _sets(name: str, made: Callable[[Any], Any] = lambda value: value) -> _Callback:
    """Keep an option's value in the tool; one of the environment only when there is no other."""

    def keep(context: click.Context, param: click.Parameter, value: Any) -> None:
        if value is None or value is False:
            return
        tool = context.ensure_object(Tool)
        source = context.get_parameter_source(param.name or "")
        if source is ParameterSource.ENVIRONMENT and getattr(tool, name):
            return
        setattr(tool, name, made(value))

    return keep


def _daemons(text: str) -> str:
    try:
        DaemonAddress.all_of(text)
    except ValueError:
        raise click.BadParameter(
            "must be HOST:PORT, or the path of a socket with a /; several with commas between"
        ) from None
    return text


def _socket(path: str) -> str:
    return path if "/" in path else f"./{path}"


def _tls(ca: Any) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=None if ca is True else ca)
    except (ssl.SSLError, OSError) as error:
        raise click.BadParameter(f"{ca} holds no certificate: {error}") from None


def _seconds(number: float) -> float:
    if number <= 0:
        raise click.BadParameter("must be more than 0")
    return number


def _option(
    *names: str, name: str, made: Callable[[Any], Any] = lambda value: value, **more: Any
) -> click.Option:
    return click.Option(names, expose_value=False, callback=_sets(name, made), **more)


SHARED_OPTIONS = (
    _option(
        "-c", "--connect", name="address", made=_daemons, metavar="HOST:PORT|PATH,...",
        envvar="EXCHANGE_CONNECT",
        help="The daemon's client port, or its UNIX socket; with commas those of all daemons of a"
        " home, of which the one that serves is used.  [default: 127.0.0.1:7070;"
        " env: EXCHANGE_CONNECT]",
    ),
    _option(
        "--unix", name="unix", made=_socket, metavar="PATH",
        help="A UNIX socket of the daemon, also one without a / in its path.",
    ),
    _option("--tls", name="tls", made=_tls, is_flag=True, help="The client port speaks TLS."),
    _option(
        "--ca", name="tls", made=_tls, type=click.Path(exists=True, dir_okay=False),
        help="TLS, believing the certificates in this file instead of the system's.",
    ),
    _option(
        "--token-file", name="token", made=lambda file: file.read().strip(), type=click.File(),
        help="Show the token in this file.  [env: EXCHANGE_TOKEN holds a token itself]",
    ),
    _option(
        "--timeout", name="timeout_s", made=_seconds, type=float, metavar="SECONDS",
        help="For a connection, and for each answer.  [default: 15]",
    ),
    _option("-j", "--json", name="json", is_flag=True, help="Print JSON, one value a line."),
    _option(
        "-q", "--quiet", name="quiet", is_flag=True,
        help="Print ids only, one a line, where there are any.",
    ),
    _option(
        "--fail-empty", name="fail_empty", is_flag=True,
        help="End with 3 when there is nothing to list.",
    ),
    _option("--no-color", name="no_color", is_flag=True, help="No colours.  [env: NO_COLOR]"),
)  # fmt: skip
