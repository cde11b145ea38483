"""Fill messages on a proven link, taken by a node with state: see ``proven_link.py``."""

from __future__ import annotations

from tests.fuzz.proven_link import run, seeds

ID = b'"ed4928c628d1c2c6eae9033890599561"'

SEEDS = [
    *seeds("fill"),
    b'{"jsonrpc":"2.0","id":1,"method":"fill.query","params":{"fill":' + ID + b',"order":' + ID
    + b',"fill_seq":1,"deadline":1790000000000}}\n9',
    b'{"jsonrpc":"2.0","method":"fill.settled","params":{"fills":[' + ID + b"]}}\n60",
]  # fmt: skip


def one(data: bytes) -> None:
    """The lines come, one after the other."""
    run(data)
