"""
``exchange``: the tool with which people and scripts trade and look after a peer.

Edge: reads argv and the environment, prints, chooses the exit code: 0 done, 1 failed (the
reason on stderr), 2 wrong usage, 3 nothing found. Tables and colours are for terminals; a pipe
gets plain text, and ``--json`` one JSON value a line.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from typing import Any, NoReturn

import attrs
import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grenache_py.errors import GrenacheError
from grenache_py.exchange import show
from grenache_py.exchange.client import CannotReach, Client, Refused
from grenache_py.exchange.errors import UNKNOWN_ORDER
from grenache_py.exchange.mirror import BookMirror

__all__ = ["main"]

IN_DOUBT_WAIT_S = 2.0
"""How long ``buy`` and ``sell`` wait for trades at other peers, which take a round trip."""
RECONNECT_S = 1.0
PIPE_COLUMNS = 220

EXIT_FAILED, EXIT_USAGE, EXIT_NOTHING = 1, 2, 3


@attrs.define
class Tool:
    """What every command needs: the connection, opened when first used, and where to print."""

    address: str
    json: bool
    token: str
    console: Console
    _client: Client | None = None

    def client(self) -> Client:
        """The connection, with the token shown."""
        if self._client is None:
            self._client = Client(self.address, time.monotonic)
            if self.token:
                self._client.call("hello", client=f"exchange {_version()}", token=self.token)
        return self._client

    def call(self, method: str, **params: Any) -> Any:
        """Call a method."""
        return self.client().call(method, **params)

    def forget(self) -> None:
        """Connect anew next time."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def out(self, value: Any, shown: Callable[[], Any]) -> None:
        """Print a result: as JSON if asked for, else what ``shown`` returns."""
        if self.json:
            click.echo(msgspec.json.encode(value))
        else:
            self.console.print(shown(), highlight=False, soft_wrap=True)

    def nothing(self, sentence: str, value: Any = None) -> NoReturn:
        """End: nothing was found."""
        if self.json and value is not None:
            click.echo(msgspec.json.encode(value))
        click.echo(sentence, err=True)
        sys.exit(EXIT_NOTHING)


def _version() -> str:
    return version("grenache-py")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--connect",
    metavar="HOST:PORT",
    envvar="EXCHANGE_CONNECT",
    help="The daemon's client port.  [default: 127.0.0.1:7070; env: EXCHANGE_CONNECT]",
)
@click.option("--unix", metavar="PATH", help="A UNIX socket of the daemon instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one value a line.")
@click.option(
    "--token-file",
    type=click.File(),
    help="Show the token in this file.  [env: EXCHANGE_TOKEN holds a token itself]",
)
@click.version_option(_version(), prog_name="exchange")
@click.pass_context
def exchange(
    context: click.Context, connect: str | None, unix: str | None, as_json: bool, token_file: Any
) -> None:
    """Trade at a peer of the exchange, and look after it."""
    if connect and unix:
        raise click.UsageError("--connect and --unix exclude each other.")
    if connect and not re.fullmatch(r".+:[0-9]{1,5}", connect):
        raise click.BadParameter("must be HOST:PORT", param_hint="--connect")
    if unix and "/" not in unix:
        unix = f"./{unix}"
    token = token_file.read().strip() if token_file else os.environ.get("EXCHANGE_TOKEN", "")
    # Tables are not squeezed into the 80 columns rich assumes of a pipe.
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    context.obj = Tool(unix or connect or "127.0.0.1:7070", as_json, token, console)


