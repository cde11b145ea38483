"""
Instructions an order, of the reactor's thread and of all others: a figure that does not vary.

Where others use the machine, a gain of 2 % is lost in the noise of every clock. Callgrind counts
the instructions of the real daemon, thread by thread, for the orders of 128 clients and of one, and
with ``--bare`` those of the bare path. They are those of user space: what the kernel does for a
socket or a disk is not among them. It runs some fifty times slower, so more waits for each commit
than usually would.

    python -m benchmarks.market.instructions [--orders N] [--clients 128,1]    (valgrind; minutes)
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.market import client_port, yardstick

START_S = 600.0
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def valgrind(out: Path) -> list[str]:
    """What a daemon's command is given to; the counts go to files that begin with ``out``."""
    return [
        "valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}",
        f"--log-file={out}.log",
    ]  # fmt: skip


@contextmanager
def ours(out: Path) -> Iterator[tuple[int, str, Callable[[str], int]]]:
    """The daemon under valgrind: its process, its address, and how to ask for its commits."""
    daemon, path = client_port.start(out.parent, before=valgrind(out), within_s=START_S)
    try:
        yield daemon.pid, client_port.tcp_address(path), client_port.commits
    finally:
        daemon.kill()
        daemon.wait()


@contextmanager
def bare(out: Path) -> Iterator[tuple[int, str, Callable[[str], int]]]:
    """The bare path likewise."""
    with yardstick.bare_path(out.parent, *valgrind(out)) as (pid, address):
        yield pid, address, yardstick.commits_of_bare_path


def counted(side: Callable[..., object], clients: int, orders: int) -> tuple[int, int]:
    """Instructions an order: of the first thread, and of the others."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "callgrind"
        with side(out) as (pid, address, commits):
            client_port.run(pid, address, clients, orders // 4, commits)
            control("--zero", pid)
            client_port.run(pid, address, clients, orders, commits)
            control("--dump", pid)
        by_thread = {}
        for file in out.parent.glob(f"{out.name}.*-*"):
            found = TOTAL.search(file.read_text())
            by_thread[file.name.rpartition("-")[2]] = int(found[1]) if found else 0
    first = by_thread.pop("01")
    return first // orders, sum(by_thread.values()) // orders


def control(what: str, pid: int) -> None:
    subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--orders", type=int, default=1_500)
    parser.add_argument("--clients", default="128,1")
    parser.add_argument("--bare", action="store_true", help="the bare path too")
    arguments = parser.parse_args()
    for clients in map(int, arguments.clients.split(",")):
        for side in (ours, bare) if arguments.bare else (ours,):
            first, others = counted(side, clients, arguments.orders)
            print(
                f"{clients:4} clients, {side.__name__}: reactor {first:9,}, others {others:9,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
