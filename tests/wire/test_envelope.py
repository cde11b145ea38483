"""The envelope is read as Node reads it: JSON.parse of the bytes turned into a string."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grenache_py.wire.envelope import MISSING, InvalidPayload, payload

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def naive(body: bytes) -> object:
    """What the grape does, written without regard for speed."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    value = json.loads(body.decode("utf-8", "replace"), parse_constant=refuse)
    return value.get("data", MISSING) if isinstance(value, dict) else MISSING


@given(JSON)
def test_data_of_any_object_is_returned(data: object) -> None:
    body = json.dumps({"rid": "r", "data": data}).encode()
    assert payload(body) == data


@given(st.binary(max_size=40) | st.text('{}[]":, \\\t\nadtu0123456789.eE+-\x00é', max_size=30))
@example(b'{"rid":"\xff","data":"\xff"}')
@example('{"data":"\\ud800"}')
@example('{"data":1e400}')
@example('{"data":1,"data":2}')
@example('{"d\\u0061ta":1}')
@example("\ufeff{}")
@example('{"data":NaN}')
@example('{"data":1} x')
@example("5")
@example("[1]")
def test_any_bytes_mean_what_they_mean_to_json_parse(body: bytes | str) -> None:
    body = body.encode() if isinstance(body, str) else body
    try:
        expected = naive(body)
    except ValueError:
        with pytest.raises(InvalidPayload, match=r"^ERR_GRAPE_PAYLOAD_INVALID$"):
            payload(body)
        return
    if body.strip(b" \t\r\n") == b"null":
        with pytest.raises(InvalidPayload, match="properties of null"):
            payload(body)
    else:
        assert payload(body) == expected


@pytest.mark.parametrize("where", ["data", "rid"])
def test_nesting_beyond_the_interpreters_limit_is_an_error_like_any_other(where: str) -> None:
    with pytest.raises(InvalidPayload):
        payload(b'{"%b":' % where.encode() + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_numbers_with_thousands_of_digits_are_an_error_like_any_other() -> None:
    with pytest.raises(InvalidPayload):
        payload(b'[{"data":' + b"9" * 5000 + b"}]")
