"""How a peer asks for what it misses, believes what it is told, and stops believing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grenache_py.exchange.market.order import NewOrder
from grenache_py.exchange.peers import link as link_module
from grenache_py.exchange.peers.link import ORIGINS_MAX, PeerLink
from grenache_py.exchange.replication import intake
from grenache_py.exchange.replication.fetching import HEADS_MAX, LINK_HEADS_MAX
from grenache_py.exchange.replication.head_exchange import HEADS_S
from grenache_py.exchange.replication.intake import DISTRUST_S, has_room
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.keys import Identity
from tests.exchange.replication.test_replica import Author
from tests.support.peers import Network

HASH = "f" * 64


class Told:
    """A peer, a neighbour that says what the test likes, and what the peer says to it."""

    def __init__(self) -> None:
        self.net = Network(2)
        self.net.link(0, 1)
        self.net.place(1, "buy", 1, 50)
        self.net.run(6)
        self.peer = self.net[0]
        self.key = self.net[1].key
        self.link: PeerLink = self.peer.peering.by_key[self.key]
        self.asked: list[tuple[str, Any]] = []
        deliver = self.net[1].link_message

        def heard(link: int, message: dict[str, Any], now: float) -> None:
            if "method" in message:
                self.asked.append((message["method"], message.get("params")))
                if message["method"].startswith(("sync.range", "gossip.want")):
                    self.last = message
                    return  # it is not answered
            deliver(link, message, now)

        self.net[1].link_message = heard  # type: ignore[method-assign]

    @property
    def score(self) -> float:
        return self.peer.peering.scores.of(self.key, self.net.now)

    @property
    def head(self) -> Head:
        return self.peer.replica.origins[self.key].head

    def says(self, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.peer.link_message(self.link.id, message, self.net.now)
        self.net.settle()

    def heads(self, method: str = "sync.heads", more: int = 3, **other: Any) -> None:
        head = self.head
        told = [self.key, head.epoch, head.seq + more, HASH]
        self.says(method, heads=[told])

    def answers(self, **result: Any) -> None:
        message = {"jsonrpc": "2.0", "id": self.last["id"], "result": result}
        self.peer.link_message(self.link.id, message, self.net.now)
        self.net.settle()

    def of(self, method: str) -> list[Any]:
        return [params for name, params in self.asked if name == method]


def test_what_a_head_promises_is_asked_for_by_number() -> None:
    told = Told()
    before = told.head
    told.heads()
    assert told.of("sync.range") == [
        {"origin": told.key, "epoch": 1, "first": before.seq + 1, "last": before.seq + 3}
    ]
    told.heads(more=9)
    assert len(told.of("sync.range")) == 1  # one range of a log at a time


def test_a_head_that_is_not_ahead_is_not_asked_for() -> None:
    told = Told()
    told.heads(more=-1)
    assert told.of("sync.range") == []


def test_another_entry_under_a_known_number_is_asked_for_as_proof() -> None:
    told = Told()
    told.heads(more=0)
    seq = told.head.seq
    assert told.of("sync.range") == [{"origin": told.key, "epoch": 1, "first": seq, "last": seq}]


def test_an_entry_that_follows_another_history_leads_to_the_entry_before_it() -> None:
    told = Told()
    told.net.lost = {"gossip.publish", "gossip.have", "sync.heads"}
    log = told.net[1].ledger.log
    log.hash = HASH  # as of a disk that lost its last entry and wrote another
    told.net.place(1, "buy", 1, 51)
    drafts = log.range(log.seq, log.seq)
    assert drafts is not None
    told.says("gossip.publish", entries=[_wire(drafts[0].proof)])
    seq = told.head.seq
    assert seq == log.seq - 1
    assert told.of("sync.range") == [{"origin": told.key, "epoch": 1, "first": seq, "last": seq}]


def test_an_announced_entry_has_a_second_to_come_and_is_wanted_then() -> None:
    told = Told()
    before = told.head
    told.heads("gossip.have", more=1)
    assert told.of("gossip.want") == []
    told.net.lost = {"gossip.publish", "sync.heads"}
    told.net.run(2.5)
    assert told.of("gossip.want") == [
        {"origin": told.key, "epoch": 1, "first": before.seq + 1, "last": before.seq + 1}
    ]
    score = told.score
    told.net.run(4.5)  # it does not come: perhaps it is not kept any more
    assert told.of("sync.range") == [
        {"origin": told.key, "epoch": 1, "first": before.seq + 1, "last": before.seq + 1}
    ]
    assert told.score == pytest.approx(score, abs=0.2)
    told.net.run(4.0)  # nor is it said to be gone
    assert told.score == pytest.approx(score - 3, abs=0.2)
    assert told.link.heads == {}


def test_an_announcement_of_what_is_held_is_nothing_new() -> None:
    told = Told()
    told.heads("gossip.have", more=0)
    told.net.lost = {"gossip.publish", "sync.heads"}
    told.net.run(3)
    assert told.of("gossip.want") == []


def test_a_promise_that_is_not_kept_costs_points_and_belief_for_a_while() -> None:
    told = Told()
    told.net.lost = {"gossip.publish", "gossip.have", "sync.heads"}
    score = told.score
    told.heads()
    told.net.run(12)  # the request has a deadline
    assert told.score == pytest.approx(score - 3, abs=0.2)
    assert told.peer.peering.links[told.link.id].heads_again > told.net.now
    told.heads()
    assert len(told.of("sync.range")) == 1  # not believed
    told.net.run(DISTRUST_S)
    told.heads()
    assert len(told.of("sync.range")) == 2


def test_others_are_believed_while_one_neighbour_has_broken_its_promise() -> None:
    net = Network(3)
    net.link(0, 1)
    net.link(0, 2)
    sync, first, second = net[0].sync, net[1].key, net[2].key
    net[0].peering.by_key[first].heads["d" * 64] = Head(1, 7, HASH)
    net[0].peering.by_key[second].heads["e" * 64] = Head(1, 3, HASH)
    assert sync.behind().keys() == {"d" * 64, "e" * 64}
    sync.intake.helpers.broke(first, net.now)
    assert sync.behind().keys() == {"e" * 64}
    sync.intake.helpers.broke(second, net.now)  # there is nobody else to know from
    assert sync.behind().keys() == {"d" * 64, "e" * 64}


def test_an_empty_answer_ends_the_promise_and_costs_nothing() -> None:
    told = Told()
    score = told.score
    told.heads()
    assert told.key in told.link.heads
    told.answers(entries=[])
    assert told.key not in told.link.heads
    assert told.score == pytest.approx(score, abs=0.01)
    told.heads()
    assert len(told.of("sync.range")) == 2


def test_a_malformed_answer_costs_ten_points() -> None:
    told = Told()
    score = told.score
    told.heads()
    told.answers(entries=None)
    assert told.score == pytest.approx(score - 10, abs=0.1)


def test_a_neighbour_that_pruned_is_caught_up_with() -> None:
    told = Told()
    told.heads()
    told.answers(pruned=True)
    told.net.run(2)
    assert any(params.get("beat") for params in told.of("sync.range"))


def test_the_entries_that_come_are_taken_and_counted() -> None:
    told = Told()
    told.net.lost = {"gossip.publish", "gossip.have", "sync.heads"}
    for _ in range(2):
        told.net.place(1, "buy", 1, 51)
    log = told.net[1].ledger.log
    told.says("sync.heads", heads=[[told.key, log.epoch, log.seq, log.hash]])
    drafts = log.range(told.head.seq + 1, log.seq)
    assert drafts is not None
    told.answers(entries=[_wire(draft.proof) for draft in drafts])
    assert told.head == Head(log.epoch, log.seq, log.hash)
    assert told.net.book(0) == told.net.book(1)


def _wire(signed: Any) -> Any:
    return msgspec.to_builtins(signed.wire())


def test_a_link_may_tell_of_so_many_origins_and_goes_on_with_those() -> None:
    told = Told()
    link = told.link
    assert has_room(link, "x")
    link.heads = {f"{number:064x}": Head(1, 1, HASH) for number in range(ORIGINS_MAX)}
    assert not has_room(link, "x")
    assert has_room(link, f"{1:064x}")


def test_a_full_table_of_heads_is_not_overrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "ORIGINS_MAX", 2)
    told = Told()
    told.link.heads.clear()
    strangers = [[f"{number:064x}", 1, 5, HASH] for number in range(5)]
    told.says("sync.heads", heads=strangers)
    assert len(told.link.heads) <= 2
    told.says("gossip.have", heads=strangers)
    assert len(told.link.heads) <= 2
    first = strangers[0][0]
    told.says("sync.heads", heads=[[first, 1, 9, HASH]])
    assert told.link.heads[first].seq == 9, "of those in the table it may tell more"


def test_what_is_far_behind_is_caught_up_with_at_once_though_no_more_heads_have_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    told.link.heads.clear()
    monkeypatch.setattr(intake, "ORIGINS_MAX", 1)
    strangers = [[f"{number:064x}", 1, 5_000, HASH] for number in range(3)]
    told.says("sync.heads", heads=strangers)
    assert told.of("sync.range") == [{"origin": strangers[0][0], "beat": True}]


def test_who_tells_of_a_log_that_is_held_leads_to_its_home() -> None:
    told = Told()
    routes = told.peer.sync.intake.routes
    routes.clear()
    told.says("sync.heads", heads=[[told.key, *told.head], ["0" * 64, 1, 1, HASH]])
    assert routes == {told.key: told.key}
    routes.clear()
    told.heads(more=3)
    assert routes == {}, "who promises more has not shown it yet"


@pytest.mark.parametrize("told_of", [False, True])
def test_who_brings_an_early_entry_holds_the_one_before_it(told_of: bool) -> None:
    told = Told()
    told.net.lost = {"gossip.publish", "gossip.have", "sync.heads"}
    for price in (51, 52):
        told.net.place(1, "buy", 1, price)
    log = told.net[1].ledger.log
    newest = log.range(log.seq, log.seq)
    assert newest is not None
    if told_of:  # it holds no less than it told
        told.heads(more=9)
    furthest = told.link.heads.get(told.key)
    told.says("gossip.publish", entries=[_wire(newest[0].proof)])
    before = Head(1, log.seq - 1, Entry.decode(newest[0].payload).prev)
    assert told.link.heads[told.key] == (furthest or before)


def test_a_full_table_of_heads_has_no_place_for_what_early_entries_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    told.link.heads.clear()
    monkeypatch.setattr(intake, "ORIGINS_MAX", 2)
    for number in range(5):
        author = Author(told.net.now, Identity.from_seed(bytes([40 + number]) * 32))
        author.order()
        told.says("gossip.publish", entries=[_wire(author.order())])
    assert len(told.link.heads) == 2


def test_of_the_heads_a_neighbour_told_only_those_are_kept_that_are_not_held() -> None:
    told = Told()
    told.net.place(1, "buy", 1, 52)
    told.link.told["1" * 64] = Head(1, 1, HASH)
    told.net.run(6)
    assert told.link.heads == {}
    assert "1" * 64 not in told.link.told, "nor is it remembered of logs that rest"
    told.heads(more=-1)
    told.heads("gossip.have", more=-1)
    assert told.link.heads == {}
    told.link.heads["0" * 64] = Head(1, 1, HASH)
    told.net.run(1)
    assert set(told.link.heads) == {"0" * 64}


def test_entries_must_be_a_list_that_is_not_empty() -> None:
    told = Told()
    score = told.score
    for wrong in (None, [], {}):
        told.says("gossip.publish", entries=wrong)
    assert told.score == pytest.approx(score - 30, abs=0.2)


def test_heads_are_told_once_and_everything_again_after_half_a_minute() -> None:
    net = Network(2)
    net.link(0, 1)
    net.place(0, "buy", 1, 50)
    net.run(40)
    net.lost = set()
    net.counts.clear()
    net.run(31)
    assert 2 <= net.counts["sync.heads"] <= 20
    assert net[0].sync.synced
    assert net[1].sync.synced


def test_heads_that_moved_are_told_once_in_five_seconds() -> None:
    """Also when a second comes twice, as on a clock that was put back."""
    net = Network(2)
    net.link(0, 1)
    net.run(6)
    heads, links = net[0].sync._heads, net[0].peering.ready()

    def told(after_s: float) -> int:
        net.lost = {"gossip.publish"}
        net.place(0, "buy", 1, 50)
        links[0].told.clear()
        net.now += after_s
        before = net.counts["sync.heads"]
        heads.heartbeat(links, [], net.now)
        net.settle()
        return net.counts["sync.heads"] - before

    assert [told(HEADS_S), told(0.0)] == [1, 0]
    assert told(HEADS_S)


def test_who_brings_entries_first_is_asked_first_and_their_age_is_counted() -> None:
    net = Network(3)
    net.link(1, 0)
    net.link(2, 0)
    idle, busy = (net[0].peering.by_key[net[number].key] for number in (1, 2))
    net.now += 3
    net[2].place(NewOrder("BTC-USD", "buy", 1, 50), net.now)
    net.turn(net.peers[2])
    links = sorted([idle, busy], key=net[0].sync.intake.helpers.rank)
    assert links == [busy, idle]
    assert net[0].sync.intake.ages.total < 1


def test_who_could_show_nothing_of_a_log_is_asked_again_when_it_brings_the_next_entry() -> None:
    """The neighbour was restarted, and holds neither the entries nor a heartbeat of the log."""
    net = Network(3)
    net.link(1, 2)
    net.run(6)
    for price in range(80):
        net.place(2, "sell", 1, 100 + price)
    net.cut(2)
    net.restart(1)
    net.link(0, 1)
    net.run(3)
    origin, link = net[2].key, net[0].peering.by_key[net[1].key]
    assert link.hollow[origin].seq >= 80
    assert origin not in net[0].sync.behind()
    net.link(1, 2)
    net.run(7)
    assert net[0].replica.origins[origin].complete
    assert net[0].sync.synced


def test_a_head_that_a_neighbour_could_not_show_is_not_believed_however_it_tells_of_it() -> None:
    told = Told()
    head = Head(1, told.head.seq + 3, HASH)
    told.link.hollow[told.key] = head
    told.heads()
    told.heads("gossip.have")
    told.heads("gossip.have", more=2)
    assert told.link.heads.get(told.key) != head
    assert told.peer.sync.behind() == {}
    assert told.peer.sync.entries_behind() == 0
    told.heads(more=4)
    assert told.peer.sync.behind()
    assert told.peer.sync.entries_behind() == 4


def test_a_clock_that_was_put_back_does_not_put_off_what_is_asked_for() -> None:
    """Who fell behind with a clock an hour ahead would ask for nothing until that hour came."""
    told = Told()
    told.heads(more=2_000)
    assert told.last["params"] == {"origin": told.key, "beat": True}
    told.net.now -= 3_600
    told.net.run(3)
    assert told.last["id"] not in told.link.pending
    assert told.net.now < told.link.heads_again <= told.net.now + DISTRUST_S
    told.link.heads_again = 0.0
    before = len(told.of("sync.range"))
    told.heads(more=3_000)
    assert len(told.of("sync.range")) == before + 1


@pytest.mark.parametrize("more", [3, 2_000])
def test_a_question_that_this_peer_has_no_room_for_is_not_the_neighbours_fault(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    told = Told()
    monkeypatch.setattr(link_module, "PENDING_MAX", 0)
    before = told.score
    told.heads(more=more)
    assert told.score == before and not told.of("sync.range")
    monkeypatch.setattr(link_module, "PENDING_MAX", 9)
    told.net.run(3)
    assert told.of("sync.range")


def test_of_very_many_heads_some_are_looked_at_again_in_each_heartbeat() -> None:
    """Four links with 20,000 made-up heads each held an order up for 0.4 s."""
    net = Network(4)
    for other in (1, 2, 3):
        net.link(0, other)
    links = net[0].peering.ready()
    told = {number: f"{number:064x}" for number in range(5_000)}
    for link in links[1:]:
        link.heads.update({home: Head(1, 10**6, HASH) for home in told.values()})
    links[0].heads["a" * 64] = Head(1, 10**6, HASH)
    fetching = net[0].sync._fetching
    looked_at: list[tuple[str, PeerLink]] = []

    def consider(origin: str, link: PeerLink, now: float) -> None:
        looked_at.append((origin, link))

    fetching.consider = consider  # type: ignore[method-assign]
    fetching.consider_all(links, net.now)
    by_link = [sum(link is each for _, link in looked_at) for each in links]
    assert by_link == [1, LINK_HEADS_MAX, HEADS_MAX - LINK_HEADS_MAX - 1], "in their order"
    for _ in range(4):
        fetching.consider_all(links[1:2], net.now)
    seen = {origin for origin, link in looked_at if link is links[1]}
    assert seen == set(told.values()), "each has its turn"
