"""
``exchange book``, ``ticker``, ``candles``, ``trades``, ``watch`` and ``markets``.

Edge: draws on a terminal, waits between attempts to connect.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import click
from rich.live import Live

from grenache_py.exchange.cli import printing as show
from grenache_py.exchange.cli.tool import (
    Harmless,
    Tool,
    market_symbol,
    plain_console,
    say,
    say_json,
)
from grenache_py.exchange.client.blocking import CannotReach
from grenache_py.exchange.client.book_mirror import BookMirror

__all__ = ["book", "candles", "markets", "ticker", "trades", "watch"]

RECONNECT_S = 1.0


@click.command()
@click.argument("market", type=market_symbol)
@click.option("--depth", type=click.IntRange(1, 500), default=10, show_default=True)
@click.option("--watch", is_flag=True, help="Keep showing it as it changes, until Ctrl-C.")
@click.pass_obj
def book(tool: Tool, market: str, depth: int, watch: bool) -> None:
    """Show a market's book."""
    if watch:
        _watch_book(tool, market, depth)
        return
    result = tool.call("book.get", market=market, depth=depth)
    tool.out(result, lambda: show.book_table(result["market"], result["bids"], result["asks"]))


def _watch_book(tool: Tool, market: str, depth: int) -> None:
    console = plain_console()
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def draw(mirror: BookMirror, trades: list[dict[str, Any]]) -> None:
            if tool.json:
                say_json(mirror.snapshot(depth))
                return
            bids, asks = mirror.levels("buy", depth), mirror.levels("sell", depth)
            table = show.book_table(market, bids, asks, trades[-5:])
            if console.is_terminal:
                live.update(Harmless(table), refresh=True)
            else:
                tool.show(table)

        def problem(sentence: str) -> None:
            if not tool.json:
                live.update(Harmless(sentence), refresh=True)

        _follow(tool, market, draw, problem)


def _follow(
    tool: Tool,
    market: str,
    draw: Callable[[BookMirror, list[dict[str, Any]]], None],
    problem: Callable[[str], None],
) -> NoReturn:
    """Keep a copy of a book up to date through gaps and lost connections, and draw it."""
    reached = False
    while True:
        try:
            trades = tool.call("trades.subscribe", market=market, limit=5)["trades"]
            mirror = BookMirror(tool.call("book.subscribe", market=market))
            reached = True
            draw(mirror, trades)
            while True:
                note = tool.client().notification(3600)
                if note is None:
                    continue
                method, params = note
                if method == "gap" or (method == "book.update" and not mirror.apply(params)):
                    break  # begin again with a snapshot
                if method == "trades.update":
                    trades = [*trades, *params["trades"]][-100:]
                draw(mirror, trades)
        except CannotReach as error:
            if not reached:
                raise
            problem(f"{error}; trying again")
            tool.forget()
            time.sleep(RECONNECT_S)


@click.command()
@click.argument("market", type=market_symbol)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.pass_obj
def trades(tool: Tool, market: str, limit: int) -> None:
    """Show a market's newest trades, newest last."""
    result = tool.call("trades.list", market=market, limit=limit)
    if not result["trades"]:
        tool.nothing(f"There are no trades in {market} yet.", result)
        return
    tool.out(result, lambda: show.trades_table(result["trades"]))


@click.command()
@click.argument("market", type=market_symbol)
@click.pass_obj
def ticker(tool: Tool, market: str) -> None:
    """Show a market's best prices, last trade and volume of 24 hours."""
    result = tool.call("ticker.get", market=market)
    tool.out(result, lambda: show.ticker_line(result))


@click.command()
@click.argument("market", type=market_symbol)
@click.option(
    "--interval",
    type=click.Choice(["1m", "5m", "15m", "1h", "4h", "1d"]),
    default="1m",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.pass_obj
def candles(tool: Tool, market: str, interval: str, limit: int) -> None:
    """Show a market's newest candles, oldest first."""
    found = tool.call("candles.list", market=market, interval=interval, limit=limit)["candles"]
    if not found:
        tool.nothing(f"There are no trades in {market} yet.", found)
        return
    tool.out(found, lambda: show.candles_table(found))


@click.command(short_help="Print trades and best prices as they happen, until Ctrl-C.")
@click.argument("market", type=market_symbol)
@click.pass_obj
def watch(tool: Tool, market: str) -> None:
    """Print a market's trades, and its best prices, as they happen, until Ctrl-C."""
    symbol = market
    shown: list[dict[str, Any]] = []
    best: list[Any] = []

    def draw(mirror: BookMirror, trades: list[dict[str, Any]]) -> None:
        for trade in trades:
            if trade not in shown[-200:]:
                shown.append(trade)
                tool.out(trade, lambda trade=trade: show.trade_line(symbol, trade))  # type: ignore[misc]
        del shown[:-200]
        now = [mirror.levels(side, 1) for side in ("buy", "sell")]
        if now != best:
            best[:] = now
            sides = [f"{level[0][1]} @ {level[0][0]}" if level else "nobody" for level in now]
            tool.out(mirror.snapshot(1), lambda: f"{symbol} bid {sides[0]}, ask {sides[1]}")
        sys.stdout.flush()

    _follow(tool, symbol, draw, lambda sentence: say(sentence, err=True))


@click.command()
@click.pass_obj
def markets(tool: Tool) -> None:
    """Show the markets with tick and lot."""
    result = tool.call("markets.list")["markets"]
    tool.out(result, lambda: show.markets_table(result))
