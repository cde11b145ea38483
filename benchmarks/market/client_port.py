"""
Orders through the socket: acknowledged a second and how long each took, durable, one peer.

Starts the real daemon (``twistd exchange``) with its data in a temporary directory, and for 1, 16
and 128 clients places limit orders that partly trade and partly rest; every acknowledgement
means that the order is on the disk. Beside it stands what the disk itself can do: the rate of
commits of SQLite (WAL, synchronous=FULL) with one row and with a batch of rows. Then the daemon and
the bare path (``bare_path.py``) run in turns, with fresh processes each, and the ratios of each
pair are printed.

    python -m benchmarks.market.client_port [--orders N] [--dir DIR] [--clients 1,16] [--write FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import add_option, save
from benchmarks.market import where_time_goes, yardstick
from benchmarks.market.yardstick import Pair, Run
from grenache_py.exchange.cli.latencies import percentile
from grenache_py.exchange.cli.load_run import Flow, Load
from grenache_py.trading import Client, NotConnected

REQUIRED_PER_S, REQUIRED_P99_MS = 8_000, 30.0


class Row(NamedTuple):
    """One line of the table; microseconds are processor time for an order."""

    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    orders_per_commit: float
    reactor_us: float
    store_us: float
    clients_us: float
    mib: float


class Findings:
    """What is printed as it is found, and written as a page in the end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.remarks: list[str] = []
        self.pairs: dict[int, list[Pair]] = {}
        self.parts: dict[str, float] = {}

    def beside(self, clients: int, pairs: list[Pair]) -> None:
        """What ``clients`` clients got of the bare path and of the daemon, in turns."""
        self.pairs[clients] = pairs
        print(
            f"{clients:4} clients, {len(pairs)} pairs: rate {yardstick.ratio(pairs, rate)} of the"
            f" bare path's, p50 {yardstick.ratio(pairs, p50)} times its",
            flush=True,
        )

    def row(self, row: Row) -> None:
        self.rows.append(row)
        print(
            f"{row.clients:4} clients: {row.per_s:8,.0f} orders/s  p50 {row.p50_ms:6.2f} ms"
            f"  p99 {row.p99_ms:6.2f} ms  p99.9 {row.p999_ms:6.2f} ms, {row.orders_per_commit:.0f}"
            f" a commit; us CPU/order: reactor {row.reactor_us:5.1f}, store {row.store_us:5.1f},"
            f" clients {row.clients_us:5.1f}; {row.mib:.0f} MiB",
            flush=True,
        )

    def remark(self, text: str) -> None:
        self.remarks.append(text)
        print(text, flush=True)

    def page(self) -> str:
        """All of it as reStructuredText."""
        shown = [
            ["clients", "orders/s", "p50 ms", "p99 ms", "p99.9 ms", "orders a commit",
             "reactor us", "store us", "clients us"],
            *([str(r.clients), f"{r.per_s:,.0f}", f"{r.p50_ms:.2f}", f"{r.p99_ms:.2f}",
               f"{r.p999_ms:.2f}", f"{r.orders_per_commit:.0f}", f"{r.reactor_us:.0f}",
               f"{r.store_us:.0f}", f"{r.clients_us:.0f}"] for r in self.rows),
        ]  # fmt: skip
        lines = [
            "Orders through the socket",
            "=========================",
            "",
            f"Written by ``benchmarks/market/client_port.py`` on {time.strftime('%Y-%m-%d')}.",
            "",
            f"Machine: {os.cpu_count()} cores, {platform.system()} {platform.release()},",
            f"{platform.python_implementation()} {platform.python_version()}, built"
            f" {'with' if optimised() else 'without'} profile-guided optimisation.",
            "",
            "One daemon, its data on a disk, clients on the same machine over TCP. An order is",
            "answered when it, its trades, its log entry and its signature are on the disk. Each",
            "client waits for an answer before it sends again. The last three columns are",
            "processor time for an order: of the daemon's reactor thread (sockets, JSON, matching,",
            "log, signatures), of its store threads (SQLite), and of the clients, which run on the",
            f"same cores. Required: {REQUIRED_PER_S:,}/s with 128 clients, p99 below"
            f" {REQUIRED_P99_MS:.0f} ms.",
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "",
        ]
        for cells in shown:
            lines += [f"   {'*' if not i else ' '} - {cell}" for i, cell in enumerate(cells)]
        lines += ["", *(f"- {remark}" for remark in self.remarks), "", *self._beside()]
        return "\n".join(lines)

    def _beside(self) -> list[str]:
        if not self.pairs:
            return []
        shown = [["clients", "bare orders/s", "ours", "ratio", "bare p50 ms", "ours", "ratio",
                  "bare p99 ms", "ours", "bare us", "ours: reactor us", "store us"]]  # fmt: skip
        for clients, pairs in self.pairs.items():
            bare, ours = (
                Run(*(statistics.median(column) for column in zip(*side, strict=True)))
                for side in zip(*pairs, strict=True)
            )
            shown.append([
                str(clients), f"{bare.per_s:,.0f}", f"{ours.per_s:,.0f}",
                str(yardstick.ratio(pairs, rate)), f"{bare.p50_ms:.2f}", f"{ours.p50_ms:.2f}",
                str(yardstick.ratio(pairs, p50)), f"{bare.p99_ms:.2f}", f"{ours.p99_ms:.2f}",
                f"{bare.reactor_us + bare.store_us:.0f}", f"{ours.reactor_us:.0f}",
                f"{ours.store_us:.0f}",
            ])  # fmt: skip
        lines = [
            "Beside the bare path",
            "--------------------",
            "",
            "What a durable order costs in Python at all: Twisted's ``LineOnlyReceiver``, a",
            "decoder, an answer of the same members, one append to a list, one row, group commit",
            "by one thread (``benchmarks/market/bare_path.py``). Both run under the same",
            "interpreter, in turns, with fresh processes each time. A ratio is the median of those",
            "of the pairs, with the least and the most. Ratios hold on another machine, rates do",
            "not. Microseconds are processor time for an order.",
            "",
            "The interpreter counts: built with profile-guided optimisation, as Debian's is, it",
            "runs the daemon 1.2 times and the bare path 1.3 times as fast as a plain build of the",
            "same source.",
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "",
        ]
        for cells in shown:
            lines += [f"   {'*' if not i else ' '} - {cell}" for i, cell in enumerate(cells)]
        return [*lines, "", *self._where()]

    def _where(self) -> list[str]:
        if not self.parts:
            return []
        reactor_us = statistics.median(pair.ours.reactor_us for pair in self.pairs[max(self.pairs)])
        lines = [
            "Where the time goes",
            "-------------------",
            "",
            f"The reactor's thread with {max(self.pairs)} clients, by samples of ``py-spy``",
            "(``--nonblocking``), and its microseconds above shared out by them. What a sample",
            "finds in the kernel may be a wait for a core: clients, reactor and store share them.",
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "",
            "   * - part",
            "     - share",
            "     - us an order",
        ]
        for part, share in self.parts.items():
            lines += [f"   * - {part}", f"     - {share:.0%}", f"     - {share * reactor_us:.1f}"]
        return [*lines, ""]


