"""
``exchange buy``, ``sell``, ``cancel``, ``replace`` and ``orders``.

Edge: reads the time.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import click
from click.types import StringParamType

from grenache_py.errors import GrenacheError
from grenache_py.exchange.cli.lines import counted, order_line, order_update_line
from grenache_py.exchange.cli.names import MARKET, ORDER
from grenache_py.exchange.cli.outcomes import complain
from grenache_py.exchange.cli.tool import Tool, as_sent, printing, tell_problem
from grenache_py.exchange.client_port.as_typed import amount
from grenache_py.plain_text import harmless
from grenache_py.trading import Refused

__all__ = ["buy", "cancel", "orders", "replace", "sell"]

#: How long trades at other peers, which take a round trip, are waited for.
IN_DOUBT_WAIT_MS = 2000

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class _Duration(StringParamType):
    """A time such as ``500ms``, ``30s``, ``10m`` or ``2h``, in milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail("must be a time like 500ms, 30s, 10m or 2h", param, ctx)
        return int(match[1]) * _UNIT_MS[match[2]]


DURATION = _Duration()


class _OrderCommand(click.Command):
    """A command that takes a negative number for an amount that cannot be, not for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not re.match(r"-[0-9.]", error.option_name):
                raise
            word = next(word for word in typed if word.startswith(error.option_name))
            raise click.UsageError(
                f"{word!r} cannot be: a quantity and a price are more than 0.", ctx
            ) from None


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.argument("market", type=MARKET),
            click.argument(
                "amount", nargs=-1, required=True, metavar="QUANTITY @ PRICE | QUANTITY market"
            ),
            click.option("--ioc", "tif", flag_value="ioc", help="Trade at once, cancel the rest."),
            click.option("--fok", "tif", flag_value="fok", help="All at once or nothing."),
            click.option("--post-only", is_flag=True, help="Only if it does not trade at once."),
            click.option("--expires", type=DURATION, help="Cancel it after 30s, 10m, 2h, ..."),
            click.option("--stop", metavar="PRICE", help="Wait until the market trades there."),
            click.option("--id", "client_order_id", help="Your name for it; makes a retry safe."),
            click.option("--account", help="Place it for this account."),
            click.option(
                "--wait",
                "wait_ms",
                type=DURATION,
                default="2s",
                show_default=True,
                help="At most so long for what trades at other peers, which is in doubt till then.",
            ),
            click.pass_obj,
        )
    ):
        command = option(command)
    return command


@click.command(cls=_OrderCommand)
@_order_options
def buy(tool: Tool, **order: Any) -> None:
    """Buy: exchange buy BTC-USD 1.5 @ 100 (or 1.5@100, 1.5 100), or ... 1.5 market."""
    _place(tool, "buy", **order)


@click.command(cls=_OrderCommand)
@_order_options
def sell(tool: Tool, **order: Any) -> None:
    """Sell: exchange sell BTC-USD 1.5 @ 100 (or 1.5@100, 1.5 100), or ... 1.5 market."""
    _place(tool, "sell", **order)


def _place(
    tool: Tool,
    side: str,
    market: str,
    amount: tuple[str, ...],
    tif: str | None,
    post_only: bool,
    expires: int | None,
    stop: str | None,
    client_order_id: str | None,
    account: str | None,
    wait_ms: int,
) -> None:
    quantity, kind, limit = _amount(amount)
    if stop is not None:
        kind = "stop" if kind == "market" else "stop_limit"
    report = tool.call(
        "order.place",
        market=market,
        side=side,
        type=kind,
        quantity=quantity,
        price=limit,
        stop_price=stop,
        time_in_force=tif,
        post_only=post_only or None,
        expires=None if expires is None else int(time.time() * 1000) + expires,
        # With a name it can be asked for when the answer is lost, and sent again.
        client_order_id=client_order_id or f"x-{os.urandom(8).hex()}",
        account=account,
    )
    _show_order(tool, _settled(tool, report, wait_ms))


def _amount(words: tuple[str, ...]) -> tuple[str, str, str | None]:
    """Quantity, type and price of what was typed."""
    found = amount(" ".join(words))
    if found is None or found[2]:
        raise click.UsageError("Write it as `1.5 @ 100`, or `1.5 market` for the best there is.")
    quantity, price, _ = found
    return quantity, "market" if price is None else "limit", price


def _settled(tool: Tool, report: dict[str, Any], wait_ms: int = IN_DOUBT_WAIT_MS) -> dict[str, Any]:
    """Wait a little for what trades at other peers, so that the person sees it."""
    deadline = time.monotonic() + wait_ms / 1000
    while report["in_doubt"] != "0" and time.monotonic() < deadline:
        time.sleep(0.02)
        report = tool.call("order.get", order_id=report["order_id"])
    return report


def _show_order(tool: Tool, report: dict[str, Any]) -> None:
    tool.out(report, lambda: order_line(report), ids=[report["order_id"]])


_ORDER_ID = re.compile(r"[0-9a-f]{32}")


def _name(id: str) -> dict[str, Any]:
    return {"order_id" if _ORDER_ID.fullmatch(id) else "client_order_id": id}


#: Orders that are looked at before a person is asked about all of them.
ASKED_ABOUT_MAX = 1000


@click.command()
@click.argument("ids", nargs=-1, type=ORDER, metavar="[ID... | -]")
@click.option("--all", "everything", is_flag=True, help="Cancel all open orders.")
@click.option("--market", type=MARKET, help="With --all: of this market only.")
@click.option("--account", help="Of this account only; without it, of all accounts.")
@click.option("--yes", is_flag=True, help="Do not ask, also when it is about several accounts.")
@click.pass_obj
def cancel(
    tool: Tool,
    ids: tuple[str, ...],
    everything: bool,
    market: str | None,
    account: str | None,
    yes: bool,
) -> None:
    """
    Cancel orders, by their ids or yours, or --all.

    With - the ids are read from stdin: exchange orders -q | exchange cancel -

    Of several, each is tried; the exit code is that of the first that was not cancelled.
    """
    if bool(ids) == everything:
        raise click.UsageError("Name the order to cancel, or give --all.")
    if len(ids) == 1 and ids != ("-",):
        _show_order(tool, _cancelled(tool, ids[0], account))
        return
    if ids:
        _cancel_each(tool, sys.stdin.read().split() if ids == ("-",) else list(ids), account)
        return
    if account is None and not yes and sys.stdin.isatty():
        _ask_about_accounts(tool, market)
    result = tool.call(
        "order.cancel_all",
        market=market,
        account=account,
        all_accounts=True if account is None else None,
    )
    if not result["cancelled"]:
        tool.nothing("There was no open order to cancel.", result)
        return
    tool.out(result, lambda: counted(result["cancelled"], "order") + " cancelled")


def _cancelled(tool: Tool, id: str, account: str | None) -> dict[str, Any]:
    return _settled(tool, tool.call("order.cancel", account=account, **_name(id)))


def _cancel_each(tool: Tool, ids: list[str], account: str | None) -> None:
    if not ids:
        tool.nothing("There was no order to cancel.", ids)
        return
    reports: list[dict[str, Any]] = []
    code = 0
    for id in ids:
        try:
            reports.append(_cancelled(tool, id, account))
        except GrenacheError as error:
            told = complain(error, tool.json)
            code = code or told
            if not isinstance(error, Refused):
                break  # there is no connection any more
    if tool.json or tool.quiet:
        tool.out(reports, str, ids=[report["order_id"] for report in reports])
    else:
        for report in reports:
            tool.show(order_line(report))
    if code:
        sys.exit(code)


def _ask_about_accounts(tool: Tool, market: str | None) -> None:
    page = tool.call("order.list", market=market, status="open", limit=ASKED_ABOUT_MAX)
    accounts = sorted({order["account"] for order in page["orders"]})
    if len(accounts) > 1:
        more = " and more" if page["next"] else ""
        number = counted(len(page["orders"]), "order")
        names = harmless(", ".join(name or "the one without a name" for name in accounts))
        question = f"This cancels {number}{more} of {len(accounts)} accounts: {names}. Go on?"
        click.confirm(question, abort=True, err=True)


@click.command()
@click.argument("id", type=ORDER)
@click.option("--quantity", help="The new total; a lower one keeps the place in time.")
@click.option("--price", help="The new limit.")
@click.pass_obj
def replace(tool: Tool, id: str, quantity: str | None, price: str | None) -> None:
    """Change an order's quantity or price."""
    if quantity is None and price is None:
        raise click.UsageError("Give a new --quantity, a new --price or both.")
    report = tool.call("order.replace", quantity=quantity, price=price, **_name(id))
    _show_order(tool, _settled(tool, report))


