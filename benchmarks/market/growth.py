"""
What becomes of an order's latency as a home grows: with its open orders, and with its connections.

    python -m benchmarks.market.growth [--orders 1000,10000,100000,190000] [--others 4]
        [--connections 1,100,1000,4000] [--rate 500] [--seconds 10] [--dir DIR]
        [--write FILE] [--svg FILE]

The load is always the same: so many requests a second, whether the last one is answered or not,
over all connections in turn. Of four, one is an order that takes the best there is, one is
cancelled, two rest near the best price. An acknowledged order is on the disk. A home holds at
most 200,000 open orders of its own; ``--others`` are homes of as many each, which it hears of by
gossip.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import selectors
import socket
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import charts
from benchmarks.exchange.real_peers import flood
from benchmarks.figures import add_option, save
from benchmarks.market.client_port import memory_mib
from grenache_py.exchange.cli.latencies import percentile
from tests.soak.daemons import MARKET, Daemon, wait_for

#: A home's limit; and what the load may add.
OWN_MAX, SPARE = 200_000, 10_000
SPARE_FILES = 100
#: A home that has just heard of very many orders is still writing them down.
BEHIND_S = 1.0
#: Orders rest on so many price levels a side, from this price on.
LEVELS, MIDDLE_CENTS = 2_000, 100_000


class Row(NamedTuple):
    """What one size cost: latencies in ms, resident memory in MiB; seconds of a start, or None."""

    size: int
    p50_ms: float
    p99_ms: float
    mib: float
    start_s: float | None = None


def resting(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Orders that do not cross, spread over the levels."""
    orders = []
    for number in range(first, first + count):
        side, away = ("buy", -1) if number % 2 else ("sell", 1)
        cents = MIDDLE_CENTS + away * (1 + number // 2 % LEVELS)
        orders.append(
            {"side": side, "price": f"{cents / 100:.2f}", "quantity": "1", "account": "rests"}
        )
    return orders


class Requests:
    """The load: the next request, as a line."""

    def __init__(self) -> None:
        self._number = 0
        self._placed: deque[str] = deque()

    def next(self, connection: int) -> bytes:
        self._number = number = self._number + 1
        if number % 4 == 0 and self._placed:
            return _line("order.cancel", order_id=self._placed.popleft())
        side, away = ("buy", -1) if number % 8 < 4 else ("sell", 1)
        order = {"market": MARKET, "type": "limit", "side": side, "account": f"c{connection}"}
        if number % 4 == 1:
            far = f"{(MIDDLE_CENTS - 50 * away) / 100:.2f}"
            return _line("order.place", **order, quantity="0.0001", price=far, time_in_force="ioc")
        near = f"{(MIDDLE_CENTS + away * (1 + number % 20)) / 100:.2f}"
        return _line("order.place", **order, quantity="0.1", price=near)

    def answered(self, message: dict[str, Any]) -> None:
        """Remember what rests, to be cancelled later; an answer that is none ends the run."""
        order = message.get("result")
        if order is None:
            raise SystemExit(f"refused: {message}")
        if order.get("status") == "new":
            self._placed.append(order["order_id"])


def _line(method: str, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def paced(daemon: Daemon, connections: int, rate: float, seconds: float) -> list[float]:
    """Latencies in ms, rising, of that load. The first second does not count."""
    requests, took = Requests(), []
    reads: list[bytes] = [b""] * connections
    sent: list[deque[float]] = [deque() for _ in range(connections)]
    sockets = []
    with selectors.DefaultSelector() as watch:
        for number in range(connections):
            line = socket.socket(socket.AF_UNIX)
            line.connect(daemon.socket)
            sockets.append(line)
            watch.register(line, selectors.EVENT_READ, number)
        began = time.perf_counter()
        asked = answered = 0
        total = int(rate * (seconds + 1))
        while answered < total:
            now = time.perf_counter()
            while asked < total and began + asked / rate <= now:
                number = asked % connections
                sent[number].append(began + asked / rate)  # when it was due: a late one counts
                sockets[number].sendall(requests.next(number))
                asked += 1
            wait = max(0.0, began + asked / rate - now) if asked < total else 30.0
            for key, _ in watch.select(wait):
                number = key.data
                *lines, reads[number] = (reads[number] + sockets[number].recv(1 << 16)).split(b"\n")
                came = time.perf_counter()
                for text in lines:
                    due = sent[number].popleft()
                    if due >= began + 1:
                        took.append((came - due) * 1000)
                    requests.answered(json.loads(text))
                    answered += 1
    for line in sockets:
        line.close()
    return sorted(took)


def measured(size: int, daemon: Daemon, connections: int, arguments: argparse.Namespace) -> Row:
    """One row of a daemon as it is now."""
    assert daemon.process is not None
    took = paced(daemon, connections, arguments.rate, arguments.seconds)
    row = Row(size, percentile(took, 0.5), percentile(took, 0.99), memory_mib(daemon.process.pid))
    print(f"{size:9,}: p50 {row.p50_ms:.2f} ms  p99 {row.p99_ms:.2f} ms  {row.mib:.0f} MiB")
    return row


@contextmanager
def running(directory: Path, *options: str) -> Iterator[Daemon]:
    daemon = Daemon(directory, "--network", f"growth-{os.getpid()}", *options)
    daemon.start()
    try:
        daemon.wait()
        yield daemon
    finally:
        daemon.kill()


def by_orders(directory: Path, arguments: argparse.Namespace) -> tuple[list[Row], Row | None]:
    """A row for each number of own open orders; and one with those of other homes besides."""
    rows, held = [], 0
    with running(directory / "home") as home:
        for count in arguments.orders:
            flood(home, resting(count - held, held))
            held = count
            row = measured(count, home, 16, arguments)
            home.stop()
            began = time.perf_counter()
            home.start()
            home.wait()
            rows.append(row._replace(start_s=time.perf_counter() - began))
            print(f"           started again in {rows[-1].start_s:.2f} s")
        everybody, total = None, held
        homes = [home]
        with ExitStack() as running_too:
            for other in range(arguments.others):
                homes.append(
                    running_too.enter_context(
                        running(directory / f"other{other}", "--connect", home.address)
                    )
                )
                flood(homes[-1], resting(OWN_MAX))
                total += OWN_MAX
                wait_for("the home has heard of all orders", 300, partial(_has_heard, home, total))
            for each in homes:  # who catches up takes cores, and pages of the home's store
                wait_for("everybody has heard of all orders", 300, partial(_has_heard, each, total))
            if arguments.others:
                everybody = measured(total, home, 16, arguments)
    return rows, everybody


def _has_heard(home: Daemon, orders: int) -> bool:
    """Whether it holds so many, and its tables have them."""
    status = home.status()
    held = int(status["orders"]["own"] + status["orders"]["remote"])
    return held >= orders and status["journal"]["behind_s"] < BEHIND_S


def by_connections(directory: Path, arguments: argparse.Namespace) -> list[Row]:
    with running(directory / "crowd", "--clients-max", str(max(arguments.connections) + 8)) as home:
        flood(home, resting(1_000))
        return [measured(count, home, count, arguments) for count in arguments.connections]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    numbers = lambda text: [int(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument(
        "--orders", type=numbers, default=[1_000, 10_000, 100_000, OWN_MAX - 10_000]
    )
    parser.add_argument("--others", type=int, default=4, help="other homes, 200,000 orders each")
    parser.add_argument("--connections", type=numbers, default=[1, 100, 1_000, 4_000])
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--dir", help="where the data is; the disk that is measured")
    parser.add_argument("--write", type=Path, help="write the results to this page")
    parser.add_argument("--svg", type=Path, help="and a plot of them to this file")
    add_option(parser)
    arguments = parser.parse_args()
    files = max(arguments.connections) + SPARE_FILES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(files, 4_096), hard), hard))
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="growth-") as name:
        orders, everybody = by_orders(Path(name), arguments)
        crowd = by_connections(Path(name), arguments)
    first, last = orders[0], orders[-1]
    own_bytes = (last.mib - first.mib) * (1 << 20) / (last.size - first.size)
    widest = everybody or last
    figures = {
        "growth_orders_p99_ratio": widest.p99_ms / first.p99_ms,
        "growth_connections_p99_ratio": crowd[-1].p99_ms / crowd[0].p99_ms,
        "growth_own_order_bytes": own_bytes,
        "growth_start_s": last.start_s or 0.0,
    }
    print(figures)
    save(arguments.json, figures)
    if arguments.svg:
        arguments.svg.write_text(plot([*orders, *([everybody] if everybody else [])], crowd))
    if arguments.write:
        arguments.write.write_text(page(orders, everybody, crowd, own_bytes, arguments))


