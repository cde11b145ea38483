"""
Kill a store at each of its calls to the disk, between journal and tables and at the next start.

    python -m tests.crash.points --kills 1000 [--seed N]                      (strace)

A process writes batches into a journal and folds them now and then, as a daemon's threads do. The
kernel kills it as it enters a call: the first that writes, then the second, and so on for each kind
of call. The next process starts on what that one left, and is killed in its turn, also while it
brings the journal into the tables. After each kill a start on a copy of the files finds every
acknowledged batch once, and whole.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from grenache_py.exchange.effects.rows import Row
from grenache_py.exchange.storage.database import Database
from tests.support.store_rows import batch

ROOT = Path(__file__).parents[2]
#: Calls that change what is on the disk, or wait until it is there.
CALLS = ("fdatasync", "pwrite64", "fsync", "write", "ftruncate", "rename", "unlink")
#: Batches of one process.
BATCHES = 8
FILE = "exchange.sqlite"


def work(directory: Path, seed: int) -> None:
    """Start on what there is, write some batches, and stop; says the number of each on stdout."""
    rng = random.Random(seed)
    database = Database(str(directory / FILE))
    database.open()
    (newest,) = database.connection.execute("SELECT count(*) FROM log").fetchone()
    journal = database.begin_journal()
    unfolded: list[list[Row]] = []
    for number in range(newest + 1, newest + 1 + BATCHES):
        mark, _ = journal.append(batch(number))
        unfolded.append(batch(number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if rng.random() < 0.4 or number == newest + BATCHES:
            database.fold(unfolded, mark)
            journal.folded = mark
            unfolded.clear()
        if rng.random() < 0.2:
            database.finish_checkpoint()
    journal.close()
    database.end_journal()
    database.close()


def check(directory: Path, acknowledged: int) -> int:
    """Hold the files of a dead process to what it acknowledged; the batches that are there."""
    with tempfile.TemporaryDirectory() as name:
        for path in directory.iterdir():
            shutil.copy(path, name)
        database = Database(os.path.join(name, FILE))
        database.open()
        with closing(database):
            execute = database.connection.execute
            found = execute("SELECT position & 0xFFFFFFFF FROM log ORDER BY 1").fetchall()
            numbers = [number for (number,) in found]
            assert numbers == list(range(1, len(numbers) + 1)), "a batch is lost, or there twice"
            assert len(numbers) in (acknowledged, acknowledged + 1), (acknowledged, len(numbers))
            for table in ("trades", "order_events", "orders"):
                (rows,) = execute(f"SELECT count(*) FROM {table}").fetchone()
                # The first order's forerunner was never placed, and is stored as closed.
                assert rows == len(numbers) + (table == "orders" and bool(numbers)), table
            live = execute("SELECT time_ms FROM orders WHERE live = 1").fetchall()
            assert live == [(number,) for number in numbers[-1:]], "not the newest state"
    return len(numbers)


def killed(directory: Path, call: str, at: int, seed: int, acknowledged: int) -> tuple[bool, int]:
    """Run until the ``at``th ``call``; whether it came that far, and what is acknowledged now."""
    command = [
        *("strace", "-qq", "-o", os.devnull, "-e", f"trace={call}"),
        *("-e", f"inject={call}:signal=KILL:when={at}"),
        *(sys.executable, "-B", "-m", "tests.crash.points"),
        *("--inside", str(directory), "--seed", str(seed)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    said = done.stdout.split()
    assert done.returncode in (0, -9, 137), done.stderr
    return done.returncode != 0, int(said[-1]) if said else acknowledged


def torment(directory: Path, kills: int, seed: int) -> Iterator[tuple[int, str]]:
    """Kill ``kills`` times on one directory; how many batches there are after each, and where."""
    acknowledged, done = 0, 0
    for round in count():
        for call in CALLS:
            for at in count(1):
                if done == kills:
                    return
                came, acknowledged = killed(directory, call, at, seed + round, acknowledged)
                acknowledged = check(directory, acknowledged)
                if not came:
                    break
                done += 1
                yield acknowledged, f"{call} {at}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        work(options.inside, options.seed)
        return
    with tempfile.TemporaryDirectory(prefix="exchange-points-") as name:
        ends = torment(Path(name), options.kills, options.seed)
        for kills, (batches, where) in enumerate(ends, 1):
            said = f"{kills} kills, {batches} batches, all there once ({where})"
            print(f"\r{said:60}", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
