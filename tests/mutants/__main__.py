"""
Change the code of the exchange's core a little, again and again: does a unit test fail?

    python -m tests.mutants [--sample 1000] [--seed 1] [--first 0] [--rooms market,home]

Works in a copy of the tree that is removed afterwards, so it may run beside other work. Mutants
that are listed in ``survivors.txt`` with the reason why they change nothing, and those that change
only the words of a text for people, are left out before the sample is drawn. What survives is
printed as a diff. Ends with 1 when less than ``--goal`` percent of the sample is killed. A seed
puts all mutants into one order, of which a sample is a part: ``--first 1000`` leaves out the first
1,000, so that a sample can be judged in parts.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.mutations import LISTED, ROOMS, Mutant, listed, mutants_of
from tests.mutants.runner import MutantRunner

ROOT = Path(__file__).parents[2]
INSIDE = "--inside-the-copy"
#: Random markets of each test that compares with the naive one: whoever survives meets them all.
SEQUENCES = "1000"
#: The table is printed after so many mutants.
TOLD_EVERY = 100
#: The unit tests that judge a room: its own, its neighbours', and those of the node they make.
TESTS = (
    *(f"tests/exchange/{room}" for room in ROOMS),
    "tests/exchange/peers",
    "tests/exchange/test_node.py",
    "tests/exchange/test_peer_messages.py",
)


def main(arguments: list[str]) -> int:
    """Read the command line, copy the tree, and judge the mutants there."""
    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("--sample", type=int, default=1000, help="0: all")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--first", type=int, default=0, help="of the seed's order")
    options.add_argument("--rooms", default=",".join(ROOMS))
    options.add_argument("--budget", type=float, default=20.0, help="seconds of tests a mutant")
    options.add_argument("--goal", type=float, default=0.0, help="percent to be killed")
    options.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if chosen.inside_the_copy:
        return judge(chosen)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copy_tree(Path(place))
        command = [sys.executable, "-B", "-m", "tests.mutants", INSIDE, *arguments]
        environment = {"ENGINE_SEQUENCES": SEQUENCES, **os.environ}
        return subprocess.run(command, cwd=place, env=environment, check=False).returncode


def copy_tree(place: Path) -> None:
    """Everything git knows of, or would add."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)


def judge(chosen: argparse.Namespace) -> int:
    """Draw the sample, run it and print what came of it."""
    rooms = chosen.rooms.split(",")
    reasons = listed(LISTED.read_text())
    every = [mutant for room in rooms for mutant in mutants_of(room)]
    prose = sum(mutant.prose for mutant in every)
    harmless = sum(mutant.name in reasons and not mutant.prose for mutant in every)
    rest = [mutant for mutant in every if not mutant.prose and mutant.name not in reasons]
    random.Random(chosen.seed).shuffle(rest)
    sample = rest[chosen.first :][: chosen.sample or None]
    print(
        f"{len(every)} mutants; {prose} change words only, {harmless} are listed as harmless;"
        f" sample of {len(sample)} from {chosen.first} on, seed {chosen.seed}",
        flush=True,
    )
    counts: dict[str, Counter[str]] = {room: Counter() for room in rooms}

    def told(mutant: Mutant, outcome: str) -> None:
        counts[mutant.room][outcome] += 1
        if sum(map(sum, map(Counter.values, counts.values()))) % TOLD_EVERY == 0:
            report(counts, chosen.goal)
        if outcome in {"survived", "no test"}:
            path, function, diff = mutant.name
            print(f"\n# {outcome}\n{path} {function}", *diff, sep="\n", flush=True)

    runner = MutantRunner(sample, told, chosen.budget)
    quiet = ["-p", "no:twisted", "-p", "no:terminal", "-m", "not network and not interop"]
    quiet += ["-o", "addopts=--strict-markers --import-mode=importlib -p no:cacheprovider"]
    tests = [path for path in TESTS if Path(path).exists()]
    pytest.main([*quiet, *tests], plugins=[runner])
    if runner.failed or not runner.judged:
        print("the tests fail without any mutant:", *runner.failed, sep="\n")
        return 1
    return report(counts, chosen.goal)


def report(counts: dict[str, Counter[str]], goal: float) -> int:
    """Print the table; 1 when the goal is missed."""
    outcomes = ("killed", "timeout", "survived", "no test")
    print(f"\n{'room':<12}" + "".join(f"{outcome:>10}" for outcome in outcomes) + "      rate")
    total: Counter[str] = sum(counts.values(), Counter())
    rates = []
    for room, count in [*counts.items(), ("all", total)]:
        rates.append(100 * (count["killed"] + count["timeout"]) / max(1, sum(count.values())))
        cells = "".join(f"{count[outcome]:>10}" for outcome in outcomes)
        print(f"{room:<12}{cells}{rates[-1]:>9.1f}%", flush=True)
    return int(rates[-1] < goal)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
