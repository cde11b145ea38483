"""What one peer believes of another's log: in order, once, signed, and only while it lives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.replication import origin_table, remote_orders
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    HeartbeatBody,
    OrderBody,
    StateBody,
    TradeBody,
    order_id,
)
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.live_set import element
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed
from grenache_py.exchange.signed_log.own_log import OwnLog
from tests.support.peers import BTC, Network

ALICE = Identity.from_seed(b"a" * 32)


class Author:
    """Writes a log by hand, good or bad."""

    def __init__(self, now: float, identity: Identity = ALICE) -> None:
        self.now = now
        self.identity = identity
        self.sealer = Sealer(identity, "test")
        self.clock = HybridClock()
        self.log = OwnLog(identity.key, self.sealer, self.clock)

    def entry(self, **body: object) -> Signed:
        draft = self.log.append(self.now, **body)  # type: ignore[arg-type]
        self.sealer.seal()
        return draft.proof

    def order(self, price: str = "1", quantity: str = "1", **more: object) -> Signed:
        stamp = self.clock.stamp(self.now)
        steps = {name: more.pop(name) for name in ("tick", "lot") if name in more}
        fields = {
            "market": "BTC-USD",
            "side": "sell",
            "type": "limit",
            "quantity": quantity,
            "time": stamp,
            "price": price,
            "stop": None,
            "time_in_force": "gtc",
            "post_only": False,
            "expires": None,
            **more,
        }
        self.last = order_id(self.identity.key, **fields)  # type: ignore[arg-type]
        body = OrderBody(self.last, **fields, **steps)  # type: ignore[arg-type]
        states = [StateBody(self.last, 1, quantity, "0", "0", "")]
        return self.entry(order=body, states=states, stamp=stamp)

    def state(self, version: int, opened: str, filled: str = "0", reason: str = "") -> Signed:
        return self.entry(
            states=[StateBody(self.last, version, opened, "0", filled, reason)]  # type: ignore[arg-type]
        )

    def signed(self, payload: str) -> Signed:
        draft: Draft = self.sealer.add(payload)
        self.sealer.seal()
        return draft.proof


@pytest.fixture
def net() -> Network:
    return Network(1)


@pytest.fixture
def alice(net: Network) -> Author:
    return Author(net.now)


def test_entries_are_applied_in_order_however_they_arrive(net: Network, alice: Author) -> None:
    entries = [alice.order(price=str(price)) for price in range(1, 6)]
    replica = net[0].replica
    verdicts = [replica.receive(entries[i], net.now) for i in (3, 1, 4, 0, 2, 1)]
    assert [v.verdict for v in verdicts] == [
        "waiting",
        "waiting",
        "waiting",
        "applied",
        "applied",
        "known",
    ]
    # Only what was applied is passed on, in order, each entry once.
    novel = [head[1] for v in verdicts for _, _, head in v.novel]
    assert novel == [1, 2, 3, 4, 5]
    assert [price for price, _ in net.book(0)[1]] == [100, 200, 300, 400, 500]


def test_a_gap_is_known_by_number(net: Network, alice: Author) -> None:
    entries = [alice.order(price=str(price)) for price in range(1, 6)]
    replica = net[0].replica
    replica.receive(entries[0], net.now)
    received = replica.receive(entries[4], net.now)
    assert received.origin is not None
    assert received.origin.gap == (2, 4)


def test_a_closed_order_never_returns(net: Network, alice: Author) -> None:
    placed = alice.order()
    closed = alice.state(2, "0", reason="cancelled")
    replica = net[0].replica
    for entry in (placed, closed):
        replica.receive(entry, net.now)
    assert net.book(0)[1] == []
    assert replica.receive(placed, net.now).verdict == "known"
    assert not replica.adoption.adopt_record(placed, placed, net.now)
    assert net.book(0)[1] == []


def test_two_entries_with_one_number_freeze_their_origin_and_prove_it(
    net: Network, alice: Author
) -> None:
    forked = Author(net.now)
    replica = net[0].replica
    replica.receive(alice.order(price="1"), net.now)
    assert len(net.book(0)[1]) == 1
    assert replica.receive(forked.order(price="2"), net.now).verdict == "frozen"
    assert net.book(0)[1] == []
    other = Network(1)
    other[0].replica.forks.prove(*replica.forks.proofs[ALICE.key])
    assert other[0].replica.origins[ALICE.key].frozen
    assert other[0].replica.receive(alice.order(), net.now).novel == []
    with pytest.raises(RemoteProtocolError, match="contradict nothing"):
        other[0].replica.forks.prove(
            replica.forks.proofs[ALICE.key][0], replica.forks.proofs[ALICE.key][0]
        )


def test_when_too_many_homes_are_known_a_new_one_is_not_held_and_a_known_one_can_be_frozen(
    net: Network, alice: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin_table, "ORIGINS_MAX", 1)
    replica = net[0].replica
    monkeypatch.setattr(origin_table, "NEW_MS", -1_000)  # who is held is no newcomer
    first = alice.order(price="1")
    replica.receive(first, net.now)
    replica.tick(net.now)
    bob = Author(net.now, Identity.from_seed(b"b" * 32))
    order, beat = bob.order(), bob.entry(beat=HeartbeatBody(20_000, 1, "0" * 64))
    assert replica.receive(order, net.now).verdict == "full"
    assert not replica.adoption.adopt_record(order, order, net.now)
    assert replica.adoption.adopt_head(beat, net.now).verdict == "full"
    forked = Author(net.now, bob.identity)
    assert replica.forks.prove(order, forked.order(price="2")) is None
    assert list(replica.origins) == [ALICE.key]
    other = Author(net.now).order(price="2")
    assert replica.forks.prove(first, other) == ALICE.key
    assert replica.origins[ALICE.key].state is OriginState.FROZEN


def bad_id(author: Author) -> Signed:
    entry = Entry.decode(author.order().payload)
    return author.signed(entry.encode().replace(author.last, "0" * 32))


def older_version(author: Author) -> Signed:
    return author.state(1, "1")


def too_much(author: Author) -> Signed:
    return author.state(2, "1", filled="1")


def backwards(author: Author) -> Signed:
    author.clock.ms -= 50_000
    return author.state(2, "1")


@pytest.mark.parametrize("lie", [bad_id, older_version, too_much, backwards])
def test_an_origin_that_breaks_its_own_rules_is_not_believed_any_more(
    net: Network, alice: Author, lie: Callable[[Author], Signed]
) -> None:
    replica = net[0].replica
    replica.receive(alice.order(), net.now)
    assert len(net.book(0)[1]) == 1
    replica.receive(lie(alice), net.now)
    assert replica.origins[ALICE.key].frozen
    assert net.book(0)[1] == []


def test_unsigned_entries_are_refused_and_future_ones_not_believed_yet(
    net: Network, alice: Author
) -> None:
    replica = net[0].replica
    good = alice.order()
    with pytest.raises(RemoteProtocolError, match="signature"):
        replica.receive(Signed(good.payload, b"", 0, 1, b"\0" * 64), net.now)
    assert replica.receive(good, net.now - 6).verdict == "early"
    assert replica.origins == {}
    assert replica.receive(good, net.now - 4).verdict == "applied"


def test_orders_leave_the_book_when_their_home_falls_silent_and_return_with_it(
    net: Network, alice: Author
) -> None:
    replica = net[0].replica
    replica.receive(alice.order(), net.now)
    net.run(24)
    assert len(net.book(0)[1]) == 1
    net.run(3)
    assert net.book(0)[1] == []
    alice.now = net.now
    fingerprint = f"{element(alice.last, 1):064x}"
    replica.receive(alice.entry(beat=HeartbeatBody(20_000, 1, fingerprint)), net.now)
    assert len(net.book(0)[1]) == 1
    assert replica.origins[ALICE.key].complete


def test_a_heartbeat_that_disagrees_makes_the_origin_suspect(net: Network, alice: Author) -> None:
    replica = net[0].replica
    replica.receive(alice.order(), net.now)
    replica.receive(alice.entry(beat=HeartbeatBody(20_000, 2, "0" * 64)), net.now)
    assert not replica.origins[ALICE.key].complete
    replica.receive(
        alice.entry(beat=HeartbeatBody(20_000, 1, f"{element(alice.last, 1):064x}")), net.now
    )
    assert replica.origins[ALICE.key].complete


def test_an_adopted_set_is_checked_by_what_the_log_says_after_its_heartbeat(
    net: Network, alice: Author
) -> None:
    replica = net[0].replica
    first = alice.order()
    kept = alice.last
    alice.order()
    gone = alice.last
    total = (element(kept, 1) + element(gone, 1)) % (1 << 256)
    beat = alice.entry(beat=HeartbeatBody(20_000, 2, f"{total:064x}"))
    closed = alice.state(2, "0", reason="cancelled")
    third = alice.order(price="2")
    # The neighbour holds what is live by now, which is not what was live at the heartbeat.
    for record in (first, third):
        replica.adoption.adopt_record(record, record, net.now)
    replica.adoption.adopt_head(beat, net.now)
    origin = replica.origins[ALICE.key]
    assert not origin.complete
    replica.receive(closed, net.now)
    assert not origin.complete, "one order is held that the log does not have yet"
    replica.receive(third, net.now)
    assert origin.complete
    assert gone not in origin.records


def test_an_adopted_set_that_lacks_an_order_is_not_believed(net: Network, alice: Author) -> None:
    replica = net[0].replica
    first = alice.order()
    total = element(alice.last, 1)
    alice.order()
    total += element(alice.last, 1)
    beat = alice.entry(beat=HeartbeatBody(20_000, 2, f"{total % (1 << 256):064x}"))
    replica.adoption.adopt_record(first, first, net.now)
    replica.adoption.adopt_head(beat, net.now)
    for _ in range(3):
        replica.receive(alice.order(price="2"), net.now)
        assert not replica.origins[ALICE.key].complete


def test_an_order_that_trades_more_than_one_entry_holds_is_replicated() -> None:
    other = Network(2)
    other.link(0, 1)
    for _ in range(40):
        other.place(0, "sell", 10, 100)
    other.place(0, "buy", 500, 100)
    assert other.book(1) == other.book(0) == ([(100, 100)], [])


def test_a_good_till_date_order_is_left_alone_just_before_it_expires(
    net: Network, alice: Author
) -> None:
    expires = int(net.now * 1000) + 5_000
    net[0].replica.receive(alice.order(time_in_force="gtd", expires=expires), net.now)
    net.run(3)
    assert len(net.book(0)[1]) == 1
    net.run(2)
    assert net.book(0)[1] == []
    assert len(net[0].replica.origins[ALICE.key].records) == 1  # its home has the last word


def test_a_market_with_another_tick_or_not_traded_here_is_kept_but_not_matched(
    net: Network, alice: Author
) -> None:
    replica = net[0].replica
    replica.receive(alice.order(price="1.005"), net.now)
    replica.receive(alice.order(market="DOGE-USD"), net.now)
    assert len(replica.origins[ALICE.key].records) == 2
    assert net.book(0)[1] == []
    net.settle()
    net.restart(0)
    assert len(net[0].replica.origins[ALICE.key].records) == 2


def test_an_own_entry_nobody_here_remembers_stops_this_home(net: Network) -> None:
    me = Author(net.now, Identity.from_seed(bytes([1]) * 32))
    known = net.place(0, "sell", 1, 100)
    assert known.open
    [(_, first), *_] = net[0].ledger.log.tail
    assert net[0].replica.receive(first.proof, net.now).verdict == "own"
    assert net[0].alarms() == []
    for _ in range(4):
        later = me.order()
    net[0].replica.receive(later, net.now)
    assert "old copy" in net[0].alarms()[0]


def test_a_home_without_the_market_keeps_what_others_trade_in_it(alice: Author) -> None:
    eth = Market.parse("ETH-USD:tick=0.01,lot=0.01")
    net = Network(2)
    net.peers[1].markets = (eth,)
    net.peers[1].start(net.now)
    net.link(0, 1)
    live = net.place(0, "sell", 10, 100)
    record = net[1].replica.records.find(live.order_id)
    assert record is not None
    assert record.live is None
    row = record.row
    lots = row.price, row.quantity, row.open, row.reserved, row.filled
    assert lots == (0,) * 5, "there are no lots of a market that is not traded here"
    assert BTC.symbol not in net[1].books


def test_a_disk_that_lost_entries_stops_and_a_new_epoch_starts_clean(net: Network) -> None:
    """An old disk: docs/design/identity.rst#old-disk."""
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 10, 100)
    image = net.peers[0].copy_of_disk()
    for price in range(101, 106):
        net.place(0, "sell", 10, price)
    net.cut(0)
    net.peers[0].lose_since(image)
    net.restart(0)
    net.link(0, 1)
    net.run(10)
    assert "old copy" in net[0].alarms()[0]
    with pytest.raises(OrderError, match="does not serve"):
        net.place(0, "sell", 10, 100)
    assert not net[1].replica.origins[net[0].key].frozen  # it did not sign a second history
    net.restart(0, new_epoch=True)
    net.link(0, 1)
    net.run(10)
    assert net[0].alarms() == []
    assert net.book(0) == net.book(1) == ([], [])
    net.place(0, "sell", 7, 99)
    assert net.book(1)[1] == [(99, 7)]


