"""JSON-RPC 2.0: what is understood, and what is said about the rest."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.wire import jsonrpc
from grenache_py.wire.jsonrpc import Malformed, Request


def test_a_request_keeps_its_params_raw() -> None:
    request = jsonrpc.decode_requests(b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"x": 1}}')
    assert isinstance(request, Request)
    assert (request.id, request.method, bytes(request.params)) == ("a", "m", b'{"x": 1}')


def test_params_may_be_left_out_and_unknown_members_are_passed_over() -> None:
    request = jsonrpc.decode_requests(b'{"jsonrpc":"2.0","id":1,"method":"m","extra":true}')
    assert isinstance(request, Request) and bytes(request.params) == b"{}"


@pytest.mark.parametrize(
    ("line", "code", "says", "id"),
    [
        (b"{", -32700, "not JSON", None),
        (b'{"jsonrpc":"2.0","method":"m","id":1,}', -32700, "not JSON", None),
        (b'{"jsonrpc":1,"method" garbage', -32700, "not JSON", None),
        (b'{"jsonrpc":"2.0","method":"\xff","id":1}', -32700, "not UTF-8", None),
        (b'{"jsonrpc":"2.0","method":"m","id":1,"\xc3":1}', -32700, "not UTF-8", None),
        (b"\xff", -32700, "not UTF-8", None),
        (b"[" * 60_000, -32700, "nested too deeply", None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + b"[" * 60_000, -32700, "n", None),
        (b"17", -32600, "object", None),
        (b'"text"', -32600, "object", None),
        (b"null", -32600, "object", None),
        (b"[]", -32600, "empty batch", None),
        (b"[" + b",".join([b"1"] * 101) + b"]", -32600, "at most 100", None),
        (b'{"id":5,"method":"m"}', -32600, 'jsonrpc must be "2.0"', 5),
        (b'{"jsonrpc":"1.0","id":5,"method":"m"}', -32600, 'jsonrpc must be "2.0"', 5),
        (b'{"jsonrpc":"2.0","id":5}', -32600, "method must be a string", 5),
        (b'{"jsonrpc":"2.0","id":"x","method":1}', -32600, "method must be a string", "x"),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', -32600, "id must be", None),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', -32600, "id must be", None),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(
    line: bytes, code: int, says: str, id: object
) -> None:
    with pytest.raises(Malformed) as refused:
        jsonrpc.decode_requests(line)
    assert refused.value.code == code
    assert says in refused.value.message
    assert refused.value.id == id


def test_bad_members_of_a_batch_keep_their_places() -> None:
    line = b'[{"jsonrpc":"2.0","id":1,"method":"a"}, 5, {"jsonrpc":"2.0","method":"b"}]'
    batch = jsonrpc.decode_requests(line)
    assert isinstance(batch, list)
    kinds = [each.method if isinstance(each, Request) else each.code for each in batch]
    assert kinds == ["a", -32600, "b"]


class Params(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0
    inner: list[int] = []


@pytest.mark.parametrize(
    ("params", "field", "says"),
    [
        (b"{}", "name", "name is missing"),
        (b'{"name":"a","nam":1}', "nam", "nam is not known"),
        (b'{"name":1}', "name", "expected `str`, got `int`"),
        (b'{"name":"a","size":"1"}', "size", "expected `int`, got `str`"),
        (b'{"name":"a","inner":[1,"x"]}', "inner[1]", "expected `int`"),
        (b"[1]", "params", "params must be an object"),
        (b"null", "params", "params must be an object"),
    ],
)
def test_a_wrong_member_is_named(params: bytes, field: str, says: str) -> None:
    with pytest.raises(Malformed) as refused:
        jsonrpc.decode_params(msgspec.json.Decoder(Params), msgspec.Raw(params))
    assert refused.value.code == -32602
    assert refused.value.data == {"field": field}
    assert says in refused.value.message


def test_params_that_are_not_utf8_are_a_parse_error() -> None:
    with pytest.raises(Malformed) as refused:
        jsonrpc.decode_params(msgspec.json.Decoder(Params), msgspec.Raw(b'{"name":"\xff"}'))
    assert refused.value.code == -32700


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.integers() | st.text() | st.none())
def test_an_answer_reads_back(result: object, id: int | str | None) -> None:
    line = jsonrpc.result_line(id, result)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == {"jsonrpc": "2.0", "id": id, "result": result}
    assert jsonrpc.decode_response(line).result == result


@given(st.text(), JSON)
def test_a_request_reads_back(method: str, value: object) -> None:
    request = jsonrpc.decode_requests(jsonrpc.request_line(method, {"a": value}, 3))
    assert isinstance(request, Request)
    assert (request.method, json.loads(bytes(request.params))) == (method, {"a": value})
    assert jsonrpc.decode_message(jsonrpc.notification_line(method, {}))["method"] == method


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_raises_anything_but_malformed(line: bytes) -> None:
    for decode in (jsonrpc.decode_requests, jsonrpc.decode_message, jsonrpc.decode_response):
        try:
            decode(line)  # type: ignore[operator]
        except Malformed as error:
            json.loads(jsonrpc.error_line(error.id, error.code, error.message, error.data))
