"""Gossip messages on a proven link, taken by a node with state: see ``proven_link.py``."""

from __future__ import annotations

from typing import Any

from tests.fuzz.proven_link import EVIL_KEY, HONEST_KEY, VICTIM_KEY, run, said, seeds

HEADS = [[EVIL_KEY, 1, 9, HONEST_KEY]]


def _entry(counter: int) -> dict[str, Any]:
    stamp = [1_790_000_000_000, counter]
    return {"~": {"home": EVIL_KEY, "epoch": 1, "seq": 1, "prev": "0" * 64, "time": stamp}}


SEEDS = [
    *seeds("gossip"),
    said("gossip.graft"),
    said("gossip.prune", backoff_s=60) + b"\n3",
    said("gossip.want", origin=VICTIM_KEY, epoch=1, first=1, last=9),
    said("gossip.have", heads=HEADS) + b"\n9",
    said("gossip.proof", first=_entry(1), second=_entry(2)),
]


def one(data: bytes) -> None:
    """The lines come, one after the other."""
    run(data)
