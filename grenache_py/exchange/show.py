"""
What the ``exchange`` tool shows to people: tables, books, histograms.

Pure: results of methods in, things that rich can print out. Buy is green and sell is red, and
never the colour alone says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from grenache_py.exchange.doctor import Finding
from grenache_py.exchange.replay import Proof

__all__ = [
    "book_table",
    "fills_table",
    "findings_table",
    "histogram_lines",
    "markets_table",
    "moment",
    "order_line",
    "orders_table",
    "peers_table",
    "percentile",
    "proof_table",
    "status_table",
    "trade_line",
    "trades_table",
]

SIDE_STYLES = {"buy": "green", "sell": "red"}
BAR_WIDTH = 24


def moment(time_ms: int) -> str:
    """A time of day, in UTC, to the millisecond."""
    when = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    return when.strftime("%H:%M:%S.") + f"{time_ms % 1000:03d}"


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return table


def order_line(report: dict[str, Any]) -> Text:
    """One line for an order just placed, cancelled or replaced."""
    side = report["side"]
    price = f"@ {report['price']}" if report["price"] else "at market"
    line = Text.assemble(
        (side, SIDE_STYLES[side]),
        f" {report['quantity']} {report['market']} {price}: ",
        (report["status"].replace("_", " "), "bold"),
    )
    if report["filled"] != "0":
        line.append(f", {report['filled']} filled at {report['average_price']}")
    if report["remaining"] != "0":
        line.append(f", {report['remaining']} remaining")
    if report["in_doubt"] != "0":
        line.append(f", {report['in_doubt']} in doubt", "yellow")
    line.append(f"  {report['order_id']}", "dim")
    return line


def orders_table(reports: Iterable[dict[str, Any]]) -> Table:
    """Orders, one a row."""
    right = ("quantity", "price", "filled", "remaining")
    table = _table(
        "time", "order", "market", "side", "type", *right, "status", "account", right=right
    )
    for report in reports:
        table.add_row(
            moment(report["time"]),
            report["order_id"],
            report["market"],
            Text(report["side"], SIDE_STYLES[report["side"]]),
            report["type"],
            report["quantity"],
            report["price"] or "-",
            report["filled"],
            report["remaining"],
            report["status"].replace("_", " "),
            report["account"] or "-",
        )
    return table


def trades_table(trades: Iterable[dict[str, Any]]) -> Table:
    """Trades, one a row; the side is the taker's."""
    table = _table("time", "side", "quantity", "price", "trade", right=("quantity", "price"))
    for trade in trades:
        side = Text(trade["side"], SIDE_STYLES[trade["side"]])
        table.add_row(
            moment(trade["time"]), side, trade["quantity"], trade["price"], trade["trade_id"]
        )
    return table


def trade_line(market: str, trade: dict[str, Any]) -> Text:
    """One line for a trade as it happens."""
    return Text.assemble(
        f"{moment(trade['time'])} {market} ",
        (trade["side"], SIDE_STYLES[trade["side"]]),
        f" {trade['quantity']} @ {trade['price']}",
    )


def book_table(
    market: str,
    bids: Sequence[Sequence[Any]],
    asks: Sequence[Sequence[Any]],
    trades: Sequence[dict[str, Any]] = (),
) -> Table:
    """A book as people draw it: asks above, bids below, the best of each in the middle."""
    table = _table("", "price", "quantity", "orders", right=("price", "quantity", "orders"))
    table.add_column("")
    table.title = market
    table.title_style = "bold"
    most = max((Decimal(level[1]) for level in (*bids, *asks)), default=Decimal(1))

    def row(side: str, level: Sequence[Any]) -> None:
        price, quantity, orders = level
        bar = "█" * max(1, int(Decimal(quantity) / most * BAR_WIDTH))
        style = SIDE_STYLES["buy" if side == "bid" else "sell"]
        drawn = Text(bar, style)
        table.add_row(Text(side, style), Text(price, style), quantity, str(orders), drawn)

    for level in reversed(asks):
        row("ask", level)
    if bids and asks:
        spread = Decimal(asks[0][0]) - Decimal(bids[0][0])
        table.add_row(Text("spread", "dim"), Text(f"{spread:f}", "dim"), "", "", "")
    for level in bids:
        row("bid", level)
    if not bids and not asks:
        table.add_row(Text("empty", "dim"), "", "", "", "")
    for trade in reversed(trades):
        table.add_row(
            Text("trade", "dim"),
            trade["price"],
            trade["quantity"],
            "",
            Text(f"{moment(trade['time'])} {trade['side']}", SIDE_STYLES[trade["side"]]),
        )
    return table


