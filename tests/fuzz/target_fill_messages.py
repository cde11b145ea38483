"""Fill messages on a proven link, taken by a node with state: see ``proven_link.py``."""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.fills.messages import Settled, encode, fill_id
from grenache_py.exchange.fills.query import FillQuery, encode_query
from tests.fuzz.proven_link import EVIL_KEY, HONEST_KEY, VICTIM_KEY, run, said, seeds

ORDER = "ed4928c628d1c2c6eae9033890599561"


def _query(maker: str) -> dict[str, Any]:
    fill = fill_id(ORDER, maker, EVIL_KEY, 1)
    query = FillQuery(fill, ORDER, maker, EVIL_KEY, 1, 1_790_000_000_000)
    return {"query": {"~": encode_query(query)}}


def _settled(maker: str) -> dict[str, Any]:
    return {"settled": {"~": encode(Settled(EVIL_KEY, maker, (ORDER,)))}}


def _relayed(to: str, hops: int, method: str, params: dict[str, Any]) -> bytes:
    return said("fill.relay", to=to, hops=hops, method=method, params=params)


SEEDS = [
    *seeds("fill"),
    said("fill.query", 1, **_query(VICTIM_KEY)) + b"\n9",
    said("fill.settled", **_settled(VICTIM_KEY)) + b"\n60",
    _relayed(VICTIM_KEY, 0, "fill.query", _query(VICTIM_KEY)) + b"\n9",
    _relayed(HONEST_KEY, 1, "fill.query", _query(HONEST_KEY)) + b"\n9",
    _relayed(HONEST_KEY, 1, "fill.settled", _settled(HONEST_KEY)),
]


def one(data: bytes) -> None:
    """The lines come, one after the other."""
    run(data)
