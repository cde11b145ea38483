"""
``grenache call``: send a request to a service.

Edge: reads stdin.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from grenache_py.cli.calling import requested
from grenache_py.cli.outcomes import EXIT_FAILED
from grenache_py.cli.output import say, to_json
from grenache_py.cli.service_options import timeout_option, transport_option
from grenache_py.cli.settings import Settings
from grenache_py.rpc.methods import call_payload

if TYPE_CHECKING:
    from grenache_py.link.client import Link

__all__ = ["call"]

#: A method's name, as a word of its own.
_ACTION = re.compile(r"[A-Za-z_][\w.:-]*")


@click.command(short_help="Send a request to the service NAME and print its result.")
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="JSON | - | ACTION [ARG]...")
@transport_option
@click.option("--map", "everybody", is_flag=True, help="Ask every service of that name.")
@timeout_option(10.0)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Tries after one without an answer.",
)
@click.option("--compress", is_flag=True, help="gzip request and reply (http only).")
@click.pass_obj
def call(
    settings: Settings,
    name: str,
    words: tuple[str, ...],
    transport: Any,
    everybody: bool,
    timeout: float,
    retries: int,
    compress: bool,
) -> None:
    """
    Send a request to the service NAME and print its result.

    It is JSON (- reads it from stdin), or a method of the service and its arguments, each of which
    is JSON if it can be, else text: grenache call calc add 40 2. A -- before NAME lets an argument
    begin with a dash.
    """
    request = _request(words)
    if transport == "http" and not everybody:
        result = requested(
            settings.grapes, name, request, timeout_s=timeout, retries=retries, compress=compress
        )
        settings.show(result)
        return
    from grenache_py.cli.running import run
    from grenache_py.rpc import RPCClient

    async def work(reactor: Any, link: Link) -> int:
        client = RPCClient(link, reactor, transport=transport, compress=compress)
        try:
            if not everybody:
                settings.show(
                    await client.request(name, request, timeout_s=timeout, retries=retries)
                )
                return 0
            outcomes = await client.map(name, request, timeout_s=timeout)
        finally:
            await client.close()
        for one in outcomes:
            error = str(one.error) if one.error is not None else None
            if settings.as_json:
                settings.show({"address": one.address, "value": one.value, "error": error})
            elif error is None:
                settings.show(one.value, f"{one.address}\t{to_json(one.value)}")
            else:
                say(f"grenache: {one.address}: {error}")
        return 0 if any(one.error is None for one in outcomes) else EXIT_FAILED

    run(settings, work)


def _request(words: tuple[str, ...]) -> Any:
    """The payload that the words stand for."""
    first, *rest = words
    if rest:
        return call_payload(first, tuple(map(_value, rest)))
    try:
        return json.loads(sys.stdin.read() if first == "-" else first)
    except (ValueError, RecursionError) as error:
        if _ACTION.fullmatch(first):
            return call_payload(first, ())
        raise click.UsageError(f"the request is not JSON: {error}") from None


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word