# Orders.

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _expires(text: str) -> int:
    """``10m`` from now, as milliseconds since 1970."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter("must be a time like 30s, 10m or 2h", param_hint="--expires")
    return int(time.time() * 1000) + int(match[1]) * _UNIT_MS[match[2]]


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.argument("market"),
            click.argument("quantity"),
            click.argument("price", nargs=-1, required=True, metavar="@ PRICE | market"),
            click.option("--ioc", "tif", flag_value="ioc", help="Trade at once, cancel the rest."),
            click.option("--fok", "tif", flag_value="fok", help="All at once or nothing."),
            click.option("--post-only", is_flag=True, help="Only if it does not trade at once."),
            click.option("--expires", metavar="TIME", help="Cancel it after 30s, 10m, 2h, ..."),
            click.option("--stop", metavar="PRICE", help="Wait until the market trades there."),
            click.option("--id", "client_order_id", help="Your name for it; makes a retry safe."),
            click.option("--account", help="Place it for this account."),
            click.pass_obj,
        )
    ):
        command = option(command)
    return command


@exchange.command()
@_order_options
def buy(tool: Tool, **order: Any) -> None:
    """Buy: `exchange buy BTC-USD 1.5 @ 100` or `... 1.5 market`."""
    _place(tool, "buy", **order)


@exchange.command()
@_order_options
def sell(tool: Tool, **order: Any) -> None:
    """Sell: `exchange sell BTC-USD 1.5 @ 100` or `... 1.5 market`."""
    _place(tool, "sell", **order)


def _place(
    tool: Tool,
    side: str,
    market: str,
    quantity: str,
    price: tuple[str, ...],
    tif: str | None,
    post_only: bool,
    expires: str | None,
    stop: str | None,
    client_order_id: str | None,
    account: str | None,
) -> None:
    kind, limit = _price(price)
    if stop is not None:
        kind = "stop" if kind == "market" else "stop_limit"
    report = tool.call(
        "order.place",
        market=market.upper(),
        side=side,
        type=kind,
        quantity=quantity,
        price=limit,
        stop_price=stop,
        time_in_force=tif,
        post_only=post_only or None,
        expires=None if expires is None else _expires(expires),
        client_order_id=client_order_id,
        account=account,
    )
    _show_order(tool, _settled(tool, report))


def _price(words: tuple[str, ...]) -> tuple[str, str | None]:
    text = " ".join(words)
    if text.lower() == "market":
        return "market", None
    match = re.fullmatch(r"@ ?(\S+)", text)
    if match is None:
        raise click.UsageError("Write the price as `@ 100`, or `market` for the best there is.")
    return "limit", match[1]


def _settled(tool: Tool, report: dict[str, Any]) -> dict[str, Any]:
    """Wait a little for what trades at other peers, so that the person sees it."""
    deadline = time.monotonic() + IN_DOUBT_WAIT_S
    while report["in_doubt"] != "0" and time.monotonic() < deadline:
        time.sleep(0.02)
        report = tool.call("order.get", order_id=report["order_id"])
    return report


def _show_order(tool: Tool, report: dict[str, Any]) -> None:
    tool.out(report, lambda: show.order_line(report))


_ORDER_ID = re.compile(r"[0-9a-f]{32}")


def _name(id: str) -> dict[str, str]:
    return {"order_id" if _ORDER_ID.fullmatch(id) else "client_order_id": id}


@exchange.command()
@click.argument("id", required=False)
@click.option("--all", "everything", is_flag=True, help="Cancel all open orders.")
@click.option("--market", help="With --all: of this market only.")
@click.option("--account", help="Of this account only.")
@click.pass_obj
def cancel(
    tool: Tool, id: str | None, everything: bool, market: str | None, account: str | None
) -> None:
    """Cancel one order, by its id or yours, or --all."""
    if (id is None) == (not everything):
        raise click.UsageError("Name the order to cancel, or give --all.")
    if id is not None:
        report = tool.call("order.cancel", account=account, **_name(id))
        _show_order(tool, _settled(tool, report))
        return
    result = tool.call("order.cancel_all", market=market and market.upper(), account=account)
    if not result["cancelled"]:
        tool.nothing("There was no open order to cancel.", result)
    tool.out(result, lambda: f"{result['cancelled']} orders cancelled")


@exchange.command()
@click.argument("id")
@click.option("--quantity", help="The new total; a lower one keeps the place in time.")
@click.option("--price", help="The new limit.")
@click.pass_obj
def replace(tool: Tool, id: str, quantity: str | None, price: str | None) -> None:
    """Change an order's quantity or price."""
    report = tool.call("order.replace", quantity=quantity, price=price, **_name(id))
    _show_order(tool, _settled(tool, report))


