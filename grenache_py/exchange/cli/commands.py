"""
``exchange``: the command over the commands.

Edge: reads argv and the environment, and turns every error into a line and an exit code.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
from typing import Any, NoReturn

import click

from grenache_py import __version__
from grenache_py.errors import GrenacheError
from grenache_py.exchange.cli.files import export, replay, trace
from grenache_py.exchange.cli.load import load
from grenache_py.exchange.cli.markets import book, candles, markets, ticker, trades, watch
from grenache_py.exchange.cli.orders import buy, cancel, fills, orders, replace, sell
from grenache_py.exchange.cli.peer import backup, call, decide, doctor, doubts, peers, status
from grenache_py.exchange.cli.peer_shell import peer_shell
from grenache_py.exchange.cli.receipts import receipt, verify
from grenache_py.exchange.cli.tool import (
    EXIT_FAILED,
    EXIT_LATER,
    EXIT_NOT_ALLOWED,
    EXIT_NOTHING,
    EXIT_UNKNOWN,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Tool,
    say,
    say_json,
)
from grenache_py.exchange.errors import (
    BUSY,
    INVALID_PARAMS,
    NO_SUCH_METHOD,
    NOT_A_MULTIPLE,
    NOT_AUTHORISED,
    RATE_LIMITED,
    SHUTTING_DOWN,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
)
from grenache_py.trading import AnswerTimeout, NotConnected, OutcomeUnknown, Refused

__all__ = ["exchange", "main"]

HOW_TO_BE_ALLOWED = (
    " (--token-file or EXCHANGE_TOKEN shows the daemon a token; a daemon without --tokens lets"
    " callers from other machines, or from outside of its container, only read)"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--connect",
    metavar="HOST:PORT",
    envvar="EXCHANGE_CONNECT",
    help="The daemon's client port.  [default: 127.0.0.1:7070; env: EXCHANGE_CONNECT]",
)
@click.option("--unix", metavar="PATH", help="A UNIX socket of the daemon instead.")
@click.option("--tls", is_flag=True, help="The client port speaks TLS.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False),
    help="TLS, believing the certificates in this file instead of the system's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one value a line.")
@click.option(
    "--token-file",
    type=click.File(),
    help="Show the token in this file.  [env: EXCHANGE_TOKEN holds a token itself]",
)
@click.version_option(__version__, prog_name="exchange")
@click.pass_context
def exchange(
    context: click.Context,
    connect: str | None,
    unix: str | None,
    tls: bool,
    ca: str | None,
    as_json: bool,
    token_file: Any,
) -> None:
    """
    Trade at a peer of the exchange, and look after it.

    Exit codes: 0 done, 1 failed or refused, 2 wrong usage or value, 3 the thing named is not there,
    4 not allowed, 5 the daemon cannot be reached: nothing happened, 6 outcome unknown: ask with
    `orders ID`, 7 try again later.
    """
    if unix and (tls or ca):
        raise click.UsageError("--tls is for --connect: a UNIX socket needs none.")
    if connect and unix:
        raise click.UsageError("--connect and --unix exclude each other.")
    if connect and not re.fullmatch(r".+:[0-9]{1,5}", connect):
        raise click.BadParameter("must be HOST:PORT", param_hint="--connect")
    if unix and "/" not in unix:
        unix = f"./{unix}"
    token = token_file.read().strip() if token_file else os.environ.get("EXCHANGE_TOKEN", "")
    address = unix or connect or "127.0.0.1:7070"
    context.obj = Tool(address, as_json, token, _tls(ca) if tls or ca else None)


def _tls(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError) as error:
        raise click.BadParameter(f"{ca} holds no certificate: {error}", param_hint="--ca") from None


for command in (
    *(buy, sell, cancel, replace, orders, fills),
    *(book, ticker, candles, trades, watch, markets),
    *(status, doctor, peers, peer_shell, doubts, decide, backup, call),
    *(load, export, replay, trace, receipt, verify),
):
    exchange.add_command(command)


@exchange.command(short_help="Print a script for the shell's completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for completion; use it as: eval "$(exchange completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(exchange, {}, "exchange", "_EXCHANGE_COMPLETE").source())


#: What an error code of the protocol means for who called the tool; of any other it is 1.
_EXIT = {
    INVALID_PARAMS: EXIT_USAGE,
    NO_SUCH_METHOD: EXIT_USAGE,
    NOT_A_MULTIPLE: EXIT_USAGE,
    UNKNOWN_ORDER: EXIT_NOTHING,
    UNKNOWN_MARKET: EXIT_NOTHING,
    NOT_AUTHORISED: EXIT_NOT_ALLOWED,
    RATE_LIMITED: EXIT_LATER,
    BUSY: EXIT_LATER,
    SHUTTING_DOWN: EXIT_LATER,
}


def main() -> None:
    """The console script."""
    as_json = "--json" in sys.argv[1:]
    logging.getLogger("grenache_py.trading").addHandler(logging.NullHandler())  # errors say it all
    try:
        exchange.main(prog_name="exchange", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as error:
        if as_json:
            _end(as_json, EXIT_USAGE, "Usage", error.format_message())
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`exchange trades ... | head`): not a failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Refused as error:
        hint = HOW_TO_BE_ALLOWED if error.code == NOT_AUTHORISED else ""
        more = {"code": error.code, "data": error.data}
        code = _EXIT.get(error.code, EXIT_FAILED)
        _end(as_json, code, type(error).__name__, f"{error}{hint}", more)
    except (NotConnected, AnswerTimeout) as error:
        _end(as_json, EXIT_UNREACHABLE, type(error).__name__, str(error))
    except OutcomeUnknown as error:
        order = error.client_order_id
        hint = f"; `exchange orders {order}` tells" if order else ""
        _end(as_json, EXIT_UNKNOWN, "OutcomeUnknown", f"{error}{hint}", {"client_order_id": order})
    except GrenacheError as error:
        _end(as_json, EXIT_FAILED, type(error).__name__, str(error))


def _end(
    as_json: bool, code: int, name: str, message: str, more: dict[str, Any] | None = None
) -> NoReturn:
    """Say on one line of stderr what is wrong, and leave."""
    if as_json:
        error = {"name": name, "message": message, **(more or {}), "exit": code}
        say_json({"error": error}, err=True)
    else:
        say(f"exchange: {message}", err=True)
    sys.exit(code)
