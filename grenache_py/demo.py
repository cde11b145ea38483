"""
``make demo``: three grapes, two exchange peers, a trade between them, and a late joiner.

Edge. Real daemons as processes on loopback, with temporary data, and two clients that speak
the line protocol to them as any program would. Afterwards the network stays up until Ctrl-C,
or with ``--once`` ends with exit code 0. What does not happen by its deadline ends the show
with a sentence, the log of whom it concerns, and exit code 1.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

MARKET = "BTC-USD"
DEADLINE_S = 30.0
SCRIPTS = Path(sysconfig.get_path("scripts"))

console = Console(highlight=False)


class DemoFailed(Exception):
    """Something did not happen; the message is for whoever watches."""


def say(text: str) -> None:
    """Announce the next scene."""
    console.print(f"\n[bold]{text}[/bold]")


class DaemonProcess:
    """A grape or a peer, as a process with its log in a file."""

    def __init__(self, name: str, folder: Path, *command: str | Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [SCRIPTS / command[0], *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is ours; we end it
            )

    def until(self, what: str, attempt: Callable[[], Any]) -> Any:
        """
        Try again and again until ``attempt`` returns something true, and return that.

        Raises:
            DemoFailed: it did not by the deadline, or the daemon has ended.
        """
        give_up = time.monotonic() + DEADLINE_S
        reason = "it did not"
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                reason = f"it ended with code {self.process.returncode}"
                break
            try:
                result = attempt()
            except (OSError, ValueError, LookupError) as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if result:
                    return result
                reason = "it did not"
            time.sleep(0.05)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise DemoFailed(f"{self.name} was to {what}, but {reason}. The end of its log:\n{tail}")

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self.process.terminate()
        try:
            self.process.wait(12)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class GrapeProcess(DaemonProcess):
    """A grape with its two ports."""

    def __init__(self, name: str, folder: Path, ports: tuple[int, int], others: list[int]) -> None:
        self.dht_port, self.api_port = ports
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in others)
        super().__init__(
            *(name, folder, "grape", "-b", "127.0.0.1", "--dp", str(self.dht_port)),
            *("--aph", str(self.api_port), "--bn", bootstrap),
        )

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self.api_port}"

    def post(self, path: str, data: object) -> Any:
        """Ask it as every Grenache client does."""
        body = json.dumps({"rid": "demo", "data": data}).encode()
        with urllib.request.urlopen(self.url + path, body, timeout=5) as answer:  # noqa: S310
            return json.load(answer)


class PeerProcess(DaemonProcess):
    """An exchange peer, and a client of it."""

    def __init__(
        self, name: str, folder: Path, ports: list[int], grapes: list[GrapeProcess]
    ) -> None:
        self.client_port, self.peer_port, self.http_port = ports
        here = "interface=127.0.0.1"
        super().__init__(
            *(name, folder, "twistd", "-n", "--pidfile=", "exchange"),
            *("--data", folder / name, "--network", "demo"),
            *("--market", f"{MARKET}:tick=0.01,lot=0.0001"),
            *("--client", f"tcp:{self.client_port}:{here}"),
            *("--peer", f"tcp:{self.peer_port}:{here}"),
            *("--http", f"tcp:{self.http_port}:{here}"),
            *(word for grape in grapes for word in ("--grape", grape.url)),
        )
        self._requests = 0
        self._stream: Any = None

    def call(self, method: str, **params: object) -> Any:
        """
        Send one JSON-RPC line and return the result.

        Raises:
            DemoFailed: the answer is an error.
        """
        if self._stream is None:
            connection = socket.create_connection(("127.0.0.1", self.client_port), timeout=10)
            self._stream = connection.makefile("rw", encoding="utf-8", newline="\n")
            connection.close()  # the stream keeps it open
        self._requests += 1
        request = {"jsonrpc": "2.0", "id": self._requests, "method": method, "params": params}
        self._stream.write(json.dumps(request) + "\n")
        self._stream.flush()
        answer = json.loads(self._stream.readline())
        if "error" in answer:
            raise DemoFailed(f"{self.name} refused {method} {params}: {answer['error']['message']}")
        return answer["result"]

    def book(self) -> dict[str, list[list[Any]]]:
        """Return bids and asks, best first, as [price, quantity, orders]."""
        book = self.call("book.get", market=MARKET)
        return {side: book[side] for side in ("bids", "asks")}

    def trades(self) -> list[dict[str, Any]]:
        """Return the trades of the market, newest last."""
        answer = self.call("trades.list", market=MARKET)
        trades: list[dict[str, Any]] = answer["trades"] if isinstance(answer, dict) else answer
        return trades

    def stop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().stop()


@contextmanager
def free_ports(wanted: list[int], kind: int = socket.SOCK_STREAM) -> Iterator[list[int]]:
    """Yield the wanted ports, each replaced by a free one where it is taken."""
    with ExitStack() as held:
        found = []
        for port in wanted:
            holder = held.enter_context(socket.socket(socket.AF_INET, kind))
            if kind == socket.SOCK_STREAM:  # as the daemons do: connections just ended do not count
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                holder.bind(("127.0.0.1", 0))
            found.append(holder.getsockname()[1])
        yield found


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
    peer = PeerProcess(name, folder, free, grapes)
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


@click.command()
@click.option("--once", is_flag=True, help="End with exit code 0 after the show.")
def main(once: bool) -> None:
    """Start a small network on loopback and make a trade on it."""
    # `kill` of the demo must not leave the daemons behind: let the ExitStack unwind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="grenache-demo-") as folder, ExitStack() as running:
        try:
            grapes, peers = show(Path(folder), running)
            how_to_talk(grapes, peers) if not once else say("That was all.")
            while not once:
                signal.pause()
        except KeyboardInterrupt:
            say("Ending the daemons")
        except DemoFailed as error:
            console.print(f"\n[red]The demo failed:[/red] {error}", soft_wrap=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
