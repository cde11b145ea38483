"""Inline commands: each is some calls of known methods with params they can read, or an error."""

from __future__ import annotations

from msgspec import Raw

from grenache_py.exchange.client_port import inline
from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.errors import INVALID_PARAMS, NO_SUCH_METHOD, OrderError
from grenache_py.wire.jsonrpc import Malformed, decode_params, encode

SEEDS = [
    b"buy BTC-USD 1.5 @ 100 ioc id=x account=y",
    b"sell btc-usd 1 market fok",
    b"buy A 1 @100 post stop=99",
    b"cancel all BTC-USD",
    b"cancel 0123456789abcdef0123456789abcdef",
    b"watch BTC-USD",
    b"book BTC-USD 10",
    b"help buy",
    b"replace mine 1 @ 101",
    b"candles BTC-USD 1h 5",
    b"format text",
    b"quit",
]


def one(data: bytes) -> None:
    """What is understood can be called."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    if not text.strip():
        return
    try:
        calls = inline.parse(text)
    except OrderError as error:
        assert error.code in (INVALID_PARAMS, NO_SUCH_METHOD)
        return
    assert calls
    for name, params in calls:
        if (name, params) == inline.QUIT or name == inline.FORMAT:
            continue
        try:
            decode_params(METHODS[name].decoder, Raw(encode(params)))
        except Malformed as error:
            assert error.code == INVALID_PARAMS
