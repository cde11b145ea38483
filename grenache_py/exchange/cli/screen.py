"""
The one screen of ``exchange top``: health, links, a book and own orders.

Pure: results of methods in, things that rich can print out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from grenache_py.exchange.cli import printing as show
from grenache_py.exchange.cli.lines import counted, moment, serving_line, ticker_line
from grenache_py.exchange.condition.symptoms import STANDS_BY

__all__ = ["peer_screen"]


def peer_screen(seen: dict[str, Any]) -> Group:
    """
    What was seen of a peer.

    Args:
        seen: ``daemon``, where it is; ``problem``, while it does not answer; ``status``, ``peers``,
            ``ticker``, ``book`` and ``orders`` as the methods gave them last, if ever.
    """
    return Group(*_parts(seen))


def _parts(seen: dict[str, Any]) -> Iterable[RenderableType]:
    if "problem" in seen:
        yield Text(f"{seen['daemon']}: {seen['problem']}; trying again", "bold red")
        if "status" in seen:
            yield Text("What is below is what it said last.", "dim")
    if "status" not in seen:
        return
    yield from _health(seen["daemon"], seen["status"], alone=not seen["peers"])
    if seen["ticker"] is not None:
        yield from ("", ticker_line(seen["ticker"]))
        book = seen["book"]
        yield show.book_table("", book["bids"], book["asks"])
    yield from ("", Text("own orders", "bold"))
    yield show.orders_table(seen["orders"], narrow=True) if seen["orders"] else "none"
    yield from ("", Text("links", "bold"))
    yield show.peers_table(seen["peers"]) if seen["peers"] else "none"


def _role(status: dict[str, Any], alone: bool) -> str:
    if status["store"] == STANDS_BY:
        return serving_line(status["database"])
    if "fills" not in status:  # there is no node
        return f"not serving, store: {status['store']}"
    serving = "serving" if status["serving"] else "not serving"
    synced = "in sync" if status["synced"] else "alone" if alone else "not in sync"
    return f"{serving}, {synced}, {counted(status['fills']['in_doubt'], 'fill')} in doubt"


def _health(daemon: str, status: dict[str, Any], alone: bool) -> Iterable[RenderableType]:
    stands_by = status["store"] == STANDS_BY
    fine = (status["serving"] or stands_by) and not status["raised"]
    word = Text("ok", "green") if fine else Text("NOT WELL", "bold red")
    yield Text.assemble(
        (f"peer {status['peer'][:16]}", "bold"),
        f" at {daemon}, network {status['network']}, {moment(status['time'])} UTC: ",
        word,
        f", {_role(status, alone)}",
    )
    for each in status["raised"]:
        yield Text(f"{each['level']}: {each['text']} (docs/operator.rst#alarm-{each['id']})", "red")
