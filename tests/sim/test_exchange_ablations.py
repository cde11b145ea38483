"""Proof that the simulator would notice: each safety rule is switched off once."""

from __future__ import annotations

import pytest

from tests.sim.ablations import ABLATIONS, Ablation, seeds_until_found


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_rule_switched_off_is_noticed(ablation: Ablation) -> None:
    found = seeds_until_found(ablation)
    assert found is not None, f"{ablation.seeds} seeds did not notice"
    assert found[1].startswith(ablation.finds)