@exchange.command()
@click.argument("id", required=False)
@click.option("--market", help="Of this market only.")
@click.option("--account", help="Of this account only.")
@click.option(
    "--status", type=click.Choice(["open", "closed", "all"]), default="open", show_default=True
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.pass_obj
def orders(
    tool: Tool, id: str | None, market: str | None, account: str | None, status: str, limit: int
) -> None:
    """Show orders, newest first, or the one named."""
    if id is not None:
        report = tool.call("order.get", account=account, **_name(id))
        tool.out(report, lambda: show.orders_table([report]))
        return
    found: list[dict[str, Any]] = []
    after = None
    while len(found) < limit:
        page = tool.call(
            "order.list",
            market=market and market.upper(),
            account=account,
            status=status,
            limit=min(1000, limit - len(found)),
            after=after,
        )
        found += page["orders"]
        after = page["next"]
        if after is None:
            break
    if not found:
        tool.nothing(f"There are no {'' if status == 'all' else status + ' '}orders.", found)
    tool.out(found, lambda: show.orders_table(found))


# Markets.


@exchange.command()
@click.argument("market")
@click.option("--depth", type=click.IntRange(1, 500), default=10, show_default=True)
@click.option("--watch", is_flag=True, help="Keep showing it as it changes, until Ctrl-C.")
@click.pass_obj
def book(tool: Tool, market: str, depth: int, watch: bool) -> None:
    """Show a market's book."""
    if watch:
        _watch_book(tool, market.upper(), depth)
        return
    result = tool.call("book.get", market=market.upper(), depth=depth)
    tool.out(result, lambda: show.book_table(result["market"], result["bids"], result["asks"]))


def _watch_book(tool: Tool, market: str, depth: int) -> None:
    with Live(console=tool.console, auto_refresh=False, transient=False) as live:

        def draw(mirror: BookMirror, trades: list[dict[str, Any]]) -> None:
            if tool.json:
                click.echo(msgspec.json.encode(mirror.snapshot(depth)))
                return
            bids, asks = mirror.levels("buy", depth), mirror.levels("sell", depth)
            table = show.book_table(market, bids, asks, trades[-5:])
            if tool.console.is_terminal:
                live.update(table, refresh=True)
            else:
                tool.console.print(table)

        def problem(sentence: str) -> None:
            if not tool.json:
                live.update(sentence, refresh=True)

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


@exchange.command()
@click.argument("market")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.pass_obj
def trades(tool: Tool, market: str, limit: int) -> None:
    """Show a market's newest trades, newest last."""
    result = tool.call("trades.list", market=market.upper(), limit=limit)
    if not result["trades"]:
        tool.nothing(f"There are no trades in {market.upper()} yet.", result)
    tool.out(result, lambda: show.trades_table(result["trades"]))


@exchange.command()
@click.argument("market")
@click.pass_obj
def watch(tool: Tool, market: str) -> None:
    """Print a market's trades, and its best prices, as they happen, until Ctrl-C."""
    symbol = market.upper()
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

    _follow(tool, symbol, draw, lambda sentence: click.echo(sentence, err=True))


@exchange.command()
@click.pass_obj
def markets(tool: Tool) -> None:
    """Show the markets with tick and lot."""
    result = tool.call("markets.list")["markets"]
    tool.out(result, lambda: show.markets_table(result))


@exchange.command()
@click.pass_obj
def doubts(tool: Tool) -> None:
    """Show fills whose answer from another peer is still awaited."""
    result = tool.call("fills.list")["fills"]
    if not result:
        tool.nothing("No fill is in doubt.", result)
    tool.out(result, lambda: show.fills_table(result))


@exchange.command()
@click.argument("fill")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def decide(tool: Tool, fill: str, yes: bool) -> None:
    """Give up on a fill in doubt, whose peer is gone for ever; its quantity becomes free."""
    if not yes:
        click.confirm(
            "If that peer comes back and did trade, its trade will not be honoured here. Give up?",
            abort=True,
            err=True,
        )
    result = tool.call("fills.decide", fill=fill)
    tool.out(result, lambda: f"gave up on fill {fill}")


# The peer.


@exchange.command()
@click.pass_obj
def peers(tool: Tool) -> None:
    """Show the links to other peers."""
    result = tool.call("peers.list")["peers"]
    if not result:
        tool.nothing("There is no link to any other peer; `exchange doctor` says why.", result)
    tool.out(result, lambda: show.peers_table(result))


@exchange.command()
@click.pass_obj
def status(tool: Tool) -> None:
    """Show how the daemon is."""
    result = tool.call("status")
    tool.out(result, lambda: show.status_table(result))


@exchange.command()
@click.pass_obj
def doctor(tool: Tool) -> None:
    """Check identity, store, clock, grapes, links and sync, and say what to do."""
    from grenache_py.exchange.doctor import examine

    began = time.time()
    state = tool.call("status")
    links = tool.call("peers.list")["peers"] if state["store"] == "ok" else []
    findings = examine(state, links, began, time.time(), _can_connect)
    if tool.json:
        click.echo(msgspec.json.encode([attrs.asdict(finding) for finding in findings]))
    else:
        tool.console.print(show.findings_table(findings), highlight=False)
    if any(finding.verdict == "bad" for finding in findings):
        sys.exit(EXIT_FAILED)


def _can_connect(address: str) -> str:
    """Why nobody answers at ``host:port``; "" when somebody does."""
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 3).close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