def plot(orders: list[Row], crowd: list[Row]) -> str:
    """Both tables as bars."""
    series = ("p50", "p99")
    return charts.page(
        [
            charts.Chart(
                title, series, [(f"{row.size:,}", (row.p50_ms, row.p99_ms)) for row in rows]
            )
            for title, rows in (
                ("latency in ms by open orders in the book, 16 connections", orders),
                ("latency in ms by connections, 1,000 open orders", crowd),
            )
        ]
    )


def page(
    orders: list[Row],
    everybody: Row | None,
    crowd: list[Row],
    own_bytes: float,
    arguments: argparse.Namespace,
) -> str:
    """All of it as reStructuredText."""
    lines = [
        "As a home grows",
        "===============",
        "",
        f"Made by ``make bench-growth`` on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores,"
        f" {platform.system()} {platform.release()},",
        f"Python {platform.python_version()}.",
        "",
        ".. image:: ../growth.svg",
        "",
        f"The load is the same in all rows: {arguments.rate:g} requests a second, whether the last",
        "one is answered or not: orders that rest, orders that take, and cancels. A latency begins",
        "when its request is due. What is acknowledged is on the disk.",
        "",
        "Open orders, with 16 connections",
        "--------------------------------",
        "",
        *_table(
            ["open orders", "p50 ms", "p99 ms", "memory MiB", "start s"],
            [
                *(_cells(row, f"{row.size:,}") for row in orders),
                *(
                    [_cells(everybody, f"{everybody.size:,}, of several homes")]
                    if everybody
                    else []
                ),
            ],
        ),
        "",
        f"A home holds at most {OWN_MAX:,} open orders of its own. An own one takes"
        f" {own_bytes:,.0f} bytes",
        "of the daemon's memory. *Start*: until clients are served. In the row of several homes",
        "their daemons share the cores, and each gets every order of the load by gossip.",
        "",
        "Connections, with 1,000 open orders",
        "-----------------------------------",
        "",
        *_table(
            ["connections", "p50 ms", "p99 ms", "memory MiB"],
            [_cells(row, f"{row.size:,}")[:4] for row in crowd],
        ),
        "",
    ]
    return "\n".join(lines)


def _cells(row: Row, name: str) -> list[str]:
    start = "" if row.start_s is None else f"{row.start_s:.2f}"
    return [name, f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.mib:.0f}", start]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in (head, *rows):
        lines += [f"   {'*' if not i else ' '} - {cell}".rstrip() for i, cell in enumerate(cells)]
    return lines


if __name__ == "__main__":
    main()
