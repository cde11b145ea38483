"""
What the ``exchange`` tool shows to people: tables and books.

Pure: results of methods in, tables out. Buy is green and sell is red, and never the colour alone
says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from grenache_py.exchange.cli.lines import SIDE_STYLES, date, moment
from grenache_py.exchange.cli.tables import Block, Table

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


def orders_table(reports: Sequence[dict[str, Any]], narrow: bool = False) -> Table:
    """
    Orders, one a row; stop price and account only where there are any.

    Args:
        narrow: for a screen of 80 columns: time of day, the first digits of the id.
    """
    amounts = ("quantity", "price", "stop_price", "filled", "remaining")
    columns: dict[str, list[Any]] = {
        "time (UTC)": [date(report["time"])[11 if narrow else 0 :] for report in reports],
        "order": [report["order_id"][: 8 if narrow else None] for report in reports],
        "market": [report["market"] for report in reports],
        "side": [(report["side"], SIDE_STYLES[report["side"]]) for report in reports],
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
    table = Table(*(name.replace("_", " ") for name in columns), right=("stop price", *amounts))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def trades_table(trades: Sequence[dict[str, Any]]) -> Table:
    """Trades, one a row; the side is the taker's."""
    table = Table("time (UTC)", "side", "quantity", "price", "trade", right=("quantity", "price"))
    quantities = _aligned([trade["quantity"] for trade in trades])
    prices = _aligned([trade["price"] for trade in trades])
    for trade, quantity, price in zip(trades, quantities, prices, strict=True):
        side = (trade["side"], SIDE_STYLES[trade["side"]])
        table.add_row(date(trade["time"]), side, quantity, price, trade["trade_id"])
    return table


def executions_table(fills: Sequence[dict[str, Any]]) -> Table:
    """Own fills, one a row; the side is the own order's."""
    columns = ("seq", "time (UTC)", "market", "side", "quantity", "price", "role", "order")
    table = Table(*columns, right=("seq", "quantity", "price"))
    quantities = _aligned([fill["quantity"] for fill in fills])
    prices = _aligned([fill["price"] for fill in fills])
    for fill, quantity, price in zip(fills, quantities, prices, strict=True):
        side = (fill["side"], SIDE_STYLES[fill["side"]])
        named = fill["client_order_id"] or fill["order_id"]
        when, role = date(fill["time"]), fill["role"]
        table.add_row(str(fill["seq"]), when, fill["market"], side, quantity, price, role, named)
    return table


def positions_table(result: dict[str, Any]) -> Block:
    """What was bought less what was sold, one market a row, and since when it is known."""
    rows = result["positions"]
    names = ("position", "bought", "sold")
    table = Table("market", *names, right=names)
    numbers = [_aligned([row[name] for row in rows]) for name in names]
    for row, *cells in zip(rows, *numbers, strict=True):
        table.add_row(row["market"], *cells)
    known = (
        []
        if result["complete"]
        else [f"of fills since {date(result['since'])} UTC; older are not kept"]
    )
    return Block(table, *known)


def candles_table(candles: Sequence[dict[str, Any]]) -> Table:
    """Candles, one a row."""
    names = ("open", "high", "low", "close", "volume")
    table = Table("time (UTC)", *names, right=names)
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
    numbers = ("price", "quantity", "orders")
    table = Table("", *numbers, "", right=numbers, title=market)
    most = max((Decimal(level[1]) for level in (*bids, *asks)), default=Decimal(1))
    levels = [("ask", *level) for level in reversed(asks)] + [("bid", *level) for level in bids]
    news = list(reversed(trades))
    prices = _aligned([row[1] for row in levels] + [trade["price"] for trade in news])
    quantities = _aligned([row[2] for row in levels] + [trade["quantity"] for trade in news])
    for place, (side, _, quantity, orders) in enumerate(levels):
        if place == len(asks) and asks:
            spread = f"{Decimal(asks[0][0]) - Decimal(bids[0][0]):f}"
            table.add_row(("spread", "dim"), (spread, "dim"), "", "", "")
        style = SIDE_STYLES["buy" if side == "bid" else "sell"]
        bar = "█" * max(1, int(Decimal(quantity) / most * BAR_WIDTH))
        price = (prices[place], style)
        table.add_row((side, style), price, quantities[place], str(orders), (bar, style))
    if not levels:
        table.add_row(("empty", "dim"), "", "", "", "")
    for place, trade in enumerate(news, len(levels)):
        when = (f"{moment(trade['time'])} {trade['side']}", SIDE_STYLES[trade["side"]])
        table.add_row(("trade", "dim"), prices[place], quantities[place], "", when)
    return table


