"""Trades between two homes: reserve, ask, answer once, settle; whatever gets lost or repeated."""

from __future__ import annotations

import msgspec
import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import BUSY, CANNOT_FILL, OrderError
from grenache_py.exchange.fills.messages import decode_answer
from grenache_py.exchange.serving import LISTEN_S
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Signed
from tests.support.peers import Network, conserved

MAKER, TAKER = 0, 1


@pytest.fixture
def net() -> Network:
    net = Network(2)
    net.link(MAKER, TAKER)
    return net


def everywhere_the_same(net: Network) -> None:
    """Both sides list the same trades; nothing is in doubt; every quantity adds up."""
    for peer in net.peers:
        assert not peer.node.taker.intents
        conserved(peer.node)
    tapes = [{t.trade_id: t for t in peer.node.tape("BTC-USD")} for peer in net.peers]
    assert tapes[0] == tapes[1]
    assert net.book(0) == net.book(1)


def test_a_crossing_order_trades_once_at_the_makers_price(net: Network) -> None:
    sell = net.place(MAKER, "sell", 15, 100)
    buy = net.place(TAKER, "buy", 20, 101)
    assert (sell.status, buy.filled, buy.open, buy.reserved) == ("filled", 15, 5, 0)
    assert [t.price_ticks for t in net[TAKER].tape("BTC-USD")] == [100]
    assert net.book(MAKER) == ([(101, 5)], [])
    everywhere_the_same(net)


def test_both_homes_keep_what_proves_a_trade(net: Network) -> None:
    """The taker's fill and the entry of its order, each signed; the maker its answer besides."""
    net.place(MAKER, "sell", 10, 100)
    buy = net.place(TAKER, "buy", 10, 100)
    entry = net[TAKER].ledger.closed[buy.order_id].order_entry
    assert entry is not None
    for home in (MAKER, TAKER):
        connection = net.peers[home].database.connection
        payloads = {payload for (payload,) in connection.execute("SELECT payload FROM evidence")}
        kinds = {msgspec.json.decode(payload).get("kind") for payload in payloads}
        assert entry.payload in payloads
        assert "fill" in kinds
        assert home == TAKER or "answer" in kinds


def test_the_quantity_is_reserved_on_disk_before_the_fill_leaves(net: Network) -> None:
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 15, 100)
    assert (buy.open, buy.reserved) == (0, 15)
    net.restart(TAKER)
    found = net[TAKER].order(buy.order_id)
    assert found is not None
    assert (found.open, found.reserved, len(net[TAKER].in_doubt())) == (0, 15, 1)
    net.lost = set()
    net.link(MAKER, TAKER)
    net.run(LISTEN_S + 1)
    assert net[TAKER].order(buy.order_id).status == "filled"  # type: ignore[union-attr]
    everywhere_the_same(net)


@pytest.mark.parametrize("lost", ["result", "fill.settled"])
def test_a_lost_answer_is_asked_for_again_and_is_the_same(net: Network, lost: str) -> None:
    sell = net.place(MAKER, "sell", 15, 100)
    net.lost = {lost, "gossip.publish"}
    net.place(TAKER, "buy", 15, 100)
    assert sell.filled == 15
    net.run(2)
    assert net[MAKER].maker.filled == 1
    net.lost = set()
    net.run(30)
    everywhere_the_same(net)


def test_a_maker_that_restarts_after_committing_answers_from_its_disk(net: Network) -> None:
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"result", "gossip.publish"}
    buy = net.place(TAKER, "buy", 15, 100)
    net.restart(MAKER)
    net.lost = set()
    net.link(TAKER, MAKER)
    net.run(1)
    assert (buy.status, buy.filled) == ("filled", 15)
    assert net[MAKER].maker.filled == 0  # by this process: it only repeated the stored answer
    everywhere_the_same(net)