@click.command()
@click.argument("id", type=ORDER, required=False)
@click.option("--market", type=MARKET, help="Of this market only.")
@click.option("--account", help="Of this account only.")
@click.option(
    "--status", type=click.Choice(["open", "closed", "all"]), default="open", show_default=True
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option(
    "--watch", is_flag=True, help="Print each change of the account's orders, until Ctrl-C."
)
@click.option(
    "--since",
    metavar="SEQ",
    type=click.IntRange(0),
    help="With --watch: all after this number.",
)
@click.pass_obj
def orders(
    tool: Tool,
    id: str | None,
    market: str | None,
    account: str | None,
    status: str,
    limit: int,
    watch: bool,
    since: int | None,
) -> None:
    """
    Show orders, newest first, or the one named.

    --watch goes on over restarts of the daemon; each change has a number, and --since with the last
    one seen goes on from there. It is about one account; without --account, the one without a name.
    """
    if (watch and id is not None) or (since is not None and not watch):
        raise click.UsageError("--since is for --watch, which is for all orders of an account.")
    if watch:
        _watch_orders(tool, market, account, since)
        return
    if id is not None:
        report = tool.call("order.get", account=account, **_name(id))
        tool.out(report, lambda: printing.orders_table([report]), ids=[report["order_id"]])
        return
    found = tool.pages("order.list", "orders", limit, market=market, account=account, status=status)
    if not found:
        tool.nothing(f"There are no {'' if status == 'all' else status + ' '}orders.", found)
        return
    ids = [order["order_id"] for order in found]
    tool.out(found, lambda: printing.orders_table(found), ids=ids)


def _watch_orders(tool: Tool, market: str | None, account: str | None, since: int | None) -> None:
    with tool.following(tell_problem, account) as client, client.orders(since) as changes:
        for order in changes:
            if market in {None, order.market}:
                update = {"seq": changes.seq, "order": as_sent(order)}
                line = order_update_line(update)
                tool.out(update, lambda line=line: line, ids=[order.order_id])  # type: ignore[misc]
                sys.stdout.flush()