def optimised() -> bool:
    """Whether this interpreter was built with profile-guided optimisation."""
    return "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")


def rate(run: Run) -> float:
    return run.per_s


def p50(run: Run) -> float:
    return run.p50_ms


def disk_rates(directory: Path, seconds: float = 1.0) -> dict[int, float]:
    """Rows a second that SQLite makes durable here, by rows a commit."""
    rates = {}
    for rows in (1, 16, 128):
        path = directory / f"disk{rows}.sqlite"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO t (b) VALUES (?)", [("x" * 500,)] * rows)
            connection.execute("COMMIT")
            done += rows
        rates[rows] = done / (time.perf_counter() - began)
        connection.close()
        path.unlink()
    return rates


def start(
    directory: Path, *options: str, before: Sequence[str] = (), within_s: float = 20.0
) -> tuple[subprocess.Popen[bytes], str]:
    """
    Start a daemon with its data in ``directory``; return it and the path of its socket.

    Args:
        before: what its command is given to, a profiler for instance.
    """
    path = str(directory / "client.sock")
    daemon = subprocess.Popen(
        [
            *before, sys.executable, "-m", "twisted", "exchange", "--data", str(directory / "data"),
            "--client", "tcp:0:interface=127.0.0.1", "--client", f"unix:{path}",
            "--peer", "tcp:0:interface=127.0.0.1", "--http", "none",
            "--network", f"bench-{os.getpid()}", *options,  # no links to other daemons here
        ],
        stdout=subprocess.DEVNULL,
        stderr=(directory / "log").open("ab"),
    )  # fmt: skip
    deadline = time.monotonic() + within_s
    while True:
        try:
            connected(path).close()
        except NotConnected:
            if time.monotonic() > deadline or daemon.poll() is not None:
                raise SystemExit((directory / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return daemon, path


def connected(address: str) -> Client:
    """A client that is entered already: close it."""
    return Client(address, reconnect=False).__enter__()


def tcp_address(path: str) -> str:
    with closing(connected(path)) as client:
        return str(client.call("status", {}, False)["listen"]["client"][0])


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> tuple[float, float]:
    """Processor time of a daemon's reactor thread and of all its other threads, in seconds."""
    used = {
        task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    return used[str(pid)], sum(used.values()) - used[str(pid)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--orders", type=int, default=40_000)
    parser.add_argument("--clients", default="1,16,128")
    parser.add_argument("--ratios", action="store_true", help="only beside the bare path")
    parser.add_argument("--pairs", type=int, default=5, help="runs beside the bare path; 0: none")
    parser.add_argument("--dir", default=None, help="where the data is; the disk that is measured")
    parser.add_argument("--write", type=Path, help="write the results to this page")
    add_option(parser)
    parser.add_argument("--check", action="store_true", help="fail below the required figures")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    found = Findings()
    figures = {} if arguments.ratios else alone(arguments, found)
    if arguments.pairs:
        for clients in map(int, arguments.clients.split(",")):
            pairs = beside_bare_path(clients, arguments.orders // 2, arguments.pairs, arguments.dir)
            found.beside(clients, pairs)
        if not arguments.ratios:
            found.parts = parts(max(found.pairs), arguments.orders, arguments.dir)
    if arguments.write:
        arguments.write.write_text(found.page())
    for row in found.rows:
        figures |= {
            f"clients_{row.clients}_orders_per_s": row.per_s,
            f"clients_{row.clients}_p50_ms": row.p50_ms,
            f"clients_{row.clients}_p99_ms": row.p99_ms,
            f"clients_{row.clients}_reactor_us": row.reactor_us,
            f"clients_{row.clients}_store_us": row.store_us,
        }
    for clients, pairs in found.pairs.items():
        figures[f"ratio_{clients}"] = yardstick.ratio(pairs, rate).median
        figures[f"p50_ratio_{clients}"] = yardstick.ratio(pairs, p50).median
        figures[f"p99_{clients}_ms"] = statistics.median(pair.ours.p99_ms for pair in pairs)
        figures[f"reactor_{clients}_us"] = statistics.median(p.ours.reactor_us for p in pairs)
        figures[f"store_{clients}_us"] = statistics.median(p.ours.store_us for p in pairs)
    save(arguments.json, figures)
    if arguments.check:
        clients = int(arguments.clients.split(",")[-1])
        most = next(row for row in found.rows if row.clients == clients)
        if most.per_s < REQUIRED_PER_S or most.p99_ms > REQUIRED_P99_MS:
            raise SystemExit(f"required: {REQUIRED_PER_S}/s with p99 < {REQUIRED_P99_MS} ms")


def alone(arguments: argparse.Namespace, found: Findings) -> dict[str, float]:
    """The daemon alone, and what the disk can do; the figures that are not in ``found``."""
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        directory = Path(name)
        rates = disk_rates(directory)
        for rows, rate in rates.items():
            found.remark(
                f"the disk alone (SQLite, WAL, synchronous=FULL): {rate:,.0f} rows/s with {rows} a"
                f" commit, {rate / rows:,.0f} commits/s"
            )
        daemon, path = start(directory)
        address = tcp_address(path)
        try:
            for clients in arguments.clients.split(","):
                found.row(run(daemon.pid, address, int(clients), arguments.orders))
            crowd(daemon.pid, address, arguments.orders, found)
        finally:
            daemon.terminate()
            daemon.wait(15)
    return {"disk_commits_per_s": rates[1]}


def crowd(pid: int, address: str, orders: int, found: Findings) -> None:
    """200 busy clients among 1,000 idle ones, and four that misbehave."""
    host, _, port = address.rpartition(":")
    before = memory_mib(pid)
    others = [socket.create_connection((host, int(port))) for _ in range(1_003)]
    deaf, endless, dripping = others[:3]
    found.remark(f"1,000 idle connections: {memory_mib(pid) - before:.1f} MiB")
    held = memory_mib(pid)
    # 100,000 requests with long answers, none of them read; then 10 MB without a line's end.
    sent = fill(deaf, b"book BTC-USD 500\n" * 1_000, 100)
    found.remark(f"never reads, sent {sent / 17:,.0f} requests: {memory_mib(pid) - held:+.1f} MiB")
    sent = fill(endless, b"x" * 65_536, 160)
    found.remark(f"10 MB without an end: cut off within {sent:,} bytes")
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(1.0):
            dripping.send(b" ")

    dripper = threading.Thread(target=drip)
    dripper.start()
    found.row(run(pid, address, 200, orders))
    stop.set()
    dripper.join()
    dripping.sendall(b"ping\n")
    assert dripping.recv(100), "the one that sends a byte a second is served too"
    with closing(connected(address)) as client:
        client.call("order.cancel_all", {"all_accounts": True}, timeout_s=60)
    pipelined(pid, address, found)
    found.remark(f"memory after all that: {memory_mib(pid) - held:+.1f} MiB, orders included")
    for each in others:
        each.close()


def fill(connection: socket.socket, data: bytes, times: int) -> int:
    """Send without reading until it is done, or nobody takes any more; return how many bytes."""
    connection.settimeout(1.0)
    sent = 0
    try:
        for _ in range(times):
            sent += connection.send(data)
    except (TimeoutError, ConnectionError):
        pass
    return sent


def pipelined(pid: int, address: str, found: Findings) -> None:
    """One client sends 100,000 orders at once; another one asks meanwhile."""
    host, _, port = address.rpartition(":")
    flow = Flow("BTC-USD", "0.01", "0.0001", random.Random(9))
    data = b"".join(flow.lines(100_000))
    before, began, most, slowest = memory_mib(pid), time.perf_counter(), 0.0, 0.0
    with (
        socket.create_connection((host, int(port))) as greedy,
        closing(connected(address)) as other,
    ):
        sender = threading.Thread(target=greedy.sendall, args=(data,))
        sender.start()
        answered = 0
        while answered < 100_000:
            answered += greedy.recv(1_048_576).count(b"\n")
            asked = time.perf_counter()
            other.call("ping", {}, False, timeout_s=30)
            slowest = max(slowest, time.perf_counter() - asked)
            most = max(most, memory_mib(pid))
        sender.join()
    rate = 100_000 / (time.perf_counter() - began)
    found.remark(
        f"100,000 orders pipelined: {rate:,.0f}/s, up to {most - before:+.0f} MiB (their orders"
        f" included), another client waited {slowest * 1000:.0f} ms at most"
    )


def commits(address: str) -> int:
    with closing(connected(address)) as client:
        return int(client.call("status", {}, False)["commits"])


def run(
    pid: int,
    address: str,
    clients: int,
    orders: int,
    commits: Callable[[str], int] = commits,
) -> Row:
    """
    One row of the table; the clients are another process, whose own time is shown too.

    Args:
        commits: how many commits there were by now; the bare path is asked otherwise.
    """
    orders = min(orders, 8_000) if clients == 1 else orders
    bare = commits is yardstick.commits_of_bare_path
    before, commits_before = cpu_s(pid), commits(address)
    worker = subprocess.run(
        [sys.executable, "-c",
         "import sys; from benchmarks.market.client_port import work;"
         f" work({address!r}, {clients}, {orders}, {bare})"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if worker.returncode:
        raise SystemExit(worker.stderr)
    rate, p50, p99, p999, own = (float(word) for word in worker.stdout.split())
    reactor, store = (
        (after - then) / orders * 1e6 for after, then in zip(cpu_s(pid), before, strict=True)
    )
    each = orders / (commits(address) - commits_before)
    return Row(clients, rate, p50, p99, p999, each, reactor, store, own, memory_mib(pid))


def beside_bare_path(clients: int, orders: int, rounds: int, base: str | None) -> list[Pair]:
    """The daemon and the bare path in turns."""

    def figures(row: Row) -> Run:
        return Run(row.per_s, row.p50_ms, row.p99_ms, row.reactor_us, row.store_us)

    def ours(directory: Path) -> Run:
        daemon, path = start(directory)
        try:
            return figures(run(daemon.pid, tcp_address(path), clients, orders))
        finally:
            daemon.terminate()
            daemon.wait(15)

    def bare(directory: Path) -> Run:
        with yardstick.bare_path(directory) as (pid, address):
            asked = yardstick.commits_of_bare_path
            return figures(run(pid, address, clients, orders, asked))

    return yardstick.paired(rounds, base, ours, bare)


def parts(clients: int, orders: int, base: str | None) -> dict[str, float]:
    """Shares of the reactor's time, by part; empty without py-spy."""
    with tempfile.TemporaryDirectory(dir=base) as name:
        daemon, path = start(Path(name))
        try:
            address = tcp_address(path)
            return where_time_goes.sampled(
                daemon.pid,
                lambda: run(daemon.pid, address, clients, orders),
                Path(name) / "samples",
            )
        finally:
            daemon.terminate()
            daemon.wait(15)


def work(address: str, clients: int, orders: int, bare: bool = False) -> None:
    host, _, port = address.rpartition(":")

    def connect() -> socket.socket:
        if bare:
            return socket.create_connection((host, int(port)))
        return connected(address).detach()

    flow = Flow("BTC-USD", "0.01", "0.0001", random.Random(clients))
    load = Load(
        connect,
        flow.lines(orders),
        clients,
        clock=time.perf_counter,
    )
    before = time.process_time()
    load.run()
    if load.errors:
        raise SystemExit(f"refused: {load.errors}")
    rising = sorted(load.latencies)
    figures = [percentile(rising, part) * 1000 for part in (0.5, 0.99, 0.999)]
    own = (time.process_time() - before) / orders * 1e6
    print(orders / load.seconds, *figures, own)


if __name__ == "__main__":
    main()
