"""Messages about peers on a proven link, taken by a node with state: see ``proven_link.py``."""

from __future__ import annotations

from tests.fuzz.proven_link import run, seeds

SEEDS = [
    *seeds("peer"),
    b'{"jsonrpc":"2.0","method":"peer.goodbye","params":{"reason":"stopping"}}\n20',
    b'{"jsonrpc":"2.0","id":1,"method":"peer.hello","params":{}}',
    b'{"jsonrpc":"2.0","id":"a","method":"peer.prove","params":{"signature":""}}',
]


def one(data: bytes) -> None:
    """The lines come, one after the other."""
    run(data)
