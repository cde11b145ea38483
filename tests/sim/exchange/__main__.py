"""
Run seeds of the exchange's simulation from the command line.

    python -m tests.sim.exchange --seeds 1000 [--start 0] [--jobs 2]
    python -m tests.sim.exchange --seed 42 --trace
    python -m tests.sim.exchange --seeds 20 --kinds "nat,evil: stamps"

``--kinds`` makes each seed have these of ``kinds.ALL`` besides its faults, and nothing else that is
wide: those too that seeds do not draw yet (``kinds.NOT_YET``). What fails then is not kept.

``make sim SEEDS=n`` is the first of these. Failing seeds are printed with what replays them,
and appended to ``tests/sim/exchange/failed_seeds.txt``. One seed in fifty runs twice, and must do
the same both times.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.sim.exchange.invariants import Violation
from tests.sim.exchange.kinds import ALL, EVIL_MUST_HAPPEN, MUST_HAPPEN, WIDE_MUST_HAPPEN
from tests.sim.exchange.world import Report, built, run

__all__ = ["main"]

TWICE = 50  # one seed in so many is run twice
#: A run of so many seeds has seen everything there is to see, or something is wrong.
SEEDS_OF_ALL = 400
FAILED = Path(__file__).with_name("failed_seeds.txt")


def attempt(seed: int, also: tuple[str, ...] = ()) -> Report | str:
    """One seed's report, or what went wrong; a crash of the code under test counts as well."""
    try:
        report = run(seed, also=also)
        if seed % TWICE == 0 and run(seed, also=also).trace != report.trace:
            return f"seed {seed}: two runs of it differ"
        return report
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"


def quick() -> None:
    """A run makes much garbage and keeps most of it: look for cycles seldom."""
    gc.set_threshold(50_000, 20, 100)


def trace(seed: int, also: tuple[str, ...]) -> None:
    """Run one seed and print every message."""
    world = built(seed, also=also)

    overhear = world.network.tap

    def tap(source: Any, target: Any, line: bytes) -> None:
        overhear(source, target, line)
        print(f"{world.clock.now:9.3f} {source.name} > {target.name} {line.decode().rstrip()}")

    world.network.tap = tap
    print(world.run())


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip() for kind in text.split(","))
    unknown = [kind for kind in kinds if kind not in ALL]
    if unknown:
        raise argparse.ArgumentTypeError(f"no kind {unknown}; there are: {', '.join(ALL)}")
    return kinds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--kinds", type=_kinds, default=())
    options = parser.parse_args(arguments)
    if options.seed is not None:
        if options.trace:
            trace(options.seed, options.kinds)
        else:
            print(run(options.seed, also=options.kinds))
        return 0
    began = time.perf_counter()
    sometimes: Counter[str] = Counter()
    failed: list[str] = []
    trades = lines = 0
    seeds = range(options.start, options.start + options.seeds)
    with ProcessPoolExecutor(options.jobs, initializer=quick) as pool:
        for done, report in enumerate(
            pool.map(partial(attempt, also=options.kinds), seeds, chunksize=2), 1
        ):
            if isinstance(report, str):
                failed.append(report)
                print(report, flush=True)
            else:
                trades += report.trades
                lines += report.lines
                sometimes.update(report.sometimes)
            if done % 200 == 0:
                print(f"{done} seeds, {trades} trades, {len(failed)} failed", flush=True)
    seconds = time.perf_counter() - began
    between = sometimes["trade between homes"]
    print(
        f"{options.seeds} seeds in {seconds:.0f} s: {trades} trades, {between} of them between"
        f" homes, {lines} messages, {len(failed)} failed"
    )
    for name, count in sorted(sometimes.items()):
        print(f"  {count:9d}  {name}")
    if failed and not options.kinds:
        with FAILED.open("a") as kept:
            kept.writelines(line.split(":")[0].removeprefix("seed ") + "\n" for line in failed)
    wanted = (*MUST_HAPPEN, *WIDE_MUST_HAPPEN, *EVIL_MUST_HAPPEN)
    never = [name for name in wanted if not sometimes[name]]
    if never and options.seeds >= SEEDS_OF_ALL:
        print(f"never happened: {', '.join(never)}")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Violation as violation:
        sys.exit(f"violation: {violation}")
