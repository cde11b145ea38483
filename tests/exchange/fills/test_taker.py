"""The taker's home: what it promises to several makers, and what it believes of an answer."""

from __future__ import annotations

import msgspec
import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.fills import taker
from grenache_py.exchange.fills.intent import intent_from_row, intent_row
from grenache_py.exchange.fills.messages import decode_answer, decode_fill, trade_id
from grenache_py.exchange.signed_log.entries import TradeBody
from grenache_py.exchange.signed_log.merkle import Signed
from tests.support.peers import Network, settlement


def silent_makers(count: int) -> Network:
    """Peer 0 takes; the others have a sell each and do not hear what they are asked."""
    net = Network(count + 1)
    for number in range(1, count + 1):
        net.link(0, number)
        net.place(number, "sell", 10, 99 + number)
    net.lost = {"fill.request"}
    return net


def asked(net: Network) -> list[tuple[str, str]]:
    fills = [decode_fill(intent.draft.payload) for intent in net[0].taker.intents.values()]
    return [(fill.committed, fill.legs[0][1]) for fill in fills]


def test_each_request_says_how_much_is_promised_with_those_before_it() -> None:
    net = silent_makers(3)
    buy = net.place(0, "buy", 25, 110)
    assert asked(net) == [("0.001", "0.001"), ("0.002", "0.001"), ("0.0025", "0.0005")]
    assert (buy.reserved, buy.open) == (25, 0)


def test_what_is_filled_already_counts_as_promised() -> None:
    net = silent_makers(1)
    net.place(0, "sell", 3, 99)
    net.place(0, "buy", 5, 110)  # 3 from its own home, 2 asked for
    assert asked(net) == [("0.0005", "0.0002")]


def test_lots_that_are_asked_for_already_are_not_asked_for_twice() -> None:
    net = silent_makers(1)
    net.place(0, "buy", 6, 110)
    second = net.place(0, "buy", 6, 110)
    third = net.place(0, "buy", 6, 110)
    assert (second.reserved, second.open, third.reserved) == (4, 2, 0)
    assert [lots for _, lots in asked(net)] == ["0.0006", "0.0004"]
    net.lost = set()
    net.run(3)
    assert (second.filled, third.filled) == (4, 0)
    assert not net[0].taker.intents


def test_so_many_fills_of_one_home_are_under_way_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(taker, "FILLS_PER_HOME_MAX", 2)
    net = silent_makers(1)
    for _ in range(2):  # what was settled takes no place, nor does it leave one too many
        buys = [net.place(0, "buy", 1, 110) for _ in range(3)]
        assert [buy.reserved for buy in buys] == [1, 1, 0]
        net[0].cancel(buys[2].order_id, net.now)
        net.lost = set()
        net.run(3)
        assert [buy.filled for buy in buys] == [1, 1, 0]
        net.lost = {"fill.request"}


def test_lots_in_doubt_are_not_asked_for_again_when_another_fill_of_theirs_settles() -> None:
    net = silent_makers(1)
    net.lost = {"result", "gossip.publish"}
    net.place(0, "buy", 3, 110)
    net.place(0, "buy", 3, 110)
    first, _ = net[0].taker.intents.values()
    stored = net[1].maker._answers.find(first.fill.id)
    assert stored is not None
    net[0].taker.answer(stored.answer.proof, net.now)
    assert len(net[0].taker.intents) == 1
    third = net.place(0, "buy", 10, 110)
    assert 0 < third.reserved <= 7, "three are in doubt still"


def test_numbers_of_fills_rise_over_a_restart() -> None:
    net = silent_makers(2)
    buy = net.place(0, "buy", 20, 110)
    net.restart(0)
    own = net[0].ledger.own[buy.order_id]
    assert own.fill_seq == 2
    fills = {decode_fill(i.draft.payload).fill_seq for i in net[0].taker.intents.values()}
    assert fills == {1, 2}


