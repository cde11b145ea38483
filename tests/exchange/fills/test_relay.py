"""Fills between homes that are not neighbours: passed on, bounded, and never at others' cost."""

from __future__ import annotations

from typing import Any

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.fills.relay import HOPS_MAX, RELAY_RATE, FillRelay, read_relay
from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX
from tests.exchange.replication.test_replica import Author
from tests.support.peers import Network, conserved


def chain(length: int) -> Network:
    """Peers in a row; nobody can dial anybody."""
    net = Network(length)
    for number in range(length - 1):
        net.link(number, number + 1)
    net.run(6)
    return net


def relay(net: Network, number: int) -> FillRelay:
    return net[number]._fills._relay


@pytest.mark.parametrize("length", [3, 4, 6])
def test_homes_at_both_ends_of_a_chain_trade(length: int) -> None:
    net = chain(length)
    sell = net.place(0, "sell", 10, 100)
    net.settle()
    buy = net.place(length - 1, "buy", 4, 100)
    assert (buy.status, sell.filled) == ("filled", 4)
    for number in range(length):
        assert not net[number].taker.intents
        conserved(net[number])
    # The request, the answer, and that it is settled: one message each for each peer between.
    assert [relay(net, number).passed_on for number in range(1, length - 1)] == [3] * (length - 2)


def test_a_question_and_its_answer_find_their_way_too() -> None:
    net = chain(3)
    net.place(0, "sell", 10, 100)
    net.settle()
    net.lost = {"fill.relay"}
    buy = net.place(2, "buy", 4, 100)
    net.restart(2)  # so that only the maker can say what became of the fill
    net.run(12)
    assert net[2].in_doubt()
    net.lost = set()
    net.link(2, 1)
    net.run(40)
    assert not net[2].in_doubt()
    found = net[2].order(buy.order_id)
    assert found is not None
    assert (found.status, found.filled) == ("filled", 4)


def test_an_answer_goes_back_the_way_the_question_came_when_nobody_leads_to_its_home() -> None:
    net = chain(3)
    net.place(0, "sell", 10, 100)
    net.settle()
    net.lost = {"gossip.publish", "sync.heads"}  # nothing of the taker's log comes
    relay(net, 0)._routes.pop(net[2].key)  # type: ignore[attr-defined]
    buy = net.place(2, "buy", 4, 100)
    net.settle()
    assert (buy.status, len(net[2].taker.intents)) == ("filled", 0)


@pytest.mark.parametrize("held", [True, False])
def test_who_passes_on_an_entry_that_is_too_early_leads_to_its_home_if_that_is_held(
    held: bool,
) -> None:
    net = chain(2)
    link = net[0].peering.by_key[net[1].key]
    author, intake = Author(net.now), net[0].sync.intake
    if held:
        intake.take(link, author.order(), net.now)
    intake.routes.clear()
    author.now += AHEAD_MS_MAX / 1000 + 1
    intake.take(link, author.order(), net.now)
    assert intake.routes == ({author.identity.key: net[1].key} if held else {})


def test_each_of_two_fills_that_wait_takes_every_neighbour_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked in turns, always in the same order, none may have the same neighbour each time."""
    net = Network(3)
    net.link(0, 1)
    net.link(0, 2)
    passes, ways = relay(net, 0), dict[str, set[str]]()
    passes.silent = {"ab" * 32}

    def forward(_: FillRelay, link: PeerLink, message: Any) -> None:
        ways.setdefault(message.params["fill"], set()).add(link.key)

    monkeypatch.setattr(FillRelay, "_forward", forward)
    for _ in range(20):
        for fill in ("first", "second"):
            assert passes.send("ab" * 32, "fill.query", {"fill": fill})
    assert ways["first"] == ways["second"] == {net[1].key, net[2].key}


def test_a_message_that_goes_in_circles_ends() -> None:
    net = chain(3)
    one, two = relay(net, 0), relay(net, 1)
    lost = "ab" * 32
    # Each believes that the other is nearer.
    one._routes[lost], two._routes[lost] = net[1].key, net[0].key  # type: ignore[index]
    before = net.counts["fill.relay"]
    assert one.send(lost, "fill.request", {})
    net.settle()
    # It never goes back to where it came from, so two peers cannot play with it.
    assert net.counts["fill.relay"] - before == 1
    assert (two.passed_on, two.dropped) == (0, 1)


def test_a_message_without_hops_goes_no_further() -> None:
    net = chain(4)
    link = net[1].peering.by_key[net[0].key]
    spent = read_relay({"to": net[3].key, "hops": 0, "method": "fill.request", "params": {}})
    relay(net, 1).told(link, spent, net.now)
    assert (relay(net, 1).passed_on, relay(net, 1).dropped) == (0, 1)


def test_a_neighbour_has_so_many_messages_passed_on_and_no_more() -> None:
    net = chain(3)
    link = net[1].peering.by_key[net[0].key]
    message = read_relay({"to": net[2].key, "hops": 3, "method": "fill.request", "params": {}})
    for _ in range(RELAY_RATE.burst + 50):
        relay(net, 1).told(link, message, net.now)
    assert relay(net, 1).passed_on <= RELAY_RATE.burst + 1
    assert relay(net, 1).dropped >= 49


def test_what_arrives_and_makes_no_sense_costs_its_bringer_nothing() -> None:
    net = chain(3)
    link = net[1].peering.by_key[net[0].key]
    score = net[1].peering.scores.of(link.key, net.now)
    for method, params in (("fill.request", {"fill": 3}), ("peer.ping", {}), ("answer", {})):
        told = read_relay({"to": net[1].key, "hops": 1, "method": method, "params": params})
        relay(net, 1).told(link, told, net.now)
    net.settle()
    assert net[1].peering.scores.of(link.key, net.now) == score
    assert (relay(net, 1).sent, relay(net, 1).dropped) == (0, 2)


def test_an_unreachable_home_is_not_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddressBook, "address_of", lambda self, key, now: None)
    net = chain(3)
    net.place(0, "sell", 10, 100)
    net.settle()
    net.cut(2)
    buy = net.place(2, "buy", 4, 100)
    assert (buy.open, buy.reserved) == (4, 0)
    net.link(2, 1)
    net.run(3)
    assert buy.status == "filled"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"to": "ab", "hops": 1, "method": "fill.request", "params": {}},
        {"to": "ab" * 32, "hops": -1, "method": "fill.request", "params": {}},
        {"to": "ab" * 32, "hops": HOPS_MAX + 1, "method": "fill.request", "params": {}},
        {"to": "ab" * 32, "hops": True, "method": "fill.request", "params": {}},
        {"to": "ab" * 32, "hops": 1, "method": 3, "params": {}},
        {"to": "ab" * 32, "hops": 1, "method": "fill.request", "params": []},
    ],
)
def test_params_that_are_none_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError):
        read_relay(params)
