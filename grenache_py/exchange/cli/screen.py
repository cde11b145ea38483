"""
The one screen of ``exchange top``: health, links, a book and own orders.

Pure: results of methods in, lines and tables out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grenache_py.exchange.cli import printing as show
from grenache_py.exchange.cli.lines import counted, moment, serving_line, ticker_line
from grenache_py.exchange.cli.tables import Block, Shown, StyledLine
from grenache_py.exchange.condition.symptoms import STANDS_BY

__all__ = ["peer_screen"]


def peer_screen(seen: dict[str, Any]) -> Block:
    """
    What was seen of a peer.

    Args:
        seen: ``daemon``, where it is; ``problem``, while it does not answer; ``status``, ``peers``,
            ``ticker``, ``book`` and ``orders`` as the methods gave them last, if ever.
    """
    return Block(*_parts(seen))


def _parts(seen: dict[str, Any]) -> Iterable[Shown | str]:
    if "problem" in seen:
        yield StyledLine((f"{seen['daemon']}: {seen['problem']}; trying again", "bold red"))
        if "status" in seen:
            yield StyledLine(("What is below is what it said last.", "dim"))
    if "status" not in seen:
        return
    yield from _health(seen["daemon"], seen["status"], alone=not seen["peers"])
    if seen["ticker"] is not None:
        yield from ("", ticker_line(seen["ticker"]))
        book = seen["book"]
        yield show.book_table("", book["bids"], book["asks"])
    yield from ("", StyledLine(("own orders", "bold")))
    yield show.orders_table(seen["orders"], narrow=True) if seen["orders"] else "none"
    yield from ("", StyledLine(("links", "bold")))
    yield show.peers_table(seen["peers"]) if seen["peers"] else "none"


def _role(status: dict[str, Any], alone: bool) -> str:
    if status["store"] == STANDS_BY:
        return serving_line(status["database"])
    if "fills" not in status:  # there is no node
        return f"not serving, store: {status['store']}"
    serving = "serving" if status["serving"] else "not serving"
    synced = "in sync" if status["synced"] else "alone" if alone else "not in sync"
    return f"{serving}, {synced}, {counted(status['fills']['in_doubt'], 'fill')} in doubt"


def _health(daemon: str, status: dict[str, Any], alone: bool) -> Iterable[Shown | str]:
    stands_by = status["store"] == STANDS_BY
    fine = (status["serving"] or stands_by) and not status["raised"]
    word = ("ok", "green") if fine else ("NOT WELL", "bold red")
    yield StyledLine(
        (f"peer {status['peer'][:16]}", "bold"),
        f" at {daemon}, network {status['network']}, {moment(status['time'])} UTC: ",
        word,
        f", {_role(status, alone)}",
    )
    for each in status["raised"]:
        see = f"(docs/operator.rst#alarm-{each['id']})"
        yield StyledLine((f"{each['level']}: {each['text']} {see}", "red"))