def test_after_its_deadline_a_fill_is_asked_about_which_makes_it_impossible(net: Network) -> None:
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 15, 100)
    [intent] = net[TAKER].taker.intents.values()
    net.run(8)
    assert buy.reserved == 15  # a time-out never releases
    entry = net[TAKER].ledger.own[buy.order_id].order_entry
    assert entry is not None
    net.restart(TAKER)  # so that it cannot know that it saw each entry of the maker's log
    net.link(TAKER, MAKER)
    net.run(30)
    assert net.counts["fill.query"] >= 1
    assert intent.fill.id not in net[TAKER].taker.intents
    # The delayed request arrives after all: it is late and stays refused.
    answer = net[MAKER].maker.request(intent.draft.proof, entry.proof, net.now)
    assert decode_answer(answer.payload).trades == ()
    net.settle()


def test_the_makers_log_beyond_the_deadline_is_an_answer(net: Network) -> None:
    """docs/design/fills.rst#log-answer."""
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request", "fill.query"}
    buy = net.place(TAKER, "buy", 15, 100)
    net.run(9)
    assert (buy.reserved, net[TAKER].taker.settled_by_log) == (15, 0)
    net.run(8)  # a heartbeat with a time beyond the deadline, and no trade before it
    assert net[TAKER].taker.settled_by_log >= 1
    assert net[TAKER].taker.settled == net[TAKER].taker.settled_by_log
    net.lost = set()
    net.run(31)
    assert (buy.status, buy.filled) == ("filled", 15)
    everywhere_the_same(net)


def test_the_makers_log_answers_each_fill_that_is_under_way(net: Network) -> None:
    for price in (100, 101, 102):
        net.place(MAKER, "sell", 5, price)
    net.lost = {"fill.request", "fill.query"}
    buys = [net.place(TAKER, "buy", 5, price) for price in (100, 101, 102)]
    net.run(9)
    assert [buy.reserved for buy in buys] == [5, 5, 5]
    net.run(8)
    assert net[TAKER].taker.settled_by_log >= 3


def test_a_fill_that_is_answered_at_once_took_no_time(net: Network) -> None:
    net.place(MAKER, "sell", 5, 100)
    net.place(TAKER, "buy", 5, 100)
    times = net[TAKER].taker.asking.round_trips
    assert (sum(times.counts), times.total) == (1, 0.0)


def test_a_log_with_a_gap_is_no_answer(net: Network) -> None:
    """What was jumped over might have held the trade: only the maker can tell then."""
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request", "fill.query", "result"}
    buy = net.place(TAKER, "buy", 15, 100)
    origin = net[TAKER].replica.origins[net[MAKER].key]
    origin.jumps += 1  # as when a heartbeat is adopted
    net.run(20)
    assert (buy.reserved, net[TAKER].taker.settled_by_log) == (15, 0)
    net.lost = set()
    net.run(31)
    assert (buy.status, net[TAKER].taker.settled_by_log) == ("filled", 0)
    everywhere_the_same(net)


def test_a_partly_refused_fill_whose_answer_is_lost_is_settled_by_the_log(net: Network) -> None:
    cancelled, standing = (net.place(MAKER, "sell", 2, 100) for _ in range(2))
    net.lost = {"gossip.publish"}
    net[MAKER].cancel(cancelled.order_id, net.now)
    net.settle()
    net.lost = {"result"}
    buy = net.place(TAKER, "buy", 4, 100)
    assert (standing.filled, buy.reserved) == (2, 4)
    net.lost = {"fill.request", "fill.query"}
    net.run(20)
    assert (buy.filled, buy.reserved, net[TAKER].taker.settled_by_log) == (2, 0, 1)


def test_a_query_before_the_deadline_leaves_a_tombstone_that_outlives_a_crash(
    net: Network,
) -> None:
    sell = net.place(MAKER, "sell", 15, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 15, 100)
    [intent] = net[TAKER].taker.intents.values()
    maker = net[MAKER].maker
    first = maker.query(intent.fill.id, net[TAKER].key, intent.fill.deadline, net.now)
    net.settle()
    entry = net[TAKER].ledger.own[buy.order_id].order_entry
    assert entry is not None
    net.restart(MAKER)
    again = net[MAKER].maker.request(intent.draft.proof, entry.proof, net.now)
    assert again.payload == first.payload
    assert decode_answer(again.payload).why == "unknown"
    assert (sell.filled, net[MAKER].tape("BTC-USD")) == (0, [])