def peers_table(peers: Iterable[dict[str, Any]]) -> Table:
    """Links to other peers, one a row."""
    table = Table(
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
    table = Table(
        "fill", "order", "market", "quantity", "peer", "deadline (UTC)", right=("quantity",)
    )
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
    table = Table("market", *numbers, right=numbers)
    for market in markets:
        shares = [market["protection_bp"], market.get("band_bp")]
        percent = [f"{share / 100:g} %" if share is not None else "-" for share in shares]
        table.add_row(market["market"], market["tick"], market["lot"], *percent)
    return table


def status_table(status: dict[str, Any]) -> Table:
    """What ``status`` says, the nested parts on lines of their own."""
    table = _facts()

    def add(name: str, value: str) -> None:
        table.add_row((name, "bold"), value)

    for name, value in status.items():
        if name == "origins":
            add(name, f"{len(value)}")
            for home, origin in value.items():
                add(f"  {home[:16]}", _members(origin))
        elif isinstance(value, dict) and len(_members(value)) > MEMBERS_CHARS_MAX:
            add(name, "")
            for member, inner in value.items():
                add(f"  {member}", _word(inner))
        elif isinstance(value, dict):
            add(name, _members(value) or "-")
        elif name == "raised":
            add(name, "" if value else "-")
            for each in value:
                add(f"  {each['id']}", f"{each['level']}: {each['text']}")
        elif isinstance(value, list):
            add(name, ", ".join(map(_word, value)) or "-")
        elif name == "time":
            add(name, f"{date(value)} UTC")
        else:
            add(name, _word(value))
    return table


def _facts() -> Table:
    """A table of names and what they are, without a header."""
    return Table("", "", header=False, fold=True)


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
        table.add_row((symbol, "bold"), f"{orders} standing orders, hash {follows}")
        if follows != stored:
            table.add_row("", f"but stored is the book {stored}")
    for problem in proof.problems:
        table.add_row(("problem", "bold red"), (problem, "red"))
    table.add_row(("proven", "bold"), "yes" if proof.holds else "NO")
    return table


def trace_table(trace: dict[str, Any]) -> Block:
    """The life of an order, as `audit.trace` tells it: a line for each thing that happened."""
    table = Table("", "", "", header=False)
    for each in trace["happenings"]:
        time_ms = each["time"]
        when = f"{date(time_ms)}.{time_ms % 1000:03d}"
        table.add_row(when, (each["what"], "bold"), each["text"])
    of = f" of peer {trace['home']}" if trace["home"] else ""
    return Block(f"order {trace['order']}{of}", table)


def _members(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_word(member)}" for name, member in value.items())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_word, value)) or "-"
    if isinstance(value, dict):
        numbers = {name for name, member in value.items() if isinstance(member, int)}
        told = {name: str(member) for name, member in value.items() if member != ""}
        return " ".join(
            f"{name} {each}" if name in numbers else each for name, each in told.items()
        )
    return "-" if value is None or value == "" else str(value)


def findings_table(findings: Iterable[Finding]) -> Table:
    """What the doctor found, with what to do below each line that needs it."""
    table = Table("", "", "", header=False, fold=True)
    marks = {
        "good": ("ok", "green"),
        "note": ("note", "yellow"),
        "warning": ("WARN", "bold yellow"),
        "bad": ("BAD", "bold red"),
    }
    for finding in findings:
        table.add_row(marks[finding.verdict], (finding.what, "bold"), finding.found)
        see = f" (docs/operator.rst#alarm-{finding.alarm})" if finding.alarm else ""
        if finding.advice:
            table.add_row("", "", (f"{finding.advice}{see}", "dim"))
    return table
