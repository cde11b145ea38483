"""The pure rooms of the link: cache, choice of grape, keys, items."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from grenache_py.errors import LocalProtocolError
from grenache_py.link.announcing import AnnounceSchedule
from grenache_py.link.answers import get_answer, lookup_answer
from grenache_py.link.cache import LookupCache
from grenache_py.link.errors import BadAnswer, GrapeRefused
from grenache_py.link.grapes import GrapeRing
from grenache_py.link.items import (
    immutable_hash,
    item_from_answer,
    mutable_hash,
    salt_text,
    signed_buffer,
    signed_put,
)
from grenache_py.link.keys import ItemKey, signature_is_valid

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bep44_signing.json").read_text())
names = st.sampled_from("abcd")
answers = st.lists(st.sampled_from(["h:1", "h:2", "h:3"]), unique=True)
steps = st.one_of(
    st.tuples(st.just("keep"), names, answers),
    st.tuples(st.just("get"), names, st.none()),
    st.tuples(st.just("forget"), names, st.sampled_from(["h:1", "h:2", None])),
    st.tuples(st.just("wait"), st.none(), st.integers(1, 6)),
)


@given(st.lists(steps, max_size=40))
def test_the_cache_agrees_with_a_list_of_everything_that_happened(script) -> None:
    cache, now = LookupCache(ttl_s=10, entries_max=3), 0
    known: dict[str, tuple[int, list[str]]] = {}  # in order of use, the oldest first
    for action, name, value in script:
        if action == "wait":
            now += value
        elif action == "keep":
            cache.keep(name, value, now)
            known.pop(name, None)
            if value:
                known[name] = (now + 10, value)
            if len(known) > 3:
                del known[next(iter(known))]
        elif action == "forget":
            cache.forget(name, value)
            expires, kept = known.get(name, (0, []))
            left = [one for one in kept if value is not None and one != value]
            if left:
                known[name] = (expires, left)
            else:
                known.pop(name, None)
        else:
            expires, kept = known.get(name, (0, []))
            if now >= expires:
                known.pop(name, None)
                assert cache.get(name, now) is None
            else:
                known[name] = known.pop(name)
                assert cache.get(name, now) == kept
    assert len(cache) == len(known) <= 3


def test_a_grape_is_set_aside_longer_with_every_failure_and_forgiven_at_once() -> None:
    ring = GrapeRing(["a", "b", "c"], cool_down_s=1, cool_down_s_max=5)
    assert ring.order(0) == ["a", "b", "c"]
    for expected in (1, 2, 4, 5, 5):
        ring.failed("a", 0)
        assert ring.order(expected - 0.01) == ["b", "c", "a"]
        assert ring.order(expected) == ["a", "b", "c"]
    ring.failed("b", 0)
    assert ring.order(0.5) == ["c", "b", "a"]
    ring.succeeded("a")
    assert ring.order(0.5) == ["a", "c", "b"]


@given(st.integers(0, 10_000), st.lists(st.booleans(), max_size=40))
def test_pauses_between_announcements_stay_in_bounds(seed: int, outcomes: list[bool]) -> None:
    schedule = AnnounceSchedule(random.Random(seed))
    for good in outcomes:
        pause = schedule.succeeded() if good else schedule.failed()
        assert 0.9 <= pause <= 40
        assert not good or pause >= 36


@pytest.mark.parametrize("vector", VECTORS["mutable_bep"], ids=lambda v: v["name"])
def test_the_vectors_of_the_bep(vector) -> None:
    key = ItemKey.from_text(vector["expanded_private_key_hex"])
    salt = (vector["salt"] or "").encode()
    assert key.public.hex() == vector["public_key_hex"]
    data = signed_put(vector["v"], key, vector["seq"], salt, None)
    assert data["sig"] == vector["signature_hex"]
    assert mutable_hash(key.public, salt) == vector["target_hex"]


@pytest.mark.parametrize("vector", VECTORS["mutable_seed"])
def test_signatures_a_real_grape_accepted(vector) -> None:
    key = ItemKey.from_text(vector["seed_hex"])
    assert key.public.hex() == vector["public_key_hex"]
    assert key.sign(bytes.fromhex(vector["signed_buffer_hex"])).hex() == vector["signature_hex"]


@pytest.mark.parametrize("vector", VECTORS["immutable"])
def test_hashes_a_real_grape_answered(vector) -> None:
    if isinstance(vector["v"], str):
        assert immutable_hash(vector["v"].encode()) == vector["target_hex"]
    elif type(vector["v"]) is int:
        assert immutable_hash(vector["v"]) == vector["target_hex"]
        body = json.dumps({"v": str(vector["v"])}).encode()
        assert item_from_answer(body, vector["target_hex"], b"").value == str(vector["v"])


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_signing_agrees_with_nacl(seed: bytes, message: bytes) -> None:
    theirs, ours = SigningKey(seed), ItemKey.from_seed(seed)
    signature = ours.sign(message)
    assert ours.public == bytes(theirs.verify_key)
    assert signature == theirs.sign(message).signature
    assert signature_is_valid(ours.public, signature, message)
    assert not signature_is_valid(ours.public, signature, message + b"x")


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 32 + "0", "ff" * 64, "00" * 65])
def test_what_is_no_key_is_said_to_be_none(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        ItemKey.from_text(text)


def test_a_key_does_not_show_its_secret() -> None:
    key = ItemKey.from_seed(bytes(range(32)))
    assert key.expanded.hex() not in repr(key)
    assert str(key.expanded) not in repr(key)


def grape_reads_salt(text: str) -> bytes:
    """What a real grape makes of the ``salt`` member: docs/design/grenache-wire.rst#salt."""
    try:
        value = json.loads(text)
    except ValueError:
        return text.encode()
    if isinstance(value, list):
        return bytes(value)
    return value.encode() if isinstance(value, str) else text.encode()


