"""
What the ``exchange`` tool shows on one line: orders, trades, fills, prices.

Pure: results of methods in, lines out.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from grenache_py.exchange.cli.tables import StyledLine

__all__ = [
    "SIDE_STYLES",
    "counted",
    "date",
    "fill_line",
    "moment",
    "order_line",
    "order_update_line",
    "serving_line",
    "ticker_line",
    "trade_line",
]

SIDE_STYLES = {"buy": "green", "sell": "red"}


def moment(time_ms: int) -> str:
    """A time of day, in UTC, to the millisecond."""
    when = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    return when.strftime("%H:%M:%S.") + f"{time_ms % 1000:03d}"


def serving_line(database: dict[str, Any]) -> str:
    """Who serves a home, by a daemon that stands by."""
    holder = database["holder"]
    if not holder:
        return "stands by: nobody serves"
    return f"stands by: {holder} serves, heard of {database['age_s']:.1f} s ago"


def date(time_ms: int) -> str:
    """A time of any day, in UTC."""
    when = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    return when.strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int, noun: str) -> str:
    """``1 order``, ``2 orders``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def order_line(report: dict[str, Any]) -> StyledLine:
    """One line for an order just placed, cancelled or replaced."""
    side = report["side"]
    price = f"@ {report['price']}" if report["price"] else "at market"
    if report.get("stop_price"):
        price += f" once it trades at {report['stop_price']}"
    parts: list[str | tuple[str, str]] = [
        (side, SIDE_STYLES[side]),
        f" {report['quantity']} {report['market']} {price}: ",
        (report["status"].replace("_", " "), "bold"),
    ]
    if report["filled"] != "0":
        parts.append(f", {report['filled']} filled at {report['average_price']}")
    if report["remaining"] != "0":
        parts.append(f", {report['remaining']} remaining")
    if report["in_doubt"] != "0":
        parts.append((f", {report['in_doubt']} in doubt", "yellow"))
    return StyledLine(*parts, (f"  {report['order_id']}", "dim"))


def order_update_line(update: dict[str, Any]) -> StyledLine:
    """One line for the change of an own order, its number first."""
    report = update["order"]
    return StyledLine(f"{update['seq']:>6} {moment(report['updated'])} ", *order_line(report).parts)


def fill_line(fill: dict[str, Any]) -> StyledLine:
    """One line for an own fill as it happens, its number first."""
    return StyledLine(
        f"{fill['seq']:>6} {moment(fill['time'])} {fill['market']} ",
        (fill["side"], SIDE_STYLES[fill["side"]]),
        f" {fill['quantity']} @ {fill['price']} as {fill['role']}"
        f"  {fill['client_order_id'] or fill['order_id']}",
    )


def ticker_line(ticker: dict[str, Any]) -> str:
    """Best prices, last trade, volume, on one line."""
    bid, ask, last = (ticker[name] or "-" for name in ("bid", "ask", "last"))
    when = f" at {date(ticker['last_time'])} UTC" if ticker["last_time"] else ""
    return f"{ticker['market']} bid {bid}, ask {ask}, last {last}{when}, 24 h {ticker['volume']}"


def trade_line(market: str, trade: dict[str, Any]) -> StyledLine:
    """One line for a trade as it happens."""
    return StyledLine(
        f"{moment(trade['time'])} {market} ",
        (trade["side"], SIDE_STYLES[trade["side"]]),
        f" {trade['quantity']} @ {trade['price']}",
    )
