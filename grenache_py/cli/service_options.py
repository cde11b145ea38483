"""
Options that ``grenache call``, ``serve`` and ``pub`` share, and the line that tells a port.

Edge: writes to stderr.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from grenache_py.cli.output import say, to_json
from grenache_py.cli.settings import Settings

__all__ = [
    "TEXT_BYTES_MAX",
    "announced",
    "endpoint",
    "listening",
    "timeout_option",
    "transport_option",
]

#: The longest line ``pub`` reads and the longest reply ``serve`` takes from a command.
TEXT_BYTES_MAX = 1_048_576

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

transport_option = click.option(
    "--transport", type=click.Choice(["http", "ws"]), default="http", show_default=True
)


def timeout_option(default_s: float, help: str | None = None) -> Decorator:
    """Add ``--timeout``, in seconds."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0.001),
        metavar="SECONDS",
        default=default_s,
        show_default=True,
        help=help,
    )


def listening(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--port`` and ``--interface``, and ``--allow-host`` and ``--allow-origin``."""
    port = click.option(
        "--port", type=click.IntRange(0, 65535), default=0, help="[default: a free one]"
    )
    interface = click.option(
        "--interface", default="", help="Address to listen on.  [default: all]"
    )
    host = click.option(
        "--allow-host",
        multiple=True,
        metavar="NAME",
        help="A public name by which this port may be called, again for each.",
    )
    origin = click.option(
        "--allow-origin",
        multiple=True,
        metavar="ORIGIN",
        help="https://HOST of a site whose pages may call it from a browser, or '*'.",
    )
    return port(interface(host(origin(command))))


def endpoint(port: int, interface: str) -> str:
    """Return the Twisted endpoint of ``--port`` and ``--interface``."""
    where = f":interface={interface}" if interface else ""
    return f"tcp:{port}{where}"


async def announced(settings: Settings, server: Any, name: str) -> None:
    """Start a server and say where it is; it is announced soon after, and kept so."""
    port = await server.start()
    if settings.as_json:
        say(to_json({"name": name, "port": port}))
    else:
        say(f"{name} on port {port}")
