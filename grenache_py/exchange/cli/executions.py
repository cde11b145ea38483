"""
``exchange fills`` and ``positions``: what own orders traded, and what that comes to.

Edge: prints what it is told until Ctrl-C.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import click

from grenache_py.exchange.cli.lines import fill_line
from grenache_py.exchange.cli.names import MARKET
from grenache_py.exchange.cli.tool import Tool, as_sent, printing, tell_problem
from grenache_py.trading import InvalidRequest

__all__ = ["fills", "positions"]

#: So many fit one answer in any case.
ONE_ANSWER = 100


@click.command()
@click.argument("market", type=MARKET, required=False)
@click.option("--account", help="Of this account; without it, of the one without a name.")
@click.option("--since", metavar="SEQ", type=click.IntRange(0), help="All after this number.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--watch", is_flag=True, help="Print each as it happens, until Ctrl-C.")
@click.pass_obj
def fills(
    tool: Tool, market: str | None, account: str | None, since: int | None, limit: int, watch: bool
) -> None:
    """
    Show what own orders traded, oldest first: each once, by its number.

    --watch goes on over restarts of the daemon; --since with the last number seen, from there.
    """
    if watch:
        _watch_fills(tool, market, account, since)
        return
    found = _listed(tool, market, account, since, limit)
    if not found:
        tool.nothing("There are no fills.", found)
        return
    ids = [fill["trade_id"] for fill in found]
    tool.out(found, lambda: printing.executions_table(found), ids=ids)


def _listed(
    tool: Tool, market: str | None, account: str | None, since: int | None, limit: int
) -> list[dict[str, Any]]:
    of: dict[str, Any] = {"market": market, "account": account}
    if since is None and market is None and limit > ONE_ANSWER:
        newest = tool.call("executions.list", limit=1, **of)["seq"]
        with suppress(InvalidRequest):  # the older ones of them are not kept
            return tool.pages(
                "executions.list", "executions", limit, after=max(0, newest - limit), **of
            )
    return tool.pages("executions.list", "executions", limit, after=since, **of)


def _watch_fills(tool: Tool, market: str | None, account: str | None, since: int | None) -> None:
    with tool.following(tell_problem, account) as client, client.fills(since) as fills:
        for each in fills:
            if market in {None, each.market}:
                fill = as_sent(each)
                line = fill_line(fill)
                tool.out(fill, lambda line=line: line, ids=[each.trade_id])  # type: ignore[misc]
                sys.stdout.flush()


@click.command()
@click.option("--account", help="Of this account; without it, of the one without a name.")
@click.pass_obj
def positions(tool: Tool, account: str | None) -> None:
    """
    Show what an account bought less what it sold, by market, as far as its fills are kept.

    It is no balance: this network holds and settles nothing.
    """
    result = tool.call("positions.list", account=account)
    if not result["positions"]:
        tool.nothing("There are no fills.", result)
        return
    markets = [position["market"] for position in result["positions"]]
    tool.out(result, lambda: printing.positions_table(result), ids=markets)