@given(
    st.one_of(
        st.binary(max_size=64), st.text(max_size=16).map(lambda s: s.encode("utf-8", "replace"))
    )
)
def test_every_salt_reaches_the_grape_as_it_is(salt: bytes) -> None:
    assert grape_reads_salt(salt_text(salt)) == salt


@pytest.mark.parametrize("salt", [b"[65]", b'"q"', b"123", b"true", b" [1]", b"{}"])
def test_salts_that_look_like_json_survive(salt: bytes) -> None:
    assert grape_reads_salt(salt_text(salt)) == salt


def test_a_missing_seq_is_checked_as_0() -> None:
    key = ItemKey.from_seed(bytes(32))
    signature = key.sign(signed_buffer(b"", 0, b"v"))
    body = json.dumps({"v": "v", "k": key.public.hex(), "sig": signature.hex()}).encode()
    assert item_from_answer(body, mutable_hash(key.public, b""), b"").seq == 0


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_answer_raises_anything_but_what_is_documented(status: int, body: bytes) -> None:
    for read in (
        lambda: lookup_answer(status, body),
        lambda: get_answer(status, body, "0" * 40, b""),
    ):
        try:
            read()
        except (BadAnswer, GrapeRefused) as error:
            assert str(error)


members = st.sampled_from(["v", "k", "sig", "seq", "id"])
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(members, v, max_size=5),
)


@given(odd_json)
def test_odd_json_is_no_item(value) -> None:
    body = json.dumps(value).encode()
    try:
        get_answer(200, body, "0" * 40, b"")
    except (BadAnswer, GrapeRefused) as error:
        assert str(error)


def test_what_happened_to_a_request_is_a_phrase_and_not_a_repr() -> None:
    from OpenSSL import SSL
    from twisted.internet import error
    from twisted.python.failure import Failure
    from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived

    from grenache_py.link.http import describe

    refused = error.ConnectionRefusedError("111: Connection refused")
    refused.osError = 111
    untrusted = Failure(SSL.Error([("SSL routines", "", "certificate verify failed")]))
    assert describe(refused, 3) == "connection refused"
    assert describe(error.DNSLookupError("no results"), 3) == "its host name has no address"
    lost = error.ConnectError(string=Failure(error.ConnectionDone()))
    assert describe(lost, 3) == "it closed the connection before it was open"
    closed = ResponseNeverReceived([Failure(error.ConnectionDone())])
    assert describe(closed, 3) == "it closed the connection before it had answered"
    for wrapper in (RequestTransmissionFailed, ResponseNeverReceived):
        assert describe(wrapper([untrusted, untrusted]), 3) == (
            "the connection was lost: certificate verify failed"
        )
