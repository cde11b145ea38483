"""
``exchange export``, ``replay`` and ``trace``: what a store's file holds, with or without a daemon.

Edge: reads files.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime, timezone
from itertools import chain
from typing import Any, TextIO

import attrs
import click
from click.types import StringParamType

from grenache_py.exchange.audit.export import CHANGED_AT, prove, write_csv, write_jsonl
from grenache_py.exchange.audit.trace import trace as trace_order
from grenache_py.exchange.audit.trace_log import with_log
from grenache_py.exchange.cli.tool import EXIT_FAILED, EXIT_NOTHING, Tool, printing

__all__ = ["DATA_FILE", "export", "replay", "store_file", "trace"]

DATA_FILE = "exchange-data/exchange.sqlite"


def store_file(path: str) -> str:
    """The store in a data directory, or the file itself (a backup)."""
    return os.path.join(path, "exchange.sqlite") if os.path.isdir(path) else path


class _Moment(StringParamType):
    """A time, in milliseconds since 1970; one without a zone is in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if re.fullmatch("[0-9]{1,15}", value):
            return int(value)
        try:
            # Python 3.10 reads no Z.
            when = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", value))
        except ValueError:
            self.fail("must be a time like 2026-11-28 or 2026-11-28T12:30Z", param, ctx)
        return round(
            (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() * 1000
        )


MOMENT = _Moment()


@click.command()
@click.argument("what", type=click.Choice(["orders", "trades", "log"]), default="orders")
@click.argument("file", default=DATA_FILE)
@click.option("--format", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option(
    "--since",
    type=MOMENT,
    help="Orders changed, or trades made, at that time or later: 2026-11-28, 2026-11-28T12:30Z, or"
    " milliseconds since 1970.",
)
@click.option("--iso", is_flag=True, help="Times as 2026-11-28T12:30:00.000Z, not milliseconds.")
@click.pass_obj
def export(tool: Tool, what: str, file: str, format: str, since: int | None, iso: bool) -> None:
    """
    Write all orders, trades or log entries of a store to stdout.

    FILE is a data directory, its exchange.sqlite, a backup, or the postgresql:// address of a
    database; a daemon may be using it.
    """
    if since is not None and what not in CHANGED_AT:
        raise click.UsageError("--since is for orders and trades; log entries have numbers.")
    write = write_csv if format == "csv" else write_jsonl
    if not write(store_file(file), what, sys.stdout, since, iso) and tool.fail_empty:
        sys.exit(EXIT_NOTHING)


@click.command()
@click.argument("file", default=DATA_FILE)
@click.pass_obj
def replay(tool: Tool, file: str) -> None:
    """
    Play a store's log again and prove that it leads to its orders, trades and books.

    FILE is a data directory, its exchange.sqlite, a backup, or the postgresql:// address of a
    database; a daemon may be using it.
    """
    proof = prove(store_file(file))
    tool.out({"holds": proof.holds, **attrs.asdict(proof)}, lambda: printing.proof_table(proof))
    if not proof.holds:
        sys.exit(EXIT_FAILED)


@click.command()
@click.argument("order")
@click.argument("file", default=DATA_FILE)
@click.option(
    "--log",
    "logs",
    type=click.File("r", "utf-8", errors="replace"),
    multiple=True,
    help="A daemon's log, text or JSON, - for stdin: what it says of the order, of peers that it"
    " had to do with, and of what was wrong meanwhile. Again for each.",
)
@click.pass_obj
def trace(tool: Tool, order: str, file: str, logs: tuple[TextIO, ...]) -> None:
    """
    Tell what happened to an order: received, committed, sent, asked, answered, traded, settled.

    ORDER is its id, the first 8 digits of it or more, or the id that its client gave it. FILE is a
    data directory, its exchange.sqlite, a backup, or the postgresql:// address of a database; a
    daemon may be using it.
    """
    path = store_file(file)
    found = trace_order(path, order)
    if found is None:
        tool.nothing(f"{path} knows no order {order}.", None)
        sys.exit(EXIT_NOTHING)
    if logs:
        found = with_log(found, chain.from_iterable(logs))
    told = attrs.asdict(found)
    tool.out(told, lambda: printing.trace_table(told))
