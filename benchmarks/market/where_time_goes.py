"""
Where the reactor's microseconds go: samples of the real daemon under load, by what they are for.

``py-spy`` looks at the daemon from outside some hundred times a second and changes nothing in it. A
sample counts for the innermost of its frames that belongs to a part below; what a C function does
counts for the Python function that called it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

__all__ = ["PARTS", "sampled"]

RATE_HZ = 200
#: What the reactor does, and how its frames are known: function and file, or file.
PARTS: dict[str, tuple[str, ...]] = {
    "kernel: reading sockets": ("doRead (twisted/internet/tcp.py",),
    "kernel: writing to sockets": ("writeSomeData (twisted/internet/tcp.py",),
    "kernel: asking which sockets have data": (
        "doRead (grenache_py/epoll_set.py", "doPoll (twisted/internet/epollreactor.py",
    ),
    "Twisted: reactor, timers, Deferreds": ("(twisted/",),
    "lines in and out": (
        "(grenache_py/exchange/daemon/connections/", "(grenache_py/wire/jsonlines.py",
        "(grenache_py/epoll_set.py", "(grenache_py/exchange/client_port/send_queue.py",
    ),
    "JSON-RPC, limits, the report": (
        "(grenache_py/exchange/client_port/", "(grenache_py/wire/jsonrpc.py",
        "(grenache_py/exchange/rates.py",
    ),
    "log entries: encoding, hash, chain, signature": (
        "(grenache_py/exchange/signed_log/", "(grenache_py/exchange/home/entry_writer.py",
    ),
    "live set": (
        "(grenache_py/exchange/home/own_live_set.py",
        "(grenache_py/exchange/replication/live_set_index.py",
    ),
    "matching and the book": (
        "(grenache_py/exchange/market/", "(grenache_py/exchange/home/acceptance.py",
        "(grenache_py/exchange/home/own_orders.py",
    ),
    "ledger: rows and events": ("(grenache_py/exchange/home/", "(grenache_py/exchange/effects/"),
    "batch: turn, hand-over to the store, release": ("(grenache_py/",),
}  # fmt: skip


def sampled(pid: int, load: Callable[[], object], out: Path) -> dict[str, float]:
    """
    Shares of what the reactor's thread did while ``load`` ran, by part; they add up to 1.

    Returns an empty dict when there is no py-spy, or it may not look.
    """
    command = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if command is None:
        return {}
    arguments = ["record", "--pid", str(pid), "--rate", str(RATE_HZ), "--nonblocking", "--threads"]
    kind = ["--format", "raw", "--full-filenames", "--output", str(out)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([command, *arguments, *kind], **silent) as sampler:
        load()
        sampler.send_signal(signal.SIGINT)
    return shares(out.read_text()) if out.exists() else {}


def shares(text: str) -> dict[str, float]:
    """The samples of a raw file, of the main thread, by part."""
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" in thread:
            counts[_part(frames)] += int(count)
    total = sum(counts.values())
    return {part: counts[part] / total for part in PARTS if counts[part]} if total else {}


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        name, _, path = frame.partition(" (")
        for root in ("/twisted/", "/grenache_py/"):
            if root in path:
                short = f"{name} ({root[1:]}{path.partition(root)[2]}"
                for part, known in PARTS.items():
                    if any(each in short for each in known):
                        return part
    return next(reversed(PARTS))
