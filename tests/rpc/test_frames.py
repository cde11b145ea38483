"""Requests and replies as bytes, and the addresses they are sent to."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.rpc.errors import BadFrame, NotSendable, RPCFailure
from grenache_py.rpc.frames import (
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    split_address,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_requests_and_replies_survive_the_journey(payload, rid) -> None:
    request = decode_request(encode_request("r1", "rest:util:net", payload))
    assert (request.rid, request.key, request.payload) == ("r1", "rest:util:net", payload)
    assert json.loads(encode_request("r1", "k", payload)) == ["r1", "k", payload]
    assert decode_reply(encode_reply(rid, None, payload)) == (rid, None, payload)
    echoed, error, data = decode_reply(encode_reply(rid, "no", payload))
    assert (echoed, str(error), data) == (rid, "no", payload)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[]", (None, None, None)),
        (b'["r"]', ("r", None, None)),
        (b'["r","k"]', ("r", "k", None)),
        (b'["r","k","p","more"]', ("r", "k", "p")),
        (b' [ 7 , {"a":1} , [ ] ] ', (7, {"a": 1}, [])),
    ],
)
def test_missing_members_are_null_as_with_node(body, expected) -> None:
    request = decode_request(body)
    assert (request.rid, request.key, request.payload) == expected


@pytest.mark.parametrize(
    "body", [b"", b"{bad", b"null", b"0", b'"text"', b"{}", b"\xff", b"[" * 9999]
)
def test_what_is_no_request_is_said_to_be_none(body) -> None:
    with pytest.raises(BadFrame, match="a request is the JSON array"):
        decode_request(body)
    with pytest.raises(BadFrame, match="a reply is the JSON array"):
        decode_reply(body)


def test_replies_of_odd_servers() -> None:
    assert decode_reply(b'["r",""]') == ("r", None, None), "Node reads an empty text as success"
    assert decode_reply(b'["r",null]') == ("r", None, None)
    assert str(decode_reply(b'["r",{"code":5},1]')[1]) == '{"code":5}'
    with pytest.raises(BadFrame):
        decode_reply(b"[]")


@pytest.mark.parametrize(
    "payload",
    [
        object(),
        {object(): 1},
        "\ud800",
        math.nan,
        [1, {"a": -math.inf}],
        {"a": (math.inf, None)},
    ],
)
def test_what_json_cannot_say_is_not_sent(payload) -> None:
    with pytest.raises(NotSendable, match="cannot be sent as JSON"):
        encode_request("r", "k", payload)
    with pytest.raises(NotSendable, match="cannot be sent as JSON"):
        encode_reply("r", None, payload)


def test_an_error_without_text_is_still_an_error() -> None:
    assert RPCFailure("").message == "error"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("tcp://10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("grape.example:65535", ("grape.example", 65535)),
    ],
)
def test_addresses(address, expected) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", ":80", "a", "a:", "a:0", "a:65536", "a b:1", "http://a:1"])
def test_what_is_no_address_is_said_to_be_none(address) -> None:
    with pytest.raises(BadFrame, match="address of a peer"):
        split_address(address)
