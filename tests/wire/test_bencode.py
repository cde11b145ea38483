"""The coder: Node's vectors, round trips, and nothing but RemoteProtocolError for bad bytes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.wire import bencode

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bencode.json").read_text())

# Accepted by Node's decoder and refused by ours on purpose: what is no integer, what runs
# past the end of the input, and what makes Node loop for ever.
REFUSED = {
    "i+5e", "ie", "i-e", "i1.9e", "+3:abc", "3.7:abc", "3:ab", "5:", ":abc", "-1:", "-1:a", "",
}  # fmt: skip

values = st.recursive(
    st.integers(-(2**70), 2**70) | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def of_vector(result: Any) -> Any:
    """A vector's decoded value: byte strings are written as {"bytes_hex": ...}, keys as text."""
    if isinstance(result, dict):
        if set(result) == {"bytes_hex"}:
            return bytes.fromhex(result["bytes_hex"])
        return {key.encode(): of_vector(value) for key, value in result.items()}
    if isinstance(result, list):
        return [of_vector(value) for value in result]
    return result


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: repr(case["input"]))
def test_decodes_what_node_decodes_but_for_the_documented_refusals(case: dict[str, Any]) -> None:
    data = case["input"].encode("latin-1")
    refused_by_node = "error" in case or "LOOP" in str(case.get("result"))
    if refused_by_node or case["input"] in REFUSED:
        with pytest.raises(RemoteProtocolError):
            bencode.decode(data)
    elif isinstance(case["result"], int) and abs(case["result"]) >= 2**53:
        assert bencode.decode(data) == int(data[1:-1]), "ours is exact where Node's is a double"
    else:
        assert bencode.decode(data) == of_vector(case["result"])


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["name"])
def test_encodes_as_node_does_whatever_bencode_can_say(case: dict[str, Any]) -> None:
    value = of_vector(case["json"]) if case["name"] == "buffer" else case["json"]
    if case["name"] in {"2^62", "1e20"}:
        assert bencode.encode(value) == b"i%de" % value, "exact, where Node's overflows"
    elif case["name"] in {"float", "negfloat", "null", "list with null", "dict with null"}:
        with pytest.raises(LocalProtocolError):
            bencode.encode(value)
    elif case["name"] == "surrogate keys":
        # Node sorts keys by UTF-16 units; BEP 3 says raw bytes, and so do we.
        assert bencode.encode(value) == b"d3:\xef\xbf\xbfi1e4:\xf0\x9f\x98\x80i2ee"
    elif case["name"] != "NaN":
        assert bencode.encode(value).hex() == case["encoded_hex"]


@given(values)
def test_what_was_encoded_decodes_to_the_same(value: Any) -> None:
    assert bencode.decode(bencode.encode(value)) == value


@given(values)
def test_the_lenient_decoder_agrees_on_canonical_bencode(value: Any) -> None:
    assert bencode._decode_leniently(bencode.encode(value)) == value


@given(values, st.binary(min_size=1, max_size=5))
def test_bytes_after_the_value_are_ignored(value: Any, rest: bytes) -> None:
    assert bencode.decode(bencode.encode({b"v": value}) + rest) == {b"v": value}


@given(values)
def test_every_cut_is_refused(value: Any) -> None:
    data = bencode.encode([value])
    for length in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            bencode.decode(data[:length])


@given(st.binary(max_size=200) | st.text(alphabet="deil0123456789:-+ae", max_size=60))
@example("l-3:")
@example("d-3:")
@example("d" * 100_000)
@example("l" * 100_000)
@example("i" + "9" * 5000 + "e")
@example("1:a" * 20_000)
@example("d1:a" * 10_000)
@example("99999999999999999999:a")
@example("d0:d0:d0:eeei1e")
def test_nothing_but_a_remote_error_comes_out(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    with contextlib.suppress(RemoteProtocolError):
        bencode.encode_received(bencode.decode(raw))


def test_unsorted_and_repeated_keys_are_read_as_node_reads_them() -> None:
    assert bencode.decode(b"d1:b1:x1:a1:ye") == {b"b": b"x", b"a": b"y"}
    assert bencode.decode(b"d1:a1:x1:a1:ye") == {b"a": b"y"}