def peers_table(peers: Iterable[dict[str, Any]]) -> Table:
    """Links to other peers, one a row."""
    table = _table(
        "peer", "address", "direction", "ready", "synced", "latency", "score",
        right=("latency", "score"),
    )  # fmt: skip
    for peer in peers:
        latency = peer["latency_ms"]
        table.add_row(
            (peer["peer"] or "not proven")[:16],
            peer["listen"] or peer["address"],
            peer["direction"],
            "yes" if peer["ready"] else "no",
            "yes" if peer["synced"] else "no",
            "-" if latency is None else f"{latency} ms",
            "-" if peer["score"] is None else str(peer["score"]),
        )
    return table


def fills_table(fills: Iterable[dict[str, Any]]) -> Table:
    """Fills in doubt, one a row."""
    table = _table("fill", "order", "market", "quantity", "peer", "deadline", right=("quantity",))
    for fill in fills:
        table.add_row(
            fill["fill"],
            fill["order"],
            fill["market"],
            fill["quantity"],
            fill["maker_home"][:16],
            moment(fill["deadline"]),
        )
    return table


def markets_table(markets: Iterable[dict[str, Any]]) -> Table:
    """Markets, one a row."""
    table = _table("market", "tick", "lot", "protection", right=("tick", "lot", "protection"))
    for market in markets:
        protection = f"{market['protection_bp'] / 100:g} %"
        table.add_row(market["market"], market["tick"], market["lot"], protection)
    return table


def status_table(status: dict[str, Any]) -> Table:
    """What ``status`` says, the nested parts on lines of their own."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in status.items():
        if isinstance(value, dict):
            if name == "origins":
                table.add_row(name, f"{len(value)}")
                for home, origin in value.items():
                    table.add_row(f"  {home[:16]}", _members(origin))
            else:
                table.add_row(name, _members(value))
        elif isinstance(value, list):
            table.add_row(name, ", ".join(map(str, value)) or "-")
        else:
            table.add_row(name, _word(value))
    return table


def proof_table(proof: Proof) -> Table:
    """What playing a log again has shown, the verdict last."""
    gaps = proof.gaps or "no"
    table = status_table(
        {
            "home": proof.home,
            "entries": f"{proof.entries}, {gaps} gaps, {proof.beats} heartbeats agree",
            "live orders": proof.live_orders,
            "trades": proof.trades,
        }
    )
    for symbol, (orders, follows, stored) in proof.books.items():
        table.add_row(symbol, f"{orders} standing orders, hash {follows}")
        if follows != stored:
            table.add_row("", f"but stored is the book {stored}")
    for problem in proof.problems:
        table.add_row("problem", problem, style="red")
    table.add_row("proven", "yes" if proof.holds else "NO")
    return table


def _members(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_word(member)}" for name, member in value.items())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None or value == "" else str(value)


def findings_table(findings: Iterable[Finding]) -> Table:
    """What the doctor found, with what to do below each line that needs it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    marks = {"good": ("ok", "green"), "warning": ("note", "yellow"), "bad": ("BAD", "bold red")}
    for finding in findings:
        table.add_row(Text(*marks[finding.verdict]), finding.what, finding.found)
        if finding.advice:
            table.add_row("", "", Text(finding.advice, "dim"))
    return table


def percentile(rising: Sequence[float], part: float) -> float:
    """The value that ``part`` (0 to 1) of ``rising`` values do not exceed."""
    return rising[min(len(rising) - 1, int(part * len(rising)))]


def histogram_lines(seconds: Sequence[float]) -> list[str]:
    """A histogram of latencies over doubling ranges, one line each, and percentiles below."""
    rising = sorted(seconds)
    if not rising:
        return ["no latencies were measured"]
    bounds: list[float] = [0.00025]
    while bounds[-1] < rising[-1]:
        bounds.append(bounds[-1] * 2)
    counts = [0] * len(bounds)
    place = 0
    for value in rising:
        while value > bounds[place]:
            place += 1
        counts[place] += 1
    first = next(i for i, count in enumerate(counts) if count)
    lines = [
        f"{'<=':>4} {bound * 1000:8.2f} ms {count:>9}  {'█' * round(count / max(counts) * 40)}"
        for bound, count in zip(bounds[first:], counts[first:], strict=True)
    ]
    shown = "  ".join(
        f"{name} {percentile(rising, part) * 1000:.2f} ms"
        for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))
    )
    return [*lines, f"{shown}  max {rising[-1] * 1000:.2f} ms"]
