"""
This project and the bare path (``bare_path.py``) in turns, and the ratios of what they did.

Each run has fresh processes and an empty disk of its own; a pair of runs follows at once, and who
is first changes. So whatever else the machine does weighs on both, and the ratio of a pair says
more than either of its rates.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.market.bare_path import COMMITS

__all__ = ["Pair", "Ratio", "Run", "bare_path", "commits_of_bare_path", "paired", "ratio"]


class Run(NamedTuple):
    """What one run of one side gave."""

    per_s: float
    p50_ms: float
    p99_ms: float
    reactor_us: float
    store_us: float


class Pair(NamedTuple):
    """Two runs that followed each other."""

    bare: Run
    ours: Run


class Ratio(NamedTuple):
    """The median of several pairs, and the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


@contextmanager
def bare_path(directory: Path, *before: str) -> Iterator[tuple[int, str]]:
    """
    The bare path, running; its process and its address.

    Args:
        before: what its command is given to, a profiler for instance.
    """
    command = [*before, sys.executable, "-m", "benchmarks.market.bare_path", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def commits_of_bare_path(address: str) -> int:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(json.dumps({"id": 0, "method": COMMITS}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            return int(json.loads(lines.readline())["result"])


def paired(
    rounds: int, base: str | None, ours: Callable[[Path], Run], bare: Callable[[Path], Run]
) -> list[Pair]:
    """
    Run both ``rounds`` times, A B, B A, A B.

    Args:
        base: where the directories that they are given are made.
    """
    pairs = []
    for number in range(rounds):
        found: dict[Callable[[Path], Run], Run] = {}
        for side in (bare, ours) if number % 2 else (ours, bare):
            with tempfile.TemporaryDirectory(dir=base) as name:
                found[side] = side(Path(name))
        pairs.append(Pair(found[bare], found[ours]))
    return pairs


def ratio(pairs: Sequence[Pair], of: Callable[[Run], float]) -> Ratio:
    """Ours to the bare path's."""
    found = [of(pair.ours) / of(pair.bare) for pair in pairs]
    return Ratio(statistics.median(found), min(found), max(found))
