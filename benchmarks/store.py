"""
The store alone: commits of this disk, and a start from a long history.

    make bench-store             (or: python -m benchmarks.store --write FILE [--directory DIR])

An order that rests is what a home writes for it: its row, a signed log entry and an event of
its account. Commits are measured on an empty store and on one with the whole history, with an
idle interpreter and beside a thread that never lets go of it (what a reactor under full load
is like), against the time this disk takes for a bare append and fdatasync. Then they go on for
ten seconds without a pause, with checkpoints inside the commits, as SQLite makes them by itself,
and beside them.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grenache_py.exchange.effects.rows import (
    LogRow,
    MetaRow,
    OrderEventRow,
    OrderRow,
    Row,
    TradeRow,
)
from grenache_py.exchange.storage.database import Database

SECONDS = 3.0
STEADY_SECONDS = 10.0
STEADY_ORDERS = 64  # a commit
LOG_PAGES_INSIDE = 4_000  # SQLite's own checkpoints, when they are measured
SWITCH_INTERVAL_S = 0.00005  # as the daemon sets it
PAYLOAD = "x" * 460  # an order entry of the log
HOME = "e" * 64
FILL_BATCH = 5_000


class Flow:
    """Rows of a home that goes on and on."""

    def __init__(self, start: int = 0) -> None:
        self._rng = random.Random(start)
        self.number = start
        self._events = dict.fromkeys((f"account-{n}" for n in range(50)), start)

    def _hex(self, digits: int) -> str:
        return f"{self._rng.getrandbits(4 * digits):0{digits}x}"

    def order(self, live: bool = True) -> list[Row]:
        """What one order writes until it rests; not ``live``: until it was filled."""
        self.number += 1
        number, order_id = self.number, self._hex(32)
        account = f"account-{number % 50}"
        time_ms = 1_700_000_000_000 + number
        filled = 0 if live else 5
        entries = 1 if live else 2
        rows: list[Row] = [
            LogRow(
                1,
                2 * number + part,
                self._hex(64),
                PAYLOAD,
                self._rng.randbytes(160),
                5,
                32,
                self._rng.randbytes(64),
            )
            for part in range(entries)
        ]
        for part in range(entries):
            seq = self._events[account] = self._events[account] + 1
            done = 5 * part
            rows.append(
                OrderEventRow(account, seq, order_id, 5 - done, 0, done, part + 1, "", 0, time_ms)
            )
        rows.append(
            OrderRow(
                order_id=order_id,
                market="BTC-USD",
                side="buy",
                type="limit",
                time_in_force="gtc",
                price_ticks=10_000,
                stop_ticks=0,
                quantity_lots=5,
                post_only=0,
                expires_ms=0,
                time_ms=time_ms,
                counter=0,
                key_ms=time_ms,
                key_counter=0,
                account=account,
                client_order_id=f"c{number}",
                self_trade="newest",
                open=5 - filled,
                reserved=0,
                filled=filled,
                total_lots=5,
                version=1,
                reason="",
                value=filled * 10_000,
                triggered=1,
                fill_seq=0,
                order_seq=2 * number,
                state_seq=2 * number + entries - 1,
                live=int(live),
                updated_ms=time_ms,
                used_before=0,
            )
        )
        if not live and number % 2:
            rows.append(
                TradeRow(
                    self._hex(32), "BTC-USD", 10_000, 5, "buy", order_id, self._hex(32),
                    HOME, HOME, time_ms,
                )
            )  # fmt: skip
        return rows


def bare_disk(directory: str) -> list[float]:
    """Seconds of each append of 4 KiB with fdatasync."""
    path, taken = os.path.join(directory, "bare"), []
    with open(path, "wb", buffering=0) as file:
        until = time.perf_counter() + 1
        while time.perf_counter() < until:
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    os.remove(path)
    return taken


def commits(
    database: Database, flow: Flow, orders: int, busy: bool
) -> tuple[float, list[float], float]:
    """Orders a second, the seconds of each commit, and of the processor for an order."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            for _ in range(1000):
                pass

    spinning = threading.Thread(target=spin)
    if busy:
        spinning.start()
    taken: list[float] = []
    writing = used = 0.0
    try:
        while writing < SECONDS:
            batch = [row for _ in range(orders) for row in flow.order()]
            began, used_before = time.perf_counter(), time.thread_time()
            database.commit(batch)
            taken.append(time.perf_counter() - began)
            writing += taken[-1]
            used += time.thread_time() - used_before
    finally:
        stop.set()
        if busy:
            spinning.join()
    return len(taken) * orders / writing, taken, used / (len(taken) * orders)


class CheckpointsInside(Database):
    """Has SQLite copy the log inside a commit, as it does unless it is told not to."""

    def open(self, verify: bool = True) -> None:
        super().open(verify)
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES_INSIDE}")

    checkpoint_due = False


def steady(directory: str, beside: bool) -> None:
    """Commit without a pause, through a store, and print how it went. Once a process."""
    from twisted.internet import task
    from twisted.internet.defer import Deferred

    from grenache_py.exchange.storage.sqlite_store import SQLiteStore

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    path = os.path.join(directory, "exchange.sqlite")

    async def run(reactor: Any) -> None:
        store = SQLiteStore(directory, reactor, (Database if beside else CheckpointsInside)(path))
        await store.open()
        flow, taken, longest = Flow(), list[float](), 0
        ends = time.perf_counter() + STEADY_SECONDS
        while time.perf_counter() < ends:
            batch = [row for _ in range(STEADY_ORDERS) for row in flow.order()]
            began = time.perf_counter()
            await store.commit(batch)
            taken.append(time.perf_counter() - began)
            longest = max(longest, os.path.getsize(f"{path}-wal"))
        await store.close()
        shares = [milliseconds(taken, share) for share in (0.5, 0.99, 0.999)]
        rate = len(taken) * STEADY_ORDERS / sum(taken)
        print(f"{rate:,.0f}", *shares, f"{max(taken) * 1000:.2f}", f"{longest / 2**20:.0f}")

    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