@exchange.command()
@click.option("--market", required=True, help="Place the orders in this market.")
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
) -> None:  # fmt: skip
    """Place many orders and show how long the answers took. They are real orders!"""
    import random

    from twisted.internet import reactor

    from grenache_py.exchange.load import Flow, Load

    wanted = market.upper()
    found = [m for m in tool.call("markets.list")["markets"] if m["market"] == wanted]
    if not found:
        tool.nothing(f"There is no market {wanted}.")
    tick, lot = found[0]["tick"], found[0]["lot"]
    rng = random.Random(seed)  # noqa: S311  # a flow that can be repeated, not a secret
    flow = Flow(wanted, tick, lot, rng, account=account)
    if price is not None:
        try:
            flow.mid_ticks = int(Decimal(price) / Decimal(tick))
        except ArithmeticError:
            raise click.BadParameter("must be a number", param_hint="--price") from None
    lines = flow.lines(orders)
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
            reactor,
            tool.address,
            lines,
            clients,
            depth=depth,
            token=tool.token,
            clock=time.perf_counter,
            progress=lambda done: progress.advance(task, done),
        )
        _run_in_reactor(reactor, run.run())
    rising = sorted(run.latencies)
    summary = {
        "orders": orders,
        "clients": clients,
        "seconds": round(run.seconds, 3),
        "orders_per_s": round(orders / run.seconds, 1),
        **{
            f"{name}_ms": round(show.percentile(rising, part) * 1000, 3)
            for name, part in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))
        },
        "refused": run.errors,
    }

    def shown() -> str:
        return "\n".join(
            [
                *show.histogram_lines(run.latencies),
                f"{orders} orders in {run.seconds:.2f} s: {summary['orders_per_s']:,.0f} a second"
                f" with {clients} clients",
                *(f"refused {count} times: {message}" for message, count in run.errors.items()),
            ]
        )

    tool.out(summary, shown)
    if run.errors:
        sys.exit(EXIT_FAILED)


def _run_in_reactor(reactor: Any, coroutine: Any) -> None:
    """Run ``coroutine`` to its end, and raise what it raises."""
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    outcome: list[Any] = []

    def ended(result: Any) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(coroutine).addBoth(ended))
    reactor.run()
    if not outcome:
        raise click.Abort
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()


# Its file.

DATA_FILE = "exchange-data/exchange.sqlite"


def _store_file(path: str) -> str:
    """The store in a data directory, or the file itself (a backup)."""
    return os.path.join(path, "exchange.sqlite") if os.path.isdir(path) else path


@exchange.command()
@click.argument("what", type=click.Choice(["orders", "trades", "log"]), default="orders")
@click.argument("file", default=DATA_FILE)
@click.option("--format", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
def export(what: str, file: str, format: str) -> None:
    """
    Write all orders, trades or log entries of a store to stdout.

    FILE is a data directory, its exchange.sqlite or a backup; a daemon may be using it.
    """
    from grenache_py.exchange.export import write_csv, write_jsonl

    write = write_csv if format == "csv" else write_jsonl
    if not write(_store_file(file), what, sys.stdout):
        sys.exit(EXIT_NOTHING)


@exchange.command()
@click.argument("file", default=DATA_FILE)
@click.pass_obj
def replay(tool: Tool, file: str) -> None:
    """
    Play a store's log again and prove that it leads to its orders, trades and books.

    FILE is a data directory, its exchange.sqlite or a backup; a daemon may be using it.
    """
    from grenache_py.exchange.export import prove

    proof = prove(_store_file(file))
    tool.out({"holds": proof.holds, **attrs.asdict(proof)}, lambda: show.proof_table(proof))
    if not proof.holds:
        sys.exit(EXIT_FAILED)


@exchange.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for completion; use it as: eval "$(exchange completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(exchange, {}, "exchange", "_EXCHANGE_COMPLETE").source())


def main() -> None:
    """The console script."""
    try:
        exchange.main(prog_name="exchange", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`exchange trades ... | head`): not a failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Refused as error:
        click.echo(f"exchange: {error}", err=True)
        sys.exit(EXIT_NOTHING if error.code == UNKNOWN_ORDER else EXIT_FAILED)
    except GrenacheError as error:
        click.echo(f"exchange: {error}", err=True)
        sys.exit(EXIT_FAILED)
