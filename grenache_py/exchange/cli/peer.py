"""
``exchange status``, ``doctor``, ``peers``, ``doubts``, ``decide``, ``backup`` and ``call``.

Edge: reads the time, tries connections.
"""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from grenache_py.exchange.cli.tool import EXIT_FAILED, Tool, printing, say_json
from grenache_py.trading import AnswerTimeout, NotConnected

if TYPE_CHECKING:
    from grenache_py.exchange.cli.diagnosis import Finding

__all__ = ["backup", "call", "decide", "doctor", "doubts", "peers", "status"]

BACKUP_TIMEOUT_S = 600.0


@click.command()
@click.argument("method")
@click.argument("params", required=False)
@click.pass_obj
def call(tool: Tool, method: str, params: str | None) -> None:
    """Call METHOD of the client port with PARAMS, a JSON object, and print its result as JSON."""
    try:
        given = msgspec.json.decode(params or "{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"is no JSON object: {error}", param_hint="PARAMS") from None
    say_json(tool.call(method, **given))


@click.command()
@click.pass_obj
def peers(tool: Tool) -> None:
    """Show the links to other peers."""
    result = tool.call("peers.list")["peers"]
    if not result:
        tool.nothing("There is no link to any other peer; `exchange doctor` says why.", result)
        return
    ids = [peer["peer"] for peer in result if peer["peer"]]
    tool.out(result, lambda: printing.peers_table(result), ids=ids)


@click.command()
@click.pass_obj
def status(tool: Tool) -> None:
    """Show how the daemon is."""
    result = tool.call("status")
    tool.out(result, lambda: printing.status_table(result), fold=True)


@click.command()
@click.option("--config", metavar="FILE", help="The daemon's TOML file, when it does not answer.")
@click.option("--data", metavar="DIR", help="Its data directory, likewise.")
@click.pass_obj
def doctor(tool: Tool, config: str | None, data: str | None) -> None:
    """
    Check identity, store, clock, grapes, links and sync, and say what to do.

    When the daemon does not answer, what it needs is checked: settings, data directory, ports and
    disk. The exit code is 1 when something is wrong.
    """
    from grenache_py.exchange.cli.diagnosis import healthy

    try:
        findings = _examine(tool)
    except (NotConnected, AnswerTimeout) as error:
        from grenache_py.exchange.cli.offline import examine_offline  # it brings the daemon's

        findings = examine_offline(str(error), config, data)
    if tool.json:
        say_json([msgspec.structs.asdict(finding) for finding in findings])
    else:
        tool.show(printing.findings_table(findings), fold=True)
    if not healthy(findings):
        sys.exit(EXIT_FAILED)


def _examine(tool: Tool) -> list[Finding]:
    from grenache_py.exchange.cli.diagnosis import examine
    from grenache_py.exchange.cli.outside import found_at

    began = time.time()
    state = tool.call("status")
    answered = time.time()
    links = tool.call("peers.list")["peers"] if state["store"] == "ok" else []
    return examine(
        state, links, began, answered, lambda address: _why_not(address, state["peer"]), found_at
    )


def _why_not(address: str, peer: str) -> str:
    """Why ``peer`` does not answer at ``host:port``; "" when it does."""
    from grenache_py.exchange.cli.outside import who_answers

    try:
        key = who_answers(address)
    except OSError as error:
        return str(error.strerror or error)
    return "" if key == peer else f"another key answers: {key or 'none'}"


@click.command()
@click.pass_obj
def doubts(tool: Tool) -> None:
    """Show fills whose answer from another peer is still awaited."""
    result = tool.call("fills.list")["fills"]
    if not result:
        tool.nothing("No fill is in doubt.", result)
        return
    tool.out(result, lambda: printing.fills_table(result), ids=[fill["fill"] for fill in result])


@click.command()
@click.argument("fill")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def decide(tool: Tool, fill: str, yes: bool) -> None:
    """Give up on a fill in doubt, whose peer is gone for ever; its quantity becomes free."""
    if not re.fullmatch("[0-9a-f]{32}", fill):
        raise click.BadParameter(
            "must be a fill's id, as `exchange doubts` shows", param_hint="FILL"
        )
    if not yes:
        click.confirm(
            "If that peer comes back and did trade, its trade will not be honoured here. Give up?",
            abort=True,
            err=True,
        )
    result = tool.call("fills.decide", fill=fill)
    tool.out(result, lambda: f"gave up on fill {fill}")


@click.command()
@click.argument("file")
@click.pass_obj
def backup(tool: Tool, file: str) -> None:
    """
    Have the daemon write a consistent copy of its store, while it goes on.

    FILE is made on the daemon's machine, by the daemon, and must not be there yet.
    """
    path = os.path.abspath(file)
    result = tool.call("backup", timeout_s=BACKUP_TIMEOUT_S, path=path)
    tool.out(result, lambda: f"copied to {result['path']}")