def answered(net: Network, buy_lots: int = 10) -> tuple[Signed, Network]:
    """The real answer to the taker's one fill, which it has not heard."""
    net.lost = {"result", "gossip.publish"}
    net.place(0, "buy", buy_lots, 110)
    [intent] = net[0].taker.intents.values()
    stored = net[1].maker._answers.find(intent.fill.id)
    assert stored is not None
    return stored.answer.proof, net


def test_the_makers_answer_settles_the_fill_once() -> None:
    answer, net = answered(silent_makers(1))
    assert net[0].taker.answer(answer, net.now) == "BTC-USD"
    [buy] = [own.live for own in net[0].ledger.closed.values()]
    assert (buy.filled, buy.value, net[0].taker.settled) == (10, 1_000, 1)
    assert not net[0].taker._by_trade, "nothing is kept of what is settled"
    assert net[0].taker.answer(answer, net.now) is None
    assert (buy.filled, net[0].taker.unknown_answers) == (10, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"price": "1.01"},
        {"quantity": "0.0011"},
        {"quantity": "0"},
        {"maker": "0" * 32},
        {"taker": "0" * 32},
        {"id": "0" * 32},
        {"market": "ETH-USD"},
        {"side": "sell"},
    ],
)
def test_an_answer_that_does_not_fit_the_request_is_refused(change: dict[str, str]) -> None:
    answer, net = answered(silent_makers(1))
    body = decode_answer(answer.payload)
    wrong = msgspec.structs.replace(
        body, trades=(msgspec.structs.replace(body.trades[0], **change),)
    )
    draft = net[1]._sealer.add(msgspec.json.encode(wrong).decode())
    net[1]._sealer.seal()
    with pytest.raises(RemoteProtocolError):
        net[0].taker.answer(draft.proof, net.now)
    [buy] = [own.live for own in net[0].ledger.own.values()]
    assert (buy.reserved, buy.filled) == (10, 0)


@pytest.mark.parametrize("member", ["maker_home", "taker_home"])
def test_an_answer_between_other_homes_is_refused_though_the_maker_signed_it(member: str) -> None:
    answer, net = answered(silent_makers(1))
    wrong = msgspec.structs.replace(decode_answer(answer.payload), **{member: "0" * 64})
    draft = net[1]._sealer.add(msgspec.json.encode(wrong).decode())
    net[1]._sealer.seal()
    with pytest.raises(RemoteProtocolError, match="not from the fill's maker"):
        net[0].taker.answer(draft.proof, net.now)
    [buy] = [own.live for own in net[0].ledger.own.values()]
    assert (buy.reserved, buy.filled) == (10, 0)


def test_the_makers_log_is_as_good_as_its_answer() -> None:
    _, net = answered(silent_makers(1))
    net.lost = {"fill.request", "fill.query"}
    net.run(40)  # its log is told, its answer is not
    [buy] = [own.live for own in net[0].ledger.closed.values()]
    assert (buy.status, buy.filled) == ("filled", 10)
    assert net[0].in_doubt() == []


@pytest.mark.parametrize("wrong", ["price", "quantity", "time"])
def test_a_makers_log_with_another_trade_than_was_asked_for_is_no_answer(wrong: str) -> None:
    """Nor is it the fault of the neighbour that passed it on."""
    net = silent_makers(1)
    buy = net.place(0, "buy", 10, 110)
    [intent] = net[0].taker.intents.values()
    [(maker, _, _)], deadline = intent.legs, intent.fill.deadline
    trade = TradeBody(
        trade_id(intent.fill.id, maker), "BTC-USD", "1", "0.001", "buy", maker, buy.order_id,
        net[1].key, net[0].key, deadline,
    )  # fmt: skip
    value = {"price": "1.01", "quantity": "0.0011", "time": deadline + 1}[wrong]
    trade = msgspec.structs.replace(trade, **{wrong: value})
    draft = net[1].ledger.log.append(net.now, trades=(trade,))
    net[1]._sealer.seal()
    assert net[0].replica.receive(draft.proof, net.now).verdict == "applied"
    assert (buy.reserved, buy.filled, net[0].taker.settled_by_log) == (10, 0, 0)
    assert intent.log_mark is None


