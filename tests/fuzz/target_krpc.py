"""
The KRPC parser and the whole node behind it.

The input is a datagram from a stranger, from a neighbour with a valid token and from
a neighbour that was asked something: ``TTTTTTTTTTTTTTTTTTTT`` stands for the token,
``XXXX`` for the transaction id of a query under way.
"""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.items import PutItem, StoredItem
from grenache_py.dht.node import DHTNode
from grenache_py.errors import RemoteProtocolError
from grenache_py.wire import bencode, krpc

_VECTORS = Path(__file__).parents[1] / "vectors"
_NOW = 1_000_000.0
_NEIGHBOUR, _NEIGHBOUR_ID = ("10.0.0.1", 7001), b"abcdefghij0123456789"


def _seeds() -> list[bytes]:
    datagrams = []
    for name, list_key, hex_key in (
        ("krpc_server", "steps", "request_hex"),
        ("krpc_server", "steps", "response_hex"),
        ("krpc_hostile_datagrams", "cases", "request_hex"),
    ):
        for case in json.loads((_VECTORS / f"{name}.json").read_text())[list_key]:
            text = case[hex_key]
            if text and "." not in text and len(text) < 3000:
                datagrams.append(bytes.fromhex(text))
    for case in json.loads((_VECTORS / "krpc_client_tolerance.json").read_text())["cases"]:
        for sent in case["responder_sent"]:
            datagrams.append(bytes.fromhex(sent["hex"]))
    return [_with_placeholders(datagram) for datagram in datagrams]


def _with_placeholders(datagram: bytes) -> bytes:
    start = datagram.find(b"5:token20:")
    if start >= 0:
        datagram = datagram[: start + 10] + b"T" * 20 + datagram[start + 30 :]
    for count in range(2, 10):
        datagram = datagram.replace(b"1:t2:\0" + bytes([count]), b"1:t4:XXXX")
    return datagram


SEEDS = _seeds()


def one(data: bytes) -> None:
    """Receive the datagram in every situation; the node must go on as if nothing were."""
    with contextlib.suppress(RemoteProtocolError):
        krpc.decode(data)
    node = DHTNode(
        DHTConfig(),
        node_id=b"n" * 20,
        token_key=b"k" * 32,
        rng=random.Random(1),
        now=_NOW,
    )
    _receive(node, data, ("10.0.0.9", 9))
    # Befriend the neighbour, so that the operations below ask it.
    ping = b"d1:ad2:id20:%be1:q4:ping1:t2:aa1:y1:qe" % _NEIGHBOUR_ID
    node.receive_datagram(ping, _NEIGHBOUR, _NOW)
    for query, address in node.take_effects().datagrams:
        if address == _NEIGHBOUR:
            txid = bencode.decode(query)[b"t"]  # type: ignore[index, call-overload]
            node.receive_datagram(krpc.response(b"2:id20:" + _NEIGHBOUR_ID, txid), address, _NOW)
    token = node._responder._tokens.give(_NEIGHBOUR[0], _NOW)
    with_token = data.replace(b"T" * 20, token)
    _receive(node, with_token, _NEIGHBOUR)
    _receive(node, with_token, _NEIGHBOUR)
    operations = [
        node.lookup(b"svc", _NOW),
        node.announce(b"svc", 5, _NOW),
        node.get(StoredItem(b"12:Hello World!").target(), _NOW, use_cache=False),
        node.put(PutItem(v=b"x"), _NOW),
    ]
    for query, address in node.take_effects().datagrams:
        txid = bencode.decode(query)[b"t"]  # type: ignore[index, call-overload]
        assert isinstance(txid, bytes)
        _receive(node, data.replace(b"XXXX", txid), address)
    for step in range(1, 6):
        node.tick(_NOW + step / 2)
    assert all(operation.done for operation in operations)
    assert node.receive_datagram(ping, _NEIGHBOUR, _NOW + 3) is not None


def _receive(node: DHTNode, data: bytes, address: tuple[str, int]) -> None:
    answer = node.receive_datagram(data, address, _NOW)
    if answer is not None:
        assert len(answer) <= max(1400, len(data) + 100)
        assert bencode.encode(bencode.decode(answer)) == answer, "canonical"
