"""Fill messages as text: what is asked and answered is read back alike, or refused."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.fills.messages import (
    FILLS_TOLD_MAX,
    LEGS_MAX,
    LEGS_READ_MAX,
    FillAnswer,
    FillRequest,
    Settled,
    decode_answer,
    decode_fill,
    decode_settled,
    encode,
    fill_id,
    trade_id,
)
from grenache_py.exchange.fills.query import FillQuery, decode_query, encode_query
from grenache_py.exchange.signed_log.entries import TradeBody
from tests.support.peers import Network

TAKER, MAKER, ORDER = "a" * 64, "b" * 64, "c" * 32
LEG = ("d" * 32, "1", "2.5")
TRADE = TradeBody("e" * 32, "M", "2.5", "1", "buy", LEG[0], ORDER, MAKER, TAKER, 7)


def a_fill(**other: Any) -> FillRequest:
    fill = FillRequest(
        fill_id(ORDER, MAKER, TAKER, 3), TAKER, MAKER, "M", ORDER, 3, "2", 9, 1, (LEG,), False
    )
    return msgspec.structs.replace(fill, **other)


def an_answer(**other: Any) -> FillAnswer:
    return msgspec.structs.replace(FillAnswer("f" * 32, TAKER, MAKER, "", (TRADE,)), **other)


def test_a_fill_and_an_answer_are_read_back_alike() -> None:
    assert decode_fill(encode(a_fill())) == a_fill()
    assert decode_answer(encode(an_answer())) == an_answer()
    assert decode_answer(encode(an_answer(why="late", trades=()))).why == "late"


def test_a_fill_has_another_id_for_each_order_home_and_number() -> None:
    ids = {
        fill_id(ORDER, MAKER, TAKER, 3),
        fill_id("0" * 32, MAKER, TAKER, 3),
        fill_id(ORDER, TAKER, TAKER, 3),
        fill_id(ORDER, MAKER, MAKER, 3),
        fill_id(ORDER, MAKER, TAKER, 4),
    }
    assert len(ids) == 5
    assert {len(text) for text in ids} == {32}
    trades = {trade_id("1" * 32, "2" * 32), trade_id("2" * 32, "2" * 32), trade_id("1" * 32, ORDER)}
    assert len(trades) == 3


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("taker_home", "A" * 64), ("maker_home", "x" * 64), ("order", "x" * 32), ("id", "0" * 32),
        ("committed", "1e5"), ("committed", ""), ("legs", ()),
        ("legs", (LEG,) * (LEGS_READ_MAX + 1)),
        ("legs", (LEG, LEG)), ("legs", (("x" * 32, "1", "1"),)), ("legs", (("d" * 32, "-", "1"),)),
        ("legs", (("d" * 32, "1", "x"),)), ("fill_seq", 4), ("deadline", -1), ("market", ""),
    ],
)  # fmt: skip
def test_a_fill_with_one_wrong_member_is_refused(member: str, value: object) -> None:
    with pytest.raises(RemoteProtocolError, match="fill"):
        decode_fill(encode(a_fill(**{member: value})))


def test_a_fill_may_have_as_many_legs_as_the_limit_says() -> None:
    legs = tuple((f"{number:032x}", "1", "1") for number in range(LEGS_MAX))
    assert len(decode_fill(encode(a_fill(legs=legs))).legs) == LEGS_MAX == 28


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("fill", "x" * 32), ("taker_home", "X" * 64), ("maker_home", "x" * 64), ("why", "mood"),
        ("trades", (msgspec.structs.replace(TRADE, price="1e5"),)),
        ("trades", (msgspec.structs.replace(TRADE, quantity="x"),)),
        ("trades", (msgspec.structs.replace(TRADE, id="x" * 32),)),
        ("trades", (TRADE,) * (LEGS_READ_MAX + 1)),
    ],
)  # fmt: skip
def test_an_answer_with_one_wrong_member_is_refused(member: str, value: object) -> None:
    with pytest.raises(RemoteProtocolError, match="fill answer"):
        decode_answer(encode(an_answer(**{member: value})))


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"kind":"fill"}', '{"kind":"answer"}', "\ud800"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    for decode in (decode_fill, decode_answer):
        with pytest.raises(RemoteProtocolError, match="bad fill"):
            decode(text)
    with pytest.raises(RemoteProtocolError):
        decode_fill(encode(an_answer()))
    with pytest.raises(RemoteProtocolError):
        decode_answer(encode(a_fill()))


def test_a_question_names_a_fill_its_order_its_number_and_its_deadline() -> None:
    query = FillQuery(fill_id(ORDER, "a" * 64, "b" * 64, 3), ORDER, "a" * 64, "b" * 64, 3, 0)
    assert decode_query(encode_query(query)) == query
    for wrong in (
        {"fill": "f" * 31}, {"fill": None}, {"fill_seq": "3"}, {"fill_seq": None}, {"fill_seq": 4},
        {"deadline": -1}, {"deadline": "0"}, {"deadline": True},
    ):  # fmt: skip
        with pytest.raises(RemoteProtocolError):
            decode_query(encode_query(msgspec.structs.replace(query, **wrong)))


def test_settled_fills_are_told_in_lists_of_bounded_length() -> None:
    most = ("f" * 32,) * FILLS_TOLD_MAX
    settled = Settled("a" * 64, "b" * 64, most)
    assert decode_settled(encode(settled)) == settled
    for wrong in (None, "f" * 32, (), (*most, "f" * 32), ("f" * 33,), ("x" * 32,), (5,)):
        with pytest.raises(RemoteProtocolError):
            decode_settled(encode(msgspec.structs.replace(settled, fills=wrong)))


@pytest.mark.parametrize("deep", ['{"kind":' + "[" * 13_000, '{"kind":' + '{"a":' * 2_600])
@pytest.mark.parametrize("decode", [decode_fill, decode_answer, decode_settled, decode_query])
def test_what_is_nested_deeply_is_a_strangers_fault(decode: Any, deep: str) -> None:
    """Anything but this error would be a bug of ours, for which the node is made anew."""
    with pytest.raises(RemoteProtocolError):
        decode(deep)


def test_who_sends_it_pays_and_the_node_goes_on() -> None:
    network = Network(2)
    network.mesh()
    [link] = network[0].peering.ready()
    before = network[0].peering.scores.of(link.key, network.now)
    wire = {"payload": '{"kind":' + "[" * 13_000, "signature": b64encode(bytes(64)).decode()}
    message = {"jsonrpc": "2.0", "method": "fill.settled", "params": {"settled": wire}}
    network[0].link_message(link.id, message, network.now)
    assert network[0].peering.scores.of(link.key, network.now) < before
