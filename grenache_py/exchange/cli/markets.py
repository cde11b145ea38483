"""
``exchange book``, ``ticker``, ``candles``, ``trades``, ``watch`` and ``markets``.

Edge: draws on a terminal.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import click

from grenache_py.exchange.cli.lines import ticker_line, trade_line
from grenache_py.exchange.cli.names import MARKET
from grenache_py.exchange.cli.tool import (
    Tool,
    as_rich,
    as_sent,
    printing,
    say_json,
    tell_problem,
)
from grenache_py.trading import Book

__all__ = ["book", "candles", "markets", "ticker", "trades", "watch"]

#: The newest trades that are shown with a book.
TRADES_SHOWN = 5


@click.command()
@click.argument("market", type=MARKET)
@click.option("--depth", type=click.IntRange(1, 500), default=10, show_default=True)
@click.option("--watch", is_flag=True, help="Keep showing it as it changes, until Ctrl-C.")
@click.pass_obj
def book(tool: Tool, market: str, depth: int, watch: bool) -> None:
    """Show a market's book."""
    if watch:
        _watch_book(tool, market, depth)
        return
    result = tool.call("book.get", market=market, depth=depth)
    tool.out(result, lambda: printing.book_table(result["market"], result["bids"], result["asks"]))


def _watch_book(tool: Tool, market: str, depth: int) -> None:
    from rich.live import Live

    console = tool.console()
    newest: deque[dict[str, Any]] = deque(maxlen=TRADES_SHOWN)
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def problem(sentence: str) -> None:
            if not tool.json:
                live.update(as_rich(sentence), refresh=True)

        for book, trades in _followed(tool, market, problem):
            newest += trades
            if tool.json:
                say_json(_snapshot(book, depth))
                continue
            shown = _snapshot(book, depth)
            table = printing.book_table(market, shown["bids"], shown["asks"], newest)
            if console.is_terminal:
                live.update(as_rich(table), refresh=True)
            else:
                tool.show(table)


def _followed(
    tool: Tool, market: str, problem: Callable[[str], None]
) -> Iterator[tuple[Book, list[dict[str, Any]]]]:
    """The book as it changes, and the trades since the last time; at first the newest ones."""
    with (
        tool.following(problem) as client,
        client.trades(market) as news,
        client.book(market) as books,
    ):
        trades = [as_sent(trade) for trade in client.get_trades(market, TRADES_SHOWN)]
        listed = {trade["trade_id"] for trade in trades}  # and told as news too, perhaps
        book = books.get()
        while True:
            if book.current:
                yield book, trades
                trades = []
            client.wait_until(lambda: books.ready or news.ready, None)
            while news.ready:
                trade = news.get()
                if trade.trade_id not in listed:
                    trades.append(as_sent(trade))
            if books.ready:
                book = books.get()


def _snapshot(book: Book, depth: int) -> dict[str, Any]:
    """A book in the shape of ``book.get``."""
    bids, asks = (
        [[f"{each.price:f}", f"{each.quantity:f}", each.orders] for each in levels[:depth]]
        for levels in (book.bids, book.asks)
    )
    return {"market": book.market, "seq": book.seq, "bids": bids, "asks": asks}


@click.command()
@click.argument("market", type=MARKET)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.pass_obj
def trades(tool: Tool, market: str, limit: int) -> None:
    """Show a market's newest trades, newest last."""
    result = tool.call("trades.list", market=market, limit=limit)
    if not result["trades"]:
        tool.nothing(f"There are no trades in {market} yet.", result)
        return
    ids = [trade["trade_id"] for trade in result["trades"]]
    tool.out(result, lambda: printing.trades_table(result["trades"]), ids=ids)


@click.command()
@click.argument("market", type=MARKET)
@click.pass_obj
def ticker(tool: Tool, market: str) -> None:
    """Show a market's best prices, last trade and volume of 24 hours."""
    result = tool.call("ticker.get", market=market)
    tool.out(result, lambda: ticker_line(result))


@click.command()
@click.argument("market", type=MARKET)
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
    tool.out(found, lambda: printing.candles_table(found))


@click.command()
@click.argument("market", type=MARKET)
@click.pass_obj
def watch(tool: Tool, market: str) -> None:
    """Print a market's trades, and its best prices, as they happen, until Ctrl-C."""
    best: Any = None
    for book, trades in _followed(tool, market, tell_problem):
        for trade in trades:
            tool.out(trade, lambda trade=trade: trade_line(market, trade))  # type: ignore[misc]
        now = _snapshot(book, 1)
        sides = now["bids"], now["asks"]
        if sides != best:
            best = sides
            bid, ask = (f"{side[0][1]} @ {side[0][0]}" if side else "nobody" for side in sides)
            tool.out(now, lambda bid=bid, ask=ask: f"{market} bid {bid}, ask {ask}")  # type: ignore[misc]
        sys.stdout.flush()


@click.command()
@click.pass_obj
def markets(tool: Tool) -> None:
    """Show the markets with tick and lot."""
    result = tool.call("markets.list")["markets"]
    tool.out(
        result,
        lambda: printing.markets_table(result),
        ids=[each["market"] for each in result],
    )
