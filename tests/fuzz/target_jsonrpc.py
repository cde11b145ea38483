"""JSON-RPC lines of both ports, and the params of every method of the client port."""

from __future__ import annotations

import json

from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.wire import jsonrpc
from grenache_py.wire.jsonrpc import Malformed, Request

SEEDS = [
    b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":"a","method":"order.place","params":{"market":"BTC-USD","side":"buy",'
    b'"quantity":"1.5","price":"100.25","time_in_force":"ioc","client_order_id":"x"}}',
    b'[{"jsonrpc":"2.0","id":1.5,"method":"book.get","params":{"market":"A","depth":3}},5]',
    b'{"jsonrpc":"2.0","method":"orders.subscribe","params":{"from_seq":3}}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no","data":{"field":"x"}}}',
]


def _answerable(error: Malformed) -> None:
    line = jsonrpc.error_line(error.id, error.code, error.message, error.data)
    assert json.loads(line)["error"]["code"] in (-32700, -32600, -32602)


def one(data: bytes) -> None:
    """Only `Malformed` comes out, it can be answered, and what is accepted is JSON."""
    try:
        requests = jsonrpc.decode_requests(data)
    except Malformed as error:
        _answerable(error)
    else:
        json.loads(data)
        for request in requests if isinstance(requests, list) else [requests]:
            if not isinstance(request, Request):
                _answerable(request)
                continue
            method = METHODS.get(request.method, METHODS["order.place"])
            try:
                jsonrpc.decode_params(method.decoder, request.params)
            except Malformed as error:
                _answerable(error)
    for decode in (jsonrpc.decode_message, jsonrpc.decode_response):
        try:
            decode(data)
        except Malformed as error:
            _answerable(error)