def steady_row(directory: str, beside: bool) -> list[str]:
    """``steady`` in a process of its own, on a new store."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        program = f"from benchmarks.store import steady; steady({place!r}, {beside})"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    return ["beside the commits" if beside else "inside a commit", *done.stdout.split()]


def log_bytes(directory: str) -> float:
    """Bytes of the write-ahead log an order leaves."""
    path = os.path.join(directory, "log.sqlite")
    database, flow, batches = Database(path), Flow(), 100
    database.open()
    for _ in range(batches):
        database.commit([row for _ in range(STEADY_ORDERS) for row in flow.order()])
    size = os.path.getsize(f"{path}-wal")
    database.close()
    return size / (batches * STEADY_ORDERS)


def fill(path: str, closed: int, live: int) -> Flow:
    """A store with a history."""
    flow = Flow()
    database = Database(path)
    database.open()
    database.connection.execute("PRAGMA synchronous = OFF")  # nobody relies on it
    batch: list[Row] = [MetaRow("epoch", 1)]
    every = (closed + live) // live if live else closed + 1
    for number in range(closed + live):
        batch += flow.order(live=number % every == 0)
        if len(batch) >= FILL_BATCH:
            database.commit(batch)
            batch.clear()
    database.commit(batch)
    database.close()
    os.sync()  # or the disk would still be busy with it when the clock starts
    return flow


def start(path: str) -> tuple[float, int]:
    """Seconds until a daemon has its snapshot, and the orders in it. Once a process."""
    from twisted.internet import reactor as running
    from twisted.python.failure import Failure

    from grenache_py.exchange.effects.rows import Snapshot
    from grenache_py.exchange.storage.sqlite_store import SQLiteStore

    reactor: Any = running
    store = SQLiteStore(os.path.dirname(path), reactor)
    outcome: list[Any] = []

    def begin() -> None:
        began = time.perf_counter()

        def opened(snapshot: Snapshot) -> None:
            outcome.append((time.perf_counter() - began, len(snapshot.orders)))

        opening = store.open().addCallback(opened).addErrback(outcome.append)
        opening.addCallback(lambda _: store.close()).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    measured: tuple[float, int] = outcome[0]
    return measured


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def milliseconds(seconds: list[float], share: float) -> str:
    return f"{sorted(seconds)[int(len(seconds) * share)] * 1000:.2f}"


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Lines of an RST table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    yield rule
    for number, row in enumerate([head, *rows]):
        yield " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        if number == 0:
            yield rule
    yield rule


def measure(directory: str, closed: int, live: int) -> Iterator[str]:
    """The report, line by line."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    bare = bare_disk(directory)
    yield (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} "
        f"cores. A bare append of 4 KiB with fdatasync takes {milliseconds(bare, 0.5)} ms "
        f"(p99 {milliseconds(bare, 0.99)})."
    )
    yield ""
    path = os.path.join(directory, "data", "exchange.sqlite")
    os.mkdir(os.path.dirname(path))
    rows = []
    empty = Database(os.path.join(directory, "empty.sqlite"))
    empty.open()
    flow = Flow()

    def run(what: str, database: Database, flow: Flow) -> None:
        for busy in (False, True):
            for orders in (1, 16, 128):
                rate, taken, used = commits(database, flow, orders, busy)
                rows.append(
                    [
                        what,
                        "busy" if busy else "idle",
                        str(orders),
                        f"{rate:,.0f}",
                        milliseconds(taken, 0.5),
                        milliseconds(taken, 0.99),
                        f"{used * 1e6:.0f}",
                    ]
                )

    run("empty", empty, flow)
    empty.close()
    history = fill(path, closed, live)
    seconds, loaded = start(path)
    size = os.path.getsize(path)
    full = Database(path)
    checked = timed(full.open)
    loading = timed(full.load)
    run(f"{closed + live:,} orders", full, history)
    full.close()
    yield from table(
        ["store", "interpreter", "orders a commit", "orders/s", "p50 ms", "p99 ms", "CPU us"], rows
    )
    yield ""
    yield f"Commits of {STEADY_ORDERS} orders, {STEADY_SECONDS:.0f} s without a pause:"
    yield ""
    yield from table(
        ["checkpoints", "orders/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "log MiB"],
        [steady_row(directory, beside) for beside in (False, True)],
    )
    yield ""
    yield (
        f"An order that rests leaves {log_bytes(directory):,.0f} bytes in the write-ahead log, in"
        f" commits of {STEADY_ORDERS}."
    )
    yield ""
    yield (
        f"Start from {closed:,} closed and {live:,} open orders ({size / 1e6:,.0f} MB): "
        f"{seconds:.1f} s until the snapshot with {loaded:,} orders is there (check of every "
        f"page {checked:.1f} s, load {loading:.1f} s, side by side on two threads)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--write", type=Path, help="write the report to this RST file too")
    parser.add_argument("--directory", help="where to measure [default: the system's temporary]")
    parser.add_argument("--closed", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="bench-store-") as directory:
        lines = list(measure(directory, options.closed, options.live))
    print("\n".join(lines))
    if options.write:
        title = "The store alone"
        text = [title, "=" * len(title), "", "Made by ``make bench-store``.", "", *lines, ""]
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join(text))


if __name__ == "__main__":
    main()