def test_a_refusal_is_final_even_when_the_maker_could_fill_later(net: Network) -> None:
    sell = net.place(MAKER, "sell", 15, 100)
    net.lost = {"gossip.publish", "fill.request"}
    buy = net.place(TAKER, "buy", 15, 100)
    [intent] = net[TAKER].taker.intents.values()
    net[MAKER].cancel(sell.order_id, net.now)
    entry = net[TAKER].ledger.own[buy.order_id].order_entry
    assert entry is not None
    maker = net[MAKER].maker
    refusal = maker.request(intent.draft.proof, entry.proof, net.now)
    net.settle()
    net.place(MAKER, "sell", 15, 100)
    again = net[MAKER].maker.request(intent.draft.proof, entry.proof, net.now)
    assert again.payload == refusal.payload


def test_a_partial_fill_returns_the_rest_to_the_book(net: Network) -> None:
    sell = net.place(MAKER, "sell", 15, 100)
    net.lost = {"gossip.publish"}
    net[MAKER].replace(sell.order_id, net.now, quantity_lots=6)
    net.settle()
    buy = net.place(TAKER, "buy", 15, 100)
    assert (buy.filled, buy.open, buy.reserved) == (6, 9, 0)


def test_fifty_makers_of_one_home_are_asked_in_two_fills(net: Network) -> None:
    for _ in range(50):
        net.place(MAKER, "sell", 2, 100)
    net.counts.clear()
    buy = net.place(TAKER, "buy", 100, 100)
    assert (buy.status, net.counts["fill.request"]) == ("filled", 2)
    assert len(net[TAKER].tape("BTC-USD")) == 50
    everywhere_the_same(net)


def test_a_fill_of_several_legs_is_settled_as_a_whole_or_not_at_all(net: Network) -> None:
    """The maker may forget its answer as soon as the taker's log shows a trade of it."""
    cancelled, standing = (net.place(MAKER, "sell", 2, 100) for _ in range(2))
    net.lost = {"gossip.publish"}
    net[MAKER].cancel(cancelled.order_id, net.now)
    net.settle()  # which the taker does not hear of
    net.lost = {"result"}
    buy = net.place(TAKER, "buy", 4, 100)
    net.run(2)
    assert standing.filled == 2
    assert (buy.reserved, net[MAKER].maker.unsettled) == (4, 1)
    net.lost = {"fill.request", "fill.query"}
    net[TAKER].replica.origins[net[MAKER].key].jumps += 1  # or the log would be the answer
    net.run(100)
    net.lost = set()
    net.run(31)
    assert (buy.filled, buy.open, net[MAKER].maker.unsettled) == (2, 2, 0)
    everywhere_the_same(net)


def test_the_fills_of_one_batch_share_log_entries(net: Network) -> None:
    sell = net.place(MAKER, "sell", 100, 100)
    seq, version = net[MAKER].ledger.log.seq, sell.version
    for _ in range(40):
        net.place_only(TAKER, "buy", 2, 100)
    net.settle()
    entries = [Entry.decode(draft.payload) for at, draft in net[MAKER].ledger.log.tail if at > seq]
    assert [len(entry.trades) for entry in entries] == [16, 16, 8]
    assert [
        [(state.version - version, state.filled) for state in entry.states] for entry in entries
    ] == [[(1, "0.0032")], [(2, "0.0064")], [(3, "0.008")]]
    assert sell.filled == 80
    everywhere_the_same(net)
    # What proves the trades is kept once: two statements of the taker's a fill, and the entries.
    connection = net.peers[TAKER].database.connection
    assert connection.execute("SELECT count(*) FROM evidence").fetchone() == (2 * 40 + 3,)


def test_an_order_published_in_between_is_later_than_what_was_before(net: Network) -> None:
    """Entries' times must rise: a home that breaks this is not believed any more."""
    first, second = (net.place(MAKER, "sell", 10, price) for price in (100, 101))
    net[MAKER].cancel(first.order_id, net.now)
    late = net.place_only(MAKER, "buy", 4, 101)
    net[MAKER].cancel(second.order_id, net.now)
    net.settle()
    entries = [Entry.decode(draft.payload) for _, draft in net[MAKER].ledger.log.tail][-3:]
    assert [len(entry.states) for entry in entries] == [1, 2, 1]
    assert entries[0].time < entries[1].time < entries[2].time
    assert (late.status, second.filled, second.status) == ("filled", 4, "cancelled")
    assert not net[TAKER].replica.origins[net[MAKER].key].frozen
    everywhere_the_same(net)


