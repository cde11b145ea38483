"""
The JSON of a request to the grape, and what its API makes of it.

The input is a request's body; it is read for each command.
"""

from __future__ import annotations

import json
from pathlib import Path

from grenache_py.dht.items import PutItem
from grenache_py.grape import answers, api
from grenache_py.wire import bencode
from grenache_py.wire.envelope import MISSING, InvalidPayload, payload

_VECTORS = Path(__file__).parents[1] / "vectors"
SEEDS = sorted(
    {
        case["request"].partition("\r\n\r\n")[2].encode()
        for case in json.loads((_VECTORS / "grape_http_api.json").read_text())["cases"]
        if len(case["request"]) < 1200
    }
)


def _naive(body: bytes) -> object:
    """The envelope read by the standard library alone."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    value = json.loads(body.decode("utf-8", "replace"), parse_constant=refuse)
    if value is None:
        raise ValueError("null")
    return value.get("data", MISSING) if isinstance(value, dict) else MISSING


def one(data: bytes) -> None:
    """The fast reading and the plain one agree, and each command makes sense of it."""
    try:
        expected = _naive(data)
    except (ValueError, RecursionError):
        expected = InvalidPayload
    try:
        assert payload(data) == expected
    except InvalidPayload:
        assert expected is InvalidPayload
    for path in ("/lookup", "/announce", "/put", "/get", "/nope"):
        call = api.call(path, data)
        if isinstance(call, answers.GrapeAnswer):
            assert call.status in (200, 500)
            if call.status == 200 and call.body:
                json.loads(call.body)
        elif isinstance(call, PutItem):
            assert bencode.encode(call.v)