def test_the_takers_log_is_as_good_as_its_word_that_it_has_the_answer() -> None:
    net = silent_makers(1)
    net.lost = {"fill.settled"}
    net.place(0, "buy", 4, 110)
    net.run(1)
    assert (net[1].maker.filled, net[1].maker.unsettled) == (1, 0)


def test_an_answer_is_unsettled_until_the_taker_shows_that_it_knows_over_a_restart() -> None:
    _, net = answered(silent_makers(1))
    assert net[1].maker.unsettled == 1
    net.restart(1)
    assert net[1].maker.unsettled == 1
    net.lost = set()
    net.link(0, 1)
    net.run(3)
    assert net[1].maker.unsettled == 0
    net.run(150)
    assert net.peers[1].database.load().answers == []


def test_the_takers_word_settles_where_its_log_does_not_come() -> None:
    net = silent_makers(1)
    net.lost = {"fill.settled"}
    first = net.place(0, "buy", 2, 110)
    net.lost = {"gossip.publish", "gossip.have", "sync.heads"}
    second = net.place(0, "buy", 2, 110)
    assert (first.filled, second.filled, net[1].maker.unsettled) == (2, 2, 0)


def test_only_the_taker_itself_can_settle() -> None:
    _, net = answered(silent_makers(1))
    [fill] = net[0].taker.intents
    home = net[1].key
    with pytest.raises(RemoteProtocolError):
        net[1].maker.settled(settlement(2, home, fill, says=net[0].key))
    net[1].maker.settled(settlement(2, home, fill))
    assert net[1].maker.unsettled == 1
    net[1].maker.settled(settlement(0, home, "0" * 32))
    net[1].maker.settled(settlement(0, home, fill))
    assert net[1].maker.unsettled == 0


def test_a_home_that_is_on_hold_is_asked_again_when_its_link_is_back() -> None:
    net = silent_makers(1)
    net.lost = {"fill.request", "result"}
    net.place(0, "buy", 5, 110)
    net.run(2)
    assert set(net[0].taker.on_hold) == {net[1].key}
    assert net[0].taker.asked_again >= 1
    net.cut(1)
    net.lost = set()
    net.link(0, 1)
    assert not net[0].taker.on_hold
    assert not net[0].taker.intents


def test_of_a_stored_fill_only_the_legs_without_an_outcome_are_in_doubt() -> None:
    """As earlier versions stored it: today all legs of a fill get their outcome at once."""
    net = silent_makers(1)
    net.place(1, "sell", 4, 100)
    net.place(0, "buy", 14, 110)
    [intent] = net[0].taker.intents.values()
    again = intent_from_row(intent_row(intent)._replace(settled=1), net[0].ledger, net.now)
    assert (intent.open_lots, again.open_lots) == (14, 4)
    assert (again.retry_at, again.legs) == (net.now, intent.legs)


def test_a_fill_can_be_given_up_in_the_batch_that_asks_for_it() -> None:
    net = silent_makers(1)
    live = net.place_only(0, "buy", 5, 110)
    [fill] = net[0].taker.intents
    net[0].taker.decide(fill, net.now)
    net.settle()
    assert (live.reserved, live.filled) == (0, 0)


def test_an_order_in_doubt_is_replaced_only_while_there_is_room_for_both() -> None:
    net = silent_makers(1)
    buy = net.place(0, "buy", 10, 110)
    net[0].home.live_orders_max = 1
    with pytest.raises(OrderError, match="its limit"):
        net[0].replace(buy.order_id, net.now, 20)
    assert (buy.reserved, len(net[0].ledger.own)) == (10, 1)
    net[0].home.live_orders_max = 2
    assert net[0].replace(buy.order_id, net.now, 20).order_id != buy.order_id
