"""Fetching entries by number: whom to believe who says that they are gone, and how many at once."""

from __future__ import annotations

import pytest

from grenache_py.exchange.peers import link as peer_link
from grenache_py.exchange.replication import fetching, replica
from grenache_py.exchange.replication.fetching import LINK_FETCHES_MAX, SECOND_OPINION_S
from tests.support.peers import Network


def behind_by_twenty() -> Network:
    """Peer 0 lacks 20 entries of peer 1, which 1 and 2 hold; it was told nothing yet."""
    net = Network(3)
    net.mesh()
    net.place(1, "sell", 1, 100)
    net.run(6)
    net.cut(0)
    for number in range(20):
        net.place(1, "sell", 1, 101 + number)
    net.lost = {"sync.heads"}
    net.link(0, 1)
    net.link(0, 2)
    net.lost = set()
    return net


@pytest.mark.parametrize(("pruned", "sessions"), [({2}, 0), ({1, 2}, 1)])
def test_a_log_is_given_up_only_when_a_second_neighbour_says_that_it_is_pruned(
    pruned: set[int], sessions: int
) -> None:
    net = behind_by_twenty()
    home = net[1].key
    if 2 in pruned:
        net[2].replica.origins[home].tail.clear()
    head = net[2].replica.origins[home].head
    if 1 in pruned:
        net[1].ledger.log.tail.clear()
    one, two = net[0].peering.by_key[home], net[0].peering.by_key[net[2].key]
    one.heads[home] = head
    message = {"jsonrpc": "2.0", "method": "sync.heads", "params": {"heads": [[home, *head]]}}
    net[0].link_message(two.id, message, net.now)
    net.settle()
    assert net.counts["sync.range"] >= 2, "both were asked"
    if not sessions:
        assert net[0].replica.origins[home].seq == head.seq
    net.run(SECOND_OPINION_S)
    assert (net[0].sync.catchup.sessions + net[0].sync.catchup.broken > 0) is (sessions > 0)


def test_a_second_neighbour_has_its_time_to_bring_what_a_first_one_pruned() -> None:
    net = behind_by_twenty()
    home = net[1].key
    head = net[2].replica.origins[home].head
    net[1].ledger.log.tail.clear()
    one, two = net[0].peering.by_key[home], net[0].peering.by_key[net[2].key]
    two.heads[home] = head
    told = {"jsonrpc": "2.0", "method": "sync.heads", "params": {"heads": [[home, *head]]}}
    net[2].link_message = lambda link, message, now: (0, 0)  # type: ignore[method-assign]
    net[0].link_message(one.id, told, net.now)
    net.settle()
    ranges = net[0].sync._fetching
    ranges.expire(net.now)
    assert not ranges.behind
    net.now += SECOND_OPINION_S - 0.5
    ranges.expire(net.now)
    assert not ranges.behind
    net.now += 0.5
    ranges.expire(net.now)
    assert ranges.behind == {home}


def test_a_long_range_is_fetched_part_by_part_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "RANGE_MAX", 5)
    net = behind_by_twenty()
    home = net[1].key
    head = net[2].replica.origins[home].head
    link = net[0].peering.by_key[home]
    told = {"jsonrpc": "2.0", "method": "sync.heads", "params": {"heads": [[home, *head]]}}
    before = net.counts["sync.range"]
    net[0].link_message(link.id, told, net.now)
    net.settle()
    assert net[0].replica.origins[home].head == head
    assert net.counts["sync.range"] == before + 4


def asked_after(heads: int) -> int:
    """How many logs are asked for when a neighbour that answers nothing tells of so many."""
    net = Network(2)
    net.link(0, 1)
    net.run(6)
    link = net[0].peering.by_key[net[1].key]
    net.lost = {"sync.range"}
    told = [[f"{number:064x}", 1, 5, "ab" * 32] for number in range(1, heads + 1)]
    message = {"jsonrpc": "2.0", "method": "sync.heads", "params": {"heads": told}}
    before = net.counts["sync.range"]
    net[0].link_message(link.id, message, net.now)
    net.settle()
    return net.counts["sync.range"] - before


def test_one_neighbour_cannot_take_all_places_of_fetching() -> None:
    assert asked_after(heads=199) == LINK_FETCHES_MAX


def test_so_many_logs_are_fetched_at_a_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FETCHES_MAX", 3)
    assert asked_after(heads=19) == 3


def test_a_neighbour_that_answers_nothing_is_given_up_after_the_stall_and_blamed_once() -> None:
    net = Network(2)
    net.link(0, 1)
    net.run(6)
    link = net[0].peering.by_key[net[1].key]
    score = net[0].peering.scores.of(link.key, net.now)
    net.lost = {"sync.range"}
    heads = [[f"{number:064x}", 1, 5, "ab" * 32] for number in range(1, 200)]
    message = {"jsonrpc": "2.0", "method": "sync.heads", "params": {"heads": heads}}
    net[0].link_message(link.id, message, net.now)
    net.settle()
    status = net[0].status(net.now)
    assert (status["synced"], status["entries_behind"]) == (False, 199 * 5)
    net.run(5)
    assert not link.pending
    # Three points for all that it holds, and one back for a heartbeat that came meanwhile.
    assert score - 3.1 < net[0].peering.scores.of(link.key, net.now) < score - 0.9


def test_a_contradiction_told_over_a_link_with_no_room_for_a_question_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = Network(2)
    net.link(0, 1)
    net.run(6)
    home = net[1].key
    head = net[0].replica.origins[home].head
    link = net[0].peering.by_key[home]
    monkeypatch.setattr(peer_link, "PENDING_MAX", 0)
    told = [[home, head.epoch, head.seq, "ab" * 32]]
    message = {"jsonrpc": "2.0", "method": "sync.heads", "params": {"heads": told}}
    net[0].link_message(link.id, message, net.now)
    assert link.heads[home].hash == "ab" * 32, "it is asked about when there is room"
    assert net[0].sync.behind() == {}, "there is no more of the log"


def test_a_gap_is_asked_for_though_no_more_entries_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy home's log would stand still until somebody tells its head again: for minutes."""
    monkeypatch.setattr(replica, "WAITING_MAX", 3)
    net = Network(2)
    net.link(0, 1)
    net.run(6)
    net.lost = {"gossip.publish"}
    net.place(1, "sell", 1, 100)
    net.lost = {"sync.range", "gossip.want", "sync.heads"}
    for price in range(101, 107):
        net.place(1, "sell", 1, price)
    net.run(5)  # what was asked for did not come
    origin = net[0].replica.origins[net[1].key]
    assert (len(origin.waiting), origin.seq < net[1].ledger.log.seq - 6) == (3, True)
    net.lost = {"sync.heads"}
    net.place(1, "sell", 1, 107)
    net.run(6)
    assert (origin.seq, origin.waiting) == (net[1].ledger.log.seq, {})
