"""The tape: each trade once, the newest of each market, and what stop orders are to hear of."""

from __future__ import annotations

import pytest

from grenache_py.exchange.effects.batch import Outbox, Traded
from grenache_py.exchange.effects.rows import Snapshot, TradeRow
from grenache_py.exchange.home import tape as tape_module
from grenache_py.exchange.home.tape import Tape
from grenache_py.exchange.market.order import Trade


def trade(number: int, market: str = "BTC-USD") -> Trade:
    return Trade(
        f"{number:032x}", market, 100 + number, 1, "buy", "m", "t", "home", "other", number
    )


def test_a_trade_that_several_peers_tell_of_is_recorded_once() -> None:
    tape = Tape(Outbox())
    assert [tape.record(trade(1)), tape.record(trade(1)), tape.record(trade(2))] == [
        True,
        False,
        True,
    ]
    assert list(tape) == [trade(1), trade(2)]
    assert list(tape.new_trades["BTC-USD"]) == [trade(1), trade(2)]
    assert [type(row) for row in tape.outbox.rows] == [TradeRow, TradeRow]
    assert [type(event) for event in tape.outbox.events] == [Traded, Traded]


def test_the_tape_keeps_the_newest_trades_of_each_market(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_module, "TAPE_MAX", 3)
    tape = Tape(Outbox())
    for number in range(5):
        tape.record(trade(number))
    tape.record(trade(9, "ETH-USD"))
    assert [kept.time_ms for kept in tape] == [2, 3, 4, 9]
    assert not any(tape.record(trade(n)) for n in (2, 3, 4)), "what is kept is known"


def test_the_last_trade_is_the_one_made_last_and_not_the_one_that_came_last() -> None:
    tape = Tape(Outbox())
    for number in (5, 7, 6, 1):  # a home that was cut off tells of old ones
        tape.record(trade(number))
    assert tape.last == {"BTC-USD": trade(7)}
    assert [kept.time_ms for kept in tape] == [5, 7, 6, 1]
    again = Tape(Outbox())
    again.restore(Snapshot(trades=[row for row in tape.outbox.rows if isinstance(row, TradeRow)]))
    assert again.last == tape.last
