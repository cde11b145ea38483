"""Everything the fuzzer ever found worth keeping, and every seed, once more."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from grenache_py.exchange.peer_messages import PEER_MESSAGES
from tests.fuzz.proven_link import reached

HERE = Path(__file__).parent
PARSERS = sorted(path.stem[7:] for path in HERE.glob("target_*.py"))


@pytest.mark.parametrize("parser", PARSERS)
def test_the_corpus_holds_no_fault(parser: str) -> None:
    target = importlib.import_module(f"tests.fuzz.target_{parser}")
    kept = sorted((HERE / "corpus" / parser).glob("*"))
    assert kept, f"`python -m tests.fuzz {parser}` has never been run"
    for path in kept:
        target.one(path.read_bytes())
    for seed in target.SEEDS:
        target.one(seed)


@pytest.mark.parametrize("family", ["peer", "gossip", "sync", "fill"])
def test_each_message_of_a_family_gets_past_its_decoder(family: str) -> None:
    """The fuzzer changes what it is given: what no seed reaches it hardly ever does."""
    target = importlib.import_module(f"tests.fuzz.target_{family}_messages")
    all_of_it = {row.name for row in PEER_MESSAGES if row.name.startswith(family)}
    assert all_of_it - reached(target.SEEDS) == set()
