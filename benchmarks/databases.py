"""
A daemon's orders a second on each kind of store, in turns on one machine.

    make bench-store            (or: python -m benchmarks.databases --write FILE --json FILE)

The store is an SQLite file, a PostgreSQL server of its own, one with a synchronous standby, and one
whose standby is half a millisecond away in each direction. Everything is on the same disk and the
same processors, the clients (``exchange load``) too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import add_option, save
from benchmarks.store import table
from tests.exchange.daemon.test_daemon import Daemon
from tests.support import postgresql
from tests.support.postgresql import Server, primary, standby
from tests.support.roads import Roads

#: Clients, and orders of one run: a run takes a few seconds.
LOADS = {1: 300, 16: 2_000, 128: 8_000}
DELAY_S = 0.0005
KINDS = ("SQLite", "PostgreSQL", "with a standby", "1 ms round trip to it")


@contextmanager
def far_standby(server: Server) -> Iterator[Server]:
    """A standby that a round trip of 1 ms lies before."""
    with postgresql.place() as directory, standby(server) as made, closing(Roads()) as roads:
        sockets = (f"{place}/.s.PGSQL.5432" for place in (directory, server.directory))
        roads.lead(*sockets, delay_s=DELAY_S)
        made.ask(f"ALTER SYSTEM SET primary_conninfo = 'host={directory} user=exchange'")
        made.ask("SELECT pg_reload_conf()")
        server.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        yield made


@contextmanager
def daemons(directory: Path) -> Iterator[dict[str, Daemon]]:
    """A daemon on each kind of store."""
    with ExitStack() as stack:
        found: dict[str, Daemon] = {}

        def start(kind: str, *options: str) -> None:
            folder = directory / str(len(found))
            folder.mkdir()
            found[kind] = stack.enter_context(Daemon(folder, *options))

        start(KINDS[0])
        for kind, second in zip(KINDS[1:], (None, standby, far_standby), strict=True):
            first = stack.enter_context(primary(max_wal_size="1GB", shared_buffers="128MB"))
            if second is None:
                start(kind, "--store", first.database(), "--single-database")
            else:
                stack.enter_context(second(first))
                start(kind, "--store", first.database())
        yield found


def load(daemon: Daemon, clients: int, orders: int) -> dict[str, Any]:
    """What ``exchange load`` says of a run."""
    program = "from grenache_py.exchange.cli import main; main()"
    options = ["--market", "BTC-USD", "--clients", f"{clients}", "--orders", f"{orders}"]
    done = subprocess.run(
        [sys.executable, "-c", program, "--unix", daemon.path, "-j", "load", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(directory: Path, turns: int) -> dict[int, dict[str, dict[str, float]]]:
    """By clients and kind: orders a second, p50, and the rate beside SQLite's of the same turn."""
    runs: dict[int, list[dict[str, dict[str, Any]]]] = {clients: [] for clients in LOADS}
    with daemons(directory) as running:
        for _ in range(turns):
            for clients, orders in LOADS.items():
                turn = {kind: load(daemon, clients, orders) for kind, daemon in running.items()}
                runs[clients].append(turn)
    figures: dict[int, dict[str, dict[str, float]]] = {}
    for clients, each in runs.items():
        figures[clients] = {
            kind: {
                "orders_per_s": median(turn[kind]["orders_per_s"] for turn in each),
                "p50_ms": median(turn[kind]["p50_ms"] for turn in each),
                "of_sqlite": median(
                    turn[kind]["orders_per_s"] / turn[KINDS[0]]["orders_per_s"] for turn in each
                ),
            }
            for kind in KINDS
        }
    return figures


def report(figures: dict[int, dict[str, dict[str, float]]]) -> Iterator[str]:
    """The report, line by line."""
    rows = [
        [
            str(clients),
            kind,
            f"{found['orders_per_s']:,.0f}",
            f"{found['p50_ms']:.2f}",
            f"{found['of_sqlite']:.2f}",
        ]
        for clients, kinds in figures.items()
        for kind, found in kinds.items()
    ]
    yield from table(["clients", "store", "orders/s", "p50 ms", "of SQLite's rate"], rows)


def named(figures: dict[int, dict[str, dict[str, float]]]) -> Iterator[tuple[str, float]]:
    """The figures as names and numbers."""
    for clients, kinds in figures.items():
        for kind, found in kinds.items():
            name = f"store_{kind.replace(' ', '_').lower()}_{clients}_clients"
            yield f"{name}_orders_per_s", found["orders_per_s"]
            yield f"{name}_p50_ms", found["p50_ms"]
            yield f"ratio_{name}", found["of_sqlite"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--write", type=Path, help="write the report to this RST file too")
    add_option(parser)
    parser.add_argument("--turns", type=int, default=5, help="runs of each, in turns [default: 5]")
    options = parser.parse_args()
    if postgresql.MISSING:
        sys.exit(postgresql.MISSING)
    load_before = os.getloadavg()[0]
    postgresql.ROOM_BYTES = sys.maxsize  # on the disk, as SQLite's file
    with tempfile.TemporaryDirectory(prefix="bench-databases-") as directory:
        figures = measure(Path(directory), options.turns)
    lines = list(report(figures))
    print("\n".join(lines))
    save(options.json, dict(named(figures)))
    if options.write:
        title = "A daemon on each kind of store"
        made = (
            "Made by ``make bench-store``: ``exchange load`` at a daemon, in turns. Servers, daemon"
            f" and clients share one disk and {os.cpu_count()} cores, which had a load of"
            f" {load_before:.1f} from other work when this began. The ratio is the median over the"
            " turns of a rate and SQLite's in the same turn. ``--store`` is for who cannot lose a"
            " machine, not for speed: `decision 0009"
            " <../design/decisions/0009-a-term-in-the-database.rst>`__ says where its time goes."
        )
        text = [title, "=" * len(title), "", *textwrap.wrap(made, 110), "", *lines, ""]
        options.write.write_text("\n".join(text))


if __name__ == "__main__":
    main()
