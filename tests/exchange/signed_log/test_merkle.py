"""Batch signatures: one signature, many payloads, each believed or refused on its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import LogRow
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import LEAVES_MAX, Draft, Sealer, Signed, Verifier

ALICE = Identity.from_seed(b"a" * 32)
MALLORY = Identity.from_seed(b"m" * 32)


def seal(count: int, identity: Identity = ALICE) -> list[Draft]:
    sealer = Sealer(identity, "test")
    drafts = [sealer.add(f'{{"n":{number}}}') for number in range(count)]
    sealer.seal()
    return drafts


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 33, LEAVES_MAX, LEAVES_MAX + 1, 150])
def test_each_payload_of_a_batch_verifies_alone_after_a_trip_over_the_wire(count: int) -> None:
    for draft in seal(count):
        wire = msgspec.json.decode(msgspec.json.encode(draft.proof.wire()))
        signed = Signed.from_wire(wire)
        assert Verifier(Ed25519(), "test").check(signed, ALICE.key) == draft.hash


def test_a_signed_payload_survives_the_store() -> None:
    for draft in seal(5):
        stored = draft.proof.row()
        assert stored._fields == ("payload", "path", "leaf", "size", "signature")
        assert Signed.from_row(stored) == draft.proof
        # A log row has columns of its own before those of the signed payload.
        longer = LogRow(1, 2, draft.hash.hex(), *stored)
        assert Signed.from_row(longer) == draft.proof


def test_a_batch_costs_one_verification() -> None:
    verifier = Verifier(Ed25519(), "test")
    for draft in seal(LEAVES_MAX):
        verifier.check(draft.proof, ALICE.key)
    assert verifier.signatures_checked == 1


@settings(max_examples=60)
@given(st.integers(1, 9), st.data())
def test_whatever_is_altered_is_refused(count: int, data: st.DataObject) -> None:
    drafts = seal(count)
    verifier = Verifier(Ed25519(), "test")
    for draft in drafts:
        verifier.check(draft.proof, ALICE.key)  # known roots must not help the forger
    signed = data.draw(st.sampled_from(drafts)).proof
    kind = data.draw(st.sampled_from(["payload", "signature", "path", "index", "size"]))
    if kind == "payload":
        forged = replace(signed, payload=signed.payload + " ")
    elif kind == "signature":
        at = data.draw(st.integers(0, 63))
        flipped = bytearray(signed.signature)
        flipped[at] ^= 1
        forged = replace(signed, signature=bytes(flipped))
    elif kind == "path":
        forged = replace(signed, path=signed.path + b"\0" * 32)
    elif kind == "index":
        other = data.draw(st.integers(0, LEAVES_MAX - 1))
        forged = replace(signed, index=other, size=max(signed.size, other + 1))
    else:
        forged = replace(signed, size=data.draw(st.integers(signed.index + 1, LEAVES_MAX)))
    if forged == signed:
        return
    try:
        verifier.check(forged, ALICE.key)
    except RemoteProtocolError:
        return
    # A different shape may spell the same proof; then it must prove the same payload.
    assert forged.payload == signed.payload
    assert forged.path == signed.path
    assert forged.signature == signed.signature


def test_the_key_and_the_network_are_part_of_what_is_signed() -> None:
    signed = seal(1)[0].proof
    with pytest.raises(RemoteProtocolError, match="signature"):
        Verifier(Ed25519(), "test").check(signed, MALLORY.key)
    with pytest.raises(RemoteProtocolError, match="signature"):
        Verifier(Ed25519(), "other").check(signed, ALICE.key)
    with pytest.raises(RemoteProtocolError, match="signature"):
        Verifier(Ed25519(), "test").check(signed, "zz" * 32)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"payload": 5}, "payload"),
        ({"payload": "x" * 20_000}, "payload"),
        ({"signature": None}, "signature"),
        ({"signature": "not base64!"}, "base64"),
        ({"path": 7}, "path"),
        ({"leaf": [1, 1]}, "leaf"),
        ({"leaf": [0, LEAVES_MAX + 1]}, "leaf"),
        ({"leaf": [True, 2]}, "leaf"),
        ({"leaf": "0/1"}, "leaf"),
    ],
)
def test_a_bad_member_is_named(change: dict[str, Any], names: str) -> None:
    wire = {**msgspec.to_builtins(seal(1)[0].proof.wire()), **change}
    with pytest.raises(RemoteProtocolError, match=names):
        Signed.from_wire(wire)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_nothing_else_is_ever_raised(value: object) -> None:
    for wire in (value, {"payload": value, "signature": value, "path": value, "leaf": value}):
        try:
            Verifier(Ed25519(), "test").check(Signed.from_wire(wire), ALICE.key)
        except RemoteProtocolError:
            pass
        else:
            pytest.fail("accepted")
