"""What a maker forgets, and what it never says of a fill that traded."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.errors import FORGOTTEN, OrderError
from grenache_py.exchange.fills import traded
from grenache_py.exchange.fills.messages import Settled, decode_answer, encode
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.fills.traded import TRADED_MS, TradedFills
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed
from tests.support.memory_database import MemoryDatabase
from tests.support.peers import Network

MAKER, TAKER = 0, 1


@pytest.fixture
def net() -> Network:
    net = Network(2)
    net.link(MAKER, TAKER)
    return net


def traded_fill(net: Network) -> tuple[str, int, Signed, Signed]:
    """Id, deadline and signed bytes of a fill that traded, and the entry of its order."""
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 20, 100)
    [intent] = net[TAKER].taker.intents.values()
    entry = net[TAKER].ledger.own[buy.order_id].order_entry
    assert entry is not None
    net.lost = set()
    net.run(5)
    assert (buy.filled, net[TAKER].taker.intents) == (15, {})
    return intent.fill.id, intent.fill.deadline, intent.draft.proof, entry.proof


def forgotten(net: Network, fill: str, deadline: int) -> bool:
    """Whether the maker, asked about a fill, says that it cannot know; else it says "late"."""
    try:
        answer = net[MAKER].maker.query(fill, net[TAKER].key, deadline, net.now)
    except OrderError as error:
        assert error.code == FORGOTTEN
        return True
    assert decode_answer(answer.payload).why == "late"
    return False


@pytest.mark.parametrize("restarts", [False, True])
def test_a_fill_that_traded_is_never_called_late_once_its_answer_is_forgotten(
    net: Network, restarts: bool
) -> None:
    fill, deadline, signed, order = traded_fill(net)
    net.run(120)
    assert len(net[MAKER].maker._answers) == 0
    if restarts:
        net.restart(MAKER)
    assert forgotten(net, fill, deadline)
    with pytest.raises(OrderError) as error:
        net[MAKER].maker.request(signed, order, net.now)
    assert error.value.code == FORGOTTEN
    # Of a fill that never was, it still says so.
    assert not forgotten(net, "ab" * 16, deadline)


def test_before_the_horizon_nobody_knows_any_more(net: Network) -> None:
    fill, deadline, *_ = traded_fill(net)
    net.run(120)
    net.now += TRADED_MS / 1000
    net.run(30)  # until its neighbour has told that this leap of the clock is right
    assert len(net[MAKER].maker._answers.traded) == 0
    for _ in range(2):
        assert forgotten(net, fill, deadline)
        assert forgotten(net, "ab" * 16, deadline)
        assert not forgotten(net, "ab" * 16, int(net.now * 1000) - 1)
        net.restart(MAKER)


def test_forgotten_settles_nothing_at_the_taker(net: Network) -> None:
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 15, 100)
    net[TAKER].replica.origins[net[MAKER].key].jumps += 1  # or the maker's log would be the answer
    net[MAKER].maker._answers.traded.horizon_ms = int(net.now * 1000) + 60_000
    with mock.patch.object(Taker, "log_reached", lambda self, home, time_ms, now: None):
        net.run(60)
    assert net.counts["error"] > 1
    assert (buy.reserved, buy.filled, len(net[TAKER].taker.intents)) == (15, 0, 1)


def test_only_the_takers_signature_lets_an_answer_be_forgotten(net: Network) -> None:
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"result", "gossip.publish"}
    net.place(TAKER, "buy", 15, 100)
    [intent] = net[TAKER].taker.intents.values()
    maker, home = net[MAKER].maker, net[MAKER].key
    assert maker.unsettled == 1
    sealer = Sealer(Identity.from_seed(b"e" * 32), "test")  # whoever the link belongs to

    def told(by: str, to: str) -> Signed:
        draft = sealer.add(encode(Settled(by, to, (intent.fill.id,))))
        sealer.seal()
        return draft.proof

    for lie in (told(net[TAKER].key, home), told(net[TAKER].key, net[TAKER].key)):
        with pytest.raises(RemoteProtocolError):
            maker.settled(lie)
    maker.settled(told(Identity.from_seed(b"e" * 32).key, home))  # true, and not its fill
    assert maker.unsettled == 1
    net.lost = set()
    net.run(30)
    assert maker.unsettled == 0


def test_without_the_maker_remembering_it_denies_the_trade(net: Network) -> None:
    """The rule, switched off."""
    fill, deadline, *_ = traded_fill(net)
    net.run(120)
    with mock.patch.object(TradedFills, "may_have_traded", lambda *args: False):
        assert not forgotten(net, fill, deadline)


def test_an_answer_that_cannot_be_read_does_not_keep_its_home_from_starting(net: Network) -> None:
    net.lost = {"fill.settled"}
    net.place(MAKER, "sell", 5, 100)
    net.place(TAKER, "buy", 5, 100)
    net.peers[MAKER].database.connection.execute("UPDATE answers SET payload = '{'")
    net.restart(MAKER)
    assert net[MAKER].tape("BTC-USD")


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=60),
    st.integers(1, 8),
)
def test_every_traded_fill_is_remembered_or_before_the_horizon(
    steps: list[tuple[int, int]], ids_max: int
) -> None:
    """Whatever is added late, in whatever order, over restarts, with small limits."""
    database = MemoryDatabase()
    fills = TradedFills(Outbox(), ids_max)
    now, known = 0, dict[str, int]()
    with mock.patch.object(traded, "TRADED_MS", 50):
        for number, (age, wait) in enumerate(steps):
            now += wait
            known[f"{number:032x}"] = now - age
            fills.add(f"{number:032x}", now - age)
            fills.forget(now)
            database.commit(fills.outbox.rows)
            if wait % 3 == 0:
                fills = TradedFills(Outbox(), ids_max)
                fills.restore(database.load())
            fills.outbox.rows.clear()
            assert len(fills) <= ids_max
            for fill, deadline in known.items():
                assert fills.may_have_traded(fill, deadline)
    assert not fills.may_have_traded("ff" * 16, now + 1)


def test_a_traded_fill_is_remembered_for_just_so_long() -> None:
    fills = TradedFills(Outbox())
    fills.add("ab" * 16, 1_000)
    fills.forget(1_000 + TRADED_MS)
    assert (len(fills), fills.horizon_ms) == (1, 0)
    fills.forget(1_000 + TRADED_MS + 1)
    assert (len(fills), fills.horizon_ms) == (0, 1_000)


def test_a_new_home_has_forgotten_nothing() -> None:
    fills = TradedFills(Outbox())
    fills.restore(Snapshot())
    fills.forget(10**15)
    assert (fills.horizon_ms, fills.outbox.rows) == (0, [])
    assert not fills.may_have_traded("ab" * 16, 1)


# A home on hold (docs/design/fills.rst#on-hold).


def test_a_home_on_hold_comes_off_when_it_answers_about_a_fill_that_was_given_up(
    net: Network,
) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.place(MAKER, "sell", 10, 101)
    net.lost = {"fill.request", "fill.query"}
    net.place(TAKER, "buy", 10, 100)
    net.run(3)
    [doubt] = net[TAKER].in_doubt()
    net[TAKER].taker.decide(doubt["fill"], net.now)
    net.run(3)
    assert set(net[TAKER].taker.on_hold) == {net[MAKER].key}
    net.lost = set()
    net.run(2)
    assert not net[TAKER].taker.on_hold


def test_an_answer_that_its_home_did_not_sign_takes_nobody_off_hold(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.lost = {"fill.request", "fill.query"}
    net.place(TAKER, "buy", 10, 100)
    net.run(3)
    taker: Taker = net[TAKER].taker
    [(fill, intent)] = taker.intents.items()
    taker.decide(fill, net.now)
    answer = net[MAKER].maker.query(fill, net[TAKER].key, intent.fill.deadline, net.now)
    sealer = Sealer(Identity.from_seed(b"e" * 32), "test")
    forged = sealer.add(answer.payload)
    sealer.seal()
    with pytest.raises(RemoteProtocolError):
        taker.answer(forged.proof, net.now)
    assert taker.on_hold


# Giving up (docs/design/fills.rst#giving-up).


def test_a_maker_that_can_be_reached_is_asked_before_its_fill_is_given_up(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.lost = {"result", "gossip.publish"}
    buy = net.place(TAKER, "buy", 10, 100)
    [doubt] = net[TAKER].in_doubt()
    net.lost = {"gossip.publish"}
    with pytest.raises(OrderError, match="was asked") as error:
        net[TAKER].decide(doubt["fill"], net.now)
    assert error.value.data["retry_after_ms"] == 5_000
    net.settle()
    assert (buy.filled, net[TAKER].in_doubt()) == (10, [])  # it had traded


def test_a_maker_that_was_asked_and_says_nothing_is_given_up_the_second_time(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.lost = {"fill.request", "fill.query"}
    buy = net.place(TAKER, "buy", 10, 100)
    [doubt] = net[TAKER].in_doubt()
    for _ in range(2):
        with pytest.raises(OrderError, match="decide again"):
            net[TAKER].decide(doubt["fill"], net.now)
        net.run(2)
    net.run(2)
    net[TAKER].decide(doubt["fill"], net.now)
    assert (buy.reserved, net[TAKER].in_doubt()) == (0, [])
