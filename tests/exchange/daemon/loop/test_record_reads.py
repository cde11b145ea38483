"""What is read for the node: after the commit, and only for the node that asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from grenache_py.exchange.effects.batch import ReadRecords
from grenache_py.exchange.effects.rows import OriginRow, RecordRow
from grenache_py.exchange.errors import StoreError
from tests.support.peer import Peer

ROW = RecordRow("a" * 32, "b" * 64, 1, "{}", b"", 0, 1, b"", "", b"", 0, 0, b"")
ORIGIN = OriginRow("b" * 64, 1, 1, "", 0, 0, 0, "")


class Reading:
    """One question of the node, and what it was told."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.told: list[Any] = []

    def ask(self) -> None:
        def wish(node: Any, now: float) -> None:
            node.outbox.rows += [ORIGIN, ROW]
            node.outbox.reads.append(ReadRecords([ROW.order_id, "c" * 32], self._done))

        self.peer.commit_loop.guarded.ask("a test", wish)
        self.peer.turn()

    def _done(self, rows: Mapping[str, RecordRow] | None, now: float) -> None:
        assert now == self.peer.clock.seconds()
        self.told.append(rows)


@pytest.fixture
def reading() -> Reading:
    return Reading(Peer())


def test_a_read_finds_the_rows_of_its_own_batch(reading: Reading) -> None:
    reading.peer.store.held = held = []
    reading.ask()
    assert reading.told == []
    held.pop()()
    reading.peer.turn()
    assert reading.told == [{ROW.order_id: ROW}]


def test_a_node_is_told_when_the_store_cannot_be_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(order_ids: object) -> Deferred[list[RecordRow]]:
        failed: Deferred[list[RecordRow]] = Deferred()
        failed.errback(StoreError("io", "the disk is gone"))
        return failed

    monkeypatch.setattr(reading.peer.store, "records", broken, raising=False)
    reading.ask()
    assert reading.told == [None]


def test_another_node_is_not_told_what_the_one_before_it_asked(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: Deferred[list[RecordRow]] = Deferred()
    monkeypatch.setattr(reading.peer.store, "records", lambda ids: waiting, raising=False)
    reading.ask()
    reading.peer.commit_loop.begin_anew()
    reading.peer.turn()
    waiting.callback([ROW])
    assert reading.told == []
