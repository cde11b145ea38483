"""
Real peers on loopback: fills, replication, visibility and joining, everything durable.

    python -m benchmarks.exchange.real_peers [--fills N] [--daemons 20] [--joiner 10000 100000]
        [--dir DIR] [--write docs/benchmarks/exchange-network.rst]

1.  Fill round trip: a client of one peer takes, with immediate-or-cancel orders, what rests at
    another; from ``order.place`` to the update that says it is filled. Both sides have committed.
    Required p99 < 20 ms.
2.  Fills a second at one home, asked for by another: so many at a time, and with all orders placed
    at once, so that most wait. A fill is a trade on the disks of both homes; afterwards both must
    have the same trades and the same book. Required 2,000.
3.  Novel entries a second that a peer verifies and stores. Required 3,000.
4.  Many daemons: from ``order.place`` at one until the last of the others shows it.
5.  A late joiner with so many open orders: until it holds them all, and until it knows that nothing
    is missing (``synced``); and what it received for that.

All processes share this machine's cores, so figures of 1 to 4 are what it can do for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import selectors
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.figures import add_option, save
from grenache_py.exchange.cli.latencies import percentile
from tests.soak.daemons import MARKET, Daemon, wait_for
from tests.support.wire_client import WireClient

PIPELINE = 256
#: Fills on their way; a home lets another have 256.
WINDOW = 200


class Lines:
    """A raw connection to a daemon's client port: lines out, lines in."""

    def __init__(self, daemon: Daemon) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(daemon.socket)
        self._rest = b""

    def send(self, number: int, method: str, **params: Any) -> None:
        line = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.socket.sendall(json.dumps(line).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """What has arrived; waits for something."""
        *lines, self._rest = (self._rest + self.socket.recv(1 << 18)).split(b"\n")
        return [json.loads(line) for line in lines]

    def until(self, number: int) -> dict[str, Any]:
        """The answer to one request; what comes before it is dropped."""
        while True:
            for message in self.receive():
                if message.get("id") == number:
                    return message


def pair(directory: Path) -> tuple[Daemon, Daemon]:
    """Two linked, synced peers."""
    maker = Daemon(directory / "maker")
    maker.start()
    maker.wait()
    taker = Daemon(directory / "taker", "--connect", maker.address)
    taker.start()
    taker.wait()
    wait_for("two peers are synced", 30, lambda: synced(maker, taker))
    return maker, taker


def synced(*daemons: Daemon) -> bool:
    return all(daemon.status()["synced"] for daemon in daemons)


def flood(daemon: Daemon, orders: list[dict[str, Any]]) -> float:
    """Place all orders, ``PIPELINE`` at a time; seconds until the last was acknowledged."""
    lines = Lines(daemon)
    began = time.perf_counter()
    sent = done = 0
    while done < len(orders):
        while sent < len(orders) and sent - done < PIPELINE:
            lines.send(sent, "order.place", market=MARKET, type="limit", **orders[sent])
            sent += 1
        for message in lines.receive():
            if "error" in message:
                raise SystemExit(f"refused: {message['error']}")
            done += 1
    return time.perf_counter() - began


def round_trips(maker: Daemon, taker: Daemon, count: int) -> None:
    """One fill at a time."""
    flood(maker, [{"side": "sell", "price": "100", "quantity": f"{count / 1000}", "account": "m"}])
    time.sleep(1.0)
    lines = Lines(taker)
    lines.send(0, "orders.subscribe", account="t")
    lines.until(0)
    took: list[float] = []
    for number in range(1, count + 1):
        began = time.perf_counter()
        lines.send(
            number, "order.place", market=MARKET, type="limit", side="buy", price="100",
            quantity="0.001", time_in_force="ioc", account="t",
        )  # fmt: skip
        while True:
            if any(_filled(message) for message in lines.receive()):
                break
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    say(
        f"fill round trip, durable on both sides: p50 {percentile(took, 0.5):.2f} ms"
        f"  p99 {percentile(took, 0.99):.2f} ms  ({count} fills)",
        fill_p50_ms=percentile(took, 0.5),
        fill_p99_ms=percentile(took, 0.99),
    )


def _filled(message: dict[str, Any]) -> bool:
    return bool(_status(message) == "filled")


def _status(message: dict[str, Any]) -> str:
    """What an update says has become of an order, "" for anything else."""
    if message.get("method") != "orders.update":
        return ""
    return str(message["params"]["order"]["status"])


def fill_rate(maker: Daemon, taker: Daemon, count: int, window: int) -> None:
    """
    ``window`` orders on their way at any time: each is followed by the next once it is filled.

    An update leaves the taker when the trade is on the maker's disk and on its own.
    """
    with maker.client() as client:
        sell = client.call(
            "order.place", market=MARKET, type="limit", side="sell", price="101",
            quantity=f"{count / 1000}", account="m",
        )["order_id"]  # fmt: skip
    time.sleep(1.0)
    lines = Lines(taker)
    lines.send(0, "orders.subscribe", account="t")
    lines.until(0)
    take = {
        "market": MARKET, "type": "limit", "side": "buy", "price": "101", "quantity": "0.001",
        "time_in_force": "ioc", "account": "t",
    }  # fmt: skip
    ended = dict.fromkeys(("filled", "cancelled"), 0)
    used = [(daemon, _cpu_s(daemon)) for daemon in (maker, taker)]
    sent = 0
    began = time.perf_counter()
    while sum(ended.values()) < count:
        while sent < count and sent - sum(ended.values()) < window:
            sent += 1
            lines.send(sent, "order.place", **take)
        for message in lines.receive():
            status = _status(message)
            if status in ended:
                ended[status] += 1
    seconds = time.perf_counter() - began
    cost = [(_cpu_s(daemon) - before) / count * 1e6 for daemon, before in used]
    _same_on_both(maker, taker, sell, count, ended["filled"])
    say(
        f"fills at one home, {window} at a time: {ended['filled'] / seconds:,.0f}/s"
        f"  ({ended['filled']} of {count} in {seconds:.1f} s; CPU a fill: maker {cost[0]:.0f} us,"
        f" taker {cost[1]:.0f} us)",
        fills_per_s=ended["filled"] / seconds,
    )


def _same_on_both(maker: Daemon, taker: Daemon, sell: str, count: int, filled: int) -> None:
    """Every fill a trade that both homes have, and nothing but them; equal books."""
    with maker.client() as one, taker.client() as other:
        order = one.call("order.get", order_id=sell)
        if round(float(order["filled"]) * 1000) != filled or filled < count * 0.99:
            raise SystemExit(f"{filled} of {count} filled, the maker says {order['filled']}")
        wait_for(
            "the newest 1,000 trades are the same on both sides",
            10,
            lambda: _trades(one) == _trades(other),
        )
        wait_for(
            "the books are the same",
            10,
            lambda: (
                one.call("book.get", market=MARKET)["bids"]
                == other.call("book.get", market=MARKET)["bids"]
                and one.call("book.get", market=MARKET)["asks"]
                == other.call("book.get", market=MARKET)["asks"]
            ),
        )


def _trades(client: WireClient) -> list[str]:
    trades = client.call("trades.list", market=MARKET, limit=1000)["trades"]
    return sorted(trade["trade_id"] for trade in trades)


def backlog(maker: Daemon, taker: Daemon, count: int) -> None:
    """Orders placed as fast as they are taken, far more than may be on their way: they wait."""
    with maker.client() as client:
        sell = client.call(
            "order.place", market=MARKET, type="limit", side="sell", price="102",
            quantity=f"{count / 1000}", account="m",
        )["order_id"]  # fmt: skip
        time.sleep(1.0)
        began = time.perf_counter()
        placing = flood(
            taker, [{"side": "buy", "price": "102", "quantity": "0.001", "account": "t"}] * count
        )
        wait_for(
            "all fills are settled",
            120,
            lambda: (
                client.call("order.get", order_id=sell)["status"] == "filled"
                and not taker.status()["fills"]["in_doubt"]
            ),
        )
    seconds = time.perf_counter() - began
    _same_on_both(maker, taker, sell, count, count)
    say(
        f"fills at one home, all ordered at once: {count / seconds:,.0f}/s"
        f"  ({count} in {seconds:.1f} s, placed at {count / placing:,.0f}/s)",
        fills_at_once_per_s=count / seconds,
    )


def replication(maker: Daemon, taker: Daemon, count: int) -> None:
    """Entries of one home, followed by another."""
    orders = [
        {"side": "buy", "price": f"{50 + i % 500 / 100:.2f}", "quantity": "0.01", "account": "m"}
        for i in range(count)
    ]
    home = maker.status()["peer"]
    began = time.perf_counter()
    placing = flood(maker, orders)
    upto = maker.status()["log"]["seq"]
    wait_for(
        "the other peer has all entries", 60, lambda: taker.status()["origins"][home]["seq"] >= upto
    )
    seconds = time.perf_counter() - began
    say(
        f"novel entries verified and stored: {count / seconds:,.0f}/s"
        f"  (placed at {count / placing:,.0f}/s, held {1000 * (seconds - placing):.0f} ms later)",
        entries_per_s=count / seconds,
    )


def visibility(directory: Path, count: int, orders: int) -> None:
    """Until an order shows in every book."""
    daemons: list[Daemon] = []
    try:
        for number in range(count):
            near = [daemon.address for daemon in daemons[-3:]]
            words = [word for address in near for word in ("--connect", address)]
            daemons.append(Daemon(directory / f"many{number}", *words))
            daemons[-1].start()
            daemons[-1].wait()
        wait_for("all daemons are synced", 90, lambda: synced(*daemons))
        connections = [Lines(daemon) for daemon in daemons]
        watch = selectors.DefaultSelector()
        for number, lines in enumerate(connections):
            lines.send(0, "book.subscribe", market=MARKET)
            lines.until(0)
            watch.register(lines.socket, selectors.EVENT_READ, number)
        took = []
        for number in range(orders):
            price = f"{11 + (2 * number + 1) / 100:.2f}"  # no zero at the end to be cut
            home = number % count
            missing = set(range(count)) - {home}
            began = time.perf_counter()
            connections[home].send(
                number + 1, "order.place", market=MARKET, type="limit", side="buy", price=price,
                quantity="1",
            )  # fmt: skip
            while missing:
                for key, _ in watch.select(10):
                    for message in connections[key.data].receive():
                        if f'"{price}' in json.dumps(message) and key.data in missing:
                            missing.discard(key.data)
                            took.append((time.perf_counter() - began) * 1000)
        took.sort()
        memory = [_memory_mib(daemon) for daemon in daemons]
        say(
            f"{count} daemons, an order is visible at another: p50 {percentile(took, 0.5):.1f} ms"
            f"  p99 {percentile(took, 0.99):.1f} ms  last {took[-1]:.1f} ms;"
            f"  {sum(memory) / count:.0f} MiB a daemon",
            visible_p50_ms=percentile(took, 0.5),
            visible_p99_ms=percentile(took, 0.99),
        )
    finally:
        for daemon in daemons:
            daemon.kill()


class Meter:
    """
    A way to a daemon's peer port that counts what comes back.

    Attributes:
        address: to be dialled instead of the daemon's.
        bytes: what the dialling side received.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._there = daemon.address.split(":")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.bytes = 0
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection((self._there[0], int(self._there[1])))
                for one, other in ((near, far), (far, near)):
                    Thread(target=self._pump, args=(one, other, one is far), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, counts: bool) -> None:
        with suppress(OSError), one, other:
            while data := one.recv(1 << 18):
                self.bytes += len(data) * counts
                other.sendall(data)

    def close(self) -> None:
        self._listening.close()


def late_joiner(directory: Path, orders: int) -> None:
    """From process start to synced."""
    old = Daemon(directory / f"old{orders}")
    meter = Meter(old)
    late = Daemon(directory / f"late{orders}", "--connect", meter.address)
    try:
        old.start()
        old.wait()
        flood(
            old,
            [
                {"side": "buy", "price": f"{1 + i % 5000 / 100:.2f}", "quantity": "0.01"}
                for i in range(orders)
            ],
        )
        began = time.perf_counter()
        late.start()
        late.wait()
        served = time.perf_counter() - began
        wait_for(
            "the late joiner has all", 300, lambda: late.status()["orders"]["remote"] == orders
        )
        held = time.perf_counter() - began
        wait_for("the late joiner is synced", 30, lambda: synced(late))
        seconds = time.perf_counter() - began
        say(
            f"late joiner, {orders:,} open orders: served after {served:.1f} s from process start,"
            f" held all after {held:.1f} s, synced after {seconds:.1f} s;"
            f" {meter.bytes / 1e6:.1f} MB received, {_memory_mib(late):.0f} MiB of memory",
            **{f"join_{orders}_s": seconds, f"join_{orders}_bytes": meter.bytes},
        )
    finally:
        old.kill()
        late.kill()
        meter.close()


def _cpu_s(daemon: Daemon) -> float:
    """User and system time of all its threads so far."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(daemon: Daemon) -> float:
    assert daemon.process is not None
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


FOUND: list[str] = []
FIGURES: dict[str, float] = {}


def say(line: str, **figures: float) -> None:
    """Show a finding, and keep it for ``--write``, its figures for ``--json``."""
    print(line, flush=True)
    FOUND.append(line)
    FIGURES.update(figures)


def page() -> str:
    """What was found, as a document."""
    assert __doc__
    steps = __doc__.split("\n\n", 2)[2]
    machine = f"{platform.system()} {platform.release()}, CPython {platform.python_version()}"
    title = "Real peers on loopback"
    return "\n".join(
        [
            f"{title}\n{'=' * len(title)}\n",
            f"Written by ``benchmarks/exchange/real_peers.py`` (``make bench-network``) on"
            f" {time.strftime('%Y-%m-%d')}.",
            f"Machine: {FOUND[0]}, {machine}.\n",
            "Measured:\n",
            *(f"- {' '.join(line.split())}" for line in FOUND[1:]),
            "",
            "What that means:\n",
            steps,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--fills", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--daemons", type=int, default=20)
    parser.add_argument("--joiner", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--dir", default=None, help="where the data is; the disk that is measured")
    parser.add_argument("--write", type=Path, default=None, help="the document to write")
    add_option(parser)
    options = parser.parse_args()
    say(f"{os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        directory = Path(name)
        maker, taker = pair(directory)
        try:
            round_trips(maker, taker, min(2_000, options.fills))
            fill_rate(maker, taker, options.fills, WINDOW)
            backlog(maker, taker, options.fills)
            replication(maker, taker, options.entries)
        finally:
            maker.kill()
            taker.kill()
        if options.daemons:
            visibility(directory, options.daemons, 60)
        for orders in options.joiner:
            late_joiner(directory, orders)
    if options.write is not None:
        options.write.write_text(page())
    save(options.json, FIGURES)


if __name__ == "__main__":
    main()
