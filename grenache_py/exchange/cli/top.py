"""
``exchange top``: a peer on one screen.

Edge: draws on a terminal, waits, goes on when the daemon is back.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import click
from rich.live import Live

from grenache_py.exchange.cli.names import MARKET
from grenache_py.exchange.cli.screen import peer_screen
from grenache_py.exchange.cli.tool import Tool, as_rich, say_json
from grenache_py.trading import AnswerTimeout, Client, NotConnected, Refused

__all__ = ["top"]

#: Rows of the book on each side, and of own orders.
DEPTH, ORDERS = 5, 10


@click.command()
@click.argument("market", type=MARKET, required=False)
@click.option("--every", type=click.FloatRange(min=0.1), default=2.0, show_default=True,
              metavar="SECONDS", help="Ask again after so long.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="End after so many screens.")
@click.option("--account", help="Orders of this account only.")
@click.pass_obj
def top(
    tool: Tool, market: str | None, every: float, count: int | None, account: str | None
) -> None:
    """
    Show health, links, a book and own orders on one screen, until Ctrl-C.

    Without MARKET it is the first one. Into a pipe, one screen goes below the other; with --json,
    one value a line.
    """
    console = tool.console()
    drawn_over = console.is_terminal and not tool.json
    live = Live(console=console, screen=True, auto_refresh=False)
    seen: dict[str, Any] = {"daemon": tool.daemon}
    drawn = 0
    with tool.following(lambda _: None) as client, live if drawn_over else nullcontext():
        while True:
            try:
                seen = {"daemon": tool.daemon, **_seen(client, market, account)}
            except (NotConnected, AnswerTimeout, Refused) as error:
                seen = {**seen, "problem": str(error)}
            if tool.json:
                say_json(seen)
            elif drawn_over:
                live.update(as_rich(peer_screen(seen)), refresh=True)
            else:
                tool.show(peer_screen(seen))
            sys.stdout.flush()
            drawn += 1
            if drawn == count:
                return
            client.wait_until(lambda: False, every)


def _seen(client: Client, market: str | None, account: str | None) -> dict[str, Any]:
    def ask(method: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return client.call(method, given, changes=False)

    status = ask("status")
    links = ask("peers.list")["peers"] if status["store"] == "ok" else []
    market = market or next(iter(sorted(client.markets)), None)
    return {
        "status": status,
        "peers": links,
        "ticker": ask("ticker.get", market=market) if market else None,
        "book": ask("book.get", market=market, depth=DEPTH) if market else None,
        "orders": ask("order.list", account=account, status="open", limit=ORDERS)["orders"],
    }