def test_fill_or_kill_trades_wholly_at_one_home_or_not_at_all(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.place(TAKER, "sell", 10, 100)
    with pytest.raises(OrderError) as caught:
        net.place(TAKER, "buy", 15, 100, time_in_force="fok")
    assert caught.value.code == CANNOT_FILL
    done = net.place(TAKER, "buy", 10, 100, time_in_force="fok")
    assert done.status == "filled"
    everywhere_the_same(net)


def test_fill_or_kill_that_a_stale_view_promised_too_much_for_kills(net: Network) -> None:
    sell = net.place(MAKER, "sell", 10, 100)
    net.lost = {"gossip.publish"}
    net[MAKER].replace(sell.order_id, net.now, quantity_lots=6)
    net.settle()
    buy = net.place(TAKER, "buy", 10, 100, time_in_force="fok")
    assert (buy.status, buy.filled, sell.filled) == ("cancelled", 0, 0)


def test_what_an_ioc_does_not_get_is_closed_not_put_into_the_book(net: Network) -> None:
    sell = net.place(MAKER, "sell", 10, 100)
    net.lost = {"gossip.publish"}
    net[MAKER].replace(sell.order_id, net.now, quantity_lots=6)
    net.settle()
    buy = net.place(TAKER, "buy", 12, 100, time_in_force="ioc")
    assert (buy.status, buy.filled, buy.closed) == ("cancelled", 6, 6)
    assert net.book(TAKER)[0] == []


def test_cancelling_while_in_doubt_closes_what_comes_back(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 15, 100)
    net[TAKER].cancel(buy.order_id, net.now)
    assert (buy.status, buy.reserved, buy.open) == ("pending_cancel", 10, 0)
    net.lost = set()
    net.run(2)
    assert (buy.status, buy.filled, buy.closed) == ("cancelled", 10, 5)
    everywhere_the_same(net)


def test_the_younger_of_two_orders_that_crossed_unseen_is_the_taker(net: Network) -> None:
    net.lost = {"gossip.publish"}
    older = net.place(MAKER, "sell", 10, 100)
    net.now += 0.01
    younger = net.place(TAKER, "buy", 10, 105)
    assert (older.filled, younger.filled) == (0, 0)
    net.lost = set()
    net.run(12)
    assert (older.status, younger.status) == ("filled", "filled")
    [trade] = net[MAKER].tape("BTC-USD")
    assert (trade.price_ticks, trade.taker_order) == (100, younger.order_id)
    everywhere_the_same(net)


def test_a_post_only_order_that_turns_out_to_cross_an_older_one_is_cancelled(
    net: Network,
) -> None:
    net.lost = {"gossip.publish"}
    net.place(MAKER, "sell", 10, 100)
    net.now += 0.01
    younger = net.place(TAKER, "buy", 10, 105, post_only=True)
    net.lost = set()
    net.run(12)
    assert younger.status == "cancelled"


def test_a_home_that_answers_nothing_is_left_alone_until_it_does(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.place(MAKER, "sell", 10, 101)
    net.lost = {"fill.request", "result"}
    net.place(TAKER, "buy", 10, 100)
    net.run(3)
    assert set(net[TAKER].taker.on_hold) == {net[MAKER].key}
    second = net.place(TAKER, "buy", 10, 101)
    assert (second.reserved, second.open) == (0, 10)
    net.lost = {"fill.request"}
    net.run(4)  # it answers pings, and is asked about the fill
    net.cut(MAKER)
    net.link(TAKER, MAKER)
    net.run(1)  # a new link is no answer either
    assert (second.reserved, second.open) == (0, 10)
    net.lost = set()
    net.run(5)
    assert second.status == "filled"
    everywhere_the_same(net)


def test_a_machine_that_slept_asks_nothing_of_who_let_a_fill_time_out(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.place(MAKER, "sell", 10, 101)
    net.lost = {"fill.request", "result"}
    net.place(TAKER, "buy", 10, 100)
    net.now += 20.0  # and no timer went off
    second = net.place(TAKER, "buy", 10, 101)
    assert (second.reserved, second.open) == (0, 10)


def test_an_operator_can_give_up_on_a_fill_whose_maker_is_gone(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.lost = {"fill.request"}
    buy = net.place(TAKER, "buy", 10, 100)
    [doubt] = net[TAKER].in_doubt()
    net.cut(MAKER)
    before = net[TAKER].ledger.log.seq
    with pytest.raises(OrderError, match="was asked"):  # its address is known: who can tell
        net[TAKER].decide(doubt["fill"], net.now)
    net.now += 5
    net[TAKER].decide(doubt["fill"], net.now)
    net.settle()
    assert (buy.reserved, buy.open, net[TAKER].in_doubt()) == (0, 10, [])
    assert net[TAKER].ledger.log.seq == before + 1  # signed and logged
    with pytest.raises(OrderError):
        net[TAKER].decide(doubt["fill"], net.now)


def test_a_busy_maker_is_not_final(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net[MAKER].maker.answers_max = 0
    buy = net.place(TAKER, "buy", 10, 100)
    assert (buy.reserved, net.counts["error"]) == (10, 1)
    net[MAKER].maker.answers_max = 10
    net.run(3)
    assert buy.status == "filled"
    everywhere_the_same(net)


def test_answers_are_forgotten_once_settled_and_late(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.place(TAKER, "buy", 10, 100)
    assert net[MAKER].maker.unsettled == 0
    assert len(net.peers[MAKER].database.load().answers) == 1
    net.run(80)
    assert net.peers[MAKER].database.load().answers == []


def test_forged_or_foreign_messages_change_nothing(net: Network) -> None:
    net.place(MAKER, "sell", 10, 100)
    net.lost = {"fill.request", "gossip.publish"}
    buy = net.place(TAKER, "buy", 10, 100)
    [intent] = net[TAKER].taker.intents.values()
    entry = net[TAKER].ledger.own[buy.order_id].order_entry
    assert entry is not None
    maker, proof = net[MAKER].maker, intent.draft.proof
    larger = proof.payload.replace('"0.001"', '"0.002"')
    assert larger != proof.payload
    forged = Signed(larger, proof.path, proof.index, proof.size, proof.signature)
    for fill, order in ((forged, entry.proof), (proof, proof), (entry.proof, entry.proof)):
        with pytest.raises(RemoteProtocolError):
            maker.request(fill, order, net.now)
    with pytest.raises(RemoteProtocolError):
        net[TAKER].taker.answer(entry.proof, net.now)
    answer = maker.request(proof, entry.proof, net.now)
    net.settle()
    body = msgspec.json.decode(answer.payload)
    body["trades"][0]["quantity"] = "0.0001"
    altered = Signed(msgspec.json.encode(body).decode(), b"", 0, 1, b"0" * 64)
    with pytest.raises(RemoteProtocolError):
        net[TAKER].taker.answer(altered, net.now)
    with pytest.raises(RemoteProtocolError, match="another home"):
        maker.query(intent.fill.id, net[MAKER].key, intent.fill.deadline, net.now)
    assert (buy.filled, buy.reserved) == (0, 10)


def test_a_home_that_does_not_serve_says_busy(net: Network) -> None:
    net[MAKER].replica.alarms.append("its disk is old")
    with pytest.raises(OrderError) as caught:
        net.place(MAKER, "sell", 10, 100)
    assert caught.value.code == BUSY
    assert "its disk is old" in caught.value.message


def test_a_trade_that_was_shown_while_nothing_may_be_signed_is_not_denied_by_the_log(
    net: Network,
) -> None:
    net.place(MAKER, "sell", 15, 100)
    net.lost = {"result"}
    others = net[TAKER]._others
    silent = others.silent
    others.silent = lambda: True  # the maker's log shows the trade, and it is not taken in
    buy = net.place(TAKER, "buy", 15, 100)
    others.silent = silent
    net.lost = {"result", "fill.request", "fill.query"}
    net.run(20)
    assert (buy.reserved, net[TAKER].taker.settled_by_log) == (15, 0)
    net.lost = set()
    net.run(31)
    assert (buy.status, buy.filled) == ("filled", 15)
    everywhere_the_same(net)
