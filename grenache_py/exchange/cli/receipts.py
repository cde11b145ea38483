"""
``exchange receipt`` and ``verify``: a trade as a document, made out of a store and checked without.

Edge: reads and writes files.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import attrs
import click

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.audit.issuing import issue
from grenache_py.exchange.audit.receipt import (
    NOT_PROVEN,
    RECEIPT_BYTES_MAX,
    ProvenTrade,
    moment_of,
    prove_trade,
)
from grenache_py.exchange.cli.files import DATA_FILE, store_file
from grenache_py.exchange.cli.tool import EXIT_NOTHING, Tool

__all__ = ["receipt", "verify"]


@click.command(short_help="Write what both homes signed about a trade to a file.")
@click.argument("trade")
@click.argument("file", default=DATA_FILE)
@click.option(
    "-o", "--output", help="The file to write, - for stdout.  [default: receipt-TRADE.json]"
)
@click.option(
    "--network", default="main", show_default=True, help="The network that the daemon is in."
)
@click.pass_obj
def receipt(tool: Tool, trade: str, file: str, output: str | None, network: str) -> None:
    """
    Write a receipt of a trade: what its homes signed, and nothing else.

    TRADE is its id, or the first 8 digits of it or more. FILE is a data directory, its
    exchange.sqlite, a backup, or the postgresql:// address of a database; a daemon may be using it.
    Anybody can check the receipt with `exchange verify`. If only one home's signature is left, the
    exit code is 1.
    """
    path = store_file(file)
    issued = issue(path, trade, network)
    if issued is None:
        tool.nothing(f"{path} knows no trade {trade}.", None)
        sys.exit(EXIT_NOTHING)
    proven = issued.proven
    output = output or f"receipt-{proven.trade[:8]}.json"
    if output == "-":
        sys.stdout.buffer.write(issued.data)
    else:
        try:
            with open(output, "xb") as made:
                made.write(issued.data)
        except OSError as error:
            raise click.BadParameter(f"{output}: {error.strerror}", param_hint="-o") from None
        tool.out({"file": output, **_told(proven)}, lambda: f"{output}: trade {proven.trade}")
    _check_whole(proven)


@click.command(short_help="Prove, offline, what a receipt of a trade says.")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def verify(tool: Tool, file: BinaryIO) -> None:
    """
    Prove who sold what to whom, at which price and when, with a receipt alone.

    FILE is what `exchange receipt` wrote; - reads stdin. No network and no store is asked. The exit
    code is 0 only when every home of the trade signed it, and each signature is good.
    """
    try:
        proven = prove_trade(file.read(RECEIPT_BYTES_MAX + 1))
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"this proves nothing: {error}") from None
    tool.out(_told(proven), lambda: _shown(proven))
    _check_whole(proven)


def _told(proven: ProvenTrade) -> dict[str, object]:
    return {"holds": proven.holds, **attrs.asdict(proven), "not_proven": NOT_PROVEN}


def _check_whole(proven: ProvenTrade) -> None:
    """Raises RemoteProtocolError: a home of the trade signed nothing; the message names it."""
    for home in proven.missing:
        role = "maker" if home == proven.maker else "taker"
        raise RemoteProtocolError(
            f"the {role}'s home {home} signed nothing here: this is only what the other home says"
            " (docs/settlement.rst#kept)"
        )


def _shown(proven: ProvenTrade) -> str:
    """Who sold what to whom, who signed that, and what it does not prove."""
    alone = proven.maker == proven.taker
    verdict = "proven: its one home signed it" if alone else "proven: both homes signed it"
    lines = [
        verdict if proven.holds else "NOT PROVEN: one of its two homes did not sign it",
        f"trade {proven.trade} in the network {proven.network}",
        f"{proven.quantity} {proven.market} at {proven.price}",
        f"sold by    {proven.seller}, order {proven.sell_order}",
        f"bought by  {proven.buyer}, order {proven.buy_order}",
        f"committed  {moment_of(proven.time)} by the clock of the maker's home",
    ]
    for home, role in {proven.maker: "maker", proven.taker: "taker"}.items():
        if alone:
            role = "maker and taker: the only signer, for both sides"
        lines += ["", f"signed by  {home}, {role}"]
        by = [signature for signature in proven.signatures if signature.home == home]
        lines += [
            f"  {each.covers}" + ("" if each.time is None else f" ({moment_of(each.time)})")
            for each in by
        ] or ["  NOTHING: this receipt has no signature of it"]
    lines += ["", "This does not prove", *(f"  {sentence}" for sentence in NOT_PROVEN)]
    return "\n".join(lines)
