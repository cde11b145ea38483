"""Tokens, peers, items and rates: each against what it promises, peers against a naive model."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from grenache_py.dht.item_store import ItemStore, PutRefused
from grenache_py.dht.items import (
    StoredItem,
    immutable_target,
    mutable_target,
    signed_bytes,
    value_fits,
)
from grenache_py.dht.peer_store import PeerStore
from grenache_py.dht.tokens import WriteTokens
from grenache_py.rate_limit import RateLimit
from grenache_py.wire import bencode
from grenache_py.wire.krpc import compact_address

SIGNING = json.loads((Path(__file__).parents[1] / "vectors" / "bep44_signing.json").read_text())
NOW = 900_000.0

# --- tokens ---------------------------------------------------------------------------------


def test_a_token_holds_for_its_address_for_five_to_ten_minutes() -> None:
    tokens = WriteTokens(b"s" * 32)
    token = tokens.give("10.0.0.1", NOW)
    assert len(token) == 20
    for later, holds in ((0, True), (299, True), (300, True), (599, True), (600, False)):
        assert tokens.valid(token, "10.0.0.1", NOW + later) is holds, later
    assert not tokens.valid(token, "10.0.0.2", NOW)
    assert not tokens.valid(b"", "10.0.0.1", NOW)


def test_a_restarted_node_honours_its_tokens() -> None:
    token = WriteTokens(b"s" * 32).give("10.0.0.1", NOW)
    assert WriteTokens(b"s" * 32).valid(token, "10.0.0.1", NOW + 10)
    assert not WriteTokens(b"t" * 32).valid(token, "10.0.0.1", NOW + 10)


def test_remembered_tokens_are_bounded() -> None:
    tokens = WriteTokens(b"s" * 32, remembered_max=10)
    for number in range(1000):
        tokens.give(f"10.0.{number >> 8}.{number & 255}", NOW)
    assert len(tokens._given) <= 10


# --- peers ----------------------------------------------------------------------------------


def peers(**limits: float) -> PeerStore:
    settings = {
        "max_age_s": 120.0,
        "names_max": 100,
        "name_bytes_max": 10_000,
        "peers_max": 1000,
        "peers_per_name_max": 100,
        "peers_per_source_max": 1000,
        "values_max": 100,
    } | limits
    return PeerStore(**settings, rng=random.Random(1))  # type: ignore[arg-type]


def peer(number: int, port: int = 1000) -> bytes:
    return compact_address((f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port))


def values(store: PeerStore, name: bytes, now: float) -> list[bytes]:
    encoded = store.encoded_values(name, now)
    return [] if encoded is None else bencode.decode(encoded)  # type: ignore[return-value]


def test_a_peer_is_served_until_its_age_and_not_longer() -> None:
    store = peers()
    store.add(b"a", peer(1), NOW)
    assert values(store, b"a", NOW + 119.9) == [peer(1)]
    assert values(store, b"a", NOW + 120) == []
    assert len(store) == 0


def test_announcing_again_keeps_a_peer() -> None:
    store = peers()
    store.add(b"a", peer(1), NOW)
    store.add(b"a", peer(2), NOW + 50)
    assert values(store, b"a", NOW + 50) == [peer(1), peer(2)]
    store.add(b"a", peer(1), NOW + 100)
    assert values(store, b"a", NOW + 160) == [peer(2), peer(1)]
    assert values(store, b"a", NOW + 175) == [peer(1)]


def test_names_are_compared_whole() -> None:
    store = peers()
    store.add(b"n" * 20 + b"1", peer(1), NOW)
    assert values(store, b"n" * 20 + b"2", NOW) == []
    assert values(store, b"n" * 20, NOW) == []


def test_every_limit_holds_and_the_oldest_goes() -> None:
    store = peers(names_max=3)
    for number in range(5):
        store.add(b"%d" % number, peer(number), NOW + number)
    assert [values(store, b"%d" % number, NOW + 5) != [] for number in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    store = peers(peers_per_name_max=2)
    for number in range(4):
        store.add(b"a", peer(number), NOW + number)
    assert values(store, b"a", NOW + 5) == [peer(2), peer(3)]
    store = peers(name_bytes_max=1000)
    for number in range(20):
        store.add(bytes([number]) * 100, peer(number), NOW)
    assert len(store) == 10


def test_one_source_cannot_fill_the_store() -> None:
    store = peers(peers_per_source_max=5)
    store.add(b"honest", peer(7), NOW)
    accepted = [store.add(b"flood %d" % number, peer(1), NOW) for number in range(10)]
    assert accepted == [True] * 5 + [False] * 5
    assert store.add(b"flood 0", peer(1), NOW), "what it has it may refresh"
    assert values(store, b"honest", NOW) == [peer(7)]
    assert store.add(b"later", peer(1), NOW + 200), "and its quota comes back with age"


def test_loopback_addresses_are_not_told_to_other_machines() -> None:
    store = peers(values_max=3)
    here = compact_address(("127.0.0.1", 5))

    def told(abroad: bool) -> object:
        encoded = store.encoded_values(b"a", NOW, abroad=abroad)
        return None if encoded is None else bencode.decode(encoded)

    store.add(b"a", here, NOW)
    assert (told(False), told(True)) == ([here], None)
    store.add(b"a", peer(1), NOW)
    assert (told(False), told(True)) == ([here, peer(1)], [peer(1)])
    for number in range(5):
        store.add(b"a", peer(number), NOW)
    assert len(told(False)) == len(told(True)) == 3  # type: ignore[arg-type]
    assert here not in told(True)  # type: ignore[operator]


def test_an_answer_holds_a_random_choice_when_there_are_many() -> None:
    store = peers(values_max=10)
    for number in range(50):
        store.add(b"a", peer(number), NOW)
    first, second = values(store, b"a", NOW), values(store, b"a", NOW + 1)
    assert len(first) == len(set(first)) == 10
    assert first != second
    assert values(store, b"a", NOW + 120) == [], "no choice outlives its peers"


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 60)), min_size=1, max_size=60
    )
)
def test_the_store_agrees_with_a_naive_one(events: list[tuple[int, int, float]]) -> None:
    store, model, now = peers(), {}, NOW
    for name, number, pause in events:
        now += pause
        store.add(b"%d" % name, peer(number), now)
        model[name, number] = now
        for asked in range(4):
            expected = {peer(n) for (m, n), at in model.items() if m == asked and at > now - 120.0}
            assert set(values(store, b"%d" % asked, now)) == expected
            assert set(store.peers(b"%d" % asked, now)) == expected
    store.expire(now)
    assert store.peers_held >= sum(at > now - 120.0 for at in model.values())
    store.expire(now + 121)
    assert (store.peers_held, len(store)) == (0, 0)
    assert not store._per_source


# --- items ----------------------------------------------------------------------------------

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)


def mutable(v: object, seq: int, salt: bytes = b"") -> StoredItem:
    encoded = bencode.encode(v)
    signature = KEY.sign(signed_bytes(encoded, seq, salt)).signature
    return StoredItem(encoded, PUBLIC, seq, signature, salt)


def test_the_targets_and_signed_bytes_of_the_vectors() -> None:
    for case in SIGNING["mutable_bep"]:
        k, salt = bytes.fromhex(case["public_key_hex"]), (case["salt"] or "").encode()
        assert mutable_target(k, salt).hex() == case["target_hex"]
        signed = signed_bytes(bencode.encode(case["v"]), case["seq"], salt)
        assert signed == case["signed_buffer_ascii"].encode()
    for case in SIGNING["mutable_seed"]:
        salt = (case["salt"] or "").encode()
        encoded = bencode.encode(case["v"])
        assert signed_bytes(encoded, case["seq"], salt).hex() == case["signed_buffer_hex"]
        item = StoredItem(
            encoded,
            bytes.fromhex(case["public_key_hex"]),
            case["seq"],
            bytes.fromhex(case["signature_hex"]),
            salt,
        )
        assert item.signature_holds()
    for case in SIGNING["immutable"]:
        encoded = bytes.fromhex(case["bencoded_hex"])
        assert immutable_target(encoded).hex() == case["target_hex"]


def test_a_signature_covers_value_seq_and_salt() -> None:
    item = mutable(b"one", 1, b"salt")
    assert item.signature_holds()
    assert not StoredItem(b"3:two", item.k, item.seq, item.sig, item.salt).signature_holds()
    assert not StoredItem(item.v, item.k, 2, item.sig, item.salt).signature_holds()
    assert not StoredItem(item.v, item.k, item.seq, item.sig, b"").signature_holds()
    assert not StoredItem(item.v, b"short", item.seq, item.sig, b"salt").signature_holds()
    assert not StoredItem(item.v, item.k, item.seq, b"", b"salt").signature_holds()


def test_a_later_seq_replaces_and_an_equal_or_lower_one_does_not() -> None:
    store = ItemStore(10)
    target = store.put(mutable(b"one", 1))
    store.put(mutable(b"two", 2))
    for stale in (mutable(b"one", 1), mutable(b"two", 2)):
        with pytest.raises(PutRefused) as refused:
            store.put(stale)
        assert refused.value.code == 302
    kept = store.get(target)
    assert kept is not None
    assert kept.seq == 2


def test_cas_must_name_the_stored_seq() -> None:
    store = ItemStore(10)
    store.put(mutable(b"one", 1), cas=77)  # nothing there to compare with
    with pytest.raises(PutRefused) as refused:
        store.put(mutable(b"two", 2), cas=77)
    assert refused.value.code == 301
    store.put(mutable(b"two", 2), cas=1)


def test_the_item_used_longest_ago_makes_room() -> None:
    store = ItemStore(2)
    first, second = store.put(StoredItem(b"1:a")), store.put(StoredItem(b"1:b"))
    store.get(first)
    store.put(StoredItem(b"1:c"))
    assert store.get(first) is not None
    assert store.get(second) is None
    assert len(store) == 2


@pytest.mark.parametrize(
    ("encoded", "fits"),
    [
        (bencode.encode(b"x" * 1000), True),
        (bencode.encode(b"x" * 1001), False),
        (bencode.encode([b"x" * 994]), True),
        (bencode.encode([b"x" * 995]), False),
        (b"0:", True),
        (b"i0e", True),
    ],
)
def test_a_string_may_have_1000_bytes_and_anything_else_1000_encoded(
    encoded: bytes, fits: bool
) -> None:
    assert value_fits(encoded) is fits


# --- rates ----------------------------------------------------------------------------------


def limit() -> RateLimit:
    return RateLimit(trusted_max=100, stranger_max=5, sources_max=3, exempt_loopback=True)


def test_strangers_get_little_and_those_who_answered_more() -> None:
    rates = limit()
    assert [rates.admits("10.0.0.1", NOW) for _ in range(7)] == [True] * 5 + [False] * 2
    assert rates.admits("10.0.0.1", NOW + 1), "another second"
    rates.trust("10.0.0.2")
    assert sum(rates.admits("10.0.0.2", NOW + 2) for _ in range(200)) == 100


def test_loopback_is_not_limited() -> None:
    rates = limit()
    assert all(rates.admits("127.0.0.1", NOW) for _ in range(1000))


def test_a_flood_of_sources_is_bounded_and_does_not_shut_out_the_trusted() -> None:
    rates = limit()
    rates.trust("10.9.9.9")
    admitted = sum(rates.admits(f"10.0.{n >> 8}.{n & 255}", NOW) for n in range(5000))
    assert admitted == 3
    assert rates.admits("10.9.9.9", NOW)
    for number in range(100):
        rates.trust(f"10.1.0.{number}")
    assert len(rates) <= 3 + 1 + 3
