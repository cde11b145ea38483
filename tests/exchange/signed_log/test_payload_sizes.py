"""Each signed payload at its longest: it fits the limit that every reader has, and is read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.fills.messages import (
    FILLS_TOLD_MAX,
    LEGS_MAX,
    FillAnswer,
    FillRequest,
    Settled,
    decode_answer,
    decode_fill,
    decode_settled,
    encode,
    fill_id,
)
from grenache_py.exchange.market.instrument import COUNT_MAX, Step
from grenache_py.exchange.signed_log.entries import (
    LEASE_MS_MAX,
    SEQ_MAX,
    STATES_PER_ENTRY_MAX,
    TRADES_PER_ENTRY_MAX,
    Entry,
    HeartbeatBody,
    OrderBody,
    StateBody,
    TradeBody,
    check_texts,
    epoch_of_time,
)
from grenache_py.exchange.signed_log.entry_sizes import (
    FRAME_BYTES_MAX,
    STATE_BYTES_MAX,
    TRADE_BYTES_MAX,
    room_for_states,
)
from grenache_py.exchange.signed_log.hybrid_clock import COUNTER_MAX, TIME_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import PAYLOAD_BYTES_MAX, Sealer, Signed
from grenache_py.exchange.signed_log.own_log import OwnLog

# The longest legal value of each kind.
MONEY = "9" * 19 + "." + "9" * 18
SYMBOL = "S" * 32
ID = "a" * 32
KEY = "b" * 64
COUNT = 2**53
TIME = TIME_MS_MAX
STAMP = TIME, COUNTER_MAX
EPOCH = epoch_of_time(TIME)

TRADE = TradeBody(ID, SYMBOL, MONEY, MONEY, "sell", ID, ID, KEY, KEY, TIME)
STATE = StateBody(ID, COUNT, MONEY, MONEY, MONEY, "cancelled")
ORDER = OrderBody(
    ID, SYMBOL, "sell", "stop_limit", MONEY, STAMP, MONEY, MONEY, "gtc", True, COUNT, MONEY, MONEY
)
BEAT = HeartbeatBody(LEASE_MS_MAX, COUNT, KEY)


def entry(trades: int, states: int) -> Entry:
    return Entry(
        KEY,
        EPOCH,
        SEQ_MAX,
        KEY,
        STAMP,
        ORDER,
        (TRADE,) * trades,
        (STATE,) * states,
        BEAT,
    )


def size(value: object) -> int:
    return len(msgspec.json.encode(value))


def read_by_others(payload: str) -> None:
    """What travels is taken back by the reader's own code."""
    assert len(payload.encode()) <= PAYLOAD_BYTES_MAX
    Signed.from_wire(msgspec.to_builtins(Signed(payload, b"", 0, 1, b"0" * 64).wire()))


def test_the_parts_of_an_entry_are_never_longer_than_they_are_counted() -> None:
    assert size(TRADE) + 1 <= TRADE_BYTES_MAX
    assert size(STATE) + 1 <= STATE_BYTES_MAX
    assert size(entry(1, 1)) - size(TRADE) - size(STATE) <= FRAME_BYTES_MAX


@given(st.integers(0, TRADES_PER_ENTRY_MAX))
def test_an_entry_with_all_the_states_there_is_room_for_is_read(trades: int) -> None:
    longest = entry(trades, room_for_states(trades))
    read_by_others(longest.encode())
    assert Entry.decode(longest.encode()) == longest
    assert room_for_states(0) == STATES_PER_ENTRY_MAX
    assert room_for_states(trades) > 2 * TRADES_PER_ENTRY_MAX - 4  # makers, taker and more


def test_the_longest_fill_its_answer_and_its_settlement_are_read() -> None:
    fill = FillRequest(
        fill_id(ID, KEY, KEY, COUNT),
        KEY,
        KEY,
        SYMBOL,
        ID,
        COUNT,
        MONEY,
        TIME,
        EPOCH,
        tuple((f"{n:032x}", MONEY, MONEY) for n in range(LEGS_MAX)),
        False,
    )
    answer = FillAnswer(ID, KEY, KEY, "committed", (TRADE,) * LEGS_MAX)
    settled = Settled(KEY, KEY, (ID,) * FILLS_TOLD_MAX)
    for message, decode in (
        (fill, decode_fill),
        (answer, decode_answer),
        (settled, decode_settled),
    ):
        payload = encode(message)  # type: ignore[arg-type]
        read_by_others(payload)
        assert decode(payload) == message  # type: ignore[operator]


@given(st.integers(1, COUNT_MAX), st.integers(0, 18), st.integers(1, COUNT_MAX))
def test_whatever_a_market_takes_its_amount_is_read(units: int, decimals: int, count: int) -> None:
    step = Step(units, decimals, "")
    text = step.format(count)
    try:
        assert step.count(text, "quantity") == count
    except OrderError:
        return  # refused when it was given
    check_texts("entry", [], [text])
    assert len(text) <= len(MONEY)


def test_what_nobody_could_read_is_neither_signed_nor_appended() -> None:
    sealer = Sealer(Identity.from_seed(b"1" * 32), "test")
    log = OwnLog(KEY, sealer, HybridClock(0))
    log.append(1.0, states=(STATE,) * STATES_PER_ENTRY_MAX)
    for states, trades in ((STATES_PER_ENTRY_MAX + 1, 0), (40, TRADES_PER_ENTRY_MAX), (0, 17)):
        with pytest.raises(LocalProtocolError):
            log.append(2.0, trades=(TRADE,) * trades, states=(STATE,) * states)
    assert log.seq == len(log.tail) == 1
    with pytest.raises(LocalProtocolError):
        sealer.add("x" * (PAYLOAD_BYTES_MAX + 1))
