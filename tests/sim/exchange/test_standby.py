"""Daemons that stand by for each other: docs/design/standby.rst, rule by rule."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.exchange.standby import MUST_HAPPEN, run_standby
from tests.sim.exchange.standby_ablations import (
    STANDBY_ABLATIONS,
    StandbyAblation,
    seeds_until_noticed,
)


def test_no_invariant_breaks_whatever_happens_to_daemons_and_their_database() -> None:
    sometimes: Counter[str] = Counter()
    for seed in range(14):
        sometimes.update(run_standby(seed).sometimes)
    missing = [name for name in MUST_HAPPEN if not sometimes[name]]
    assert not missing, f"never happened in these seeds: {missing}"


def test_two_homes_with_standbys_trade_with_each_other_under_every_fault_of_the_network() -> None:
    faults = ("loss", "delay", "reset", "partition", "clock offset", "clock jump")
    sometimes: Counter[str] = Counter()
    for seed in range(4):
        sometimes.update(run_standby(seed, pairs=2, faults=faults, orders=120).sometimes)
    assert sometimes["trade between homes"]


def test_a_takeover_among_many_homes_is_not_taken_for_two_machines_with_one_key() -> None:
    sometimes: Counter[str] = Counter()
    kinds = ("daemon crash", "daemon pause", "promoted", "cut from database")
    for seed in range(6):
        report = run_standby(
            seed, standby=kinds, faults=("clock offset",), also=("limit: few homes",)
        )
        sometimes.update(report.sometimes)
    assert sometimes["takeover"] and sometimes["limit: few homes"]


@pytest.mark.parametrize("ablation", STANDBY_ABLATIONS, ids=lambda a: f"{a.rule} {a.name}")
def test_a_rule_switched_off_is_noticed(ablation: StandbyAblation) -> None:
    found = seeds_until_noticed(ablation)
    assert found is not None, f"{ablation.seeds} seeds did not notice"
    assert found[1].startswith(ablation.finds)


def test_the_same_seed_gives_the_same_run() -> None:
    assert run_standby(3).trace == run_standby(3).trace
