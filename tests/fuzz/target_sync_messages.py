"""Messages that catch up, on a proven link, taken by a node with state: see ``proven_link.py``."""

from __future__ import annotations

from tests.fuzz.proven_link import run, seeds

HOME = b"ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"


def _asked(method: bytes, params: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"sync.' + method + b'","params":{' + params + b"}}\n9"


SEEDS = [
    *seeds("sync"),
    _asked(b"heads", b'"heads":[["' + HOME + b'",1,9,"' + HOME + b'"]]'),
    _asked(b"range", b'"origin":"' + HOME + b'","epoch":1,"first":1,"last":9'),
    _asked(b"range", b'"origin":"' + HOME + b'","beat":true'),
    _asked(b"reconcile", b'"frame":"YQ=="'),
    _asked(b"records", b'"ids":["' + HOME[:32] + b'"]'),
    _asked(b"records", b'"range":[[1,"00"],null]'),
]


def one(data: bytes) -> None:
    """The lines come, one after the other."""
    run(data)
