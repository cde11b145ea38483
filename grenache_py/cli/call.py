"""
``grenache call``: send a request to a service.

Edge: reads stdin.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from grenache_py.cli.service_options import timeout_option, transport_option
from grenache_py.cli.settings import FAILED, NetworkCommand, Settings, complain, to_json
from grenache_py.link import Link
from grenache_py.rpc import RPCClient

__all__ = ["call"]


@click.command(cls=NetworkCommand, short_help="Send JSON to the service NAME and print its result.")
@click.argument("name")
@click.argument("payload", metavar="JSON")
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
    payload: str,
    transport: Any,
    everybody: bool,
    timeout: float,
    retries: int,
    compress: bool,
) -> None:
    """Send JSON (- for stdin) to the service NAME and print its result."""
    try:
        request = json.loads(sys.stdin.read() if payload == "-" else payload)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the request is not JSON: {error}") from None

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
                complain(f"{one.address}: {error}")
        return 0 if any(one.error is None for one in outcomes) else FAILED

    settings.run(work)
