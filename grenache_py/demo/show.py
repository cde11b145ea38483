"""
The demo's scenes: three grapes, two peers, a trade between them, and a late joiner.

Edge: starts the daemons and writes to the terminal.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from grenache_py.demo.processes import (
    SCRIPTS,
    DemoFailed,
    GrapeProcess,
    PeerProcess,
    free_ports,
)

__all__ = ["console", "how_to_talk", "say", "show"]

#: What is traded.
MARKET = "BTC-USD"

console = Console(highlight=False)


def say(text: str) -> None:
    """Announce the next scene."""
    console.print(f"\n[bold]{text}[/bold]")


def book_table(peer: PeerProcess) -> Table:
    """Draw a book as traders do: asks above, bids below, best prices in the middle."""
    table = Table("", "price", "quantity", "orders", title=f"book at {peer.name}", min_width=36)
    for column in table.columns[1:]:
        column.justify = "right"
    book = peer.book()
    for price, quantity, orders in reversed(book["asks"]):
        table.add_row("[red]sell[/red]", price, quantity, str(orders))
    table.add_section()
    for price, quantity, orders in book["bids"]:
        table.add_row("[green]buy[/green]", price, quantity, str(orders))
    return table


def trade_table(peer: PeerProcess) -> Table:
    """List a peer's trades."""
    table = Table("trade", "price", "quantity", title=f"trades at {peer.name}", min_width=36)
    for trade in peer.trades():
        table.add_row(str(trade["trade_id"])[:12], str(trade["price"]), str(trade["quantity"]))
    return table


def place(peer: PeerProcess, client: str, side: str, quantity: str, price: str) -> dict[str, Any]:
    """Place a limit order and say what became of it."""
    report: dict[str, Any] = peer.call(
        "order.place", market=MARKET, side=side, type="limit", quantity=quantity, price=price
    )
    console.print(f"  {client} at {peer.name}: {side} {quantity} @ {price}  ->  {told(report)}")
    return report


def told(report: dict[str, Any]) -> str:
    """Say what an execution report says."""
    return f"{report['status']}, filled {report['filled']}, remaining {report['remaining']}"


def start_grapes(folder: Path, running: ExitStack) -> list[GrapeProcess]:
    """Start three grapes and see that what one is told the others know."""
    say("Three grapes")
    names = ["grape-1", "grape-2", "grape-3"]
    with (
        free_ports([20001, 20002, 20003], socket.SOCK_DGRAM) as dht,
        free_ports([30001, 40001, 50001]) as api,
    ):
        pass
    grapes = []
    for name, ports in zip(names, zip(dht, api, strict=True), strict=True):
        grapes.append(GrapeProcess(name, folder, ports, [port for port in dht if port != ports[0]]))
        running.callback(grapes[-1].stop)
    first, *others = grapes
    announce = ["demo:hello", 1]
    # The answer is how many others were told, or a sentence while there are none.
    first.until("accept an announce", lambda: first.post("/announce", announce) in (1, 2))
    for grape in others:
        found = grape.until("find it", partial(grape.post, "/lookup", "demo:hello"))
        console.print(f"  announced at {first.name}, found at {grape.name}: {found[0]}")
    return grapes


def start_peer(
    name: str, folder: Path, grapes: list[GrapeProcess], running: ExitStack, ports: list[int]
) -> PeerProcess:
    """Start a peer and wait until it answers."""
    with free_ports(ports) as free:
        pass
    peer = PeerProcess(name, folder, MARKET, free, grapes)
    running.callback(peer.stop)
    status = peer.until("answer its clients", lambda: peer.call("status"))
    console.print(f"  {name}: key {str(status['peer'])[:16]}, clients on port {peer.client_port}")
    return peer


def show(folder: Path, running: ExitStack) -> tuple[list[GrapeProcess], list[PeerProcess]]:
    """Play the whole show, and return what is running at its end."""
    grapes = start_grapes(folder, running)

    say("Two exchange peers, which know nothing but the grapes")
    a = start_peer("peer-a", folder, grapes, running, [7070, 7071, 7080])
    b = start_peer("peer-b", folder, grapes, running, [7170, 7171, 7180])
    for peer in (a, b):
        peer.until("find the other through the grapes", partial(linked, peer))
    console.print("  they found each other, proved their keys, and keep a link")

    say("Ann sells at peer-a, Bob buys at peer-b")
    place(a, "Ann", "sell", "1.5", "100.00")
    place(a, "Ann", "sell", "2", "101.00")
    b.until("hear of Ann's orders", lambda: len(b.book()["asks"]) == 2)
    order = place(b, "Bob", "buy", "2", "100.50")["order_id"]
    report = b.until("fill Bob's order", lambda: filled(b.call("order.get", order_id=order)))
    if not (report["filled"] == "1.5" and report["trades"][0]["price"] in ("100", "100.00")):
        raise DemoFailed(f"Bob was to get 1.5 at 100.00, but his order says {report}")
    console.print(f"  Bob's order, a moment later: {told(report)}")
    console.print("  one trade, at the price of the order that was there first")

    say("Both sides tell the same trade, and the same book")
    a.until("list the trade", a.trades)
    if [t["trade_id"] for t in a.trades()] != [t["trade_id"] for t in b.trades()]:
        raise DemoFailed("the two peers do not list the same trades")
    a.until("show what is left", lambda: a.book() == b.book() and a.book()["bids"])
    console.print(Columns([trade_table(a), trade_table(b), book_table(a), book_table(b)]))

    say("A late joiner gets the book as it is")
    started = time.monotonic()
    c = start_peer("peer-c", folder, grapes, running, [7270, 7271, 7280])
    c.until("be in sync", lambda: c.call("status")["synced"] and c.book() == a.book())
    console.print(f"  the same book {time.monotonic() - started:.1f} s after it was started")
    console.print(book_table(c))
    return grapes, [a, b, c]


def linked(peer: PeerProcess) -> bool:
    """Whether a peer has a link to another."""
    answer = peer.call("peers.list")
    return bool(answer["peers"] if isinstance(answer, dict) else answer)


def filled(report: dict[str, Any]) -> dict[str, Any] | None:
    """Return a report once something of its order was filled and nothing is in doubt."""
    return report if Decimal(report["filled"]) and not Decimal(report["in_doubt"]) else None


def how_to_talk(grapes: list[GrapeProcess], peers: list[PeerProcess]) -> None:
    """Say what is where, for whoever wants to try."""
    say("The network stays up; Ctrl-C ends it")
    for grape in grapes:
        console.print(f"  {grape.name}   UDP port {grape.dht_port}, HTTP at {grape.url}")
    for peer in peers:
        page = f"http://127.0.0.1:{peer.http_port}/"
        console.print(f"  {peer.name}    clients at 127.0.0.1:{peer.client_port}, page at {page}")
    console.print("\nTry, in another terminal:")
    for command in (
        f"grenache --grape {grapes[-1].url} lookup exchange:demo",
        f"exchange --connect 127.0.0.1:{peers[-1].client_port} buy {MARKET} 1 @ 101",
        f"exchange --connect 127.0.0.1:{peers[0].client_port} trades {MARKET}",
        f"telnet 127.0.0.1 {peers[1].client_port}       # and then: help",
    ):
        # Whole lines, to be copied; the commands may not be on the PATH.
        there = SCRIPTS / command.partition(" ")[0]
        console.print(
            f"  {SCRIPTS}/{command}" if there.exists() else f"  {command}", soft_wrap=True
        )
