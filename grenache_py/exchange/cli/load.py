"""
``exchange load``: many orders, and how long their answers took.

Edge: reads the clock.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grenache_py.errors import GrenacheError
from grenache_py.exchange.cli.latencies import histogram_lines, percentile
from grenache_py.exchange.cli.load_run import Flow, Load
from grenache_py.exchange.cli.names import MARKET
from grenache_py.exchange.cli.tool import EXIT_FAILED, Tool
from grenache_py.wire.jsonrpc import request_line

__all__ = ["load"]

_ORDER_ID = re.compile(rb'"order_id":"([0-9a-f]{32})"')


@click.command()
@click.option("--market", type=MARKET, required=True, help="Place the orders in this market.")
@click.option("--orders", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True)
@click.option("--clients", type=click.IntRange(1, 4000), default=16, show_default=True)
@click.option(
    "--depth",
    type=click.IntRange(1, 500),
    default=1,
    show_default=True,
    help="Orders a client sends before it waits for an answer.",
)
@click.option("--price", default=None, help="The middle of the prices.  [default: 10000 ticks]")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--account", default="", help="Place them for this account.")
@click.option("--cleanup", is_flag=True, help="Cancel afterwards what is still open of them.")
@click.pass_obj
def load(
    tool: Tool,
    market: str,
    orders: int,
    clients: int,
    depth: int,
    price: str | None,
    seed: int,
    account: str,
    cleanup: bool,
) -> None:  # fmt: skip
    """Place many orders and show how long the answers took. They are real orders!"""
    found = [m for m in tool.call("markets.list")["markets"] if m["market"] == market]
    if not found:
        raise GrenacheError(f"There is no market {market!r} here; `exchange markets` lists them.")
    tick, lot = found[0]["tick"], found[0]["lot"]
    rng = random.Random(seed)  # noqa: S311  # a flow that can be repeated, not a secret
    flow = Flow(market, tick, lot, rng, account=account)
    if price is not None:
        try:
            flow.mid_ticks = int(Decimal(price) / Decimal(tick))
        except ArithmeticError:
            raise click.BadParameter("must be a number", param_hint="--price") from None
    lines = flow.lines(orders)
    resting: list[str] = []
    taken = _keep_ids(resting) if cleanup else _forget
    with Progress(
        TextColumn("orders"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=tool.json or not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("", total=orders, rate="")
        run = Load(
            lambda: tool.connect().detach(),
            lines,
            clients,
            depth=depth,
            clock=time.perf_counter,
            progress=lambda done: progress.advance(task, done),
            taken=taken,
        )
        try:
            run.run()
        finally:
            cancelled = _cancel(tool, resting, clients, depth, account) if resting else 0
    rising = sorted(run.latencies)
    summary = {
        "orders": orders,
        "clients": clients,
        "seconds": round(run.seconds, 3),
        "orders_per_s": round(orders / run.seconds, 1),
        **{
            f"{name}_ms": round(percentile(rising, part) * 1000, 3)
            for name, part in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))
        },
        "refused": run.errors,
        **({"cancelled": cancelled} if cleanup else {}),
    }

    def shown() -> str:
        return "\n".join(
            [
                *histogram_lines(run.latencies),
                f"{orders} orders in {run.seconds:.2f} s: {summary['orders_per_s']:,.0f} a second"
                f" with {clients} clients",
                *(f"refused {count} times: {message}" for message, count in run.errors.items()),
                *([f"{cancelled} that were still open are cancelled"] if cleanup else []),
            ]
        )

    tool.out(summary, shown)
    if run.errors:
        sys.exit(EXIT_FAILED)


def _forget(line: bytes) -> None:
    pass


def _keep_ids(kept: list[str]) -> Callable[[bytes], None]:
    """Keep the ids of orders that rest, from their answers; most of a run is not decoded."""

    def taken(line: bytes) -> None:
        found = None if b'"remaining":"0"' in line else _ORDER_ID.search(line)
        if found is not None:
            kept.append(found[1].decode())

    return taken


def _cancel(tool: Tool, ids: list[str], clients: int, depth: int, account: str) -> int:
    """Cancel orders; how many were open. The others traded after they were answered."""
    count = 0

    def taken(line: bytes) -> None:
        nonlocal count
        count += 1

    of = {"account": account} if account else {}
    lines = [
        request_line("order.cancel", {"order_id": id, **of}, number)
        for number, id in enumerate(ids)
    ]
    Load(
        lambda: tool.connect().detach(),
        lines,
        clients,
        depth=depth,
        clock=time.perf_counter,
        taken=taken,
    ).run()
    return count
