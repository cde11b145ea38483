"""
``exchange promote`` and ``exchange demote``: which of several daemons of one home serves.

Edge: waits.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import click

from grenache_py.exchange.cli.tool import Tool
from grenache_py.trading import Unavailable

__all__ = ["demote", "promote"]

#: How long it may take until the other daemon serves, or this one does not any more.
PATIENCE_S = 30.0
LOOK_S = 0.1


@click.command()
@click.option(
    "--new-epoch",
    is_flag=True,
    help="The database may have lost what was acknowledged: close all open orders, and begin a"
    " new log.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def promote(tool: Tool, new_epoch: bool, yes: bool) -> None:
    """
    Have the daemon that stands by here serve its home.

    The daemon that serves finishes what it has taken and gives way: nothing is lost, and what is
    refused meanwhile can be sent again. Name the daemon with --connect, alone.
    """
    if new_epoch and not yes:
        click.confirm(
            "All open orders are closed. No other copy of this database may be in use, and no other"
            " daemon of this home may run on one. Begin a new epoch?",
            abort=True,
            err=True,
        )
    tool.call("promote", new_epoch=new_epoch)
    state = _wait(tool, "serving")
    tool.out(state, lambda: f"serves, in term {state['term']}")


@click.command()
@click.pass_obj
def demote(tool: Tool) -> None:
    """
    Have the daemon that serves give its home to another one that stands by.

    It finishes what it has taken. Where no other daemon takes the home, it does after 30 s.
    """
    with suppress(Unavailable):  # what waited for an answer when it gave its home away
        tool.call("demote")
    state = _wait(tool, "standby")
    tool.out(state, lambda: "stands by")


def _wait(tool: Tool, role: str) -> dict[str, Any]:
    """What the daemon says of the database once it has that role."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            state: dict[str, Any] = tool.call("status")["database"]
        except Unavailable:  # it drops what was asked for while it changes over
            if time.monotonic() > ends:
                raise
        else:
            if state["role"] == role and state["state"] == role:
                return state
            if time.monotonic() > ends:
                raise click.ClickException(
                    f"The daemon is {state['state']} after {PATIENCE_S:.0f} s still"
                    f" ({state['reason'] or 'no reason is known'}); `exchange status` shows how it"
                    " is."
                )
        time.sleep(LOOK_S)