def test_the_first_entry_of_a_new_log_is_applied_when_it_comes(net: Network, alice: Author) -> None:
    """It need not wait until somebody shows a heartbeat."""
    replica = net[0].replica
    replica.receive(alice.order(price="1"), net.now)
    alice.log.restore(2, 0, GENESIS, [])
    assert replica.receive(alice.order(price="2"), net.now).verdict == "applied"
    assert replica.origins[ALICE.key].head[:2] == (2, 1)
    assert net.book(0) == ([], [(200, 10_000)])


def test_a_home_with_more_orders_than_are_held_is_not_frozen(
    net: Network, alice: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replace publishes the new order before it closes the old one, in one entry."""
    monkeypatch.setattr(remote_orders, "LIVE_PER_ORIGIN_MAX", 2)
    for price in ("1", "2", "3"):
        received = net[0].replica.receive(alice.order(price), net.now)
        assert received.verdict == "applied"
    origin = net[0].replica.origins[ALICE.key]
    assert (origin.frozen, len(origin.records)) == ("", 2)


def test_a_trade_from_the_future_is_not_put_on_the_tape(net: Network, alice: Author) -> None:
    now_ms = int(net.now * 1000)
    for number, ahead_ms in enumerate((0, AHEAD_MS_MAX, AHEAD_MS_MAX + 1)):
        trade = TradeBody(
            f"{number:032x}",
            BTC.symbol,
            "1",
            "1",
            "buy",
            "a" * 32,
            "b" * 32,
            ALICE.key,
            "f" * 64,
            now_ms + ahead_ms,
        )
        received = net[0].replica.receive(alice.entry(trades=(trade,)), net.now)
        assert received.verdict == "applied"
    assert [trade.time_ms - now_ms for trade in net[0].tape(BTC.symbol)] == [0, AHEAD_MS_MAX]


def test_an_order_that_changed_in_the_batch_in_which_it_came_is_stored_whole(
    net: Network, alice: Author
) -> None:
    for signed in (alice.order(quantity="2"), alice.state(2, "1", "1")):
        net[0].replica.receive(signed, net.now)
    net.settle()
    net.restart(0)
    record = net[0].replica.records.find(alice.last)
    assert record is not None and record.live is not None
    assert (record.version, record.live.open, record.live.filled) == (2, 10_000, 10_000)
