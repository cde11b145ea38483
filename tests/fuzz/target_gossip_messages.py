"""Gossip messages on a proven link, taken by a node with state: see ``proven_link.py``."""

from __future__ import annotations

from tests.fuzz.proven_link import run, seeds

HOME = b"ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"
HEADS = b'{"heads":[["' + HOME + b'",1,9,"' + HOME + b'"]]}'


def _entry(counter: bytes) -> bytes:
    return (
        b'{"~":{"home":"' + HOME + b'","epoch":1,"seq":1,"prev":"' + b"0" * 64 + b'",'
        b'"time":[1790000000000,' + counter + b"]}}"
    )


SEEDS = [
    *seeds("gossip"),
    b'{"jsonrpc":"2.0","method":"gossip.prune","params":{"backoff_s":60}}\n3',
    b'{"jsonrpc":"2.0","method":"gossip.want","params":' + HEADS + b"}",
    b'{"jsonrpc":"2.0","method":"gossip.have","params":' + HEADS + b"}\n9",
    b'{"jsonrpc":"2.0","method":"gossip.proof","params":{"entries":['
    + _entry(b"1")
    + b","
    + _entry(b"2")
    + b"]}}",
]


def one(data: bytes) -> None:
    """The lines come, one after the other."""
    run(data)
