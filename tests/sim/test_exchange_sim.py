"""
The exchange under trouble, many seeds of it, and proof that the simulator would notice.

A few minutes' worth here; ``make sim SEEDS=n`` runs as many as wanted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from grenache_py.exchange.errors import StoreError
from tests.sim.ablations import ABLATIONS, Ablation, switched_off
from tests.sim.exchange_checks import Violation
from tests.sim.exchange_world import run

#: What must have happened somewhere in the seeds below, or they prove nothing.
MUST_HAPPEN = (
    "trade between homes",
    "trade at one home",
    "lost",
    "duplicated",
    "reordered",
    "delayed",
    "split",
    "partition",
    "one-way cut",
    "cut off",
    "reset",
    "crash",
    "crash before commit",
    "crash after commit",
    "disk fault before",
    "disk fault after",
    "slow commit",
    "clock jump",
    "pause",
    "fill repeated",
    "fill refused",
    "fill asked again",
    "entries fetched",
    "records adopted",
    "catch-ups",
    "meddled",
)


@pytest.mark.parametrize("first", range(0, 160, 40))
def test_no_invariant_breaks_in_any_seed(first: int) -> None:
    sometimes: Counter[str] = Counter()
    for seed in range(first, first + 40):
        sometimes.update(run(seed).sometimes)
    missing = [name for name in MUST_HAPPEN if not sometimes[name]]
    assert not missing, f"never happened in 40 seeds: {missing}"


def test_a_fill_is_poisoned_now_and_then() -> None:
    """Rare, so it gets seeds of its own: a question overtakes the fill it asks about."""
    faults = ("loss", "delay", "reorder", "clock jump")
    assert any(
        run(seed, faults=faults, peers=4, orders=120).sometimes["fill poisoned"]
        for seed in range(40)
    )


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(14).trace == run(14).trace
    assert run(14).trace != run(15).trace


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_rule_switched_off_is_noticed(ablation: Ablation) -> None:
    settings: dict[str, Any] = {"peers": 4, "orders": ablation.orders, "real": False}
    if ablation.faults is not None:
        settings["faults"] = ablation.faults
    with switched_off(ablation):
        for seed in range(ablation.start, ablation.start + ablation.seeds):
            try:
                run(seed, prepare=ablation.prepare, **settings)
            except Violation as violation:
                assert str(violation).startswith(ablation.finds)
                return
            except StoreError as error:
                # The schema checks conservation too.
                assert "conservation" in str(error) and "I1" in ablation.finds
                return
    pytest.fail(f"{ablation.seeds} seeds did not notice: {ablation.name}")
