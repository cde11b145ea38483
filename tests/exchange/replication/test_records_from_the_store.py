"""Others' orders are served from the store: what it has, after what was asked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from grenache_py.exchange.effects.batch import Batch, ReadRecords, Send
from grenache_py.exchange.effects.rows import RecordRow
from grenache_py.exchange.errors import BUSY
from grenache_py.exchange.replication.live_set_key import short_id
from grenache_py.exchange.replication.sync_responder import READS_PER_LINK_MAX
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.live_set import element
from grenache_py.exchange.signed_log.merkle import Signed
from tests.support.peers import Network


class Helper:
    """Peer 1, which holds orders of peer 0, is asked by hand over its link to peer 0."""

    def __init__(self) -> None:
        self.net = Network(2)
        self.net.link(0, 1)
        self.lives = [self.net.place(0, "sell", 1 + price, 100 + price) for price in range(3)]
        self.own = self.net.place(1, "buy", 1, 50)
        self.node = self.net[1]
        (self.link,) = self.node.peering.links

    def ask(self, **params: Any) -> Batch:
        message = {"jsonrpc": "2.0", "id": 9, "method": "sync.records", "params": params}
        self.node.link_message(self.link, message, self.net.now)
        return self.batch()

    def batch(self) -> Batch:
        batch = self.node.take_batch(self.net.now)
        self.net.peers[1].database.commit(batch.rows)
        return batch

    def shorts(self) -> list[str]:
        lives = [*self.lives, self.own]
        return [short_id(element(live.order_id, live.version)).hex() for live in lives]


def answer(batch: Batch) -> Any:
    (send,) = [each for each in batch.sends if isinstance(each, Send)]
    message = msgspec.json.decode(send.line)
    assert message["id"] == 9
    return message.get("result") or message["error"]


def ids(result: Any) -> list[str]:
    records = [[Signed.from_wire(part) for part in record] for record in result["records"]]
    return [msgspec.json.decode(record[0].payload)["order"]["id"] for record in records]


@pytest.fixture
def helper() -> Helper:
    return Helper()


def test_the_answer_leaves_when_the_store_was_read(helper: Helper) -> None:
    asked = helper.ask(ids=helper.shorts())
    assert asked.sends == []
    (read,) = asked.reads
    assert list(read.order_ids) == [live.order_id for live in helper.lives]
    helper.net.read(helper.net.peers[1], asked)
    result = answer(helper.batch())
    assert ids(result) == [live.order_id for live in [*helper.lives, helper.own]]
    assert result["answered"] == 4
    assert {len(record) for record in result["records"]} == {1}, "one entry is both"


def test_a_range_is_answered_likewise(helper: Helper) -> None:
    asked = helper.ask(range=[[0, ""], None])
    helper.net.read(helper.net.peers[1], asked)
    result = answer(helper.batch())
    assert sorted(ids(result)) == sorted(live.order_id for live in [*helper.lives, helper.own])
    assert "next" not in result


def test_own_orders_need_no_store(helper: Helper) -> None:
    asked = helper.ask(ids=helper.shorts()[3:])
    assert not asked.reads
    assert ids(answer(asked)) == [helper.own.order_id]


def test_a_newer_state_comes_as_the_second_entry(helper: Helper) -> None:
    assert helper.net.place(1, "buy", 2, 101).filled == 2
    live = helper.net[0].order(helper.lives[1].order_id)
    assert live is not None and (live.filled, live.open) == (1, 1)
    short = short_id(element(live.order_id, live.version)).hex()
    asked = helper.ask(ids=[short])
    helper.net.read(helper.net.peers[1], asked)
    (record,) = answer(helper.batch())["records"]
    assert len(record) == 2
    states = msgspec.json.decode(record[1]["payload"])["states"]
    assert [live.order_id, live.version, "0.0001"] in [state[:3] for state in states]


def test_what_was_closed_meanwhile_is_left_out(helper: Helper) -> None:
    asked = helper.ask(ids=helper.shorts())
    helper.net[0].cancel(helper.lives[0].order_id, helper.net.now)
    helper.net.settle()
    helper.net.read(helper.net.peers[1], asked)
    result = answer(helper.batch())
    assert ids(result) == [live.order_id for live in [*helper.lives[1:], helper.own]]
    assert result["answered"] == 4


def test_a_store_that_cannot_be_read_is_an_error_and_no_answer(helper: Helper) -> None:
    (read,) = helper.ask(ids=helper.shorts()).reads
    read.done(None, helper.net.now)
    assert answer(helper.batch())["code"] == BUSY


def test_one_neighbour_has_only_so_many_reads_under_way(helper: Helper) -> None:
    reads: list[ReadRecords] = []
    for _ in range(READS_PER_LINK_MAX):
        reads += helper.ask(ids=helper.shorts()).reads
    refused = helper.ask(ids=helper.shorts())
    assert not refused.reads
    assert answer(refused)["code"] == BUSY
    nothing: Mapping[str, RecordRow] = {}
    for read in reads:
        read.done(nothing, helper.net.now)
    assert len(helper.batch().sends) == READS_PER_LINK_MAX
    assert helper.ask(ids=helper.shorts()).reads


def test_a_home_that_may_have_an_old_disk_is_shown_its_latest_order() -> None:
    """Its neighbour has no entries of its log any more, and one order that it has forgotten."""
    helper = Helper()
    net, home = helper.net, helper.net[0].key
    assert net.place(1, "buy", 2, 101).filled == 2  # a newer state
    helper.node.replica.origins[home].tail.clear()
    params = {"origin": home, "epoch": 1, "first": 1, "last": 9}
    message = {"jsonrpc": "2.0", "id": 9, "method": "sync.range", "params": params}
    helper.node.link_message(helper.link, message, net.now)
    net.read(net.peers[1], helper.batch())
    (entry,) = answer(helper.batch())["entries"]
    newest = Entry.decode(Signed.from_wire(entry).payload)
    assert newest.home == home
    assert helper.lives[1].order_id in [state.order_id for state in newest.states]
    helper.node.link_message(helper.link, message, net.now)
    (read,) = helper.batch().reads
    read.done({}, net.now)
    assert answer(helper.batch()) == {"pruned": True}
