"""A statement is read as it was written, by everybody alike, and nobody else can write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.keys import Ed25519, Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier
from grenache_py.exchange.signed_log.statement import (
    PULSES_MAX,
    STATEMENT_BYTES,
    LifeStatement,
    chain_of,
    earlier,
)

WHO, OTHER = Identity.from_seed(b"\1" * 32), Identity.from_seed(b"\2" * 32)
SEALER, VERIFIER = Sealer(WHO, "test"), Verifier(Ed25519(), "test")
SAID = LifeStatement(
    WHO.key, 3, 77, 1_790_000_000_123, PULSES_MAX, 10, 22, b"a" * 12, 5, 2**255 + 1
)


def test_it_is_read_as_it_was_written() -> None:
    data = SAID.signed(SEALER)
    assert len(data) == STATEMENT_BYTES == 169
    read = LifeStatement.read(data)
    assert read == SAID
    read.check(data, VERIFIER)


@given(st.integers(0, STATEMENT_BYTES - 1), st.integers(1, 255))
def test_no_byte_of_it_may_be_another(place: int, change: int) -> None:
    data = bytearray(SAID.signed(SEALER))
    data[place] ^= change
    with pytest.raises(RemoteProtocolError):
        LifeStatement.read(bytes(data)).check(bytes(data), VERIFIER)


@given(st.binary(max_size=STATEMENT_BYTES + 1) | st.binary(min_size=169, max_size=169))
def test_whatever_comes_is_a_statement_or_refused(data: bytes) -> None:
    try:
        read = LifeStatement.read(data)
    except RemoteProtocolError:
        return
    assert read._body() == data[:-64]


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 0},
        {"seq": 0},
        {"ms": 2**43},
        {"pulses": 0},
        {"pulses": PULSES_MAX + 1},
        {"slot_s": 0},
        {"slot_s": 23},
        {"lease_s": 61},
    ],
)
def test_what_it_says_has_limits(change: dict[str, int]) -> None:
    data = SAID._replace(**change).signed(SEALER)
    with pytest.raises(RemoteProtocolError, match="out of its range"):
        LifeStatement.read(data)


def test_it_is_of_one_network_and_no_payload_of_a_batch() -> None:
    data = SAID.signed(SEALER)
    with pytest.raises(RemoteProtocolError, match="signature"):
        SAID.check(data, Verifier(Ed25519(), "another"))
    body, signature = data[:-64], data[-64:]
    assert not VERIFIER.signed(WHO.key, b"1", body, signature)


def test_a_chain_leads_to_its_anchor_and_is_drawn_from_the_key_and_the_time() -> None:
    values = chain_of(SEALER, 5)
    assert len(values) == PULSES_MAX + 1
    assert list(map(earlier, values[1:])) == values[:-1]
    assert chain_of(SEALER, 5) == values
    others = {*chain_of(SEALER, 6), *chain_of(Sealer(OTHER, "test"), 5)}
    assert not others.intersection(values)
