"""
Change the code of the exchange's core a little, again and again: does a unit test fail?

    python -m tests.mutants [--sample 1000] [--seed 1] [--rooms market,home] [--record FILE]

Works in a copy of the tree that is removed afterwards, so it may run beside other work. Mutants
that are listed in ``survivors.txt`` with the reason why they change nothing, and those that change
only the words of a text for people, are left out before the sample is drawn. What survives is
printed as a diff. Ends with 1 when less than ``--goal`` percent of the sample is killed. A seed
puts all mutants into one order, of which a sample is the beginning.

With ``--record`` what became of each mutant is written to a file, one JSON object a line, and a
later run with the same file goes on where this one ended: those that were killed are not judged
again, those that survived are, last. So a sample can be judged in parts, with new tests in between.
Which lines each test runs is kept beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from tests.mutants.footprints import Footprints
from tests.mutants.mutations import LISTED, ROOMS, Mutant, listed, mutants_of
from tests.mutants.runner import MutantRunner

ROOT = Path(__file__).parents[2]
INSIDE = "--inside-the-copy"
#: Random markets of each test that compares with the naive one: whoever survives meets them all.
SEQUENCES = "1000"
#: The table is printed after so many mutants.
TOLD_EVERY = 100
OUTCOMES = ("killed", "timeout", "survived", "no test")
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
    options.add_argument("--record", type=Path, help="what became of each, to go on from")
    options.add_argument("--rooms", default=",".join(ROOMS))
    options.add_argument("--budget", type=float, default=20.0, help="seconds of tests a mutant")
    options.add_argument("--goal", type=float, default=0.0, help="percent to be killed")
    options.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if chosen.inside_the_copy:
        return judge(chosen)
    if chosen.record is not None:
        arguments = [*arguments, "--record", str(chosen.record.absolute())]
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


class Record:
    """
    What became of mutants, in a file that earlier runs wrote and this one goes on with.

    Attributes:
        outcomes: of each mutant by its name, oldest first.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cpu_s = _cpu_s()
        self.outcomes: dict[object, list[str]] = {}
        lines = path.read_text().splitlines() if path is not None and path.exists() else ()
        for line in map(json.loads, lines):
            name = line["path"], line["function"], tuple(line["diff"])
            self.outcomes.setdefault(name, []).append(line["outcome"])

    def add(self, mutant: Mutant, outcome: str) -> None:
        """Write down what became of a mutant."""
        self.outcomes.setdefault(mutant.name, []).append(outcome)
        now = _cpu_s()
        seconds, self._cpu_s = round(now - self._cpu_s, 2), now
        if self._path is not None:
            path, function, diff = mutant.name
            line = {"path": path, "function": function, "diff": diff, "outcome": outcome}
            with self._path.open("a") as file:
                file.write(json.dumps(line | {"cpu_s": seconds}) + "\n")

    def killed(self, mutant: Mutant) -> bool:
        """Whether it needs no judging."""
        return self.outcomes.get(mutant.name, [""])[-1] in OUTCOMES[:2]


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def drawn(mutants: list[Mutant], seed: int, sample: int) -> list[Mutant]:
    """The first of the seed's order, in which none moves when others come or go; 0: all."""

    def place(mutant: Mutant) -> bytes:
        return sha256(repr((seed, mutant.name)).encode()).digest()

    return sorted(mutants, key=place)[: sample or None]


def judge(chosen: argparse.Namespace) -> int:
    """Draw the sample, run it and print what came of it."""
    rooms = chosen.rooms.split(",")
    reasons = listed(LISTED.read_text())
    every = [mutant for room in rooms for mutant in mutants_of(room)]
    prose = sum(mutant.prose for mutant in every)
    harmless = sum(mutant.name in reasons and not mutant.prose for mutant in every)
    rest = [mutant for mutant in every if not mutant.prose and mutant.name not in reasons]
    sample = drawn(rest, chosen.seed, chosen.sample)
    record = Record(chosen.record)
    ahead = [mutant for mutant in sample if not record.killed(mutant)]
    ahead.sort(key=lambda mutant: mutant.name in record.outcomes)
    counts: dict[str, Counter[str]] = {room: Counter() for room in rooms}
    for mutant in sample:
        if record.killed(mutant):
            counts[mutant.room][record.outcomes[mutant.name][-1]] += 1
    print(
        f"{len(every)} mutants; {prose} change words only, {harmless} are listed as harmless;"
        f" sample of {len(sample)}, seed {chosen.seed}, {len(ahead)} to be judged",
        flush=True,
    )

    def told(mutant: Mutant, outcome: str) -> None:
        record.add(mutant, outcome)
        counts[mutant.room][outcome] += 1
        if sum(map(sum, map(Counter.values, counts.values()))) % TOLD_EVERY == 0:
            report(counts, chosen.goal)
        if outcome in {"survived", "no test"}:
            path, function, diff = mutant.name
            print(f"\n# {outcome}\n{path} {function}", *diff, sep="\n", flush=True)

    beside = chosen.record and chosen.record.with_suffix(".footprints")
    runner = MutantRunner(ahead, told, chosen.budget, Footprints(beside))
    quiet = ["-p", "no:twisted", "-p", "no:terminal", "-m", "not network and not interop"]
    quiet += ["-o", "addopts=--strict-markers --import-mode=importlib -p no:cacheprovider"]
    tests = [path for path in TESTS if Path(path).exists()]
    pytest.main([*quiet, *tests], plugins=[runner])
    if runner.failed or not runner.judged:
        print("the tests fail without any mutant:", *runner.failed, sep="\n")
        return 1
    minutes = _cpu_s() / 60
    print(f"\n{len(ahead) / minutes:.0f} mutants a CPU minute ({minutes:.1f} CPU minutes)")
    first = sum(record.outcomes[mutant.name][0] in OUTCOMES[:2] for mutant in sample)
    print(f"killed when they were judged for the first time: {first} of {len(sample)}")
    return report(counts, chosen.goal)


def report(counts: dict[str, Counter[str]], goal: float) -> int:
    """Print the table; 1 when the goal is missed."""
    print(f"\n{'room':<12}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES) + "      rate")
    total: Counter[str] = sum(counts.values(), Counter())
    rates = []
    for room, count in [*counts.items(), ("all", total)]:
        rates.append(100 * (count["killed"] + count["timeout"]) / max(1, sum(count.values())))
        cells = "".join(f"{count[outcome]:>10}" for outcome in OUTCOMES)
        print(f"{room:<12}{cells}{rates[-1]:>9.1f}%", flush=True)
    return int(rates[-1] < goal)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
