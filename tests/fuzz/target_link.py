"""
What a Link makes of a grape's answers, and a client of a service's.

The first byte chooses the status and the question. Whatever the rest is, the outcome is
a value of the promised kind or one of the documented errors.
"""

from __future__ import annotations

from grenache_py.link import BadAnswer, GrapeRefused, Item
from grenache_py.link.answers import announce_answer, get_answer, lookup_answer, put_answer
from grenache_py.rpc.errors import BadFrame
from grenache_py.rpc.frames import decode_reply, decode_request, encode_reply, split_address

TARGET = "e5f96f6f38320f0f33959cb4d3d656452117aadb"
_STATUSES = (200, 200, 200, 301, 302, 304, 413, 500, 502)

SEEDS = [
    b'\x00["127.0.0.1:1337","[::1]:5","a b:1",7]',
    b"\x001",
    b'\x00"' + TARGET.encode() + b'"',
    b'\x00"All queries failed"',
    b'\x00{"id":"00","token":null,"v":"Hello World!"}',
    b'\x00{"v":"x","k":"' + b"77" * 32 + b'","sig":"' + b"30" * 64 + b'","seq":1}',
    b'\x04"302 sequence number less than current"',
    b"\x07ERR_GRAPE_PAYLOAD_INVALID",
    b'\x00["r",null,{"a":1}]',
    b'\x00["r",{"code":5},1]',
]


def one(data: bytes) -> None:
    """Read it as every kind of answer."""
    status, body = _STATUSES[(data[0] if data else 0) % len(_STATUSES)], data[1:]
    try:
        for address in lookup_answer(status, body):
            assert isinstance(address, str)
            try:
                host, port = split_address(address)
            except BadFrame:  # a port beyond 65535, or 0
                continue
            assert host
            assert 0 < port < 65536
    except (BadAnswer, GrapeRefused) as error:
        assert str(error)
    try:
        assert announce_answer(status, body) >= 0
    except (BadAnswer, GrapeRefused) as error:
        assert str(error)
    try:
        assert put_answer(status, body, TARGET) == TARGET
    except (BadAnswer, GrapeRefused) as error:
        assert str(error)
    try:
        item = get_answer(status, body, TARGET, b"salt")
        assert item is None or isinstance(item, Item)
    except (BadAnswer, GrapeRefused) as error:
        assert str(error)
    try:
        rid, error_sent, value = decode_reply(body)
        encode_reply(rid, str(error_sent) if error_sent else None, value)
    except BadFrame as error:
        assert str(error)
    try:
        request = decode_request(body)
        encode_reply(request.rid, None, request.payload)
    except BadFrame as error:
        assert str(error)
