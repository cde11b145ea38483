"""Everything the fuzzer ever found worth keeping, and every seed, once more."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

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
