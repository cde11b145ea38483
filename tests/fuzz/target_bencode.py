"""The bencode coder: only RemoteProtocolError, and what decodes encodes to itself."""

from __future__ import annotations

import json
from pathlib import Path

from grenache_py.errors import RemoteProtocolError
from grenache_py.wire import bencode

_VECTORS = Path(__file__).parents[1] / "vectors"

SEEDS = [
    case["input"].encode("latin-1")
    for case in json.loads((_VECTORS / "bencode.json").read_text())["decode"]
]


def one(data: bytes) -> None:
    """Decode strictly and leniently; encode what came out and decode it again."""
    for decode in (bencode.decode, bencode._decode_leniently):
        try:
            value = decode(data)
            encoded = bencode.encode_received(value)
        except RemoteProtocolError:
            continue
        assert bencode.decode(encoded) == value
        assert bencode._decode_leniently(encoded) == value
