"""
What the ``exchange`` tool shows to people: tables and books.

Pure: results of methods in, things that rich can print out. Buy is green and sell is red, and
never the colour alone says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from grenache_py.exchange.cli.lines import SIDE_STYLES, date, moment
from grenache_py.plain_text import harmless

if TYPE_CHECKING:
    from grenache_py.exchange.audit.proof import Proof
    from grenache_py.exchange.cli.diagnosis import Finding

__all__ = [
    "book_table",
    "candles_table",
    "executions_table",
    "fills_table",
    "findings_table",
    "markets_table",
    "orders_table",
    "peers_table",
    "positions_table",
    "proof_table",
    "status_table",
    "trace_table",
    "trades_table",
]

BAR_WIDTH = 24
#: Members that together are longer get a line each.
MEMBERS_CHARS_MAX = 110


def _aligned(numbers: Iterable[str | None]) -> list[str]:
    """Decimal strings with the same number of decimals, so that a column is read at a glance."""
    texts = [number or "-" for number in numbers]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [text if text == "-" else _padded(text, decimals) for text in texts]


def _padded(text: str, decimals: int) -> str:
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<{decimals}}" if decimals else whole


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return table


def orders_table(reports: Sequence[dict[str, Any]], narrow: bool = False) -> Table:
    """
    Orders, one a row; stop price and account only where there are any.

    Args:
        narrow: for a screen of 80 columns: time of day, the first digits of the id.
    """
    amounts = ("quantity", "price", "stop_price", "filled", "remaining")
    columns: dict[str, list[Any]] = {
        "time": [date(report["time"])[11 if narrow else 0 :] for report in reports],
        "order": [report["order_id"][: 8 if narrow else None] for report in reports],
        "market": [report["market"] for report in reports],
        "side": [Text(report["side"], SIDE_STYLES[report["side"]]) for report in reports],
        "type": [report["type"].replace("_", " ") for report in reports],
        **{name: _aligned([report.get(name) for report in reports]) for name in amounts},
        "status": [report["status"].replace("_", " ") for report in reports],
        "account": [report["account"] or "-" for report in reports],
    }
    for optional in ("stop_price", "account"):
        if set(columns[optional]) <= {"-"}:
            del columns[optional]
    if narrow:
        del columns["type"], columns["filled"]
    table = _table(*(name.replace("_", " ") for name in columns), right=("stop price", *amounts))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def trades_table(trades: Sequence[dict[str, Any]]) -> Table:
    """Trades, one a row; the side is the taker's."""
    table = _table("time", "side", "quantity", "price", "trade", right=("quantity", "price"))
    quantities = _aligned([trade["quantity"] for trade in trades])
    prices = _aligned([trade["price"] for trade in trades])
    for trade, quantity, price in zip(trades, quantities, prices, strict=True):
        side = Text(trade["side"], SIDE_STYLES[trade["side"]])
        table.add_row(date(trade["time"]), side, quantity, price, trade["trade_id"])
    return table


def executions_table(fills: Sequence[dict[str, Any]]) -> Table:
    """Own fills, one a row; the side is the own order's."""
    columns = ("seq", "time", "market", "side", "quantity", "price", "role", "order")
    table = _table(*columns, right=("seq", "quantity", "price"))
    quantities = _aligned([fill["quantity"] for fill in fills])
    prices = _aligned([fill["price"] for fill in fills])
    for fill, quantity, price in zip(fills, quantities, prices, strict=True):
        side = Text(fill["side"], SIDE_STYLES[fill["side"]])
        named = fill["client_order_id"] or fill["order_id"]
        when, role = date(fill["time"]), fill["role"]
        table.add_row(str(fill["seq"]), when, fill["market"], side, quantity, price, role, named)
    return table


def positions_table(result: dict[str, Any]) -> Group:
    """What was bought less what was sold, one market a row, and since when it is known."""
    rows = result["positions"]
    names = ("position", "bought", "sold")
    table = _table("market", *names, right=names)
    numbers = [_aligned([row[name] for row in rows]) for name in names]
    for row, *cells in zip(rows, *numbers, strict=True):
        table.add_row(row["market"], *cells)
    known = (
        []
        if result["complete"]
        else [f"of fills since {date(result['since'])} UTC; older are not kept"]
    )
    return Group(table, *known)


