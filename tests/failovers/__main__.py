"""
Two daemons of one home on one database with a standby, three neighbours, clients that trade; and
everything goes wrong, again and again. Then every acknowledgement is looked for.

    make soak-standby           (or: python -m tests.failovers --failovers 500)

Says for how long nobody served, by what went wrong: see ``faults.py``. The seed decides what goes
wrong when; ``--only`` names one kind, which may be given again.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import signal
import sys
import tempfile
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import NoReturn

from benchmarks.charts import Chart, page
from tests.failovers.faults import FAULTS, NOT_HERE
from tests.failovers.scene import Scene
from tests.soak.audit import Audit

#: In groups that fit beside each other in a picture.
CHARTS = {
    "A daemon is lost": [name for name in FAULTS if name.startswith(("killed", "both"))],
    "A daemon hangs, and wakes later": [name for name in FAULTS if name.startswith("stopped")],
    "A way is lost": [name for name in FAULTS if "silent" in name or name.startswith("cut")],
    "The database": [
        name for name in FAULTS if name.split()[0] in {"standby", "primary", "wait", "two", "disk"}
    ],
}


def torment(
    folder: Path, failovers: int, seed: int, kinds: Sequence[str] = (), resting: int = 0
) -> tuple[Audit, dict[str, list[float]]]:
    """
    Have so many things go wrong, as the seed has it.

    Returns:
        What the audit found; and for how many seconds nobody served, by what had gone wrong.
    """
    rng = random.Random(seed)
    scene = Scene(folder)
    unserved: dict[str, list[float]] = defaultdict(list)
    try:
        scene.start(resting)
        for kind in _deck(rng, [*(kinds or FAULTS)], failovers):
            scene.rest()
            time.sleep(rng.uniform(0.05, 0.5))
            began = time.monotonic()
            gap = FAULTS[kind](scene, rng)
            unserved[kind].append(gap)
            print(f"{time.monotonic() - began:5.1f} s  {gap:6.2f} s unserved  {kind}", flush=True)
        scene.settle()
        audit = scene.audit()
        audit.wrong += scene.complaints()
    finally:
        scene.close()
    return audit, unserved


def _deck(rng: random.Random, kinds: list[str], count: int) -> Iterator[str]:
    """Shuffled anew when all were dealt, so that short runs see many kinds, too."""
    possible = [kind for kind in kinds if kind not in NOT_HERE]
    deck: list[str] = []
    for _ in range(count):
        if not deck:
            deck = rng.sample(possible, len(possible))
        yield deck.pop()


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil((len(values) - 1) * share)]


def _figures(unserved: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {
        kind: {
            "failovers": len(unserved[kind]),
            "p50_s": round(_percentile(unserved[kind], 0.5), 3),
            "p99_s": round(_percentile(unserved[kind], 0.99), 3),
        }
        for kind in FAULTS
        if kind in unserved
    }


def _charts(figures: Mapping[str, Mapping[str, float]]) -> str:
    found = []
    for title, kinds in CHARTS.items():
        groups = [
            ("\n".join(textwrap.wrap(kind, 14)), (figures[kind]["p50_s"], figures[kind]["p99_s"]))
            for kind in kinds
            if kind in figures
        ]
        if groups:
            title = f"{title}: seconds without an acknowledgement, p50 and p99"
            found.append(Chart(title, ("p50", "p99"), groups))
    return page(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Failovers of a home, and an audit.")
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", action="append", choices=FAULTS, default=[], metavar="KIND")
    parser.add_argument("--resting", type=int, default=0, help="orders that rest all the while")
    parser.add_argument("--json", type=Path, metavar="FILE", help="put the figures there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="and a picture of them there")
    parser.add_argument("--keep", type=Path, help="where to leave files and logs")
    options = parser.parse_args()
    print(f"failovers: seed {options.seed}, {options.failovers} times", flush=True)
    for kind, why in NOT_HERE.items():
        print(f"not tried: {kind} ({why})")
    logging.getLogger("grenache_py.trading").setLevel(logging.ERROR)  # not each line that is lost
    with tempfile.TemporaryDirectory(prefix="failovers-") as folder:
        place = options.keep or Path(folder)
        audit, unserved = torment(
            place, options.failovers, options.seed, options.only, options.resting
        )
    figures = _figures(unserved)
    for kind, each in figures.items():
        times = f"p50 {each['p50_s']:.2f} s, p99 {each['p99_s']:.2f} s"
        print(f"{each['failovers']:4.0f} {kind:30} {times}")
    print(
        f"audited: {audit.orders} orders, {audit.trades} trades, {audit.between} of them between"
        f" homes, {audit.entries} log entries; {len(audit.wrong)} lost, doubled or contradicted"
    )
    for line in audit.wrong[:20]:
        print(f"WRONG: {line}")
    if options.json:
        said = {"seed": options.seed, "wrong": len(audit.wrong), "orders": audit.orders}
        options.json.write_text(json.dumps(said | {"kinds": figures}, indent=2) + "\n")
    if options.svg:
        options.svg.write_text(_charts(figures))
    return 1 if audit.wrong else 0


def _interrupted(signal_number: int, frame: object) -> NoReturn:
    raise SystemExit(f"failovers: ended by signal {signal_number}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)  # so that nothing is left running
    sys.exit(main())
