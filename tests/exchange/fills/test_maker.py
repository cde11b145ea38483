"""The maker's home: what it refuses and why, what it keeps, what it tells its own client."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.fills.maker import DEADLINE_MS_MAX
from grenache_py.exchange.fills.messages import FillRequest, decode_answer, encode, fill_id
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed
from tests.support.peers import Network, settlement

MAKER, TAKER = 0, 1


class Asking:
    """A taker that asks what it likes, under its own key, with a real order."""

    def __init__(self, side: str = "buy", lots: int = 10, price: int | None = 100) -> None:
        self.net = net = Network(2)
        net.link(MAKER, TAKER)
        self.older = net.place(MAKER, "sell", 4, 100)
        self.net.lost = {"fill.request"}
        more = {"type": "market", "time_in_force": "ioc"} if price is None else {}
        self.order = net.place(TAKER, side, lots, price, **more)
        entry = net[TAKER].ledger.find(self.order.order_id)
        assert entry is not None and entry.order_entry is not None
        self.entry = entry.order_entry.proof
        self._sealer = Sealer(Identity.from_seed(bytes([TAKER + 1]) * 32), "test")
        self._fill_seq = 100

    def signed(self, payload: str) -> Signed:
        draft = self._sealer.add(payload)
        self._sealer.seal()
        return draft.proof

    def fill(self, *legs: tuple[str, str, str], **other: Any) -> FillRequest:
        self._fill_seq += 1
        net = self.net
        taker, maker = net[TAKER].key, net[MAKER].key
        identity = fill_id(self.order.order_id, maker, taker, self._fill_seq)
        fill = FillRequest(
            identity, taker, maker, "BTC-USD", self.order.order_id, self._fill_seq, "0.001",
            int(net.now * 1000) + 9_000, 1, legs or ((self.older.order_id, "0.0004", "1"),), False,
        )  # fmt: skip
        return msgspec.structs.replace(fill, **other)

    def ask(self, fill: FillRequest) -> Any:
        maker = self.net[MAKER].maker
        answer = maker.request(self.signed(encode(fill)), self.entry, self.net.now)
        return decode_answer(answer.payload)


def test_a_fill_trades_what_is_open_and_is_booked_at_the_makers_price() -> None:
    asking = Asking()
    answer = asking.ask(asking.fill((asking.older.order_id, "0.0003", "1")))
    assert (answer.why, [(t.quantity, t.price) for t in answer.trades]) == ("", [("0.0003", "1")])
    assert (asking.older.open, asking.older.filled, asking.older.value) == (1, 3, 300)
    again = asking.ask(asking.fill((asking.older.order_id, "0.0003", "1")))
    assert [trade.quantity for trade in again.trades] == ["0.0001"]
    assert (asking.older.status, asking.older.value) == ("filled", 400)  # its average price is 100
    [first, second] = asking.net[MAKER].trades_of(asking.older.order_id)
    assert (first.quantity_lots, second.quantity_lots) == (3, 1)
    assert {first.taker_home, second.taker_home} == {asking.net[TAKER].key}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"epoch": 2}, "epoch"),
        ({"committed": "0.0011"}, "committed"),
        ({"committed": "0.0003"}, "committed"),
        ({"all_or_none": True, "legs": None}, "partial"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(other: dict[str, Any], why: str) -> None:
    asking = Asking()
    if "legs" in other:
        other = {**other, "legs": ((asking.older.order_id, "0.0005", "1"),)}
    answer = asking.ask(asking.fill(**other))
    assert (answer.why, answer.trades) == (why, ())
    assert (asking.older.open, asking.older.filled) == (4, 0)


def test_all_or_none_of_what_is_there_is_filled() -> None:
    asking = Asking()
    assert asking.ask(asking.fill(all_or_none=True)).why == ""
    assert asking.older.status == "filled"


def test_a_deadline_that_has_come_is_not_yet_late() -> None:
    asking = Asking()
    maker = asking.net[MAKER]
    now = maker.clock.read_ms(asking.net.now)
    assert asking.ask(asking.fill(deadline=now - 1)).why == "late"
    assert asking.ask(asking.fill(deadline=now)).why == ""
    furthest = now + DEADLINE_MS_MAX + AHEAD_MS_MAX
    assert asking.ask(asking.fill(deadline=furthest)).why == "unknown"  # nothing is left
    with pytest.raises(OrderError, match="too far away"):
        asking.ask(asking.fill(deadline=furthest + 1))


def test_a_question_has_the_same_limits_of_time() -> None:
    asking = Asking()
    maker, taker = asking.net[MAKER], asking.net[TAKER].key
    now = maker.clock.read_ms(asking.net.now)

    def told(fill: str, deadline: int) -> str:
        return str(
            decode_answer(maker.maker.query(fill, taker, deadline, asking.net.now).payload).why
        )

    assert told("1" * 32, now - 1) == "late"
    assert told("2" * 32, now) == "unknown"
    assert maker.maker.poisoned == 1
    furthest = now + DEADLINE_MS_MAX + AHEAD_MS_MAX
    assert told("3" * 32, furthest) == "unknown"
    with pytest.raises(OrderError, match="too far away"):
        told("4" * 32, furthest + 1)


def test_legs_that_cannot_trade_are_left_out_and_the_others_trade() -> None:
    asking = Asking(price=100)
    net = asking.net
    same_side = net.place(MAKER, "buy", 4, 90)
    dearer = net.place(MAKER, "sell", 4, 101)
    answer = asking.ask(
        asking.fill(
            ("0" * 32, "0.0001", "1"),
            (same_side.order_id, "0.0001", "1"),
            (dearer.order_id, "0.0001", "1"),
            (asking.older.order_id, "0.0001", "1"),
        )
    )
    assert [trade.maker for trade in answer.trades] == [asking.older.order_id]
    for order, why in (
        ("0" * 32, "unknown"),
        (same_side.order_id, "unknown"),
        (dearer.order_id, "role"),  # younger than the order that takes
    ):
        assert asking.ask(asking.fill((order, "0.0001", "1"))).why == why


def test_the_limit_of_the_taker_is_kept_on_both_sides() -> None:
    asking = Asking(price=99)
    assert asking.ask(asking.fill()).why == "limit"
    net = Network(2)
    net.link(MAKER, TAKER)
    net.place(MAKER, "buy", 4, 100)
    sell = net.place(TAKER, "sell", 4, 100)
    assert sell.status == "filled"


def test_an_order_that_waits_for_its_stop_cannot_be_filled() -> None:
    asking = Asking()
    net = asking.net
    stop = net.place(MAKER, "sell", 4, 100, type="stop_limit", stop_ticks=50)
    assert asking.ask(asking.fill((stop.order_id, "0.0001", "1"))).why == "unknown"


def test_an_order_that_is_asked_for_elsewhere_cannot_be_filled_now() -> None:
    asking = Asking()
    asking.older.open, asking.older.reserved = 0, 4
    assert asking.ask(asking.fill()).why == "partial"


def test_a_frozen_home_gets_nothing() -> None:
    asking = Asking()
    asking.net[MAKER].replica.origins[asking.net[TAKER].key].freeze("two histories")
    assert asking.ask(asking.fill()).why == "frozen"
    assert asking.older.open == 4


def test_a_fill_that_does_not_fit_together_is_an_error_and_nothing_is_stored() -> None:
    asking = Asking()
    net = asking.net
    for wrong in (
        asking.fill(committed="0.00001"),
        asking.fill((asking.older.order_id, "0.00001", "1")),
    ):
        with pytest.raises(RemoteProtocolError):
            asking.ask(wrong)
    maker = net[MAKER].maker
    with pytest.raises(RemoteProtocolError, match="not for this home"):
        net[TAKER].maker.request(asking.signed(encode(asking.fill())), asking.entry, net.now)
    before = (maker.filled, maker.refused)
    net.place(TAKER, "buy", 1, 50)
    another = net[TAKER].ledger.log.tail[-1][1].proof
    with pytest.raises(RemoteProtocolError, match="does not publish its order"):
        maker.request(asking.signed(encode(asking.fill())), another, net.now)
    assert (maker.filled, maker.refused) == before


def test_nobody_trades_with_anothers_order() -> None:
    """A stranger signs a fill of an order that gossip brought, and everybody has its entry."""
    asking = Asking()
    net, stranger = asking.net, Identity.from_seed(b"s" * 32)
    fill = asking.fill()
    numbers = (fill.order, net[MAKER].key, stranger.key, fill.fill_seq)
    fill = msgspec.structs.replace(fill, id=fill_id(*numbers), taker_home=stranger.key)
    sealer = Sealer(stranger, "test")
    draft = sealer.add(encode(fill))
    sealer.seal()
    with pytest.raises(RemoteProtocolError, match="does not publish its order"):
        net[MAKER].maker.request(draft.proof, asking.entry, net.now)
    assert (asking.older.open, net[MAKER].maker.refused) == (4, 0)


@pytest.mark.parametrize("same", [MAKER, TAKER])
def test_a_fill_comes_from_another_home_and_is_for_this_one(same: int) -> None:
    asking = Asking()
    home, fill = asking.net[same].key, asking.fill()
    identity = fill_id(fill.order, home, home, fill.fill_seq)
    fill = msgspec.structs.replace(fill, id=identity, maker_home=home, taker_home=home)
    with pytest.raises(RemoteProtocolError, match="not for this home"):
        asking.ask(fill)
    assert (asking.older.open, asking.net[MAKER].maker.refused) == (4, 0)


def test_an_answer_is_given_again_after_a_restart_with_its_signature() -> None:
    """Three answers share it: each is a leaf of one tree."""
    asking = Asking()
    net = asking.net
    fills = [asking.fill((asking.older.order_id, "0.0001", "1")) for _ in range(3)]
    request = {fill.id: (asking.signed(encode(fill)), asking.entry) for fill in fills}
    drafts = [net[MAKER].maker.request(*request[fill.id], net.now) for fill in fills]
    net.settle()
    before = [draft.proof for draft in drafts]
    net.restart(MAKER)
    again = [net[MAKER].maker.request(*request[fill.id], net.now).proof for fill in fills]
    assert [each.wire() for each in again] == [each.wire() for each in before]
    for each in again:
        net[TAKER].maker.verifier.check(each, net[MAKER].key)


def test_a_fill_is_of_the_market_of_its_order() -> None:
    asking = Asking()
    with pytest.raises(RemoteProtocolError, match="names another market than its order"):
        asking.ask(asking.fill(market="ETH-USD"))
    assert (asking.older.open, asking.net[MAKER].maker.refused) == (4, 0)


@pytest.mark.parametrize(
    ("steps", "fits"),
    [
        ({"tick": "0.05"}, False),
        ({"lot": "0.0002"}, False),
        ({"lot": None}, False),
        ({"tick": None, "lot": None}, True),  # as version 0.1.0 published it
    ],
)
def test_an_order_with_another_tick_or_lot_gets_no_fill(steps: dict[str, Any], fits: bool) -> None:
    """Whatever its price and quantity are multiples of."""
    asking = Asking()
    entry = Entry.decode(asking.entry.payload)
    assert entry.order is not None
    order = msgspec.structs.replace(entry.order, **steps)
    asking.entry = asking.signed(msgspec.structs.replace(entry, order=order).encode())
    if fits:
        assert asking.ask(asking.fill()).why == ""
        return
    with pytest.raises(RemoteProtocolError, match="does not fit this market: its tick is"):
        asking.ask(asking.fill())
    assert (asking.older.open, asking.net[MAKER].maker.refused) == (4, 0)


def test_an_answer_is_kept_for_a_minute_after_its_deadline() -> None:
    """A repeat, or a question that was long under way, still gets the same bytes."""
    asking = Asking()
    net = asking.net
    fill = asking.fill()
    first = asking.ask(fill)
    net[MAKER].maker.settled(settlement(TAKER, net[MAKER].key, fill.id))
    net.lost |= {"fill.query"}
    net.run(60)
    assert asking.ask(fill) == first
    assert net[MAKER].maker.repeated == 1
    net.run(20)
    with pytest.raises(OrderError, match="forgotten"):
        asking.ask(fill)


def test_a_taker_that_has_many_answers_leaves_places_for_others() -> None:
    """It asks about fills that never were, and each such answer has to be kept."""
    net = Network(3)
    maker = net[MAKER].maker
    maker.answers_max = 100
    numbers = count()

    def asks(home: str) -> int:
        """How many are answered until it is told that there are too many."""
        for answered in range(maker.answers_max):
            deadline = int(net.now * 1000) + 9_000
            try:
                maker.query(f"{next(numbers):064x}", home, deadline, net.now)
            except OrderError as error:
                assert error.code == BUSY
                return answered
        return maker.answers_max

    assert [asks(net[TAKER].key), asks(net[2].key), asks(net[TAKER].key)] == [80, 16, 0]
    net.run(80)
    assert asks(net[TAKER].key) == 80  # all of it is forgotten


def test_a_fill_of_a_market_that_is_not_traded_here_is_refused_for_good() -> None:
    asking = Asking()
    asking.net[MAKER].ledger.markets = {}
    fill = asking.fill()
    answers = [asking.ask(fill), asking.ask(fill)]
    assert [(each.fill, each.why) for each in answers] == [(fill.id, "unknown")] * 2
    maker = asking.net[MAKER].maker
    assert (maker.refused, maker.repeated) == (1, 1)