def candles_table(candles: Sequence[dict[str, Any]]) -> Table:
    """Candles, one a row."""
    names = ("open", "high", "low", "close", "volume")
    table = _table("time", *names, right=names)
    numbers = [_aligned([candle[name] for candle in candles]) for name in names]
    for candle, *row in zip(candles, *numbers, strict=True):
        table.add_row(date(candle["time"]), *row)
    return table


def book_table(
    market: str,
    bids: Sequence[Sequence[Any]],
    asks: Sequence[Sequence[Any]],
    trades: Sequence[dict[str, Any]] = (),
) -> Table:
    """A book as people draw it: asks above, bids below, the best of each in the middle."""
    table = _table("", "price", "quantity", "orders", right=("price", "quantity", "orders"))
    table.add_column("")
    table.title = market or None
    table.title_style = "bold"
    most = max((Decimal(level[1]) for level in (*bids, *asks)), default=Decimal(1))
    levels = [("ask", *level) for level in reversed(asks)] + [("bid", *level) for level in bids]
    news = list(reversed(trades))
    prices = _aligned([row[1] for row in levels] + [trade["price"] for trade in news])
    quantities = _aligned([row[2] for row in levels] + [trade["quantity"] for trade in news])
    for place, (side, _, quantity, orders) in enumerate(levels):
        if place == len(asks) and asks:
            spread = f"{Decimal(asks[0][0]) - Decimal(bids[0][0]):f}"
            table.add_row(Text("spread", "dim"), Text(spread, "dim"), "", "", "")
        style = SIDE_STYLES["buy" if side == "bid" else "sell"]
        bar = Text("█" * max(1, int(Decimal(quantity) / most * BAR_WIDTH)), style)
        table.add_row(
            Text(side, style), Text(prices[place], style), quantities[place], str(orders), bar
        )
    if not levels:
        table.add_row(Text("empty", "dim"), "", "", "", "")
    for place, trade in enumerate(news, len(levels)):
        when = Text(f"{moment(trade['time'])} {trade['side']}", SIDE_STYLES[trade["side"]])
        table.add_row(Text("trade", "dim"), prices[place], quantities[place], "", when)
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
            harmless(peer["listen"] or peer["address"]),
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
            date(fill["deadline"]),
        )
    return table


def markets_table(markets: Iterable[dict[str, Any]]) -> Table:
    """Markets, one a row."""
    numbers = ("tick", "lot", "protection", "band")
    table = _table("market", *numbers, right=numbers)
    for market in markets:
        shares = [market["protection_bp"], market.get("band_bp")]
        percent = [f"{share / 100:g} %" if share is not None else "-" for share in shares]
        table.add_row(market["market"], market["tick"], market["lot"], *percent)
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
            elif len(_members(value)) > MEMBERS_CHARS_MAX:
                table.add_row(name, "")
                for member, inner in value.items():
                    table.add_row(f"  {member}", _word(inner))
            else:
                table.add_row(name, _members(value))
        elif name == "raised":
            table.add_row(name, "" if value else "-")
            for each in value:
                table.add_row(f"  {each['id']}", f"{each['level']}: {each['text']}")
        elif isinstance(value, list):
            table.add_row(name, ", ".join(map(_word, value)) or "-")
        elif name == "time":
            table.add_row(name, f"{date(value)} UTC")
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


def trace_table(trace: dict[str, Any]) -> Group:
    """The life of an order, as `audit.trace` tells it: a line for each thing that happened."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    for each in trace["happenings"]:
        time_ms = each["time"]
        table.add_row(f"{date(time_ms)}.{time_ms % 1000:03d}", each["what"], each["text"])
    of = f" of peer {trace['home']}" if trace["home"] else ""
    return Group(Text(f"order {trace['order']}{of}"), table)


def _members(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_word(member)}" for name, member in value.items())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_word, value)) or "-"
    if isinstance(value, dict):
        return " ".join(str(member) for member in value.values() if member != "")
    return "-" if value is None or value == "" else str(value)


def findings_table(findings: Iterable[Finding]) -> Table:
    """What the doctor found, with what to do below each line that needs it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    marks = {
        "good": ("ok", "green"),
        "note": ("note", "yellow"),
        "warning": ("WARN", "bold yellow"),
        "bad": ("BAD", "bold red"),
    }
    for finding in findings:
        table.add_row(Text(*marks[finding.verdict]), finding.what, finding.found)
        see = f" (docs/operator.rst#alarm-{finding.alarm})" if finding.alarm else ""
        if finding.advice:
            table.add_row("", "", Text(f"{finding.advice}{see}", "dim"))
    return table
