"""
Methods about markets: books, trades, tickers, candles, and following them.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from grenache_py.exchange.client_port.gateway import Gateway, GatewayNode, Principal
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.registry import (
    METHODS,
    AtSeal,
    MethodResult,
    may_subscribe,
    of_books,
    page,
    unknown_cursor,
    unsubscribe,
)
from grenache_py.exchange.client_port.reports import (
    SNAPSHOT_LEVELS_MAX,
    book_snapshot,
    level_changes,
    public_trade,
)
from grenache_py.wire.jsonrpc import notification_line

#: Of each side of a book, told to a new subscriber; who needs deeper levels sees them change.
SNAPSHOT_LEVELS_TOTAL_MAX = 5_000

_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000}
INTERVALS_MS = {**_MS, "1d": 86_400_000}


@METHODS.method("book.get", p.BookGet)
def book_get(gateway: Gateway, client: Principal, params: p.BookGet, now: float) -> MethodResult:
    """Show a market's book: price, quantity and number of orders of each level."""
    market = gateway.market(params.market)
    return of_books(
        gateway, lambda node: book_snapshot(node.books[market.symbol], market, params.depth)
    )


@METHODS.method("book.subscribe", p.OneMarket)
def book_subscribe(
    gateway: Gateway, client: Principal, params: p.OneMarket, now: float
) -> MethodResult:
    """Follow a market's book: a snapshot, then book.update for each change."""
    market = gateway.market(params.market)
    book = gateway.node.books[market.symbol]
    name = f"book:{market.symbol}"
    may_subscribe(gateway, client, name)

    def snapshot() -> dict[str, Any]:
        gateway.feed.begin(name, client.send_queue)
        result = book_snapshot(book, market, SNAPSHOT_LEVELS_MAX)
        for side in ("buy", "sell"):
            deep = book.levels(side, SNAPSHOT_LEVELS_TOTAL_MAX)[SNAPSHOT_LEVELS_MAX:]
            for start in range(0, len(deep), SNAPSHOT_LEVELS_MAX):
                page = deep[start : start + SNAPSHOT_LEVELS_MAX]
                part = [(side, level.price_ticks, level.lots, level.orders) for level in page]
                rest = {
                    "market": market.symbol,
                    "seq": book.seq,
                    "prev_seq": book.seq,
                    "changes": level_changes(part, market),
                    "checksum": result["checksum"],
                }
                at_seal.after.append(notification_line("book.update", rest))
        return {"subscription": name, **result}

    at_seal = AtSeal(snapshot, begins=name)
    return at_seal


@METHODS.method("book.unsubscribe", p.OneMarket)
def book_unsubscribe(
    gateway: Gateway, client: Principal, params: p.OneMarket, now: float
) -> MethodResult:
    """End following a book."""
    return unsubscribe(gateway, client, f"book:{gateway.market(params.market).symbol}")


@METHODS.method("trades.list", p.TradesList)
async def trades_list(
    gateway: Gateway, client: Principal, params: p.TradesList, now: float
) -> dict[str, Any]:
    """List a market's trades, newest last; after: only those that followed that trade."""
    market = gateway.known_market(params.market)
    trades = await gateway.history.trades(market.symbol, params.after, params.limit)
    if trades is None:
        raise unknown_cursor(params.after)
    items = [public_trade(trade, market) for trade in trades]
    shown = page("trades", items, params.limit, "trade_id", keep_last=params.after is None)
    return {"market": market.symbol, "trades": shown["trades"]}


@METHODS.method("trades.subscribe", p.TradesList)
def trades_subscribe(
    gateway: Gateway, client: Principal, params: p.TradesList, now: float
) -> MethodResult:
    """Follow a market's trades; the answer shows the newest."""
    market = gateway.market(params.market)
    name = f"trades:{market.symbol}"
    may_subscribe(gateway, client, name)

    def snapshot() -> dict[str, Any]:
        gateway.feed.begin(name, client.send_queue)
        tape = list(gateway.node.tape(market.symbol))[-params.limit :]
        items = [public_trade(trade, market) for trade in tape]
        shown = page("trades", items, params.limit, "trade_id", keep_last=True)
        return {"subscription": name, "market": market.symbol, "trades": shown["trades"]}

    return AtSeal(snapshot, begins=name)


@METHODS.method("trades.unsubscribe", p.OneMarket)
def trades_unsubscribe(
    gateway: Gateway, client: Principal, params: p.OneMarket, now: float
) -> MethodResult:
    """End following a market's trades."""
    return unsubscribe(gateway, client, f"trades:{gateway.market(params.market).symbol}")


@METHODS.method("ticker.get", p.OneMarket)
def ticker_get(
    gateway: Gateway, client: Principal, params: p.OneMarket, now: float
) -> MethodResult:
    """Show best bid and offer, last trade and the volume of 24 hours."""
    market = gateway.market(params.market)
    symbol = market.symbol

    def price(ticks: int | None) -> str | None:
        return None if ticks is None else market.format_price(ticks)

    def best(node: GatewayNode) -> Coroutine[Any, Any, dict[str, Any]]:
        book, last = node.books[symbol], node.last_trades.get(symbol)
        return with_volume(
            {
                "market": symbol,
                "bid": price(book.best_bid()),
                "ask": price(book.best_ask()),
                "last": price(last.price_ticks) if last is not None else None,
                "last_time": last.time_ms if last is not None else None,
            }
        )

    async def with_volume(ticker: dict[str, Any]) -> dict[str, Any]:
        lots = await gateway.history.volume_lots(symbol, int(now * 1000) - INTERVALS_MS["1d"])
        return {**ticker, "volume": market.format_quantity(lots)}

    return of_books(gateway, best)


@METHODS.method("candles.list", p.Candles)
async def candles_list(
    gateway: Gateway, client: Principal, params: p.Candles, now: float
) -> dict[str, Any]:
    """List open, high, low, close and volume by interval, oldest first."""
    market = gateway.known_market(params.market)
    price = market.format_price
    candles = [
        {
            "time": start,
            "open": price(first),
            "high": price(high),
            "low": price(low),
            "close": price(close),
            "volume": market.format_quantity(lots),
        }
        for start, first, high, low, close, lots in await gateway.history.candles(
            market.symbol, INTERVALS_MS[params.interval], params.after, params.limit
        )
    ]
    shown = page("candles", candles, params.limit, "time", keep_last=params.after is None)
    return {"market": market.symbol, "interval": params.interval, "candles": shown["candles"]}


@METHODS.method("markets.list", p.Nothing)
def markets_list(
    gateway: Gateway, client: Principal, params: p.Nothing, now: float
) -> MethodResult:
    """List the markets with tick and lot."""
    return {
        "markets": [
            {
                "market": market.symbol,
                "tick": market.tick.text,
                "lot": market.lot.text,
                "protection_bp": market.protection_bp,
                "band_bp": market.band_bp or None,
            }
            for market in gateway.node.markets.values()
        ]
    }
