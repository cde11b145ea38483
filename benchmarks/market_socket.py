"""
Orders through the socket: acknowledged a second and how long each took, durable, one peer.

Starts the real daemon (``twistd exchange``) with its data in a temporary directory, and for 1, 16
and 128 clients places limit orders that partly trade and partly rest; every acknowledgement
means that the order is on the disk. Beside it stands what the disk itself can do: the rate of
commits of SQLite (WAL, synchronous=FULL) with one row and with a batch of rows.

    python -m benchmarks.market_socket [--orders N] [--dir DIR] [--clients 1,16,128]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from grenache_py.exchange.client import CannotReach, Client
from grenache_py.exchange.load import Flow, Load
from grenache_py.exchange.show import percentile

REQUIRED_PER_S, REQUIRED_P99_MS = 8_000, 30.0


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


def start(directory: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a daemon with its data in ``directory``; return it and the path of its socket."""
    path = str(directory / "client.sock")
    daemon = subprocess.Popen(
        [
            sys.executable, "-m", "twisted", "exchange", "--data", str(directory / "data"),
            "--client", "tcp:0:interface=127.0.0.1", "--client", f"unix:{path}",
            "--peer", "tcp:0:interface=127.0.0.1", "--http", "none", *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=(directory / "log").open("ab"),
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while True:
        try:
            Client(path, time.monotonic).close()
        except CannotReach:
            if time.monotonic() > deadline or daemon.poll() is not None:
                raise SystemExit((directory / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return daemon, path


def tcp_address(path: str) -> str:
    with Client(path, time.monotonic) as client:
        return str(client.call("status")["listen"]["client"][0])


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """Processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--orders", type=int, default=40_000)
    parser.add_argument("--clients", default="1,16,128")
    parser.add_argument("--dir", default=None, help="where the data is; the disk that is measured")
    parser.add_argument("--check", action="store_true", help="fail below the required figures")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        directory = Path(name)
        for rows, rate in disk_rates(directory).items():
            print(f"disk: {rate:9,.0f} rows/s, {rows} a commit ({rate / rows:,.0f} commits/s)")
        daemon, path = start(directory)
        address = tcp_address(path)
        try:
            results = [
                run(daemon.pid, address, int(clients), arguments.orders)
                for clients in arguments.clients.split(",")
            ]
            crowd(daemon.pid, address, arguments.orders)
        finally:
            daemon.terminate()
            daemon.wait(15)
    if arguments.check:
        rate, p99_ms = results[-1]
        if rate < REQUIRED_PER_S or p99_ms > REQUIRED_P99_MS:
            raise SystemExit(f"required: {REQUIRED_PER_S}/s with p99 < {REQUIRED_P99_MS} ms")


def crowd(pid: int, address: str, orders: int) -> None:
    """200 busy clients among 1,000 idle ones, and four that misbehave."""
    host, _, port = address.rpartition(":")
    before = memory_mib(pid)
    others = [socket.create_connection((host, int(port))) for _ in range(1_003)]
    deaf, endless, dripping = others[:3]
    print(f"1,000 idle connections: {memory_mib(pid) - before:.1f} MiB")
    held = memory_mib(pid)
    # 100,000 requests with long answers, none of them read; then 10 MB without a line's end.
    sent = fill(deaf, b"book BTC-USD 500\n" * 1_000, 100)
    print(f"never reads, sent {sent / 17:,.0f} requests: {memory_mib(pid) - held:+.1f} MiB")
    sent = fill(endless, b"x" * 65_536, 160)
    print(f"10 MB without an end: cut off within {sent:,} bytes")
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(1.0):
            dripping.send(b" ")

    dripper = threading.Thread(target=drip)
    dripper.start()
    run(pid, address, 200, orders)
    stop.set()
    dripper.join()
    dripping.sendall(b"ping\n")
    assert dripping.recv(100), "the one that sends a byte a second is served too"
    with Client(address, time.monotonic) as client:
        client.call("order.cancel_all", timeout_s=60)
    pipelined(pid, address)
    print(f"memory after all that: {memory_mib(pid) - held:+.1f} MiB, orders included")
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


def pipelined(pid: int, address: str) -> None:
    """One client sends 100,000 orders at once; another one asks meanwhile."""
    host, _, port = address.rpartition(":")
    flow = Flow("BTC-USD", "0.01", "0.0001", random.Random(9))
    data = b"".join(flow.lines(100_000))
    before, began, most, slowest = memory_mib(pid), time.perf_counter(), 0.0, 0.0
    with (
        socket.create_connection((host, int(port))) as greedy,
        Client(address, time.monotonic) as other,
    ):
        sender = threading.Thread(target=greedy.sendall, args=(data,))
        sender.start()
        answered = 0
        while answered < 100_000:
            answered += greedy.recv(1_048_576).count(b"\n")
            asked = time.perf_counter()
            other.call("ping", timeout_s=30)
            slowest = max(slowest, time.perf_counter() - asked)
            most = max(most, memory_mib(pid))
        sender.join()
    rate = 100_000 / (time.perf_counter() - began)
    print(
        f"100,000 orders pipelined: {rate:,.0f}/s, up to {most - before:+.0f} MiB (their orders"
        f" included), another client waited {slowest * 1000:.0f} ms at most"
    )


def run(pid: int, address: str, clients: int, orders: int) -> tuple[float, float]:
    """One row of the table, in a process of its own: a reactor runs once."""
    orders = min(orders, 8_000) if clients == 1 else orders
    before = cpu_s(pid)
    worker = subprocess.run(
        [sys.executable, "-c",
         "import sys; from benchmarks.market_socket import work;"
         f" work({address!r}, {clients}, {orders})"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if worker.returncode:
        raise SystemExit(worker.stderr)
    rate, p50, p99, p999 = (float(word) for word in worker.stdout.split())
    used = (cpu_s(pid) - before) / orders * 1e6
    print(
        f"{clients:4} clients: {rate:8,.0f} orders/s  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms"
        f"  p99.9 {p999:6.2f} ms  daemon {used:5.1f} us CPU/order, {memory_mib(pid):.0f} MiB",
        flush=True,
    )
    return rate, p99


def work(address: str, clients: int, orders: int) -> None:
    from twisted.internet import reactor

    from grenache_py.exchange.cli import _run_in_reactor

    flow = Flow("BTC-USD", "0.01", "0.0001", random.Random(clients))
    load = Load(reactor, address, flow.lines(orders), clients, clock=time.perf_counter)
    _run_in_reactor(reactor, load.run())
    if load.errors:
        raise SystemExit(f"refused: {load.errors}")
    rising = sorted(load.latencies)
    figures = [percentile(rising, part) * 1000 for part in (0.5, 0.99, 0.999)]
    print(orders / load.seconds, *figures)


if __name__ == "__main__":
    main()
