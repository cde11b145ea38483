"""Proof that the simulator would notice: each safety rule is switched off once."""

from __future__ import annotations

from typing import Any

import pytest

from grenache_py.exchange.errors import StoreError
from tests.sim.ablations import ABLATIONS, Ablation, switched_off
from tests.sim.exchange_checks import Violation
from tests.sim.exchange_world import run


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
