"""The pure half of the HTTP API: what a request asks for, and how results and errors read."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grenache_py.dht.items import PutItem
from grenache_py.grape import answers, api, javascript
from grenache_py.grape.answers import GrapeAnswer
from grenache_py.grape.api import AnnounceCall, GetCall, LookupCall

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "[65]", '"q"', "{}", "zz", "ab" * 20, "\ud800", "Buffer"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["v", "k", "sig", "seq", "salt", "cas", "hash", "cache", "type", "data"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
K = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"
SIG = "305ac8ae" * 16


def ask(path: str, data: object) -> object:
    body = json.dumps({"rid": "r", "data": data})
    # JSON has no infinity but for numbers that overflow; a text that says so stays as it is.
    body = re.sub(
        r'"(?:[^"\\]|\\.)*"|Infinity',
        lambda found: "1e400" if found[0] == "Infinity" else found[0],
        body,
    )
    return api.call(path, body.encode())


def text(words: str) -> GrapeAnswer:
    """An error of the common family: status 200, a JSON string."""
    return GrapeAnswer(200, json.dumps(words).encode())


@given(st.sampled_from(["/lookup", "/announce", "/put", "/get"]), JSON)
@example("/put", {"v": 1e300 * 10})
@example("/put", {"v": "x", "k": K, "sig": SIG, "seq": float("inf")})
@example("/announce", [{"type": "Buffer", "data": [float("inf"), -1, "65", None]}, 1])
@example("/get", {"hash": "ab" * 20, "salt": "[" * 3000})
def test_whatever_the_data_the_dht_is_asked_something_valid_or_the_client_is_answered(
    path: str, data: object
) -> None:
    outcome = ask(path, data)
    if isinstance(outcome, GrapeAnswer):
        assert outcome.status in (200, 500)
    elif isinstance(outcome, (LookupCall, AnnounceCall)):
        assert 0 < len(outcome.name) <= api.NAME_BYTES_MAX
        assert isinstance(outcome, LookupCall) or 0 <= outcome.port <= 65535
    elif isinstance(outcome, GetCall):
        assert len(outcome.target) == 20
    else:
        assert isinstance(outcome, PutItem)
        if outcome.k is None:
            assert (outcome.sig, outcome.seq, outcome.cas) == (None, None, None)
        else:
            assert len(outcome.k) == 32
            assert outcome.sig is not None
            assert isinstance(outcome.seq, int)
            assert len(outcome.salt) <= 64


@given(st.text())
@example("Infinity")
def test_every_name_but_the_empty_one_is_its_own_key(name: str) -> None:
    expected = LookupCall(name.encode()) if name else text("ERR_GRAPE_LOOKUP")
    assert ask("/lookup", name) == expected


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/lookup", True),
        ("/Lookup", True),
        ("/-lookup", True),
        ("/_lookup", True),
        ("/__Lookup-", True),
        ("/lookup_", True),
        ("/", False),
        ("", False),
        ("*", False),
        ("/LOOKUP", False),
        ("/lookUp", False),
        ("/look-up", False),
        ("/lookup/", False),
        ("/lookup?x=1", False),
        ("//lookup", False),
        ("/%6cookup", False),
        ("http://127.0.0.1:31001/lookup", False),
    ],
)
def test_paths_are_folded_as_node_folds_them(path: str, found: bool) -> None:
    assert ask(path, "svc") == (LookupCall(b"svc") if found else text("ERR_REQ_NOTFOUND"))


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (0, 0),
        (-0.0, 0),
        (1, 1),
        (65535, 65535),
        (1337.0, 1337),
        (-1, None),
        (65536, None),
        (1e9, None),
        (1e400, None),
        (1.5, None),
        ("1337", None),
        (None, None),
        (True, None),
        ([1], None),
    ],
)
def test_a_port_is_an_integer_that_a_service_can_have(port: object, expected: int | None) -> None:
    outcome = ask("/announce", ["svc", port, "ignored"])
    if expected is None:
        assert outcome == text("ERR_GRAPE_SERVICE_PORT")
    else:
        assert outcome == AnnounceCall(b"svc", expected)


def test_a_service_without_a_name_is_refused() -> None:
    assert ask("/announce", ["", 1337]) == text("ERR_GRAPE_ANNOUNCE")
    assert ask("/announce", [[], 1337]) == text("ERR_GRAPE_ANNOUNCE")


def test_a_name_no_datagram_can_hold_is_answered_at_once() -> None:
    assert ask("/announce", ["n" * 70_000, 1]) == text("No nodes to query")
    assert ask("/lookup", "n" * 70_000) == GrapeAnswer(200, b"[]")


@pytest.mark.parametrize(
    ("hash", "target"),
    [
        ("ab" * 20, b"\xab" * 20),
        ("AB" * 20, b"\xab" * 20),
        ("ab" * 20 + "c", b"\xab" * 20),
        ("ab" * 20 + "xx", b"\xab" * 20),
        ("12" * 20, b"\x12" * 20),
        ("[" + ",".join(["7"] * 20) + "]", b"\x07" * 20),
        ('"12345678901234567890"', b"12345678901234567890"),
        ("zz" * 20, None),
        ("ab" * 19, None),
        ("ab" * 21, None),
        ("", None),
        ("abc", None),
        ("null", None),
        ("[1,2,3]", None),
    ],
)
def test_a_hash_is_hex_up_to_where_it_is_not_and_else_nothing_is_found(
    hash: str, target: bytes | None
) -> None:
    outcome = ask("/get", hash)
    assert outcome == (GrapeAnswer(200, b"") if target is None else GetCall(target))


def test_the_parts_of_a_get_request() -> None:
    request = {"hash": "ab" * 20, "salt": "[65]", "cache": False, "verify": True}
    assert ask("/get", request) == GetCall(b"\xab" * 20, b"A", use_cache=False)
    assert ask("/get", {"hash": "ab" * 20, "salt": ""}) == GetCall(b"\xab" * 20)
    assert ask("/get", {"hash": "ab" * 20, "salt": "123"}) == GetCall(b"\xab" * 20, b"123")
    assert ask("/get", {"hash": "ab" * 20, "salt": '"q"'}) == GetCall(b"\xab" * 20, b"q")


def test_the_parts_of_a_mutable_put_request() -> None:
    fields = {"v": "x", "k": K, "sig": SIG, "seq": 1.7, "salt": "s", "cas": 2}
    expected = PutItem(b"x", bytes.fromhex(K), bytes.fromhex(SIG), 1, b"s", 2)
    assert ask("/put", fields) == expected
    assert ask("/put", {**fields, "k": list(bytes.fromhex(K))}) == expected


@pytest.mark.parametrize(
    ("v", "stored"),
    [
        ("é", "é".encode()),
        ("\ud800", "\ufffd".encode()),
        ("x" * 999, b"x" * 999),
        (-5, -5),
        (1.5, 1),
        (-1.5, -1),
        (True, 1),
        ([None, "a", 1], [b"a", 1]),
        ({"b": 1, "a": None, "é": []}, {b"b": 1, "é".encode(): []}),
    ],
)
def test_values_are_bencoded_as_node_bencodes_them(v: object, stored: object) -> None:
    assert ask("/put", {"v": v}) == PutItem(stored)


@pytest.mark.parametrize("v", ["x" * 1000, "\U0001f600" * 500, [0] * 1000])
def test_too_long_a_value_is_refused_by_the_length_javascript_counts(v: object) -> None:
    assert ask("/put", {"v": v}) == text("v must be less than 1000 bytes in put()")


def test_a_value_nested_too_deeply_is_refused() -> None:
    v: list[object] = []
    for _ in range(javascript.VALUE_DEPTH_MAX):
        v = [v]
    assert ask("/put", {"v": v}) == text("v must not be nested more than 64 deep")


def item(**fields: object) -> SimpleNamespace:
    empty = {"id": b"\x01" * 20, "v": b"x", "token": None, "k": None, "seq": None, "sig": None}
    return SimpleNamespace(**{**empty, **fields})


def test_members_of_a_found_item_come_in_nodes_order() -> None:
    mutable = {"k": b"\x02" * 32, "seq": 3, "sig": b"\x04" * 64}
    local = answers.get_body(item(**mutable), b"salt")
    assert list(json.loads(local)) == ["id", "token", "v", "sig", "k", "seq"]
    assert json.loads(local)["token"] is None
    remote = answers.get_body(item(**mutable, token=b"\x05"), b"salt")
    assert list(json.loads(remote)) == ["id", "k", "seq", "sig", "token", "v", "salt"]
    assert json.loads(remote)["seq"] == 3
    assert list(json.loads(answers.get_body(item(token=b"\x05"), b""))) == ["id", "token", "v"]
    assert answers.get_body(None, b"") == b""


@pytest.mark.parametrize(
    ("v", "shown"),
    [
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (42, "42"),
        ([b"a", 1, [b"b", {}]], "a,1,b,[object Object]"),
        ({b"a": 1}, "[object Object]"),
        (b"", ""),
    ],
)
def test_values_are_shown_as_javascript_shows_them(v: object, shown: str) -> None:
    assert json.loads(answers.get_body(item(v=v), b""))["v"] == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_are_escaped_as_json_stringify_escapes_them(words: str) -> None:
    assert msgspec.json.encode(words) == json.dumps(words, ensure_ascii=False).encode()


def test_a_krpc_error_of_the_300s_becomes_the_status() -> None:
    assert answers.krpc_failure((302, "old")) == GrapeAnswer(302, b'"302 old"')
    assert answers.krpc_failure((205, "big")) == text("All queries failed")
    assert answers.krpc_failure(None) == text("All queries failed")
