"""
The exchange under trouble, many seeds of it.

About a minute's worth here; ``make sim SEEDS=n`` runs as many as wanted.
"""

from __future__ import annotations

from collections import Counter

import pytest

from grenache_py.exchange.peers.neighbour_clocks import NeighbourClocks
from tests.sim.exchange.__main__ import FAILED
from tests.sim.exchange.ablations import fills_after_questions, nobody_to_compare_with
from tests.sim.exchange.evil import Nuisance
from tests.sim.exchange.kinds import EVIL_MUST_HAPPEN, MUST_HAPPEN, WIDE_MUST_HAPPEN, ready
from tests.sim.exchange.world import World, run, shape


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_no_invariant_breaks_in_any_seed(first: int) -> None:
    sometimes: Counter[str] = Counter()
    for seed in range(first, first + 20):
        sometimes.update(run(seed).sometimes)
    missing = [name for name in MUST_HAPPEN if not sometimes[name]]
    assert not missing, f"never happened in these seeds: {missing}"


@pytest.mark.parametrize("seed", sorted({int(line) for line in FAILED.read_text().split()}))
def test_a_seed_that_once_failed_does_not(seed: int) -> None:
    run(seed)


def test_an_evil_peer_breaks_nothing_among_the_others() -> None:
    """All it knows to do happens, and the invariants of honest homes hold."""
    sometimes: Counter[str] = Counter()
    for seed in range(1, 25, 2):
        busy = {**shape(seed), "orders": 400, "evil": True}
        sometimes.update(run(seed, **busy).sometimes)
    missing = [name for name in EVIL_MUST_HAPPEN if not sometimes[name]]
    assert not missing, f"never happened in these seeds: {missing}"


#: Kinds that a small world shows too seldom; large sets of seeds must show them.
RARE = (
    *("neighbour: no difference", "neighbour: other differences", "neighbour: pruned records"),
    *("neighbour: pruned range", "neighbour: drops answers"),
    *("neighbour: drops fills", "limit: early entries", "limit: answers"),
)
EACH = (
    *(name for name in WIDE_MUST_HAPPEN if not name.startswith("a day") and name not in RARE),
    *(f"evil: {kind}" for kind in Nuisance.STRANGE_KINDS if ready(f"evil: {kind}")),
)


@pytest.mark.parametrize("kind", EACH)
def test_each_kind_of_trouble_happens_and_breaks_nothing(kind: str) -> None:
    small = {} if kind == "months" else {"peers": 3, "orders": 100, "real": False, "flow": None}
    sometimes: Counter[str] = Counter()
    for seed in (2, 4, 6, 8, 10):
        sometimes.update(run(seed, **small, also=(kind,)).sometimes)
        if sometimes[kind]:
            return
    pytest.fail(f"never happened in these seeds: {kind}")


def test_a_fill_that_comes_after_a_question_about_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rare, so the requests for fills are held back; whatever else happens, the checks hold."""
    monkeypatch.setattr(NeighbourClocks, "offset", nobody_to_compare_with)
    world = World(1, peers=4, orders=200, faults=("loss", "delay", "reorder"))
    fills_after_questions(world)
    assert world.run().sometimes["fill poisoned"]


def test_the_same_seed_gives_the_same_run() -> None:
    for seed in (14, 17):  # one of each shape
        assert run(seed).trace == run(seed).trace
    assert run(14).trace != run(16).trace
