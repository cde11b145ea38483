"""
``exchange``: the command over the commands, each of which is imported when it is called.

Edge: reads argv, and turns every error into a line and an exit code.
"""

from __future__ import annotations

import logging
import os
import sys

import click

from grenache_py import __version__
from grenache_py.command_table import CommandTable, completion_command
from grenache_py.errors import GrenacheError
from grenache_py.exchange.cli.outcomes import complain
from grenache_py.exchange.cli.shared_options import SHARED_OPTIONS, json_wanted
from grenache_py.exchange.cli.tool import Tool

__all__ = ["COMMANDS", "exchange", "main"]

#: The commands by name: the module of each, and what it is for.
COMMANDS: dict[str, tuple[str, str]] = {
    "buy": (".orders", "Buy: exchange buy BTC-USD 1.5 @ 100"),
    "sell": (".orders", "Sell: exchange sell BTC-USD 1.5 market"),
    "cancel": (".orders", "Cancel orders, by their ids or yours, or --all."),
    "replace": (".orders", "Change an order's quantity or price."),
    "orders": (".orders", "Show orders, newest first, or the one named."),
    "fills": (".executions", "Show what own orders traded, oldest first."),
    "positions": (".executions", "Show what own orders bought less what they sold, by market."),
    "book": (".markets", "Show a market's book."),
    "ticker": (".markets", "Show a market's best prices, last trade and volume of 24 hours."),
    "candles": (".markets", "Show a market's newest candles, oldest first."),
    "trades": (".markets", "Show a market's newest trades, newest last."),
    "watch": (".markets", "Print trades and best prices as they happen, until Ctrl-C."),
    "markets": (".markets", "Show the markets with tick and lot."),
    "top": (".top", "Show health, links, a book and own orders on one screen."),
    "status": (".peer", "Show how the daemon is."),
    "doctor": (".peer", "Check everything, and say what to do about what is wrong."),
    "peers": (".peer", "Show the links to other peers."),
    "peer-shell": (".peer_shell", "Talk to a peer port, line by line, as a stranger."),
    "doubts": (".peer", "Show fills whose answer from another peer is still awaited."),
    "decide": (".peer", "Give up on a fill in doubt, whose peer is gone for ever."),
    "promote": (".roles", "Have the daemon that stands by here serve its home."),
    "demote": (".roles", "Have the daemon that serves give its home to another one."),
    "backup": (".peer", "Copy the store consistently, while the daemon goes on."),
    "call": (".peer", "Call any method of the client port."),
    "load": (".load", "Place many orders, real ones, and show how long the answers took."),
    "export": (".files", "Write all orders, trades or log entries of a store to stdout."),
    "replay": (".files", "Prove that a store's log leads to its orders, trades and books."),
    "store": (".stores", "Move a stopped home into a database, or back: exchange store copy."),
    "trace": (".files", "Tell what happened to an order, and which peers had to do with it."),
    "receipt": (".receipts", "Write what both homes of a trade have signed."),
    "verify": (".receipts", "Prove a trade by its receipt, offline."),
    "completion": (".commands", "Print a script for the shell's completion."),
}


@click.group(
    cls=CommandTable,
    table=COMMANDS,
    package="grenache_py.exchange.cli",
    shared=SHARED_OPTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--account",
    envvar="EXCHANGE_ACCOUNT",
    help="The account of a command that asks for one.  [env: EXCHANGE_ACCOUNT]",
)
@click.version_option(__version__, prog_name="exchange")
@click.pass_context
def exchange(context: click.Context, account: str | None) -> None:
    """
    Trade at a peer of the exchange, and look after it.

    The options may stand before the command or after it.

    Exit codes: 0 done, 1 failed or refused, 2 wrong usage or value, 3 the thing named is not there,
    4 not allowed, 5 the daemon cannot be reached: nothing happened, 6 outcome unknown: ask with
    `orders ID`, 7 try again later.
    """
    context.ensure_object(Tool)
    if account is not None:
        context.default_map = {name: {"account": account} for name in COMMANDS}


completion = completion_command()


def main() -> None:
    """The console script."""
    as_json = json_wanted(sys.argv[1:])
    logging.getLogger("grenache_py.trading").addHandler(logging.NullHandler())  # errors say it all
    try:
        exchange.main(prog_name="exchange", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`exchange trades ... | head`): not a failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (GrenacheError, click.ClickException) as error:
        sys.exit(complain(error, as_json))
